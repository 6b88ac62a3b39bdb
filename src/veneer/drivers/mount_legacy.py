"""Mounting by mount(2), for kernels before 6.7 and for sandboxes that forbid the newer calls."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from veneer.drivers import mount_syscalls as sys_mount
from veneer.drivers.mount import Mount, TooManyLayers, explained, open_layer
from veneer.errors import VeneerError

OPTIONS_LIMIT = 4000
"""Bytes of options mount(2) may be given.  It copies one page and ignores what is behind; where the cut falls on a
`:` between two layers the mount succeeds with layers missing."""


def attach(mount: Mount, target: Path) -> None:
    """Mount `mount` at `target`; on an error nothing is left there."""
    if mount.type == "bind":
        _attach_bind(mount, target)
    elif mount.type == "overlay":
        _attach_overlay(mount, target)
    elif mount.type == "aufs":
        _attach_aufs(mount, target)
    else:
        flags = sys_mount.MS_RDONLY if mount.readonly else 0
        _mount(mount, target, flags, ",".join(mount.options).encode())


def _attach_bind(mount: Mount, target: Path) -> None:
    where = os.fsencode(target)
    os.close(open_layer(Path(mount.source)))  # else it is not told whether that or the target is missing
    try:
        sys_mount.mount(os.fsencode(mount.source), where, None, sys_mount.MS_BIND, None)
    except OSError as error:
        raise explained(mount, error, f"at {target}") from error
    try:
        sys_mount.mount(b"none", where, None, sys_mount.MS_PRIVATE, None)
        if mount.readonly:
            # A bind takes no flags when it is made; only remounting makes it read-only.  Source: mount(2).
            flags = sys_mount.MS_BIND | sys_mount.MS_REMOUNT | sys_mount.MS_RDONLY
            sys_mount.mount(b"none", where, None, flags, None)
    except OSError as error:
        sys_mount.umount2(where, sys_mount.MNT_DETACH)
        raise explained(mount, error, f"at {target}") from error


def _attach_aufs(mount: Mount, target: Path) -> None:
    """`options` are strings for one call each: to mount, and then to add what did not fit in a page."""
    flags = sys_mount.MS_RDONLY if mount.readonly else 0
    _mount(mount, target, flags, os.fsencode(mount.options[0]))
    try:
        for more in mount.options[1:]:
            _mount(mount, target, flags | sys_mount.MS_REMOUNT, os.fsencode(more))
    except BaseException:
        sys_mount.umount2(os.fsencode(target), sys_mount.MNT_DETACH)
        raise


def _attach_overlay(mount: Mount, target: Path) -> None:
    # Upper and work first: were the string cut after all, the mount would fail instead of losing its upper.
    options = []
    if mount.upper is not None and mount.work is not None:
        options = [b"upperdir=" + _escaped(mount.upper), b"workdir=" + _escaped(mount.work)]
    options += [option.encode() for option in mount.options]
    by_path = b",".join([*options, b"lowerdir=" + b":".join(_escaped(lower) for lower in mount.lowers)])
    flags = sys_mount.MS_RDONLY if mount.readonly else 0
    if len(by_path) <= OPTIONS_LIMIT:
        for lower in mount.lowers:
            os.close(open_layer(lower))  # a missing one is ENOENT for the whole mount: say which
        _mount(mount, target, flags, by_path)
        return
    with _numbered(mount.lowers) as names:
        by_number = b",".join([*options, b"lowerdir=" + b":".join(names)])
        if len(by_number) > OPTIONS_LIMIT:
            raise TooManyLayers(f"{len(mount.lowers)} layers do not fit in the options of mount(2)")
        _in_descriptor_folder(lambda: _mount(mount, target.absolute(), flags, by_number))


def _mount(mount: Mount, target: Path, flags: int, options: bytes) -> None:
    try:
        sys_mount.mount(os.fsencode(mount.source), os.fsencode(target), mount.type.encode(), flags, options)
    except OSError as error:
        raise explained(mount, error, f"at {target}") from error


@contextlib.contextmanager
def _numbered(lowers: tuple[str, ...]) -> Iterator[list[bytes]]:
    """Short names for `lowers`: their descriptors' numbers, good as long as /proc/self/fd is the working directory."""
    with contextlib.ExitStack() as stack:
        names = []
        for lower in lowers:
            layer = open_layer(lower)
            stack.callback(os.close, layer)
            names.append(b"%d" % layer)
        yield names


def _in_descriptor_folder(action: Callable[[], None]) -> None:
    """Run `action` with /proc/self/fd as the working directory, which nobody else in this process notices.

    A thread may leave the working directory it shares with the others (CLONE_FS); a forked child could not be had
    safely in a process with threads.
    """
    import threading

    failures: list[Exception] = []

    def run() -> None:
        try:
            sys_mount.unshare(sys_mount.CLONE_FS)
            os.chdir("/proc/self/fd")
            action()
        except (OSError, VeneerError) as error:  # raised again below, in the thread that asked
            failures.append(error)

    thread = threading.Thread(target=run, name="veneer-mount")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def _escaped(path: str | Path) -> bytes:
    """`path` as overlay's option parser wants it: a comma ends an option, a colon a layer."""
    name = os.fsencode(path)
    for special in (b"\\", b",", b":"):
        name = name.replace(special, b"\\" + special)
    return name
