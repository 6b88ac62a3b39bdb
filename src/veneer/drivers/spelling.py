"""A branch in aufs's spelling turned into overlay's, in place, and back.

aufs writes deletions down as files, overlay as devices and attributes.  A branch that overlay is to write to is
turned before it is mounted and turned back when the mount is gone.  Both ways may be cut off at any point: what is
turned is never ambiguous to who finishes the work, as long as he goes through `reserve` first where users may have
made names of their own that begin with `.wh.` (live.py keeps account of that).
Source: aufs's uapi header; Linux Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from veneer.changeset import whiteout
from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, is_whiteout
from veneer.drivers import treecopy
from veneer.drivers.treewalk import Cursor, walk
from veneer.errors import Unsupported

BASE = ".wh..wh.aufs"
"""In a branch's root: the file whose hard links its whiteouts are."""
RESERVED = os.fsdecode(whiteout.RESERVED)
_PREFIX, _META, _OPAQUE = os.fsdecode(PREFIX), os.fsdecode(META_PREFIX), os.fsdecode(OPAQUE_MARKER)
_NAME_MAX = 255
_PATH_LIMIT = 3000


class NameReserved(Unsupported):
    """A name that begins with `.wh.` and is too long to be kept in a layer of aufs's format."""


class Spelling:
    """One branch, at the open directory `root`, and overlay's words for it: `xattrs` is "trusted.overlay." or
    "user.overlay."."""

    def __init__(self, root: int, xattrs: str) -> None:
        self.root = root
        self._own = xattrs
        self._opaque = xattrs + "opaque"

    def to_overlay(self, aside: Path) -> None:
        """Turn aufs's markers into overlay's; what else aufs keeps in the branch's root moves to the folder `aside`."""
        for cursor, names in walked(self.root):
            markers = [name for name in names if name.startswith(_PREFIX) and not name.startswith(RESERVED)]
            if not markers:
                continue
            with times_kept(cursor.fd):
                for name in markers:
                    if name == _OPAQUE:
                        os.setxattr(cursor.fd, self._opaque, b"y")
                        os.unlink(name, dir_fd=cursor.fd)
                    elif not name.startswith(_META):
                        self._hide(cursor.fd, name.removeprefix(_PREFIX))
                        os.unlink(name, dir_fd=cursor.fd)
                    elif cursor.path or name == BASE:
                        treecopy.delete_entry(cursor.fd, name)  # a temporary name of a mount that is gone
                    else:
                        os.rename(name, aside / name, src_dir_fd=cursor.fd)

    def release(self) -> None:
        """Give users' reserved names back to them."""
        self._rename_all(RESERVED, _PREFIX)

    def reserve(self) -> None:
        """Take users' names that begin with `.wh.` out of the way of aufs's own; there are no markers yet.

        Raises NameReserved.
        """
        self._rename_all(_PREFIX, RESERVED)

    def to_aufs(
        self, aside: Path, lowers: Sequence[Path], below: Callable[[], contextlib.AbstractContextManager[int]]
    ) -> None:
        """Turn overlay's markers into aufs's, and take overlay's attributes away; names are reserved already.

        `lowers` are the branches below, and `below` opens their merged tree.  Where a branch has both a whiteout and
        the thing itself, as after a crash, the thing is what counts.
        """
        full: list[bytes] = []
        for cursor, names in walked(self.root):
            with times_kept(cursor.fd):
                if self._spell(cursor.fd, names):
                    full.append(os.fsencode(cursor.path))
                if self._is_opaque(cursor.fd) and _somewhere(lowers, cursor.path):
                    mark(self.root, cursor.fd, _OPAQUE)
                self._strip(cursor.fd)
        if full:
            with below() as view:
                for path in full:
                    self._write_out(path, view)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(aside):
                os.rename(aside / name, name, dst_dir_fd=self.root)

    # -- one directory ---------------------------------------------------------------------------------------

    def _hide(self, fd: int, name: str) -> None:
        """Put overlay's whiteout of `name` into a directory; beside a directory of that name, make that opaque."""
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                self._make_opaque(fd, name, lambda inside: os.setxattr(inside, self._opaque, b"y"))
            return
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)

    def _spell(self, fd: int, names: list[str]) -> bool:
        """Turn what one directory holds; whether it deletes a name that is too long for a marker."""
        full = False
        there = set(names)
        for name in names:
            if name.startswith(_META):
                continue
            if name.startswith(_PREFIX):
                self._settle(fd, name, there)
                continue
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not is_whiteout(status):
                if not stat.S_ISDIR(status.st_mode):
                    self._strip(f"/proc/self/fd/{fd}/{name}")
                continue
            if len(os.fsencode(name)) > _NAME_MAX - len(_PREFIX):
                full = True
                continue
            mark(self.root, fd, _PREFIX + name)
            os.unlink(name, dir_fd=fd)
        return full

    def _settle(self, fd: int, marker: str, there: set[str]) -> None:
        name = marker.removeprefix(_PREFIX)
        if name not in there:
            return
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if is_whiteout(status):
            return
        if stat.S_ISDIR(status.st_mode):
            self._make_opaque(fd, name, lambda inside: mark(self.root, inside, _OPAQUE))
        os.unlink(marker, dir_fd=fd)

    def _make_opaque(self, fd: int, name: str, say: Callable[[int], None]) -> None:
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            with times_kept(inside):
                say(inside)
        finally:
            os.close(inside)

    def _is_opaque(self, fd: int) -> bool:
        try:
            return os.getxattr(fd, self._opaque) == b"y"
        except OSError as error:
            if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
                return False
            raise

    def _strip(self, target: int | str) -> None:
        """Take overlay's own attributes off.  What it keeps for users by the name `overlay.overlay.` stays."""
        opened = isinstance(target, int)
        try:
            names = os.listxattr(target, follow_symlinks=opened)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return
            raise
        for name in names:
            if name.startswith(self._own) and not name.startswith(self._own + "overlay."):
                os.removexattr(target, name, follow_symlinks=opened)

    def _rename_all(self, old: str, new: str) -> None:
        # Renamed names do not match again: what is reserved begins with `.wh.`, so it is looked at but once.
        for cursor, names in walked(self.root):
            with contextlib.ExitStack() as kept:
                found = [name for name in names if name.startswith(old)]
                if found:
                    kept.enter_context(times_kept(cursor.fd))
                for name in found:
                    renamed = new + name.removeprefix(old)
                    if len(os.fsencode(renamed)) > _NAME_MAX:
                        raise NameReserved(
                            f"a layer of aufs's format cannot keep the name {name[:60]}...: it begins with .wh. and is"
                            f" longer than {_NAME_MAX - len(RESERVED) + len(_PREFIX)} bytes",
                            hint="rename the file, or use another storage driver",
                        )
                    os.rename(name, renamed, src_dir_fd=cursor.fd, dst_dir_fd=cursor.fd)

    # -- names too long for a marker -------------------------------------------------------------------------

    def _write_out(self, path: bytes, view: int) -> None:
        """Have a directory hold all that shows in it, and hide all below: so a name is deleted that is too long."""
        from veneer.changeset.safepath import open_beneath

        own = open_beneath(self.root, path)
        try:
            try:
                below = open_beneath(view, path)
            except (FileNotFoundError, NotADirectoryError):
                below = -1
            try:
                with times_kept(own):
                    fill(own, below, lambda fd: mark(self.root, fd, _OPAQUE))
            finally:
                if below >= 0:
                    os.close(below)
        finally:
            os.close(own)


