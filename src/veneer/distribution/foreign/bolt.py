"""A bolt database, read while its owner writes to it: buckets of keys, whose values are bytes or further buckets.

The file is pages.  The first two are copies of the meta page, written in turn: the one with a right checksum and the
higher transaction number counts, and names the root bucket's page.  A bucket is a tree of branch pages over leaf pages;
a small one lies whole in its parent's value.  Writers copy pages and never change one that the last transaction but one
has, so what was read is right if the meta page is still the same afterwards; no lock is needed, and none is taken.
Whatever the file says is checked against its size and against what was read already, for it may be torn or made up.
Sources: bbolt db.go, bucket.go, internal/common/{meta,page,bucket}.go.
"""

from __future__ import annotations

import os
import struct

from veneer.distribution.foreign.root import ForeignBusy, ForeignDamaged
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

_MAGIC, _VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF = 0x01, 0x02
_IS_BUCKET = 0x01
_SIZES = tuple(1 << shift for shift in range(10, 17))
"""Bytes that a page may have: that of the machine that wrote the file."""
_TRIES = 50
_HURRY = 3
"""Tries after which the file is copied into memory, if that takes no more bytes than these."""
_MOST_COPIED = 256 << 20
_DEEPEST = 24
"""Branches above a leaf; with two children each that is more than a file can have pages."""
_MOST = 1 << 30
"""Bytes read of one file, whatever it says it has."""


class _Meta(Value):
    """What a meta page says; `order` is struct's sign for the order of its bytes, `pages` how many there are."""

    __slots__ = ()
    txid: int
    order: str
    page_size: int
    root: int
    pages: int


def read(fd: int, where: str, work: Callable[[Bucket], T]) -> T:
    """What `work` makes of the root bucket, as one transaction left it; `work` is called anew if others came by.

    `where` names the file in messages.  Raises ForeignDamaged, and ForeignBusy for a file that never stands still.
    """
    for attempt in range(_TRIES):
        meta = _newest(fd, where)
        length = meta.pages * meta.page_size
        if attempt >= _HURRY and length <= _MOST_COPIED:
            # Somebody is busy: a copy takes less long than any work.
            copy = os.pread(fd, length, 0)
            if _newest(fd, where) == meta:
                return work(Bucket(_Pages(copy, where, meta), meta.root, b""))
            continue
        try:
            done = work(Bucket(_Pages(fd, where, meta), meta.root, b""))
        except ForeignDamaged:
            if _newest(fd, where) == meta:
                raise
            continue
        if _newest(fd, where) == meta:
            return done
    raise ForeignBusy(f"{where} was written to each of the {_TRIES} times that it was read", hint="try again")


def _newest(fd: int, where: str) -> _Meta:
    first = _meta(fd, 0)
    # Where the second one lies is said by the first; if that is torn, it is looked for.
    sizes = (first.page_size,) if first else _SIZES
    second = next((found for size in sizes if (found := _meta(fd, size)) and found.page_size == size), None)
    whole = [each for each in (first, second) if each is not None]
    if not whole:
        raise ForeignDamaged(f"{where} is no bolt database, or neither of its meta pages is whole")
    return max(whole)


def _meta(fd: int, at: int) -> _Meta | None:
    """The meta page at an offset; None if it is none, or torn."""
    raw = os.pread(fd, 80, at)[16:]
    for order in "<>":
        if len(raw) < 64 or struct.unpack_from(order + "I", raw)[0] != _MAGIC:
            continue
        fields = struct.unpack(order + "IIIIQQQQQQ", raw)
        _, version, page_size, _, root, _, _, pages, txid, checksum = fields
        if version == _VERSION and page_size in _SIZES and checksum == _fnv(raw[:56]):
            return _Meta(txid, order, page_size, root, pages)
    return None


