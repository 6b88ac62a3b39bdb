"""Makes a layer index from entries in any order, in little memory."""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Iterator
from itertools import accumulate
from struct import Struct
from struct import error as StructError
from typing import BinaryIO

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
    TOP,
    TRAILER,
    VERSION,
    XATTR,
    aligned,
)
from veneer.errors import InvalidRequest

# directory, end of name, meta, uid, gid, link, size, mtime, digest; in the host's byte order, so that
# memoryview.cast can take a column out of the rows without unpacking them.
_ROW = Struct("=IIIIIIQq32s")
_ROW_U32 = _ROW.size // 4
_ROW_U64 = _ROW.size // 8
_DIGEST_AT = 40
_CHUNK = 8192
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
        self.replaced: dict[int, int] = {}
        self._group_by_directory()
        self._sort()

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
        for row, meta in enumerate(rows[2::_ROW_U32]):
            if meta & KIND_MASK == DIRECTORY_META:
                inside = paths[owners[row]]
                name = bytes(names[ends[row - 1] if row else 0 : ends[row]])
                number = directories.get(inside + b"/" + name if inside else name)
                if number is not None:
                    have[number] = 1
        for view in (owners, ends, rows):
            view.release()
        for number, path in enumerate(paths):
            if not have[number]:
                self.builder.add(path, Kind.DIRECTORY, 0o755, implied=True)

    def _group_by_directory(self) -> None:
        """Counting sort of the row numbers by directory; within one directory in the order of adding."""
        owners = self.u32[0::_ROW_U32]
        counts = array("I", bytes(4 * (len(self.builder._directories) + 1)))
        for number in owners:
            counts[number + 1] += 1
        self.group_starts = array("I", accumulate(counts))
        free = array("I", self.group_starts)
        self.grouped = array("I", bytes(4 * len(owners)))
        for row, number in enumerate(owners):
            self.grouped[free[number]] = row
            free[number] += 1

    def _group(self, number: int, since: int) -> list[tuple[bytes, int]]:
        """(name, row) of what is finally in a directory, by name; rows before `since` do not count."""
        names, ends, real = self.builder._names, self.name_ends, self.real
        found: dict[bytes, int] = {}
        for row in self.grouped[self.group_starts[number] : self.group_starts[number + 1]]:
            if row < since:
                continue
            name = bytes(names[ends[row - 1] if row else 0 : ends[row]])
            if name in found:
                if row >= real:
                    continue
                before = found[name]
                if self.metas[before] & KIND_MASK != DIRECTORY_META:
                    self.replaced[row] = before
                elif before in self.replaced:
                    self.replaced[row] = self.replaced[before]
            found[name] = row
        return sorted(found.items())

    def _sort(self) -> None:
        """Number the entries: every directory right before all that is beneath it, siblings by name.

        `order` is entry number -> row, `slots` entry number -> 1 + position of its directory in `dirs`.
        """
        order, slots = array("I"), array("I")
        dirs, ends = array("I", [TOP]), array("I", [0])
        numbers, metas = self.builder._directories, self.metas
        stack: list[tuple[Iterator[tuple[bytes, int]], bytes, int, int]] = [(iter(self._group(0, 0)), b"", 0, 0)]
        while stack:
            names, path, slot, since = stack[-1]
            for name, row in names:
                order.append(row)
                slots.append(slot)
                if metas[row] & KIND_MASK == DIRECTORY_META:
                    dirs.append(len(order) - 1)
                    ends.append(len(order))
                    child = path + b"/" + name if path else name
                    number = numbers.get(child) if name else None
                    if number is not None:
                        since = max(since, self.replaced.get(row, 0))
                        stack.append((iter(self._group(number, since)), child, len(dirs) - 1, since))
                        break
            else:
                ends[slot] = len(order)
                stack.pop()
        if len(dirs) > 1 and dirs[1] == 0 and self._name_length(order[0]) == 0:
            ends[1] = len(order)
        self.order, self.slots, self.dirs, self.ends = order, slots, dirs, ends
        del self.grouped, self.group_starts
        self.builder._directories = {}

    def _name_length(self, row: int) -> int:
        return self.name_ends[row] - (self.name_ends[row - 1] if row else 0)

    def _u32(self, column: int) -> array[int]:
        return array("I", map(self.u32[column::_ROW_U32].__getitem__, self.order))

    def _children(self) -> tuple[array[int], array[int]]:
        counts = array("I", bytes(4 * (len(self.dirs) + 1)))
        root = 1 if len(self.order) and self._name_length(self.order[0]) == 0 else 0
        for slot in self.slots[root:]:
            counts[slot + 1] += 1
        starts = array("I", accumulate(counts))
        free = array("I", starts)
        children = array("I", bytes(4 * (len(self.order) - root)))
        for number in range(root, len(self.order)):
            slot = self.slots[number]
            children[free[slot]] = number
            free[slot] += 1
        return starts, children

    def _sparse(self, wanted: dict[int, int] | dict[int, bytes]) -> array[int]:
        """The entry numbers of the rows in `wanted` that are still there, ascending."""
        if not wanted:
            return array("I")
        return array("I", (number for number, row in enumerate(self.order) if row in wanted))

    def _sections(self) -> dict[bytes, tuple[int, Iterator[array[int] | bytes]]]:
        """tag -> (length in bytes, the content piece by piece), made when asked for to hold one column at a time."""
        builder, order, n = self.builder, self.order, len(self.order)
        name_offsets = array("I", accumulate(map(self._name_length, order), initial=0))
        link_numbers, link_ends = self.u32[5::_ROW_U32], builder._link_ends

        def link_length(row: int) -> int:
            link = link_numbers[row]
            return link_ends[link] - link_ends[link - 1] if link else 0

        link_offsets = array("I", accumulate(map(link_length, order), initial=0))
        chlo, chld = self._children()
        devices, attributed = self._sparse(builder._devices), self._sparse(builder._xattrs)
        blobs = [builder._xattrs[order[number]] for number in attributed]
        xattr_offsets = array("I", accumulate(map(len, blobs), initial=0))
        device_numbers = array("Q", (builder._devices[order[number]] for number in devices))

        def name(row: int) -> bytes:
            return bytes(builder._names[self.name_ends[row - 1] if row else 0 : self.name_ends[row]])

        def link(row: int) -> bytes:
            number = link_numbers[row]
            return bytes(builder._links[link_ends[number - 1] : link_ends[number]]) if number else b""

        rows = memoryview(builder._rows)

        def digest(row: int) -> memoryview:
            return rows[row * _ROW.size + _DIGEST_AT : (row + 1) * _ROW.size]

        def joined(part: object) -> Iterator[bytes]:
            for start in range(0, n, _CHUNK):
                yield b"".join(map(part, order[start : start + _CHUNK]))  # type: ignore[call-overload]

        def later(column: int) -> Iterator[array[int]]:
            yield self._u32(column)

        def parents() -> Iterator[array[int]]:
            yield array("I", map(self.dirs.__getitem__, self.slots))

        def sizes() -> Iterator[array[int]]:
            yield array("Q", map(self.u64[3::_ROW_U64].__getitem__, order))

        def times() -> Iterator[array[int]]:
            yield array("q", map(self.i64[4::_ROW_U64].__getitem__, order))

        def kept(column: array[int]) -> tuple[int, Iterator[array[int] | bytes]]:
            return len(column) * column.itemsize, iter((column,))

        return {
            b"MODE": (4 * n, later(2)),
            b"UID_": (4 * n, later(3)),
            b"GID_": (4 * n, later(4)),
            b"SIZE": (8 * n, sizes()),
            b"TIME": (8 * n, times()),
            b"PARN": (4 * n, parents()),
            b"NAMO": kept(name_offsets),
            b"NAME": (name_offsets[-1], joined(name)),
            b"LNKO": kept(link_offsets),
            b"LINK": (link_offsets[-1], joined(link)),
            b"HASH": (32 * n, joined(digest)),
            b"DIRS": kept(self.dirs[1:]),
            b"ENDS": kept(self.ends[1:]),
            b"CHLO": kept(chlo),
            b"CHLD": kept(chld),
            b"DEVE": kept(devices),
            b"DEVN": kept(device_numbers),
            b"XATE": kept(attributed),
            b"XATO": kept(xattr_offsets),
            b"XATR": (xattr_offsets[-1], iter(blobs)),
        }

    def _totals(self) -> tuple[int, list[int]]:
        kinds = [0] * 8
        total = 0
        sizes, metas = self.u64[3::_ROW_U64], self.metas
        for row in self.order:
            total += sizes[row]
            kinds[metas[row] >> KIND_SHIFT & 7] += 1
        return total, kinds

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
