"""Files that are to be seen more than once in an image: the same content under several paths, stored for each of them.

Names of one file (hard links) are no duplicates: it counts once, under the name that has its bytes.  Copies that nobody
sees are none either: those are waste.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from veneer.analysis.copies import NEVER
from veneer.analysis.events import entries_of
from veneer.analysis.names import Names
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.values import Value

_FILES = (int(Kind.REGULAR), int(Kind.HARDLINK))


class Duplicate(Value):
    """One content of `size` bytes that several files have, with their paths, and the layer that stores each."""

    __slots__ = ()
    size: int
    paths: tuple[bytes, ...]
    layers: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """What all but one of them take."""
        return self.size * (len(self.paths) - 1)


def duplicates(table: Table, least: int = 1) -> list[Duplicate]:
    """The contents of at least `least` bytes, 1 or more, stored and seen under several paths, the most bytes first.

    Goes through the image twice, so that digests are kept only of files whose size is not their own.
    """
    names = Names(table, len(table.indexes))
    sizes = Counter(size for *_, size in _files(table, names, least))
    found: dict[tuple[int, bytes], list[tuple[bytes, int]]] = {}
    for path, layer, number, size in _files(table, names, least):
        if sizes[size] > 1:
            layer, number = table.content(layer, number)
            found.setdefault((size, table.indexes[layer].digest(number)), []).append((path, layer))
    same = (
        Duplicate(size, tuple(path for path, _ in files), tuple(layer for _, layer in files))
        for (size, _), files in found.items()
        if len(files) > 1
    )
    return sorted(same, key=lambda each: (-each.bytes, each.paths))


def _files(table: Table, names: Names, least: int) -> Iterator[tuple[bytes, int, int, int]]:
    """(path, layer, number, size) of the files to be seen that have at least so many bytes, by path."""
    for row in table.walk():
        for copy in row.copies:
            if copy.ended == NEVER and table.indexes[copy.layer].kinds[copy.number] in _FILES:
                size, _ = names.bytes_of(copy.layer, copy.number)
                if size >= least:
                    yield row.path, copy.layer, copy.number, size
        if row.run is not None and row.run.ended == NEVER and not row.run.empty:
            layer = row.run.layer
            kinds = table.indexes[layer].kinds
            for number, path in entries_of(table, row.run, row.path):
                if kinds[number] in _FILES and (size := names.bytes_of(layer, number)[0]) >= least:
                    yield path, layer, number, size