def _fnv(data: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


class _Pages:
    """A file's pages, or those of a copy, as long as they lie in it and not too much has been read."""

    def __init__(self, file: int | bytes, where: str, meta: _Meta) -> None:
        self._file = file
        self._where = where
        self._size = meta.page_size
        length = len(file) if isinstance(file, bytes) else os.fstat(file).st_size
        self._count = min(meta.pages, length // meta.page_size)
        # Each page once, and the few small buckets that are looked into more often.
        self._left = min(4 * self._count * meta.page_size, _MOST)
        self.header = struct.Struct(meta.order + "QHHI")
        self.branch = struct.Struct(meta.order + "IIQ")
        self.leaf = struct.Struct(meta.order + "IIII")
        self.bucket = struct.Struct(meta.order + "QQ")

    def read(self, number: int) -> bytes:
        """A page with those that it runs over into."""
        if not 2 <= number < self._count:
            raise self.damaged(f"page {number} is none of its {self._count}")
        at = number * self._size
        data = self._bytes(self._size, at)
        if len(data) == self._size:
            own, _, _, further = self.header.unpack_from(data)
            if own != number or number + further >= self._count:
                raise self.damaged(f"page {number} says to be page {own} and {further} more")
            self._left -= (1 + further) * self._size
            if self._left < 0:
                raise self.damaged("its pages lead back to each other, or there are more than are read")
            if further:
                data = self._bytes((1 + further) * self._size, at)
            if len(data) == (1 + further) * self._size:
                return data
        raise self.damaged(f"page {number} is cut short")

    def _bytes(self, count: int, at: int) -> bytes:
        if isinstance(self._file, bytes):
            return self._file[at : at + count]
        return os.pread(self._file, count, at)

    def damaged(self, why: str) -> ForeignDamaged:
        return ForeignDamaged(f"{self._where} is damaged: {why}")


class Bucket:
    """Keys in order; `root` is the page of its tree, 0 for a bucket that is whole in `inline`."""

    def __init__(self, pages: _Pages, root: int, inline: bytes) -> None:
        self._pages = pages
        self._root = root
        self._inline = inline

    def items(self) -> Iterator[tuple[bytes, bytes | Bucket]]:
        """Every key with its value.  Raises ForeignDamaged."""
        if self._root:
            yield from self._tree(self._root, 0)
        else:
            yield from self._leaf(self._inline)

    def buckets(self) -> Iterator[tuple[bytes, Bucket]]:
        """The keys that are buckets.  Raises ForeignDamaged."""
        return ((key, value) for key, value in self.items() if isinstance(value, Bucket))

    def bucket(self, *path: bytes) -> Bucket | None:
        """The bucket at the end of these keys, None where there is none.  Looks at all keys: meant for few of them."""
        found = self
        for name in path:
            below = next((each for key, each in found.buckets() if key == name), None)
            if below is None:
                return None
            found = below
        return found

    def values(self) -> dict[bytes, bytes]:
        """The keys that are no buckets.  Raises ForeignDamaged."""
        return {key: value for key, value in self.items() if not isinstance(value, Bucket)}

    def _tree(self, number: int, depth: int) -> Iterator[tuple[bytes, bytes | Bucket]]:
        page = self._pages.read(number)
        _, flags, count, _ = self._pages.header.unpack_from(page)
        if not flags & _BRANCH:
            yield from self._leaf(page)
            return
        if depth == _DEEPEST:
            raise self._pages.damaged(f"page {number} lies deeper than {_DEEPEST} others")
        self._fits(page, count, self._pages.branch.size, 0)
        for index in range(count):
            yield from self._tree(self._pages.branch.unpack_from(page, 16 + index * 16)[2], depth + 1)

    def _leaf(self, page: bytes) -> Iterator[tuple[bytes, bytes | Bucket]]:
        pages = self._pages
        if len(page) < 16:
            raise pages.damaged("a bucket has no page")
        number, flags, count, _ = pages.header.unpack_from(page)
        if not flags & _LEAF:
            raise pages.damaged(f"page {number} is neither branch nor leaf")
        self._fits(page, count, pages.leaf.size, 0)
        used = 0
        for index in range(count):
            element = 16 + index * pages.leaf.size
            kind, offset, key_size, value_size = pages.leaf.unpack_from(page, element)
            used += key_size + value_size
            start = element + offset
            end = start + key_size + value_size
            # What is told in one page takes room there: many names of the same bytes are no database's.
            self._fits(page, count, pages.leaf.size, used)
            if end > len(page):
                raise pages.damaged(f"a key of page {number} lies outside of it")
            key, value = page[start : start + key_size], page[start + key_size : end]
            yield key, self._below(value) if kind & _IS_BUCKET else value

    def _below(self, value: bytes) -> Bucket:
        if len(value) < 16:
            raise self._pages.damaged("a bucket is shorter than its own root")
        return Bucket(self._pages, self._pages.bucket.unpack_from(value)[0], value[16:])

    def _fits(self, page: bytes, count: int, each: int, further: int) -> None:
        if 16 + count * each + further > len(page):
            raise self._pages.damaged(f"a page of {len(page)} bytes is to have {count} keys with more than it can hold")
