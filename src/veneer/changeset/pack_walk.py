"""The walk of packing: through a directory in order, beside what is below it."""

from __future__ import annotations

import os
import stat

from veneer.changeset.pack_sink import Sink
from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, WhiteoutStyle, is_whiteout
from veneer.changeset.xattrs import GONE, Xattrs, all_xattrs, kept, list_xattrs, read_xattrs
from veneer.errors import InvalidRequest, Unsupported

_MAX_DEPTH = 255
_MAX_PATH = 4096
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpackable(InvalidRequest):
    """Something in a tree that no layer can hold; the message names it."""


class NotPlain(Unsupported):
    """An overlay directory that only makes sense together with the ones below it (redirect_dir, metacopy)."""


class Walk:
    """Goes through a directory in order, beside what is below it, and tells the sink what differs.

    Without a sink it only collects `linked`.  `keep`: nothing is known of what is below, so all is told.
    """

    def __init__(self, sink: Sink | None, *, style: WhiteoutStyle, keep: bool = False) -> None:
        self.linked: set[tuple[int, int]] = set()
        self._sink = sink
        self._style = style
        self._plain = style is WhiteoutStyle.ERASE
        self._keep = keep
        self._pending: list[tuple[bytes, os.stat_result, Xattrs, bool]] = []
        own = style.opaque_xattr.removesuffix(b"opaque")
        self._opaque_xattr = style.opaque_xattr
        self._whiteout_xattr = own + b"whiteout" if own else b""
        self._unplain_xattrs = {own + b"redirect", own + b"metacopy"} if own else set()

    def run(self, root_fd: int, below: int | None, prefix: bytes = b"") -> None:
        xattrs = all_xattrs(root_fd)
        self._directory(root_fd, prefix, below, xattrs.get(self._opaque_xattr, b""), None, self._plain, 0)

    def _directory(
        self,
        fd: int,
        path: bytes,
        below: int | None,
        mark: bytes,
        own: tuple[os.stat_result, Xattrs, bool] | None,
        complete: bool,
        depth: int,
    ) -> None:
        """One directory; `mark` is its opaque attribute, `own` (status, xattrs, differs) unless it is the root,
        `complete` says that what is not in it is deleted, since the directory or one above it is opaque."""
        if depth > _MAX_DEPTH or len(path) > _MAX_PATH:
            raise Unpackable(f"{_shown(path[:200])}...: {depth} directories deep, a layer may have {_MAX_DEPTH}")
        names, gone, opaque = self._scan(fd, path)
        opaque = opaque or mark == b"y"
        if opaque and own is None and self._keep and self._sink is not None:
            self._sink.opaque_root()
        complete = complete or opaque
        if complete and below is not None:
            gone.update(os.fsencode(name) for name in os.listdir(below))
        if own is not None:
            status, xattrs, differs = own
            self._pending.append((path, status, xattrs, opaque and self._keep))
            if differs:
                self._flush()
        for name in sorted(names | gone):
            child = path + b"/" + name if path else name
            old = _status(below, name)
            deleted = name in gone and (self._keep or old is not None)
            if name in names:
                self._child(fd, name, child, below, old, mark == b"x", complete, name in gone and not complete, depth)
            elif deleted:
                self._whiteout(child)
        if own is not None and self._pending and self._pending[-1][0] == path:
            self._pending.pop()

    def _scan(self, fd: int, path: bytes) -> tuple[set[bytes], set[bytes], bool]:
        """(names that are there, names that `.wh.` files delete, whether `.wh..wh..opq` is there)."""
        names: set[bytes] = set()
        gone: set[bytes] = set()
        opaque = False
        for name in map(os.fsencode, os.listdir(fd)):
            if not name.startswith(PREFIX):
                names.add(name)
            elif self._plain:
                raise Unpackable(
                    f"{_shown(path + b'/' + name)}: a layer cannot hold a name that begins with .wh.",
                    hint="rename it: in a layer such a name means that another file is deleted",
                )
            elif name == OPAQUE_MARKER:
                opaque = True
            elif not name.startswith(META_PREFIX) and name != PREFIX:
                gone.add(name[len(PREFIX) :])
        return names, gone, opaque

    def _child(
        self,
        dir_fd: int,
        name: bytes,
        path: bytes,
        below: int | None,
        old: os.stat_result | None,
        xattr_whiteouts: bool,
        complete: bool,
        whited_out: bool,
        depth: int,
    ) -> None:
        status = _status(dir_fd, name)
        if status is None or stat.S_ISSOCK(status.st_mode):
            if old is not None and (complete or status is not None):
                self._whiteout(path)
        elif stat.S_ISDIR(status.st_mode):
            self._subdirectory(dir_fd, name, path, below, old, status, complete or whited_out, whited_out, depth)
        elif self._is_whiteout(dir_fd, name, path, status, xattr_whiteouts):
            if self._keep or old is not None:
                self._whiteout(path)
        elif self._differs(dir_fd, name, status, below, old):
            if self._sink is None:
                if status.st_nlink > 1:
                    self.linked.add((status.st_dev, status.st_ino))
            else:
                self._flush()
                self._sink.file(dir_fd, name, path, status)

    def _subdirectory(
        self,
        dir_fd: int,
        name: bytes,
        path: bytes,
        below: int | None,
        old: os.stat_result | None,
        status: os.stat_result,
        complete: bool,
        whited_out: bool,
        depth: int,
    ) -> None:
        fd = _open_directory(dir_fd, name)
        if fd is None:
            return
        old_fd = None
        try:
            found = all_xattrs(fd)
            if not self._unplain_xattrs.isdisjoint(found):
                raise NotPlain(f"{_shown(path)} was renamed by overlay's redirect_dir; its directory alone is no layer")
            xattrs = kept(found)
            if old is not None and stat.S_ISDIR(old.st_mode) and below is not None:
                old_fd = _open_directory(below, name)
            differs = old_fd is None or old is None or _attributes_differ(old, status)
            if not differs and old_fd is not None:
                differs = xattrs != read_xattrs(old_fd)
            mark = b"y" if whited_out else found.get(self._opaque_xattr, b"")
            self._directory(fd, path, old_fd, mark, (status, xattrs, differs), complete, depth + 1)
        finally:
            os.close(fd)
            if old_fd is not None:
                os.close(old_fd)

    def _is_whiteout(
        self, dir_fd: int, name: bytes, path: bytes, status: os.stat_result, xattr_whiteouts: bool
    ) -> bool:
        if is_whiteout(status):
            if self._plain:
                raise Unpackable(f"{_shown(path)}: a layer cannot hold the device 0:0, it means a deletion")
            return True
        if stat.S_ISREG(status.st_mode) and self._unplain_xattrs:
            if status.st_size == 0 and xattr_whiteouts and self._whiteout_xattr in _names_of_xattrs(dir_fd, name):
                return True
            # Only a file that is all hole can be metacopy's stand-in for the data of a lower layer.
            if status.st_blocks == 0 and status.st_size and self._unplain_xattrs & _names_of_xattrs(dir_fd, name):
                raise NotPlain(f"{_shown(path)} has only its metadata here (overlay's metacopy), its data is below")
        return False

    def _differs(
        self, dir_fd: int, name: bytes, status: os.stat_result, below: int | None, old: os.stat_result | None
    ) -> bool:
        if self._sink is None and status.st_nlink == 1:
            return False
        if old is None or below is None:
            return True
        if status.st_nlink > 1 and (status.st_dev, status.st_ino) in self.linked:
            return True
        if _attributes_differ(old, status) or old.st_size != status.st_size:
            return True
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=dir_fd) != os.readlink(name, dir_fd=below)
        return stat.S_ISREG(status.st_mode) and _xattrs_at(dir_fd, name) != _xattrs_at(below, name)

    def _whiteout(self, path: bytes) -> None:
        if self._sink is not None:
            self._flush()
            self._sink.whiteout(path)

    def _flush(self) -> None:
        """Tell of the directories we are in that have not been told of: something in them differs."""
        if self._sink is not None:
            for path, status, xattrs, opaque in self._pending:
                self._sink.directory(path, status, xattrs, opaque=opaque)
        self._pending.clear()


def _attributes_differ(old: os.stat_result, new: os.stat_result) -> bool:
    if (old.st_mode, old.st_uid, old.st_gid, old.st_mtime_ns) != (
        new.st_mode, new.st_uid, new.st_gid, new.st_mtime_ns
    ):  # fmt: skip
        return True
    return old.st_rdev != new.st_rdev and (stat.S_ISCHR(new.st_mode) or stat.S_ISBLK(new.st_mode))


def _status(dir_fd: int | None, name: bytes) -> os.stat_result | None:
    if dir_fd is None:
        return None
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _open_directory(dir_fd: int, name: bytes) -> int | None:
    """None if it is gone, or no directory any more."""
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def _names_of_xattrs(dir_fd: int, name: bytes) -> set[bytes]:
    return set(map(os.fsencode, list_xattrs(b"/proc/self/fd/%d/%s" % (dir_fd, name))))


def _xattrs_at(dir_fd: int, name: bytes) -> Xattrs:
    return read_xattrs(b"/proc/self/fd/%d/%s" % (dir_fd, name))


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
