"""Network namespaces: made, and entered by the thread that has something to do there.

A namespace lives as long as somebody has a descriptor of it or a process in it; none is bound to a file, so none is
left behind.  Sources: network_namespaces(7), setns(2).
"""

from __future__ import annotations

import os

from veneer.drivers import mount_syscalls as sys_mount

_OURS = "/proc/thread-self/ns/net"
_READ = os.O_RDONLY | os.O_CLOEXEC


def make() -> int:
    """A descriptor of a new network namespace, in which nothing is up yet."""
    before = os.open(_OURS, _READ)
    try:
        sys_mount.unshare(sys_mount.CLONE_NEWNET)
        try:
            return os.open(_OURS, _READ)
        finally:
            sys_mount.setns(before, sys_mount.CLONE_NEWNET)
    finally:
        os.close(before)


class Entered:
    """This thread in another network namespace, for a `with`; `path` names it (a file of /proc/PID/ns or .../fd)."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._before = os.open(_OURS, _READ)
        try:
            there = os.open(self._path, _READ)
            try:
                sys_mount.setns(there, sys_mount.CLONE_NEWNET)
            finally:
                os.close(there)
        except BaseException:
            os.close(self._before)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            sys_mount.setns(self._before, sys_mount.CLONE_NEWNET)
        finally:
            os.close(self._before)
