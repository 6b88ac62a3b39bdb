"""Reads tar: ustar, PAX and GNU, from reused buffers, with every name as bytes.

What is not a layer's business is decided as docker's reader (Go archive/tar) does: links, devices and
directories have no content whatever their size field says; a missing end marker is accepted, and so is
whatever follows it.  Unlike it, an unknown type of member is an error and not a guess.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from veneer.changeset import pax, sparse
from veneer.changeset.compression import Source
from veneer.changeset.entry import Kind
from veneer.changeset.fillings import Fillings, FillingsAhead
from veneer.changeset.header import BLOCK, FIELDS, MAX_I64, checksum_holds, full_name, known_sums, number
from veneer.changeset.limits import Limits
from veneer.changeset.tar_stream import BadArchive, Skippable, TarStream, shown

__all__ = ["BadArchive", "TarReader", "shown"]

_KINDS = {
    b"0": Kind.REGULAR, b"\0": Kind.REGULAR, b"7": Kind.REGULAR, b"S": Kind.REGULAR, b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK, b"3": Kind.CHARACTER, b"4": Kind.BLOCK, b"5": Kind.DIRECTORY, b"6": Kind.FIFO,
    b"D": Kind.DIRECTORY,
}  # fmt: skip
_EXTENSIONS = b"xXgLKV"
_CACHE = 4096
_GLOBAL = frozenset({b"path", b"linkpath", b"size", b"mtime", b"uid", b"gid", b"GNU.sparse.name"})
_MAX_GLOBALS = 100


class TarReader(TarStream):
    """Steps through the members of an uncompressed tar stream.

    `next()` moves to the following member and fills the attributes below; the content of a member that is
    not taken is skipped.  Nothing is kept of earlier members.  Attributes:

    path, link: bytes as written, not made safe (see safepath).  kind: a Kind.  mode: 12 permission bits.
    uid, gid: integers, may be huge.  mtime_ns.  size: of a regular file, apparent, bytes.  left: stored bytes
    of content not yet taken.  segments: where those belong in a sparse file, else None.  device: (major, minor).
    xattrs: (name, raw value) pairs from PAX.  number: how many members so far.

    `hashed` False: nobody will ask for the stream's digest.  Then content may be passed over without being read,
    where the source has a `skip` (see Skippable).  `ahead`: another thread reads the source, until close(), and hashes
    it unless `hash_here`.
    """

    def __init__(
        self,
        source: Source,
        *,
        limits: Limits | None = None,
        what: str = "archive",
        hashed: bool = True,
        ahead: bool = False,
        hash_here: bool = False,
    ) -> None:
        super().__init__(
            FillingsAhead(source, hashed=hashed, hash_here=hash_here) if ahead else Fillings(source, hashed=hashed),
            source.skip if isinstance(source, Skippable) and not (hashed or ahead) else None,
            limits=limits or Limits(),
            what=what,
        )
        self.link = b""
        self.kind = Kind.REGULAR
        self.mode = self.uid = self.gid = self.mtime_ns = self.size = 0
        self.device = (0, 0)
        self.xattrs: tuple[tuple[bytes, bytes], ...] = ()
        self.segments: sparse.Segments | None = None
        self._holes = 0
        self._numbers: dict[bytes, int] = {}
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[TarReader]:
        """The reader itself, once per member."""
        while self.next():
            yield self

    def next(self) -> bool:
        """Move to the next member; False at the end of the archive."""
        if self.left or self._pad:
            self._skip(self.left + self._pad)
            self.left = self._pad = 0
        records: list[tuple[bytes, bytes]] = []
        long_name = long_link = b""
        numbers = self._numbers
        while True:
            if not self._block():
                if records or long_name or long_link:
                    raise self.bad("the archive ends after an extended header")
                return False
            at = self._pos
            self._pos = at + BLOCK
            (name, mode, uid, gid, size, mtime, _, flag, link, magic, _, _, major, minor, prefix, rest) = (
                FIELDS.unpack_from(self._view, at)
            )
            try:
                length = number(size)
                if length < 0:
                    self.path = full_name(name, magic, prefix, rest)
                    raise ValueError(f"negative size {length}")
                kind = _KINDS.get(flag)
                if kind is not None:
                    break
                if flag not in _EXTENSIONS:
                    self.path = full_name(name, magic, prefix, rest)
                    raise ValueError(f"members of type {flag!r} are not known")
                if flag in b"LK":
                    value = self._extension(length, self.limits.name + 2).partition(b"\0")[0]
                    if flag == b"L":
                        long_name = value
                    else:
                        long_link = value
                elif flag == b"V":
                    self._skip(length + -length % BLOCK)
                elif flag == b"g":
                    self._remember(pax.records(self._extension(length, self.limits.pax)))
                else:
                    records = pax.records(self._extension(length, self.limits.pax))
            except ValueError as error:
                raise self.bad(str(error)) from None
        try:
            self.path = long_name or (full_name(name, magic, prefix, rest) if prefix[0] else name.partition(b"\0")[0])
            self.link = long_link or (link.partition(b"\0")[0] if link[0] else b"")
            if mode not in numbers or uid not in numbers or gid not in numbers:
                self._learn(mode, uid, gid)
            self.mode = numbers[mode] & 0o7777
            self.uid = numbers[uid]
            self.gid = numbers[gid]
            self.mtime_ns = number(mtime) * 1_000_000_000
            if kind is Kind.CHARACTER or kind is Kind.BLOCK:
                self.device = (number(major), number(minor))
            self.xattrs = ()
            self.segments = None
            if records or self._globals:
                length = self._apply(records, length)
            if not -MAX_I64 <= self.mtime_ns <= MAX_I64:
                # Years before 1678 and after 2262 do not fit 64 bits of nanoseconds; the nearest that does stands in.
                self.mtime_ns = max(-MAX_I64, min(self.mtime_ns, MAX_I64))
            self.kind = kind
            self.number += 1
            if kind is Kind.REGULAR:
                self._regular(flag, at, length, records)
            else:
                self.size = 0
                if flag == b"D":  # GNU incremental dumps keep a listing of the directory as its content
                    self.left, self._pad = length, -length % BLOCK
        except ValueError as error:
            raise self.bad(str(error)) from None
        return True

    def _remember(self, records: list[tuple[bytes, bytes]]) -> None:
        """Keep what a global header says of every member after it, and means something: all go through it."""
        self._globals.update(pair for pair in records if pair[0] in _GLOBAL or pair[0].startswith(pax.XATTR_PREFIX))
        if len(self._globals) > _MAX_GLOBALS:
            raise ValueError(f"global headers with more than {_MAX_GLOBALS} records")

    def _learn(self, *fields: bytes) -> None:
        """Keep what numeric fields mean; the same few modes and owners come again and again."""
        if len(self._numbers) > _CACHE:
            self._numbers.clear()
        for field in fields:
            self._numbers[field] = number(field)

    def _regular(self, flag: bytes, at: int, length: int, records: list[tuple[bytes, bytes]]) -> None:
        if length > self.limits.size:
            raise ValueError(f"size {length} is out of range")
        if self.path[-1:] == b"/" and flag != b"S":
            self.kind = Kind.DIRECTORY  # how tars older than 1988 spell a directory
            self.size = 0
        else:
            self.size = length
        self.left, self._pad = length, -length % BLOCK
        if flag == b"S" or (records and any(key.startswith(b"GNU.sparse.") for key, _ in records)):
            self._sparse(flag, bytes(self._view[at : at + BLOCK]), dict(records), records)

    def _sparse(
        self, flag: bytes, header: bytes, values: dict[bytes, bytes], records: list[tuple[bytes, bytes]]
    ) -> None:
        limit = self.limits.segments
        segments: sparse.Segments | None
        if flag == b"S":
            segments, real = sparse.old_map(header, self._take_block, limit)
        elif b"GNU.sparse.major" in values:
            if (values[b"GNU.sparse.major"], values.get(b"GNU.sparse.minor")) != (b"1", b"0"):
                raise ValueError("sparse format is not one of 0.0, 0.1 and 1.0")
            segments = sparse.embedded_map(self._content_block, limit)
            real = pax.decimal(values.get(b"GNU.sparse.realsize", b""), "GNU.sparse.realsize")
        else:
            segments = sparse.pax_map(records, limit)
            if segments is None:
                return  # a GNU.sparse.name alone
            real = pax.decimal(values.get(b"GNU.sparse.size", b""), "GNU.sparse.size")
        self._holes += real - self.left
        if real < 0 or real > MAX_I64 or self._holes > self.limits.holes:
            raise ValueError(f"sparse file of {real} bytes; the holes of a layer may have {self.limits.holes}")
        self.segments = sparse.checked(segments, self.left, real)
        self.size = real

    def _apply(self, records: list[tuple[bytes, bytes]], length: int) -> int:
        """Let PAX records override what the header says; the stored length, which they may change too."""
        xattrs: dict[bytes, bytes] = {}
        weight = 0
        merged = {**self._globals, **dict(records)} if self._globals else dict(records)
        for key, value in merged.items():
            if key == b"path":
                self.path = value or self.path
            elif key == b"linkpath":
                self.link = value or self.link
            elif not value and not key.startswith(pax.XATTR_PREFIX):
                continue  # an empty value takes back what a global header set
            elif key == b"size":
                length = pax.decimal(value, "size")
            elif key == b"mtime":
                self.mtime_ns = pax.nanoseconds(value)
            elif key == b"uid":
                self.uid = pax.decimal(value, "uid")
            elif key == b"gid":
                self.gid = pax.decimal(value, "gid")
            elif key.startswith(pax.XATTR_PREFIX):
                name = pax.xattr_name(key)
                weight += len(name) + len(value)
                if weight > self.limits.xattrs or not 0 < len(name) <= 255 or b"\0" in name:
                    raise ValueError(f"extended attributes of {weight} bytes; {shown(name)!r} is one too many")
                xattrs[name] = value
        self.path = merged.get(b"GNU.sparse.name", self.path)
        if b"\0" in self.path or b"\0" in self.link:
            raise ValueError("name with a NUL byte in it")
        self.xattrs = tuple(xattrs.items())
        return length

    def _block(self) -> bool:
        """Have a checked header at `_pos`; False at the archive's end."""
        if self._pos >= self._end and not self._fill():
            return False
        block = self._view[self._pos : self._pos + BLOCK]
        if len(block) < BLOCK:
            if not any(block):
                return False
            raise self._not_a_header("the archive is cut off within a header")
        adler, field = zlib.adler32(block) & 0xFFFF, bytes(block[148:156])
        if adler == 1 and not any(block):
            return self._ends()
        if known_sums.get(field) != adler and not checksum_holds(block, field):
            raise self._not_a_header("header with a wrong checksum")
        if self.number >= self.limits.entries:
            raise self.bad(f"more than {self.limits.entries} members")
        return True

    def _ends(self) -> bool:
        """After one zero block: False if another one or nothing follows.  A member there would be ambiguous."""
        self._pos += BLOCK
        if self._pos < self._end or self._fill():
            block = self._view[self._pos : min(self._pos + BLOCK, self._end)]
            if any(block):
                raise self.bad("a lone zero block within the archive")
        return False

    def _not_a_header(self, fact: str) -> BadArchive:
        if self.number == 0 and self.offset == 0:
            return BadArchive(f"{self.what}: this is not a tar archive", hint="a layer is a tar, plain or compressed")
        return self.bad(f"after this member: {fact}" if self.path else fact)

    def _content_block(self) -> bytes:
        if self.left < BLOCK:
            raise ValueError("sparse map exceeds the content")
        self.left -= BLOCK
        return self._take_block()

    def _extension(self, length: int, limit: int) -> bytes:
        """The content of an extended header and its padding."""
        if length > limit:
            raise ValueError(f"extended header of {length} bytes; the limit is {limit}")
        data = bytearray()
        while len(data) < length:
            data += self._take_block()
        return bytes(data[:length])
