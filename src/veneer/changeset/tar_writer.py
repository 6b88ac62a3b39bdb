"""Writes tar archives: the same entries always become the same bytes.

A member is plain ustar where all its fields fit, else it is preceded by one PAX header holding exactly the
fields that do not fit, by key.  Names are bytes: a PAX name that is not UTF-8 is written raw under
hdrcharset=BINARY.  Times are kept to the nanosecond; a whole second needs no PAX header.  User and group names
are left empty.  A whiteout is an empty regular file `.wh.NAME`, an opaque directory is followed by
`.wh..wh..opq`; both with mode, owner and time 0, so that nothing about the deletion depends on when or by
which driver it was made.  Sources: POSIX pax (Interchange Format), OCI image-spec layer.md (Whiteouts).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from struct import Struct
from typing import Protocol, runtime_checkable

from veneer.changeset import pax
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.whiteout import OPAQUE_MARKER, PREFIX
from veneer.errors import InvalidRequest

BLOCK = 512
_BUFFER = 1 << 20
_ZEROS = bytes(BLOCK)
_HEADER = Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\x0000"
_TYPES = {
    Kind.REGULAR: b"0", Kind.HARDLINK: b"1", Kind.SYMLINK: b"2", Kind.CHARACTER: b"3", Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5", Kind.FIFO: b"6", Kind.WHITEOUT: b"0",
}  # fmt: skip
_MAX_NAME, _MAX_PREFIX = 100, 155
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_SECOND = 1_000_000_000


class Unwritable(InvalidRequest):
    """An entry that no tar archive can hold."""


class Writable(Protocol):
    """What takes the archive: any binary file or compressor."""

    def write(self, data: memoryview | bytes, /) -> int | None: ...


@runtime_checkable
class Lender(Protocol):
    """What takes the archive and lends the memory it is put together in, so that nothing is copied once more."""

    def lend(self) -> memoryview:
        """Room for what comes next; never empty."""

    def filled(self, count: int) -> memoryview:
        """The first `count` bytes of what was lent are the archive's next; lends anew."""


