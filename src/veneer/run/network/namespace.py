"""Network namespaces: made, and entered by the thread that has something to do there.

A namespace lives as long as somebody has a descriptor of it or a process in it; none is bound to a file, so none is
left behind.  Sources: network_namespaces(7), setns(2).
"""

from __future__ import annotations

import _thread
import os

from veneer.drivers import mount_syscalls as sys_mount

_OURS = "/proc/thread-self/ns/net"
_READ = os.O_RDONLY | os.O_CLOEXEC


def make() -> int:
    """A descriptor of a new network namespace, in which nothing is up yet.

    Made by a thread that ends there: in a user namespace nobody may go back to the network he came from.
    """
    found: list[int | OSError] = []
    done = _thread.allocate_lock()
    done.acquire()

    def leave() -> None:
        try:
            sys_mount.unshare(sys_mount.CLONE_NEWNET)
            found.append(os.open(_OURS, _READ))
        except OSError as error:
            found.append(error)
        finally:
            done.release()

    _thread.start_new_thread(leave, ())
    done.acquire()
    [made] = found
    if isinstance(made, OSError):
        raise made
    return made


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