def mark(root: int, fd: int, marker: str | bytes) -> None:
    """Make a marker in a directory of the branch open at `root`: a link of its base, as the kernel's aufs does."""
    for _ in range(2):
        try:
            os.link(BASE, marker, src_dir_fd=root, dst_dir_fd=fd, follow_symlinks=False)
            return
        except FileExistsError:
            return
        except OSError as error:
            # No base yet, or one with as many links as the file system can count.
            if error.errno not in (errno.ENOENT, errno.EMLINK):
                raise
        with times_kept(root):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(BASE, dir_fd=root)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(BASE, flags, 0o444, dir_fd=root))


def _somewhere(lowers: Sequence[Path], path: str) -> bool:
    """Whether one of the branches below has anything at `path`, shown or not.

    Overlay marks every directory it makes in a merged one; few of them have anything to hide.
    """
    return not path or len(path) > _PATH_LIMIT or any(os.path.lexists(lower / path) for lower in lowers)


def fill(own: int, below: int, shut: Callable[[int], None]) -> None:
    """Copy what the directory `below` (-1: none) has and `own` neither has nor deletes; then `shut` it."""
    names = set(os.listdir(own))
    for name in os.listdir(below) if below >= 0 and _OPAQUE not in names else ():
        if _PREFIX + name in names:
            continue
        if name not in names:
            treecopy.copy_entry(below, own, name)
            continue
        statuses = [os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in (own, below)]
        if all(stat.S_ISDIR(status.st_mode) for status in statuses):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with contextlib.ExitStack() as opened:
                fds = []
                for fd in (own, below):
                    fds.append(os.open(name, flags, dir_fd=fd))
                    opened.callback(os.close, fds[-1])
                with times_kept(fds[0]):
                    fill(fds[0], fds[1], shut)
    shut(own)
    for name in names:
        if is_whiteout(os.stat(name, dir_fd=own, follow_symlinks=False)):
            os.unlink(name, dir_fd=own)


def walked(root: int, *, reserved: bool = True) -> Iterator[tuple[Cursor, list[str]]]:
    """Every directory below `root`, itself first, with the names it has; they may be renamed, deleted, turned.

    aufs's own directories are left out, and without `reserved` those that users gave such names, too.
    """
    for cursor, below in walk(root, may_vanish=True):
        names, folders = [], []
        with os.scandir(cursor.fd) as entries:
            for entry in entries:
                names.append(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
        yield cursor, names
        # Listed anew only where names were changed: what begins with `.wh.` is renamed, deleted or moved away.
        below += _still(cursor.fd, folders, reserved=reserved)


def _still(fd: int, folders: list[str], *, reserved: bool) -> list[str]:
    if not any(name.startswith(_PREFIX) for name in folders):
        return folders
    with os.scandir(fd) as entries:
        return [
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False)
            and (not entry.name.startswith(_META) or (reserved and entry.name.startswith(RESERVED)))
        ]


@contextlib.contextmanager
def times_kept(fd: int) -> Iterator[None]:
    """What happens to a directory in this `with` does not show in its times."""
    before = os.fstat(fd)
    try:
        yield
    finally:  # what finds no room on the disk is done again, by a later commit
        after = os.fstat(fd)
        if (after.st_mtime_ns, after.st_atime_ns) != (before.st_mtime_ns, before.st_atime_ns):
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