class TarWriter:
    """Writes members to `out` in the order they are added, and hashes the archive on the way.

    Content is read straight into the output buffer, a MiB or what `out` lends at a time, whatever its size.
    `hash_contents` makes `add` also return the content's SHA-256.
    """

    def __init__(self, out: Writable | Lender, *, hash_contents: bool = False) -> None:
        self._lender = out if isinstance(out, Lender) else None
        self._write: Callable[[memoryview], int | None] | None = None if isinstance(out, Lender) else out.write
        self._hash_contents = hash_contents
        self._hash = hashlib.sha256()
        self._view = memoryview(bytearray(_BUFFER)) if self._lender is None else self._lender.lend()
        self._filled = 0
        self._flushed = 0

    @property
    def size(self) -> int:
        """Bytes of the archive so far."""
        return self._flushed + self._filled

    def add(self, entry: Entry, content: int | bytes | None = None) -> bytes:
        """Write one member; `content` of a regular file: a descriptor, read from where it stands, or bytes.

        Exactly `entry.size` bytes are written: a file that became longer meanwhile is cut there, one that
        became shorter is filled up with zeros, as GNU tar does.  Returns the raw SHA-256 of what was written
        if contents are hashed, else b"".
        """
        if entry.kind is Kind.WHITEOUT:
            directory, slash, name = entry.path.rpartition(b"/")
            self.put(member_header(Entry(directory + slash + PREFIX + name, Kind.WHITEOUT)))
            return b""
        self.put(member_header(entry))
        if entry.opaque:
            self.add_opaque_marker(entry.path)
        if entry.kind is not Kind.REGULAR:
            return b""
        if isinstance(content, int):
            return self.put_file(content, entry.size)
        digest = self._put_bytes(content, entry)
        self.put(bytes(-entry.size % BLOCK))
        return digest

    def add_opaque_marker(self, directory: bytes) -> None:
        """Say that `directory` hides what the layers below have in it; `add` does so for an opaque entry."""
        path = directory + b"/" + OPAQUE_MARKER if directory else OPAQUE_MARKER
        self.put(member_header(Entry(path, Kind.WHITEOUT)))

    def finish(self) -> str:
        """Write the two zero blocks that end an archive and all that is buffered; the archive's SHA-256 in hex."""
        self.put(bytes(2 * BLOCK))
        self._flush()
        return self._hash.hexdigest()

    def _put_bytes(self, content: bytes | None, entry: Entry) -> bytes:
        data = content or b""
        if len(data) != entry.size:
            raise Unwritable(f"{_shown(entry.path)}: {len(data)} bytes of content, size says {entry.size}")
        self.put(data)
        return hashlib.sha256(data).digest() if self._hash_contents else b""

    def put_file(self, fd: int, size: int) -> bytes:
        """Append the content of a member whose header is written: see `add`."""
        content_hash = hashlib.sha256() if self._hash_contents else None
        padding = -size % BLOCK
        while size:
            start = self._filled
            room = self._view[start : start + size]
            count = os.readv(fd, (room,))
            if count == 0:
                count = len(room)
                room[:] = bytes(count)
            if content_hash is not None:
                content_hash.update(room[:count])
            self._filled += count
            size -= count
            if self._filled == len(self._view):
                self._flush()
        if padding:
            self.put(_ZEROS[:padding])
        return content_hash.digest() if content_hash is not None else b""

    def put(self, data: bytes) -> None:
        """Append a member's header, or what else is the archive's next bytes."""
        start = self._filled
        after = start + len(data)
        if after < len(self._view):
            self._view[start:after] = data
            self._filled = after
            return
        rest = memoryview(data)
        while rest:
            part = rest[: len(self._view) - self._filled]
            self._view[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rest = rest[len(part) :]
            if self._filled == len(self._view):
                self._flush()

    def _flush(self) -> None:
        filled, self._filled = self._filled, 0
        data = self._view[:filled]
        self._hash.update(data)
        self._flushed += filled
        if self._lender is not None:
            self._view = self._lender.filled(filled)
        while data and self._write is not None:
            written = self._write(data)
            if written is None or written == len(data):
                return
            data = data[written:]


def member_header(entry: Entry) -> bytes:
    """The header blocks of one member: a PAX header, if one is needed, and the ustar header."""
    records: dict[bytes, bytes] = {}
    path = entry.path
    if entry.kind is Kind.DIRECTORY:
        path = path + b"/" if path else b"./"
    if b"\0" in path or b"\0" in entry.link or not path:
        raise Unwritable(f"{_shown(path)}: a name in a tar archive is not empty and has no NUL")
    prefix, name = _split(path)
    if len(name) > _MAX_NAME:
        records[b"path"] = path
        name = name[:_MAX_NAME]
    link = entry.link
    if len(link) > _MAX_NAME:
        records[b"linkpath"] = link
        link = link[:_MAX_NAME]
    seconds, nanoseconds = divmod(entry.mtime_ns, _SECOND)
    if nanoseconds or not 0 <= seconds <= _MAX_NUMBER:
        records[b"mtime"] = pax_time(entry.mtime_ns)
        seconds = min(max(seconds, 0), _MAX_NUMBER)
    uid = _number(records, b"uid", entry.uid, _MAX_ID)
    gid = _number(records, b"gid", entry.gid, _MAX_ID)
    size = _number(records, b"size", entry.size if entry.kind is Kind.REGULAR else 0, _MAX_NUMBER)
    major, minor = entry.device
    if major > _MAX_ID or minor > _MAX_ID:
        raise Unwritable(f"{_shown(path)}: device {major}:{minor} is out of range")
    for key, value in entry.xattrs:
        records[pax.xattr_key(key)] = value
    header = _ustar(name, prefix, _TYPES[entry.kind], entry.mode, (uid, gid), size, seconds, link, (major, minor))
    return _pax_member(path, records) + header if records else header


def _number(records: dict[bytes, bytes], key: bytes, value: int, largest: int) -> int:
    if value <= largest:
        return value
    records[key] = b"%d" % value
    return 0


def _split(path: bytes) -> tuple[bytes, bytes]:
    """(prefix, name) for ustar's two fields; a name that is too long if it cannot be split."""
    if len(path) <= _MAX_NAME:
        return b"", path
    cut = path.rfind(b"/", 1, min(_MAX_PREFIX + 1, len(path) - 1))
    if cut > 0 and len(path) - cut - 1 <= _MAX_NAME:
        return path[:cut], path[cut + 1 :]
    return b"", path


def pax_time(mtime_ns: int) -> bytes:
    """A time as PAX writes it: decimal seconds, as many digits of fraction as are not zero."""
    seconds, nanoseconds = divmod(abs(mtime_ns), _SECOND)
    text = b"%d.%09d" % (seconds, nanoseconds)
    return (b"-" if mtime_ns < 0 else b"") + text.rstrip(b"0").rstrip(b".")


def _pax_member(path: bytes, records: dict[bytes, bytes]) -> bytes:
    lines = [_pax_record(key, records[key]) for key in sorted(records)]
    if not (_is_utf8(records.get(b"path", b"")) and _is_utf8(records.get(b"linkpath", b""))):
        lines.insert(0, _pax_record(b"hdrcharset", b"BINARY"))
    data = b"".join(lines)
    name = (b"PaxHeaders.0/" + path.rstrip(b"/").rpartition(b"/")[2])[:_MAX_NAME]
    header = _ustar(name, b"", b"x", 0o644, (0, 0), len(data), 0, b"", (0, 0))
    return header + data + bytes(-len(data) % BLOCK)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """ "LENGTH KEY=VALUE\\n", where LENGTH counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ustar(
    name: bytes, prefix: bytes, kind: bytes, mode: int, owner: tuple[int, int], size: int, mtime: int, link: bytes,
    device: tuple[int, int],
) -> bytes:  # fmt: skip
    fields = [
        name, b"%07o" % mode, b"%07o" % owner[0], b"%07o" % owner[1], b"%011o" % size, b"%011o" % mtime, b"        ",
        kind, link, _MAGIC, b"", b"", b"%07o" % device[0], b"%07o" % device[1], prefix,
    ]  # fmt: skip
    fields[6] = b"%06o\0 " % sum(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
