"""The first lines of a directory with a great many names, from its layer's columns: no line is made for the others."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from veneer.analysis.copies import Copy
from veneer.analysis.view import Line, View
from veneer.changeset.entry import Kind
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.copies import Place

_NOT_FILES = frozenset((int(Kind.DIRECTORY), int(Kind.WHITEOUT)))


class Foremost(Value):
    """The first `files` of a directory and all `directories` in it; `left` more files, with `left_size` bytes, of which
    every one has the state of the others: what is true of the first is true of them."""

    __slots__ = ()
    files: tuple[Line, ...]
    directories: tuple[Line, ...]
    left: int
    left_size: int


MOST = 2000
"""Entries of a directory of which all lines are made to find the largest, and files of a longer one that are told."""
Largest = tuple[tuple[Line, ...], int, int]
"""What has bytes, the largest first; how many more files there are, and their bytes."""


class Sized:
    """What the directories of a view have bytes in: each is asked for once.  `lines`: what is known of them already.

    May be asked by several threads.
    """

    def __init__(self, view: View, lines: dict[bytes, tuple[Line, ...]]) -> None:
        self.view = view
        self._lines = lines
        self._known: dict[bytes, Largest] = {}

    def of(self, path: bytes) -> Largest:
        """Of directory `path`.  Raises NotThere."""
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = self._largest(path)
        return known

    def _largest(self, path: bytes) -> Largest:
        view, lines, found = self.view, self._lines.get(path), None
        if lines is None:
            _, place = view.table.find(path)
            is_long = place is not None and entries_in(view, place) > MOST
            if is_long and place is not None:
                found = foremost(view, path, place, "size", MOST, 1)
            lines = tuple(view.level(path)) if found is None else (*found.files, *found.directories)
            if not is_long:
                self._lines[path] = lines
        sized = sorted((line for line in lines if line.sums.size), key=lambda line: (-line.sums.size, line.path))
        return (tuple(sized), 0, 0) if found is None else (tuple(sized), found.left, found.left_size)


def entries_in(view: View, place: Place | None) -> int:
    """How many entries layers have in a directory."""
    parts = place.parts if place is not None else ()
    return sum(len(view.table.indexes[layer].children(number)) for layer, number in parts)


def foremost(view: View, path: bytes, place: Place, sort: str, limit: int, least: int) -> Foremost | None:
    """The first `limit` files by `sort`, of those with `least` bytes at least.

    None where it takes more than columns: several layers have the directory, one hid it, or files in it outlive their
    names.
    """
    if len(place.parts) != 1 or place.cuts:
        return None
    ((layer, number),) = place.parts
    if view.names.touches(layer):
        return None
    index = view.table.indexes[layer]
    kinds, sizes = index.kinds, index.sizes
    files: list[int] = []
    others: list[int] = []
    for each in index.children(number):
        (others if kinds[each] in _NOT_FILES else files).append(each)
    if least:
        files = [each for each in files if sizes[each] >= least]
    chosen = _first(files, sizes, sort, limit)
    prefix = path + b"/" if path else b""
    made = [view.line(prefix + name, (Copy(layer, each),), None)
            for name, each in zip(index.names_of(chosen), chosen, strict=True)]  # fmt: skip
    directories = []
    for name in index.names_of(others):
        copies, inner = view.table.child(place, name, path)
        if copies:
            directories.append(view.line(prefix + name, copies, inner))
    size = sum(map(sizes.__getitem__, files)) - sum(map(sizes.__getitem__, chosen))
    return Foremost(tuple(made), tuple(directories), len(files) - len(chosen), size)


def _first(files: Sequence[int], sizes: Sequence[int], sort: str, limit: int) -> Sequence[int]:
    """Numbers of files, given by name.  Of one layer none has waste, and those with bytes have the same holder."""
    if sort == "name":
        return files[:limit]
    if sort == "layer":
        return sorted(files, key=lambda each: not sizes[each])[:limit]
    return heapq.nlargest(limit, files, key=sizes.__getitem__)
