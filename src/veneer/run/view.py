"""A container's tree with its volumes and binds in their places, for who copies from above one of them, or to there.

In a mount namespace of ours alone: the container and the host see nothing of it.  Places are found inside the tree
(openat2, RESOLVE_IN_ROOT), so a link that somebody puts there leads to another place in it.
Sources: mount(2), mount_namespaces(7); moby daemon/archive.go (mountVolumes).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from veneer.changeset import syscalls
from veneer.drivers import mount_syscalls as kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PATH = os.O_PATH | os.O_CLOEXEC
_KEPT = {os.ST_NOSUID: kernel.MS_NOSUID, os.ST_NODEV: kernel.MS_NODEV, os.ST_NOEXEC: 8, os.ST_NOATIME: 1 << 10,
         os.ST_NODIRATIME: 1 << 11, os.ST_RELATIME: 1 << 21}  # fmt: skip
"""Flags of a mount that in a user namespace may not be taken from it, by what statvfs calls them."""


@contextlib.contextmanager
def placed(tree: Path, binds: Iterable[Mapping[str, Any]], *, making: bool = False) -> Iterator[int]:
    """A descriptor of the tree that is mounted at `tree`, with `binds` (of a monitor's job) in it.

    Whoever mounted it takes all of it away.  What is not there, here or in the tree, is left out; `making`: the places
    that the tree has none of yet, because it is of a container that was never started, are made.
    """
    root = os.open(tree, _DIRECTORY)
    try:
        shown = [each for each in binds if each["type"] != "tmpfs"]
        shown.sort(key=lambda each: str(each["target"]).count("/"))
        if making:
            _make_places(root, shown)
        for each in shown:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _place(root, each)
        yield root
    finally:
        os.close(root)


def _make_places(root: int, binds: Iterable[Mapping[str, Any]]) -> None:
    from veneer.run.mountpoints import BadMountPoint, MountPoints

    points = MountPoints(root)
    try:
        for each in binds:
            with contextlib.suppress(BadMountPoint):  # which its start will say
                points.make(each["target"], directory=os.path.isdir(each["source"]))
    finally:
        points.keep()


class View:
    """A tree that is mounted elsewhere in our mount namespace, with `binds` in it; `root` is a descriptor of it."""

    def __init__(self, tree: Path, at: Path, binds: Iterable[Mapping[str, Any]]) -> None:
        self._at = at
        at.mkdir(0o700)
        with contextlib.ExitStack() as stack:
            stack.callback(at.rmdir)
            kernel.mount(os.fsencode(tree), os.fsencode(at), None, kernel.MS_BIND, None)
            stack.callback(kernel.umount2, os.fsencode(at), kernel.MNT_DETACH | kernel.UMOUNT_NOFOLLOW)
            self.root = stack.enter_context(placed(at, binds))
            self._undone = stack.pop_all()

    def close(self) -> None:
        """Take it away."""
        self._undone.close()


def _place(root: int, bind: Mapping[str, Any]) -> None:
    with contextlib.ExitStack() as opened:

        def keep(fd: int) -> int:
            opened.callback(os.close, fd)
            return fd

        source = keep(os.open(bind["source"], _PATH))
        if part := str(bind.get("subpath") or "").strip("/"):
            source = keep(syscalls.openat2(source, os.fsencode(part), _PATH, syscalls.RESOLVE_IN_ROOT))
        target = keep(_found(root, bind["target"]))
        if stat.S_ISDIR(os.fstat(source).st_mode) != stat.S_ISDIR(os.fstat(target).st_mode):
            return
        deep = kernel.MS_REC if bind.get("recursive", True) else 0
        kernel.mount(_name(source), _name(target), None, kernel.MS_BIND | deep, None)
        if bind["readonly"]:
            _protect(keep(_found(root, bind["target"])))


def _protect(mount: int) -> None:
    """Have a mount, and what is mounted below it, be read-only; before Linux 5.12 the mount alone."""
    try:
        kernel.mount_setattr(mount, set_attributes=kernel.MOUNT_ATTR_RDONLY, recursive=True)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        found = os.fstatvfs(mount).f_flag
        flags = sum(ours for theirs, ours in _KEPT.items() if found & theirs)
        kernel.mount(b"none", _name(mount), None,
                     kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | flags, None)  # fmt: skip


def _found(root: int, target: str) -> int:
    return syscalls.openat2(root, os.fsencode(target.lstrip("/")) or b".", _PATH, syscalls.RESOLVE_IN_ROOT)


def _name(fd: int) -> bytes:
    return f"/proc/self/fd/{fd}".encode()
