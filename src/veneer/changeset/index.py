"""The layer index: the table of contents of one layer, mapped from a file and read in place.

`IndexBuilder` makes it while a layer is unpacked or packed; everything that looks at images reads it and
never mounts or untars.  The file format is described in `index_format`.
"""

from __future__ import annotations

import functools
import mmap
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import pairwise
from os import PathLike
from struct import error as StructError

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index_builder import IndexBuilder, Unindexable
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
    MODE_MASK,
    OPAQUE,
    SECTION,
    TOP,
    TRAILER,
    VERSION,
    XATTR,
    IndexCorrupt,
)

__all__ = ["TOP", "IndexBuilder", "IndexCorrupt", "LayerIndex", "Unindexable"]

_KINDS = tuple(Kind)
_MAX_SECTIONS = 1024


class LayerIndex:
    """The entries of one layer, numbered 0 to len - 1, sorted by path components.

    Opening costs the same for any number of entries: the header is checked and columns are views of the file.
    `verify` reads all of it.  Anything found to be impossible raises IndexCorrupt, whenever it is met.
    Columns (`sizes`, `uids`, ...) are read-only sequences of ints indexed by entry number; they and slices
    of them must not be used after `close`.
    """

    def __init__(self, data: bytes | memoryview | mmap.mmap, what: str = "layer index") -> None:
        self._what = what
        self._file = data if isinstance(data, mmap.mmap) else None
        self._view = memoryview(data)
        self._entries: int
        self._bytes: int
        self._kinds: tuple[int, ...]
        self._columns: dict[bytes, memoryview[int]] = {}
        try:
            self._read_header()
        except IndexCorrupt:
            self.close()
            raise

    @classmethod
    def open(cls, path: str | bytes | PathLike[str]) -> LayerIndex:
        """Map the index file at `path`.  Raises IndexCorrupt, or FileNotFoundError if there is none."""
        with open(path, "rb", buffering=0) as file:
            try:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise IndexCorrupt(f"layer index {path!s} is empty") from error
        return cls(data, f"layer index {path!s}")

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> LayerIndex:
        """The index that `IndexBuilder.write` wrote as `data`.  Raises IndexCorrupt."""
        return cls(data)

    def _corrupt(self, fact: str) -> IndexCorrupt:
        return IndexCorrupt(f"{self._what} is damaged: {fact}", hint="it can be rebuilt from the layer's blob")

    def _read_header(self) -> None:
        view = self._view
        if len(view) < HEADER.size + CHECKSUM.size + TRAILER.size:
            raise self._corrupt(f"{len(view)} bytes are too few")
        magic, version, count, length, self._entries, self._bytes, *kinds = HEADER.unpack_from(view)
        self._kinds = tuple(kinds)
        if magic != MAGIC:
            raise self._corrupt("it does not begin like one")
        if version != VERSION:
            raise self._corrupt(f"it is of version {version}, this veneer reads version {VERSION}")
        if length != len(view):
            raise self._corrupt(f"it has {len(view)} bytes of {length}")
        self._body = HEADER.size + count * SECTION.size + CHECKSUM.size
        if count > _MAX_SECTIONS or self._body + TRAILER.size > length:
            raise self._corrupt(f"{count} sections do not fit")
        checksum = zlib.crc32(view[: self._body - CHECKSUM.size])
        if CHECKSUM.unpack_from(view, self._body - CHECKSUM.size) != (checksum, 0):
            raise self._corrupt("the header's checksum is wrong")
        if TRAILER.unpack_from(view, length - TRAILER.size)[1] != END_MAGIC:
            raise self._corrupt("it does not end like one")
        for position in range(HEADER.size, self._body - CHECKSUM.size, SECTION.size):
            tag, item_size, offset, size = SECTION.unpack_from(view, position)
            code = ITEM_FORMATS.get(tag)
            if code is None:
                continue
            if offset % 8 or offset + size > length or item_size != ITEM_SIZES[code] or size % item_size:
                raise self._corrupt(f"section {tag.decode('ascii')} is out of bounds")
            self._columns[tag] = self._cast(view[offset : offset + size], code)
        self._take_columns()

    @staticmethod
    def _cast(section: memoryview, code: str) -> memoryview[int]:
        if sys.byteorder == "little" or code == "B":
            return section.cast(code) if code != "B" else section  # type: ignore[call-overload]
        swapped = array(code, section.tobytes())
        swapped.byteswap()
        return memoryview(swapped)

    def _take_columns(self) -> None:
        n = self._entries
        missing = ITEM_FORMATS.keys() - self._columns.keys()
        if missing:
            raise self._corrupt(f"section {min(missing).decode('ascii')} is missing")
        columns = self._columns
        directories, devices, attributed = len(columns[b"DIRS"]), len(columns[b"DEVE"]), len(columns[b"XATE"])
        lengths = {
            b"MODE": n, b"UID_": n, b"GID_": n, b"SIZE": n, b"TIME": n, b"PARN": n, b"NAMO": n + 1, b"LNKO": n + 1,
            b"HASH": 32 * n, b"ENDS": directories, b"CHLS": directories + 1, b"CHLN": directories + 1,
            b"DEVN": devices, b"XATO": attributed + 1,
        }  # fmt: skip
        for tag, length in lengths.items():
            if len(columns[tag]) != length:
                raise self._corrupt(f"section {tag.decode('ascii')} has {len(columns[tag])} items, not {length}")
        self.metas: memoryview[int] = columns[b"MODE"]
        """Bits 0-11 permissions, 16-23 kind, 24 opaque, 25 implied."""
        self.uids: memoryview[int] = columns[b"UID_"]
        self.gids: memoryview[int] = columns[b"GID_"]
        self.sizes: memoryview[int] = columns[b"SIZE"]
        self.mtimes_ns: memoryview[int] = columns[b"TIME"]
        self.parents: memoryview[int] = columns[b"PARN"]
        """The number of the directory each entry is in; TOP if that is the root."""
        self.digests: memoryview[int] = columns[b"HASH"]
        """32 bytes per entry, zeros where it is no regular file."""
        self.directories: memoryview[int] = columns[b"DIRS"]
        """The numbers of the directories, ascending."""
        self.attributed: memoryview[int] = columns[b"XATE"]
        """The numbers of the entries with extended attributes, ascending."""
        self._name_offsets, self._names = columns[b"NAMO"], columns[b"NAME"]
        self._link_offsets, self._links = columns[b"LNKO"], columns[b"LINK"]
        self._child_starts, self._child_counts = columns[b"CHLS"], columns[b"CHLN"]
        self._ends, self._children = columns[b"ENDS"], columns[b"CHLD"]

    def __len__(self) -> int:
        return self._entries

    @property
    def bytes_total(self) -> int:
        """The sum of all regular files' sizes, hard links counted once."""
        return self._bytes

    def count(self, kind: Kind) -> int:
        """How many entries are of this kind."""
        return self._kinds[kind]

    def kind(self, number: int) -> Kind:
        """What entry `number` is."""
        try:
            return _KINDS[self.metas[number] >> KIND_SHIFT & 0xFF]
        except IndexError:
            raise self._impossible(number) from None

    def is_opaque(self, number: int) -> bool:
        """Whether it is a directory that hides what the layers below have in it."""
        return bool(self.metas[number] & OPAQUE)

    def is_implied(self, number: int) -> bool:
        """Whether it is a directory that the layer does not mention."""
        return bool(self.metas[number] & IMPLIED)

    def name(self, number: int) -> bytes:
        """The last component of its path."""
        try:
            return bytes(self._names[self._name_offsets[number] : self._name_offsets[number + 1]])
        except IndexError:
            raise self._impossible(number) from None

    def names_of(self, numbers: Iterable[int]) -> list[bytes]:
        """The last path components of many entries; cheaper than `name` for each."""
        offsets, names = self._name_offsets, self._names
        try:
            return [bytes(names[offsets[number] : offsets[number + 1]]) for number in numbers]
        except IndexError:
            raise self._corrupt(f"a directory lists more than its {self._entries} entries") from None

    def names_between(self, start: int, end: int) -> list[bytes]:
        """Those of entries `start` to `end` (left out), one at least; cheaper still."""
        offsets = self._name_offsets[start : end + 1].tolist()
        first, names = offsets[0], bytes(self._names[offsets[0] : offsets[-1]])
        return [names[at - first : after - first] for at, after in pairwise(offsets)]

    def bytes_of(self, start: int, end: int) -> int:
        """The sum of the sizes of entries `start` to `end` (left out)."""
        return sum(self.sizes[start:end])

    @functools.cached_property
    def kinds(self) -> bytes:
        """One byte for each entry: its `Kind` as a number."""
        return self.metas.tobytes()[2::4] if sys.byteorder == "little" else self.metas.tobytes()[1::4]

    def link(self, number: int) -> bytes:
        """A symlink's or hard link's target; b"" for other kinds."""
        try:
            return bytes(self._links[self._link_offsets[number] : self._link_offsets[number + 1]])
        except IndexError:
            raise self._impossible(number) from None

    def digest(self, number: int) -> bytes:
        """The raw SHA-256 of a regular file's content; b"" for other kinds."""
        return self._recorded(number)

    def _recorded(self, number: int) -> bytes:
        """The digest as the file has it."""
        if self.kind(number) is not Kind.REGULAR:
            return b""
        return bytes(self.digests[32 * number : 32 * number + 32])

    def path(self, number: int) -> bytes:
        """The whole path of entry `number`."""
        names = [self.name(number)]
        parent = self.parents[number]
        while parent != TOP:
            if parent >= number:
                raise self._corrupt(f"entry {number} is inside entry {parent}, which comes later")
            number = parent
            names.append(self.name(number))
            parent = self.parents[number]
        names.reverse()
        return b"/".join(names)

    def end(self, number: int) -> int:
        """The number after the last entry beneath `number`: its subtree is range(number, end(number))."""
        slot = self._slot(number)
        if slot is None:
            return number + 1
        end: int = self._ends[slot - 1]
        if not number < end <= self._entries:
            raise self._corrupt(f"directory {number} ends at {end}")
        return end

    def _slot(self, number: int) -> int | None:
        position = bisect_left(self.directories, number)
        if position == len(self.directories) or self.directories[position] != number:
            return None
        return position + 1

    def children(self, number: int | None = None) -> memoryview[int]:
        """The numbers of what is directly in directory `number`, by name; None: in the root.  Empty for files."""
        if number is None or (number == 0 and self._entries and not self.name(0)):
            slot: int | None = 0
        else:
            slot = self._slot(number)
        if slot is None:
            return self._children[:0]
        start = self._child_starts[slot]
        return self._children[start : start + self._child_counts[slot]]

    def child(self, number: int | None, name: bytes) -> int | None:
        """The number of `name` in directory `number` (None: the root), or None."""
        siblings = self.children(number)
        position = bisect_left(siblings, name, key=self.name)
        if position == len(siblings) or self.name(siblings[position]) != name:
            return None
        return siblings[position]

    def find(self, path: bytes) -> int | None:
        """The number of the entry for `path`, or None if the layer says nothing of it."""
        if not path:
            return 0 if self._entries and not self.name(0) else None
        number: int | None = None
        for component in path.split(b"/"):
            number = self.child(number, component)
            if number is None:
                return None
        return number

    def xattrs(self, number: int) -> tuple[tuple[bytes, bytes], ...]:
        """The extended attributes, in the order they were added."""
        owners = self._columns[b"XATE"]
        position = bisect_left(owners, number)
        if position == len(owners) or owners[position] != number:
            return ()
        offsets = self._columns[b"XATO"]
        blob = bytes(self._columns[b"XATR"][offsets[position] : offsets[position + 1]])
        found, at = [], 0
        try:
            while at < len(blob):
                name_length, value_length = XATTR.unpack_from(blob, at)
                at += XATTR.size
                middle, after = at + name_length, at + name_length + value_length
                if after > len(blob):
                    raise self._impossible(number)
                found.append((blob[at:middle], blob[middle:after]))
                at = after
        except StructError:
            raise self._impossible(number) from None
        return tuple(found)

    def device(self, number: int) -> tuple[int, int]:
        """(major, minor) of a device; (0, 0) for other kinds."""
        owners = self._columns[b"DEVE"]
        position = bisect_left(owners, number)
        if position == len(owners) or owners[position] != number:
            return (0, 0)
        device = self._columns[b"DEVN"][position]
        return (device >> 32, device & 0xFFFFFFFF)

    def entry(self, number: int, path: bytes | None = None) -> Entry:
        """Entry `number` as a value, under `path` if that is given.  IndexError if there is none."""
        if not 0 <= number < self._entries:
            raise IndexError(f"{self._what} has {self._entries} entries, no number {number}")
        return self._entry(number, self.path(number) if path is None else path)

    def _entry(self, number: int, path: bytes) -> Entry:
        meta = self.metas[number]
        return Entry(
            path=path,
            kind=self.kind(number),
            mode=meta & MODE_MASK,
            uid=self.uids[number],
            gid=self.gids[number],
            size=self.sizes[number],
            mtime_ns=self.mtimes_ns[number],
            link=self.link(number),
            device=self.device(number),
            xattrs=self.xattrs(number),
            digest=self._recorded(number),
            opaque=bool(meta & OPAQUE),
            implied=bool(meta & IMPLIED),
        )

    def __iter__(self) -> Iterator[Entry]:
        for number, path in enumerate(self.paths()):
            yield self._entry(number, path)

    def paths(self) -> Iterator[bytes]:
        """Every entry's path, in order; cheaper than `path` for each."""
        return (path for _, path in self._walk(0, self._entries, b"", TOP))

    def subtree(self, number: int, path: bytes | None = None) -> Iterator[tuple[int, bytes]]:
        """(number, path) of every entry beneath directory `number`; `path` is the directory's, if you have it."""
        return self._walk(number + 1, self.end(number), self.path(number) if path is None else path, number)

    def _walk(self, start: int, end: int, path: bytes, above: int) -> Iterator[tuple[int, bytes]]:
        prefix = path + b"/" if path else b""
        stack: list[tuple[int, bytes]] = []
        metas, name = self.metas, self.name
        for number, parent in enumerate(self.parents[start:end], start):
            while parent != above:
                if not stack:
                    raise self._corrupt(f"entry {number} is inside entry {parent}, which is not above it")
                above, prefix = stack.pop()
            path = prefix + name(number)
            yield number, path
            if metas[number] & KIND_MASK == DIRECTORY_META and path:
                stack.append((above, prefix))
                above, prefix = number, path + b"/"

    def verify(self) -> None:
        """Read the whole file and compare its checksum.  Raises IndexCorrupt."""
        body = self._view[self._body : len(self._view) - TRAILER.size]
        if zlib.crc32(body) != TRAILER.unpack_from(self._view, len(self._view) - TRAILER.size)[0]:
            raise self._corrupt("the checksum is wrong")

    def _impossible(self, number: int) -> IndexCorrupt:
        return self._corrupt(f"entry {number} of {self._entries} cannot be read")

    def close(self) -> None:
        """Let go of the file.  Column views still held elsewhere keep the mapping alive until they go."""
        with suppress(BufferError):
            for column in self._columns.values():
                column.release()
            self._view.release()
            if self._file is not None:
                self._file.close()

    def __enter__(self) -> LayerIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
