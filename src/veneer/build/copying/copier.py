"""One entry after the other from a tree into a layer's directory: read once, written, hashed and put into the tar.

The same code runs in the building process and in its workers (crew.py).  A file is read into the tar's buffer behind
its header, written from there, and hashed there; a file that changes meanwhile is read again, or refused once part of
it has left the buffer.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence

from veneer.build.context import checksum
from veneer.build.context.failures import SourceChanged, SourceNotFound, shown
from veneer.build.context.hashing import CAPABILITY, OPEN_FILE, changed
from veneer.build.context.scan import row_of, unreadable
from veneer.build.copying.buffer import BUFFER, Tar
from veneer.build.copying.items import NOTHING, Copied, Item, Rules, Run
from veneer.build.copying.modes import Change, change
from veneer.changeset import metadata
from veneer.changeset.common_header import header
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.pack_walk import Unpackable
from veneer.changeset.safepath import DIRECTORY, open_beneath, remove_tree
from veneer.changeset.tar_writer import BLOCK, member_header
from veneer.changeset.whiteout import PREFIX, is_whiteout
from veneer.changeset.xattrs import GONE, Xattrs, read_xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_XATTRS: Xattrs = ()
_CAPABILITY = CAPABILITY.encode()
_TRIES = 3
_PIECE = 65536
_ZEROS = memoryview(bytes(_PIECE))


class Copier:
    """Copies into the directory `target`, which only this build writes to.

    `latest_ns`: no time is later.  `replacing`: there may be something where a file goes, and directories may give
    their group to what is made in them.
    """

    def __init__(
        self, target: int, trees: Sequence[tuple[int, Rules]], tar: Tar, *, latest_ns: int | None, replacing: bool,
        umask: int,
    ) -> None:  # fmt: skip
        self._target = target
        self._trees = [(fd, rules, change(rules.chmod) if rules.chmod else None) for fd, rules in trees]
        self._tar = tar
        self._latest_ns = latest_ns
        self._replacing = replacing
        self._unset = umask | 0o7000
        self._own = (os.geteuid(), os.getegid())
        self._source: tuple[int, bytes] = (-1, b"")
        self._source_fd = self._place_fd = -1
        self._place: bytes | None = None
        self._rules: Rules
        self._change: Change | None = None

    def close(self) -> None:
        for fd in (self._source_fd, self._place_fd):
            if fd >= 0:
                os.close(fd)
        self._source_fd = self._place_fd = -1

    def run(self, run: Run) -> list[Copied]:
        """Copy a run of items.  Raises SourceNotFound, SourceChanged, BadContext, Unpackable, OSError."""
        number, source, place, items = run
        if number < 0:
            self._tar.put(source)
            return []
        self._enter(number, source, place)
        copied = []
        inside = source + b"/" if source else b""
        for values in items:
            if isinstance(values, bytes):
                item = Item(values, inside + values, values, stat.S_IFREG, (), NOTHING, NOTHING, b"")
            else:
                item = Item(*values)
            path = place + b"/" + item.new if place else item.new
            if item.new.startswith(PREFIX):
                raise hidden_name(path)
            try:
                copied.append(self._regular(item, path) if stat.S_ISREG(item.mode) else self._other(item, path))
            except OSError as error:
                if error.errno in GONE and error.filename in (item.name, os.fsdecode(item.name)):
                    raise SourceNotFound(f"{shown(item.given)}: not there any more in {self._rules.what}") from error
                raise
        return copied

    def _enter(self, number: int, source: bytes, place: bytes) -> None:
        if self._source != (number, source):
            fd, self._rules, self._change = self._trees[number]
            if self._source_fd >= 0:
                os.close(self._source_fd)
                self._source_fd = -1
            self._source = (-1, b"")
            try:
                self._source_fd = open_beneath(fd, source, DIRECTORY)
            except OSError as error:
                if error.errno in GONE:
                    raise SourceNotFound(f"{shown(source)}: not there any more in {self._rules.what}") from error
                raise unreadable(error, source, self._rules.what) from error
            self._source = (number, source)
        if self._place != place:
            if self._place_fd >= 0:
                os.close(self._place_fd)
                self._place_fd = -1
            self._place = None
            self._place_fd = open_beneath(self._target, place, DIRECTORY)
            self._place = place

    # ---- what an entry becomes

    def _owner(self, status: os.stat_result) -> tuple[int, int]:
        return self._rules.owner if self._rules.owner is not None else (status.st_uid, status.st_gid)

    def _mode(self, status: os.stat_result) -> int:
        return stat.S_IMODE(status.st_mode) if self._change is None else self._change(status.st_mode)

    def _time(self, status: os.stat_result) -> int:
        mtime_ns = status.st_mtime_ns
        return mtime_ns if self._latest_ns is None or mtime_ns <= self._latest_ns else self._latest_ns

    def _make(self, name: bytes, make: Callable[[], Any]) -> Any:
        """Make something new in the place, where nothing is any more."""
        try:
            return make()
        except FileExistsError:
            if not self._replacing:
                raise
            remove_tree(self._place_fd, name, name)
            return make()

    # ---- regular files

    def _regular(self, item: Item, path: bytes) -> Copied:
        for _ in range(_TRIES):
            fd = os.open(item.name, OPEN_FILE, dir_fd=self._source_fd)
            try:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise SourceChanged(f"{shown(item.given)}: was a file, and is none any more")
                copied = self._read(fd, item, path, status)
            finally:
                os.close(fd)
            if copied is not None:
                return copied
        raise changed(item.given)

    def _read(self, fd: int, item: Item, path: bytes, status: os.stat_result) -> Copied | None:
        """Copy an open file; None if it changed meanwhile and can be read again.  Raises SourceChanged if it cannot."""
        size, row = status.st_size, row_of(status)
        attributes = self._attributes(fd)
        uid, gid = self._owner(status)
        mode, mtime_ns = self._mode(status), self._time(status)
        if item.first:
            kind, kept = Kind.HARDLINK, _NO_XATTRS
            block = header(path, kind, mode, uid, gid, 0, mtime_ns, item.first)
        else:
            kind, kept = Kind.REGULAR, attributes
            block = (
                header(path, kind, mode, uid, gid, size, mtime_ns) if not attributes
                else member_header(Entry(path, kind, mode, uid, gid, size, mtime_ns, xattrs=attributes))
            )  # fmt: skip
        hashes: tuple[Any, ...] = ()
        if item.known != row:
            counted = tuple(pair for pair in attributes if pair[0] == _CAPABILITY) if attributes else ()
            head = checksum.header(item.given, status.st_mode, self._counted(status), size=size, xattrs=counted)
            hashes = hashlib.sha256(head), hashlib.sha256()
        whole = self._tar.reserve(len(block) + size + BLOCK)
        start = self._tar.filled
        self._tar.put(block)
        # To move one name of several would look like a change of the others.
        moved = self._rules.ours and status.st_nlink == 1
        new = -1 if item.first or moved else self._create(item.new, mode)
        try:
            if item.first:
                read = not hashes or _hash(fd, size, hashes)
            else:
                read = self._copy(fd, new, size, status.st_blocks * 512 < size, hashes)
                self._tar.put(bytes(-size % BLOCK))
            if not read or _is_other(status, os.fstat(fd)):
                if not whole:
                    raise changed(item.given)
                self._tar.filled = start
                if new >= 0:
                    os.unlink(item.new, dir_fd=self._place_fd)
                return None
            if new >= 0:
                self._dress(new, (uid, gid), mode, mtime_ns, attributes)
            elif moved:
                self._move(item, mtime_ns if mtime_ns != status.st_mtime_ns else None)
        finally:
            if new >= 0:
                os.close(new)
        total, content = (hashes[0].digest(), hashes[1].digest()) if hashes else (item.total, item.content)
        return (
            int(kind), mode, uid, gid, 0 if item.first else size, mtime_ns, item.first, 0, kept, total, content,
            row,
        )  # fmt: skip

    def _attributes(self, fd: int) -> Xattrs:
        try:
            names = os.listxattr(fd)
        except OSError:
            return ()
        if not names:
            return ()
        if self._rules.attributes:
            return read_xattrs(fd)
        return ((_CAPABILITY, os.getxattr(fd, CAPABILITY)),) if CAPABILITY in names else ()

    def _counted(self, status: os.stat_result) -> tuple[int, int]:
        """The owner in checksums."""
        return (0, 0) if self._rules.normalised else (status.st_uid, status.st_gid)

    def _create(self, name: bytes, mode: int) -> int:
        made: int = self._make(name, lambda: os.open(name, _NEW_FILE, mode & 0o777, dir_fd=self._place_fd))
        return made

    def _move(self, item: Item, mtime_ns: int | None) -> None:
        """Put a file into its place that has all its attributes already, but for its time if that is given."""
        try:
            os.rename(item.name, item.new, src_dir_fd=self._source_fd, dst_dir_fd=self._place_fd)
        except IsADirectoryError:
            if not self._replacing:
                raise
            remove_tree(self._place_fd, item.new, item.new)
            os.rename(item.name, item.new, src_dir_fd=self._source_fd, dst_dir_fd=self._place_fd)
        if mtime_ns is not None:
            os.utime(item.new, ns=(mtime_ns, mtime_ns), dir_fd=self._place_fd, follow_symlinks=False)

    def _copy(self, fd: int, new: int, size: int, sparse: bool, hashes: Sequence[Any]) -> bool:
        """Read exactly `size` bytes into the tar's buffer and write them from there, unless `new` is -1; False if there
        are fewer."""
        tar, left = self._tar, size
        while left:
            if tar.filled == len(tar.view):
                tar.flush()
            count = os.readv(fd, (tar.view[tar.filled : tar.filled + left],))
            if not count:
                return False
            piece = tar.view[tar.filled : tar.filled + count]
            if new < 0:
                pass
            elif sparse:
                _write_sparse(new, piece)
            else:
                _write(new, piece)
            for each in hashes:
                each.update(piece)
            tar.filled += count
            left -= count
        if sparse and new >= 0:
            os.ftruncate(new, size)
        return True

    def _dress(self, new: int, owner: tuple[int, int], mode: int, mtime_ns: int, attributes: Xattrs) -> None:
        # In this order: chown takes set-user-ID away, and both take capabilities.
        if owner != self._own or self._replacing:
            metadata.chown(new, *owner)
        if mode & self._unset or owner != self._own:
            os.fchmod(new, mode)
        for name, value in attributes:
            os.setxattr(new, name, value)
        os.utime(new, ns=(mtime_ns, mtime_ns))

    # ---- everything else

    def _other(self, item: Item, path: bytes) -> Copied:
        status = os.stat(item.name, dir_fd=self._source_fd, follow_symlinks=False)
        mode, name, place = status.st_mode, item.new, self._place_fd
        if stat.S_IFMT(mode) != stat.S_IFMT(item.mode):
            raise SourceChanged(f"{shown(item.given)}: is of another kind than when it was listed")
        (uid, gid), mtime_ns, link, rdev = self._owner(status), self._time(status), b"", 0
        bits = stat.S_IMODE(mode) if stat.S_ISLNK(mode) else self._mode(status)
        device = (0, 0)
        if stat.S_ISLNK(mode):
            link = os.readlink(item.name, dir_fd=self._source_fd)
            kind = Kind.SYMLINK
            self._make(name, lambda: os.symlink(link, name, dir_fd=place))
        else:
            kind = Kind.FIFO if stat.S_ISFIFO(mode) else Kind.CHARACTER if stat.S_ISCHR(mode) else Kind.BLOCK
            if kind is not Kind.FIFO:
                device = (os.major(status.st_rdev), os.minor(status.st_rdev))
                rdev = device[0] << 32 | device[1]
            if is_whiteout(status):
                raise Unpackable(f"{shown(path)}: a layer cannot hold the device 0:0, it means a deletion")
            self._make(name, lambda: metadata.make_node(place, name, stat.S_IFMT(mode) | bits & 0o777, status.st_rdev))
        if (uid, gid) != self._own or self._replacing:
            metadata.chown(name, uid, gid, dir_fd=place)
        if kind is not Kind.SYMLINK:
            os.chmod(name, bits, dir_fd=place)  # just made, and nobody else is here
        os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=place, follow_symlinks=False)
        if rdev:
            self._tar.put(member_header(Entry(path, kind, bits, uid, gid, 0, mtime_ns, device=device)))
        else:
            self._tar.put(header(path, kind, bits, uid, gid, 0, mtime_ns, link))
        head = checksum.header(item.given, mode, self._counted(status), link=link, device=device)
        total = hashlib.sha256(head).digest()
        return (int(kind), bits, uid, gid, 0, mtime_ns, link, rdev, (), total, NOTHING, row_of(status))


def _is_other(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file was changed between two looks at it."""
    return (
        before.st_ctime_ns != after.st_ctime_ns
        or before.st_mtime_ns != after.st_mtime_ns
        or before.st_size != after.st_size
    )  # fmt: skip


def _hash(fd: int, size: int, hashes: Sequence[Any]) -> bool:
    """Read exactly `size` bytes for their hashes only; False if there are fewer."""
    buffer = memoryview(bytearray(min(size, BUFFER)))
    while size:
        count = os.readv(fd, (buffer[:size],))
        if not count:
            return False
        for each in hashes:
            each.update(buffer[:count])
        size -= count
    return True


def _write(fd: int, data: memoryview) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _write_sparse(fd: int, data: memoryview) -> None:
    """Write with holes where there are only zeros; the file's end is set when all is written."""
    for at in range(0, len(data), _PIECE):
        piece = data[at : at + _PIECE]
        if piece == _ZEROS[: len(piece)]:
            os.lseek(fd, len(piece), os.SEEK_CUR)
        else:
            _write(fd, piece)


def hidden_name(path: bytes) -> Unpackable:
    """The error for a name that means a deletion in a layer."""
    return Unpackable(
        f"{shown(path)}: a layer cannot hold a name that begins with .wh.",
        hint="rename it: in a layer such a name means that another file is deleted",
    )
