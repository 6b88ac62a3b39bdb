"""The walk of packing: through a directory in order, beside what is below it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from veneer.changeset.pack_sink import Sink
from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, RESERVED, WhiteoutStyle, is_whiteout
from veneer.changeset.xattrs import GONE, Xattrs, all_xattrs, kept, list_xattrs, read_xattrs
from veneer.errors import InvalidRequest, Unsupported

_MAX_DEPTH = 255
_MAX_PATH = 4096
_NEVER = range(0)
_CHUNK = 1 << 20
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unpackable(InvalidRequest):
    """Something in a tree that no layer can hold; the message names it."""


class ReservedName(Unpackable):
    """A name that begins with `.wh.`: in a layer it means that another file is deleted."""


class NotPlain(Unsupported):
    """An overlay directory that only makes sense together with the ones below it (redirect_dir, metacopy)."""


class _Place:
    """A directory that the walk is in.

    `below`: the same directory of the tree below, None if that has none.  `names`: what is left to visit.
    `moved`: it, or one above it, may have been renamed, so that what is in it may have come from elsewhere as it is.
    `there`: what the directory holds.  `gone`: what it deletes.  `complete`: whatever is not there is deleted,
    because this directory or one above it is opaque or the tree is a whole one.
    """

    __slots__ = ("attribute_whiteouts", "below", "complete", "depth", "fd", "gone", "moved", "names", "path", "there")

    def __init__(self, fd: int, path: bytes, below: int | None, mark: bytes, depth: int) -> None:
        self.fd = fd
        self.path = path
        self.below = below
        self.attribute_whiteouts = mark == b"x"
        self.complete = self.moved = False
        self.depth = depth
        self.there: set[bytes] = set()
        self.gone: set[bytes] = set()
        self.names: Iterator[bytes] = iter(())

    def close(self) -> None:
        os.close(self.fd)
        if self.below is not None:
            os.close(self.below)


class Walk:
    """Goes through a directory in order, beside what is below it, and tells the sink what differs.

    Without a sink it only collects `linked`, the files with several names of which one differs.  `keep`: nothing is
    known of what is below, so all is told.  `untouched`: the status change times (ctime, ns) that only files have
    which nobody wrote to; the contents of others are read where all else is equal, since whoever writes a file can
    set its time back, but not its ctime.  `any_name`: what is told becomes no layer, so a tree may have names that
    begin with `.wh.`.
    """

    def __init__(
        self, sink: Sink | None, *, style: WhiteoutStyle, keep: bool = False,
        linked: Iterable[tuple[int, int]] = (), untouched: range = _NEVER, any_name: bool = False,
    ) -> None:  # fmt: skip
        self.linked = set(linked)
        self._untouched = untouched
        self._sink = sink
        self._plain = style is WhiteoutStyle.ERASE
        self._any_name = any_name and self._plain
        self._marked = style is WhiteoutStyle.AUFS
        self._keep = keep
        self._pending: list[tuple[bytes, os.stat_result, Xattrs, bool]] = []
        own = style.opaque_xattr.removesuffix(b"opaque")
        self._opaque_xattr = style.opaque_xattr
        self._whiteout_xattr = own + b"whiteout" if own else b""
        self._metacopy = own + b"metacopy"
        self._unplain_xattrs = {own + b"redirect", self._metacopy} if own else set()

    def run(self, root_fd: int, below: int | None, prefix: bytes = b"") -> None:
        """Walk all of `root_fd`; `prefix` goes before every path."""
        mark = all_xattrs(root_fd).get(self._opaque_xattr, b"")
        stack: list[_Place] = []
        try:
            stack.append(_Place(os.dup(root_fd), prefix, None if below is None else os.dup(below), mark, 0))
            if self._enter(stack[0], mark == b"y", self._plain) and self._keep and self._sink is not None:
                self._sink.opaque_root()
            while stack:
                place = stack[-1]
                for name in place.names:
                    inside = self._visit(place, name)
                    if inside is not None:
                        stack.append(inside)
                        break
                else:
                    self._leave(place)
                    stack.pop().close()
        finally:
            for place in stack:
                place.close()

    def _enter(self, place: _Place, opaque: bool, complete: bool) -> bool:
        """List the directory; whether it is opaque itself."""
        if place.depth > _MAX_DEPTH or len(place.path) > _MAX_PATH:
            shown = _shown(place.path[:200])
            raise Unpackable(f"{shown}...: {place.depth} directories deep, a layer may have {_MAX_DEPTH}")
        for name in map(os.fsencode, os.listdir(place.fd)):
            if self._any_name or not name.startswith(PREFIX):
                place.there.add(name)
            elif not self._marked or name.startswith(RESERVED):  # in any other directory it is a user's
                own = PREFIX + name.removeprefix(RESERVED) if name.startswith(RESERVED) else name
                raise ReservedName(
                    f"{_shown(place.path + b'/' + own)}: a layer cannot hold a name that begins with .wh.",
                    hint="rename it: in a layer such a name means that another file is deleted",
                )
            elif name == OPAQUE_MARKER:
                opaque = True
            elif not name.startswith(META_PREFIX) and name != PREFIX:
                place.gone.add(name[len(PREFIX) :])
        place.complete = complete or opaque
        deleted = place.gone - place.there
        if place.complete and place.below is not None:
            deleted.update(set(map(os.fsencode, os.listdir(place.below))) - place.there)
        place.names = iter(sorted(place.there | deleted))
        return opaque

    def _leave(self, place: _Place) -> None:
        # If it is still pending, nothing in it or about it differs.
        if self._pending and self._pending[-1][0] == place.path:
            self._pending.pop()

    def _visit(self, place: _Place, name: bytes) -> _Place | None:
        """Tell of one name; if it is a directory, the place to go on with."""
        path = place.path + b"/" + name if place.path else name
        if name not in place.there:
            self._deleted(place, name, path)
            return None
        status = _status(place.fd, name)
        if status is None:
            if place.complete:
                self._deleted(place, name, path)
        elif stat.S_ISDIR(status.st_mode):
            return self._subdirectory(place, name, path, status)
        elif stat.S_ISSOCK(status.st_mode):  # no layer holds one, so it only hides what is below
            old = _status(place.below, name)
            if not self._keep and old is not None and not stat.S_ISSOCK(old.st_mode):
                self._deleted(place, name, path)
        elif self._is_whiteout(place, name, path, status):
            self._deleted(place, name, path)
        elif self._differs(place, name, status):
            if self._sink is None:
                self.linked.add((status.st_dev, status.st_ino))
            else:
                self._flush()
                self._sink.file(place.fd, name, path, status)
        return None

    def _subdirectory(self, place: _Place, name: bytes, path: bytes, status: os.stat_result) -> _Place | None:
        fd = _open_directory(place.fd, name)
        if fd is None:
            return None
        below = None
        try:
            found = all_xattrs(fd)
            if not self._unplain_xattrs.isdisjoint(found):
                raise NotPlain(f"{_shown(path)} was renamed by overlay's redirect_dir; its directory alone is no layer")
            xattrs = kept(found)
            old = _status(place.below, name)
            if old is not None and stat.S_ISDIR(old.st_mode) and place.below is not None:
                below = _open_directory(place.below, name)
            differs = old is None or below is None or _attributes_differ(old, status)
            if not differs and below is not None:
                differs = xattrs != read_xattrs(below)
            mark = found.get(self._opaque_xattr, b"")
            inside = _Place(fd, path, below, mark, place.depth + 1)
            inside.moved = place.moved or status.st_ctime_ns not in self._untouched
            # A whiteout beside a directory of its name hides what the layers below have in it.
            opaque = self._enter(inside, mark == b"y" or name in place.gone, place.complete)
        except BaseException:
            os.close(fd)
            if below is not None:
                os.close(below)
            raise
        self._pending.append((path, status, xattrs, opaque and self._keep))
        if differs:
            self._flush()
        return inside

    def _is_whiteout(self, place: _Place, name: bytes, path: bytes, status: os.stat_result) -> bool:
        if is_whiteout(status):
            if self._plain:
                raise Unpackable(f"{_shown(path)}: a layer cannot hold the device 0:0, it means a deletion")
            return True
        if stat.S_ISREG(status.st_mode) and self._unplain_xattrs:
            if status.st_size == 0 and place.attribute_whiteouts:
                return self._whiteout_xattr in _names_of_xattrs(place.fd, name)
            # metacopy's stand-in for the data of a lower layer has no blocks, or one that its attributes are in.
            empty = status.st_blocks * 512 <= 2 * status.st_blksize
            # A file whose data came up keeps what says where it was named (redirect), but not that it has none.
            if status.st_size and empty and self._metacopy in _names_of_xattrs(place.fd, name):
                raise NotPlain(f"{_shown(path)} has only its metadata here (overlay's metacopy), its data is below")
        return False

    def _differs(self, place: _Place, name: bytes, status: os.stat_result) -> bool:
        if self._sink is None and (status.st_nlink == 1 or not stat.S_ISREG(status.st_mode)):
            return False
        below = place.below
        if below is None:
            return True
        if status.st_nlink > 1 and (status.st_dev, status.st_ino) in self.linked:
            return True
        old = _status(below, name)
        if old is None or _attributes_differ(old, status) or old.st_size != status.st_size:
            return True
        if stat.S_ISLNK(status.st_mode):
            return os.readlink(name, dir_fd=place.fd) != os.readlink(name, dir_fd=below)
        if not stat.S_ISREG(status.st_mode):
            return False
        if _xattrs_at(place.fd, name) != _xattrs_at(below, name):
            return True
        if not place.moved and status.st_ctime_ns in self._untouched:
            return False
        return status.st_size > 0 and _contents_differ(place.fd, below, name)

    def _deleted(self, place: _Place, name: bytes, path: bytes) -> None:
        """A whiteout, if there is anything below to delete."""
        if self._sink is not None and (self._keep or _status(place.below, name) is not None):
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


def _contents_differ(dir_fd: int, below: int, name: bytes) -> bool:
    """Whether two files of the same size differ; True if one is gone, or no file any more."""
    with contextlib.ExitStack() as stack:
        files = []
        for folder in (dir_fd, below):
            try:
                fd = os.open(name, _OPEN_FILE, dir_fd=folder)
            except OSError as error:
                if error.errno in GONE:
                    return True
                raise
            files.append(stack.enter_context(open(fd, "rb", buffering=0)))
        new, old = files
        while data := new.read(_CHUNK):
            if old.read(len(data)) != data:
                return True
        return False


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
