"""Makes a layer index from entries in any order, in little memory."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate, chain, islice
from struct import Struct
from struct import error as StructError
from typing import BinaryIO, TypeAlias

from veneer.changeset.entry import Kind
from veneer.changeset.index_format import (
    CHECKSUM,
    DIRECTORY_META,
    END_MAGIC,
    HEADER,
    IMPLIED,
    ITEM_FORMATS,
    ITEM_SIZES,
    KIND_MASK,
    KIND_SHIFT,
    MAGIC,
    OPAQUE,
    SECTION,
    TRAILER,
    VERSION,
    XATTR,
    aligned,
)
from veneer.changeset.index_order import Rows, in_order, put_in_order
from veneer.errors import InvalidRequest

# directory, end of name, meta, uid, gid, link, size, mtime, digest; in the host's byte order, so that
# memoryview.cast can take a column out of the rows without unpacking them.
_ROW = Struct("=IIIIIIQq32s")
_ROW_U32 = _ROW.size // 4
_ROW_U64 = _ROW.size // 8
_DIGEST_AT = 40
_CHUNK = 8192
_Piece: TypeAlias = "array[int] | bytes | bytearray"
_I64 = 1 << 63


class Unindexable(InvalidRequest):
    """An entry with a number that no file system could hold, or more names than 4 GiB."""


class IndexBuilder:
    """Takes a layer's entries and writes its index once.

    Rows go into one bytearray; directories are kept once by path, so a million entries take about 100 MB.
    The last entry for a path wins.  What was added beneath a directory before something else took that
    directory's place is gone, as it is from the disk.  Directories never added are there as `implied`.
    """

    def __init__(self) -> None:
        self._rows = bytearray()
        self._names = bytearray()
        self._links = bytearray()
        self._link_ends = array("I", [0])
        self._directories: dict[bytes, int] = {b"": 0}
        self._xattrs: dict[int, bytes] = {}
        self._devices: dict[int, int] = {}
        self._last_directory = b""
        self._last_number = 0

    def add(
        self,
        path: bytes,
        kind: int,
        mode: int = 0,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime_ns: int = 0,
        link: bytes = b"",
        digest: bytes = b"",
        rdev: int = 0,
        xattrs: tuple[tuple[bytes, bytes], ...] = (),
        opaque: bool = False,
        implied: bool = False,
    ) -> None:
        """Add one entry; the fields are those of `entry.Entry`, `rdev` is major << 32 | minor.

        Raises Unindexable for ids beyond 32 bits, a negative size, or a layer whose names exceed 4 GiB.
        """
        directory, _, name = path.rpartition(b"/")
        if directory == self._last_directory:
            number = self._last_number
        else:
            number = self._directories.setdefault(directory, len(self._directories))
            self._last_directory = directory
            self._last_number = number
        meta = mode & 0o7777 | kind << 16
        if opaque:
            meta |= OPAQUE
        if implied:
            meta |= IMPLIED
        link_number = 0
        if link:
            link_number = len(self._link_ends)
            self._links += link
            self._link_ends.append(len(self._links))
        names = self._names
        names += name
        rows = self._rows
        if xattrs:
            self._xattrs[len(rows) // 72] = b"".join(XATTR.pack(len(k), len(v)) + k + v for k, v in xattrs)
        if rdev:
            self._devices[len(rows) // 72] = rdev
        try:
            rows += _ROW.pack(number, len(names), meta, uid, gid, link_number, size, mtime_ns, digest)
        except StructError as error:
            if -_I64 <= mtime_ns < _I64:
                shown = path.decode(errors="backslashreplace")
                raise Unindexable(f"{shown}: owner {uid}:{gid} or size {size} is out of range") from error
            # Times beyond the year 2262 do not fit 64 bits of nanoseconds; the nearest that does stands in.
            nearest = max(-_I64, min(mtime_ns, _I64 - 1))
            rows += _ROW.pack(number, len(names), meta, uid, gid, link_number, size, nearest, digest)

    def write(self, out: BinaryIO) -> None:
        """Sort what was added and write the index file.  The builder is spent afterwards."""
        _Writer(self).write(out)


class _Writer:
    """The sorted view of a builder's rows, column by column."""

    def __init__(self, builder: IndexBuilder) -> None:
        self.builder = builder
        self.real = len(builder._rows) // _ROW.size
        self._add_missing_directories()
        self.u32 = memoryview(builder._rows).cast("I")
        self.u64 = memoryview(builder._rows).cast("Q")
        self.i64 = memoryview(builder._rows).cast("q")
        self.metas = self.u32[2::_ROW_U32]
        self.name_ends = self.u32[1::_ROW_U32]
        self._put_in_order()

    def _add_missing_directories(self) -> None:
        """Give every directory that something is in, and that was not added, a row of its own at the end."""
        directories = self.builder._directories
        for path in list(directories):
            while path:
                path = path.rpartition(b"/")[0]
                if path in directories:
                    break
                directories[path] = len(directories)
        paths = list(directories)
        have = bytearray(len(paths))
        have[0] = 1
        rows = memoryview(self.builder._rows).cast("I")
        names = self.builder._names
        owners, ends = rows[0::_ROW_U32], rows[1::_ROW_U32]
        self.is_directory = bytearray(meta & KIND_MASK == DIRECTORY_META for meta in rows[2::_ROW_U32])
        row = self.is_directory.find(1)
        while row >= 0:
            inside = paths[owners[row]]
            name = bytes(names[ends[row - 1] if row else 0 : ends[row]])
            number = directories.get(inside + b"/" + name if inside else name)
            if number is not None:
                have[number] = 1
            row = self.is_directory.find(1, row + 1)
        for view in (owners, ends, rows):
            view.release()
        missing = have.count(0)
        for number, path in enumerate(paths):
            if not have[number]:
                self.builder.add(path, Kind.DIRECTORY, 0o755, implied=True)
        self.is_directory += b"\1" * missing

    def _put_in_order(self) -> None:
        """Number the entries, see Order; `straight`: their rows are in that order."""
        builder = self.builder
        rows = Rows(self.u32[0::_ROW_U32], self.name_ends, builder._names, self.is_directory, builder._directories)
        sorted_already = in_order(rows)
        self.straight = sorted_already is not None
        found = sorted_already or put_in_order(rows, self.real)
        self.order, self.parents, self.dirs, self.ends = found.order, found.parents, found.dirs, found.ends
        self.child_starts, self.child_counts, self.children = found.child_starts, found.child_counts, found.children
        self.has_root = len(self.order) > 0 and not self._name_length(self.order[0])
        if self.has_root:
            # The root's entry is not a child of the root, and everything is beneath it.
            self.ends[1] = len(self.order)
            self.child_starts[0] += 1
            self.child_counts[0] -= 1
        builder._directories = {}

    def _name_length(self, row: int) -> int:
        return self.name_ends[row] - (self.name_ends[row - 1] if row else 0)

    def _name(self, row: int) -> bytes:
        return bytes(self.builder._names[self.name_ends[row - 1] if row else 0 : self.name_ends[row]])

    def _link_length(self, link: int) -> int:
        return self.builder._link_ends[link] - self.builder._link_ends[link - 1] if link else 0

    def _link(self, row: int) -> bytes:
        link, ends = self.u32[row * _ROW_U32 + 5], self.builder._link_ends
        return bytes(self.builder._links[ends[link - 1] : ends[link]]) if link else b""

    def _digest(self, row: int) -> bytearray:
        return self.builder._rows[row * _ROW.size + _DIGEST_AT : (row + 1) * _ROW.size]

    def _later(self, code: str, column: memoryview[int]) -> Iterator[array[int]]:
        for start in range(0, len(self.order), _CHUNK):
            if self.straight:
                piece = array(code)
                piece.frombytes(column[start : start + _CHUNK].tobytes())
                yield piece
            else:
                yield array(code, map(column.__getitem__, self.order[start : start + _CHUNK]))

    def _name_offsets(self) -> Iterator[array[int]]:
        if self.straight:
            return chain((array("I", [0]),), self._later("I", self.name_ends))
        return self._offsets(map(self._name_length, self.order))

    def _offsets(self, lengths: Iterator[int]) -> Iterator[array[int]]:
        """Where each of these would start, laid end to end; and the end."""
        offsets = accumulate(lengths, initial=0)
        while piece := array("I", islice(offsets, _CHUNK)):
            yield piece

    def _joined(self, part: Callable[[int], bytes | bytearray]) -> Iterator[bytes]:
        for start in range(0, len(self.order), _CHUNK):
            yield b"".join(map(part, self.order[start : start + _CHUNK]))

    def _sparse(self, wanted: dict[int, int] | dict[int, bytes]) -> array[int]:
        """The entry numbers of the rows in `wanted` that are still there, ascending."""
        if not wanted:
            return array("I")
        return array("I", (number for number, row in enumerate(self.order) if row in wanted))

    def _sections(self) -> dict[bytes, tuple[int, Iterator[_Piece]]]:
        """tag -> (length in bytes, the content piece by piece), made when asked for to hold one column at a time."""
        builder, order, n = self.builder, self.order, len(self.order)
        links = self.u32[5::_ROW_U32].__getitem__
        names_length = len(builder._names) if self.straight else sum(map(self._name_length, order))
        links_length = sum(map(self._link_length, map(links, order)))
        devices, attributed = self._sparse(builder._devices), self._sparse(builder._xattrs)
        blobs = [builder._xattrs[order[number]] for number in attributed]
        xattr_offsets = array("I", accumulate(map(len, blobs), initial=0))
        device_numbers = array("Q", (builder._devices[order[number]] for number in devices))

        def kept(column: array[int]) -> tuple[int, Iterator[_Piece]]:
            return len(column) * column.itemsize, iter((column,))

        return {
            b"MODE": (4 * n, self._later("I", self.metas)),
            b"UID_": (4 * n, self._later("I", self.u32[3::_ROW_U32])),
            b"GID_": (4 * n, self._later("I", self.u32[4::_ROW_U32])),
            b"SIZE": (8 * n, self._later("Q", self.u64[3::_ROW_U64])),
            b"TIME": (8 * n, self._later("q", self.i64[4::_ROW_U64])),
            b"PARN": kept(self.parents),
            b"NAMO": (4 * n + 4, self._name_offsets()),
            b"NAME": (names_length, iter((builder._names,)) if self.straight else self._joined(self._name)),
            b"LNKO": (4 * n + 4, self._offsets(map(self._link_length, map(links, order)))),
            b"LINK": (links_length, self._joined(self._link) if links_length else iter(())),
            b"HASH": (32 * n, self._joined(self._digest)),
            b"DIRS": kept(self.dirs[1:]),
            b"ENDS": kept(self.ends[1:]),
            b"CHLS": kept(self.child_starts),
            b"CHLN": kept(self.child_counts),
            b"CHLD": kept(self.children),
            b"DEVE": kept(devices),
            b"DEVN": kept(device_numbers),
            b"XATE": kept(attributed),
            b"XATO": kept(xattr_offsets),
            b"XATR": (xattr_offsets[-1], iter(blobs)),
        }

    def _totals(self) -> tuple[int, list[int]]:
        kinds = [0] * 8
        for meta, count in Counter(map(self.metas.__getitem__, self.order)).items():
            kinds[meta >> KIND_SHIFT & 7] += count
        return sum(map(self.u64[3::_ROW_U64].__getitem__, self.order)), kinds

    def write(self, out: BinaryIO) -> None:
        total, kinds = self._totals()
        sections = self._sections()
        offset = HEADER.size + len(sections) * SECTION.size + CHECKSUM.size
        table = bytearray()
        for tag, (length, _) in sections.items():
            offset = aligned(offset)
            table += SECTION.pack(tag, ITEM_SIZES[ITEM_FORMATS[tag]], offset, length)
            offset += length
        end = aligned(offset)
        head = HEADER.pack(MAGIC, VERSION, len(sections), end + TRAILER.size, len(self.order), total, *kinds) + table
        head += CHECKSUM.pack(zlib.crc32(head), 0)
        out.write(head)
        position, checksum = len(head), 0
        for length, pieces in sections.values():
            for piece in pieces:
                if isinstance(piece, array) and sys.byteorder == "big":
                    piece.byteswap()
                checksum = zlib.crc32(piece, checksum)
                out.write(piece)
            gap = bytes(aligned(position + length) - position - length)
            checksum = zlib.crc32(gap, checksum)
            out.write(gap)
            position = aligned(position + length)
        out.write(TRAILER.pack(checksum, END_MAGIC))
