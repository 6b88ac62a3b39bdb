"""Files with several names (hard links): which of the names has the bytes.

A file is stored once, in the layer of the entry that has its content, however many names it has and wherever they are.
With any number of the lowest layers its bytes are those of its first name that is to be seen then: the one that it is
stored under, else the first of the others, by layer and path.  When none is to be seen they are waste, and those of the
name that went last (of several the first), which tells by whom and why.  Whatever weighs paths asks here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from veneer.analysis.copies import NEVER, Cause, Copy, Place, Run
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.values import Value

_REGULAR, _HARDLINK = int(Kind.REGULAR), int(Kind.HARDLINK)
Key = tuple[int, int]
"""(layer, number) of an entry."""


class LinkedFile(Value):
    """A file of `size` bytes with several names: `names` are the copies that are one, first that which it is stored
    under, the others by layer and number."""

    __slots__ = ()
    size: int
    names: tuple[Copy, ...]

    @property
    def stored(self) -> Copy:
        """The one with the content: its layer stores the bytes."""
        return self.names[0]

    def owner(self, at: int) -> Copy:
        """The name that has the bytes with the lowest `at` layers, of which one has the file: the first to be seen;
        if none is, that which went last."""
        first = next((name for name in self.names if name.seen_at(at)), None)
        return first or max((name for name in self.names if name.layer < at), key=lambda name: name.ended)


class Names:
    """Which entries have the bytes of files with several names, with the lowest `at` layers of a table.

    Only what is not as it is stored is noted: `taken` are the entries that store a file whose bytes another name has,
    `given` those names, with the bytes and the layer that stores them.
    """

    def __init__(self, table: Table, at: int) -> None:
        self._indexes = table.indexes
        self.moved = [
            (file, owner) for file in linked_files(table)
            if file.stored.ended < at and (owner := file.owner(at)) is not file.stored
        ]  # fmt: skip
        """The files, each with the name that has its bytes."""
        self.taken = {(file.stored.layer, file.stored.number): file.size for file, _ in self.moved}
        self.given = {(name.layer, name.number): (file.size, file.stored.layer) for file, name in self.moved}
        self._taken = _by_layer(self.taken, len(table.indexes))
        self._given = _by_layer(self.given, len(table.indexes))

    def touches(self, layer: int) -> bool:
        """Whether anything is noted of entries of this layer."""
        return bool(self.taken) and bool(self._taken[layer] or self._given[layer])

    def bytes_of(self, layer: int, number: int) -> tuple[int, int]:
        """(the bytes that are this entry's, the layer that stores them)."""
        if self.taken:
            if (layer, number) in self.taken:
                return 0, layer
            if (given := self.given.get((layer, number))) is not None:
                return given
        return self._indexes[layer].sizes[number], layer

    def of_path(self, copies: Sequence[Copy]) -> tuple[int, int, int]:
        """(bytes to be seen, bytes hidden, bits of the layers that store any of them) of a path with these copies."""
        seen = hidden = holders = 0
        for copy in copies:
            size, holder = self.bytes_of(copy.layer, copy.number)
            holders |= bool(size) << holder
            if copy.ended == NEVER:
                seen += size
            else:
                hidden += size
        return seen, hidden, holders

    def of_run(self, run: Run) -> tuple[int, int]:
        """(the bytes that are those of a run's entries, bits of the layers that store any)."""
        layer = run.layer
        size, holders = self._indexes[layer].bytes_of(run.start, run.end), 0
        if self.touches(layer):
            size -= sum(self.taken[layer, number] for number in _within(self._taken[layer], run))
            holders = bool(size) << layer
            for number in _within(self._given[layer], run):
                more, holder = self.given[layer, number]
                size += more
                holders |= bool(more) << holder
            return size, holders
        return size, bool(size) << layer


def _by_layer(noted: Iterable[Key], layers: int) -> list[list[int]]:
    """The numbers of entries, ascending, of each layer."""
    found: list[list[int]] = [[] for _ in range(layers)]
    for layer, number in sorted(noted):
        found[layer].append(number)
    return found


def _within(numbers: list[int], run: Run) -> list[int]:
    return numbers[bisect_left(numbers, run.start) : bisect_left(numbers, run.end)]


# -- finding them -------------------------------------------------------------------------------------------------


def linked_files(table: Table) -> tuple[LinkedFile, ...]:
    """The files with several names of which at least one ends somewhere, by layer and number; found once."""
    if table.linked_files is None:
        table.linked_files = _found(table)
    return table.linked_files


def _found(table: Table) -> tuple[LinkedFile, ...]:
    if len(table.indexes) < 2:
        return ()
    return tuple(file for file in all_linked_files(table) if any(name.ended != NEVER for name in file.names))


def all_linked_files(table: Table) -> Iterator[LinkedFile]:
    """The files with several names, by layer and number."""
    if not any(index.count(Kind.HARDLINK) for index in table.indexes):
        return
    ends = _Ends(table)
    for file, links in sorted(links_of(table).items()):
        layer, number = file
        index = table.indexes[layer]
        if index.kinds[number] == _REGULAR:
            yield LinkedFile(index.sizes[number], tuple(ends.copy(*key) for key in (file, *links)))


def links_of(table: Table) -> dict[Key, list[Key]]:
    """The entries that are hard links, ascending, by the entry of their file."""
    names: dict[Key, list[Key]] = {}
    for layer, index in enumerate(table.indexes):
        kinds = index.kinds
        number = kinds.find(_HARDLINK)
        while number >= 0:
            names.setdefault(table.content(layer, number), []).append((layer, number))
            number = kinds.find(_HARDLINK, number + 1)
    return names


class _Ends:
    """Looks up what becomes of entries; directories once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._places: dict[bytes, tuple[Place, Run | None] | None] = {}

    def copy(self, layer: int, number: int) -> Copy:
        table = self._table
        if layer == len(table.indexes) - 1:
            return Copy(layer, number)
        folder, _, name = table.indexes[layer].path(number).rpartition(b"/")
        if folder not in self._places:
            place = table.find(folder)[1]
            self._places[folder] = (place, table.run(place)) if place is not None else None
        found = self._places[folder]
        if found is not None:
            place, run = found
            if run is not None:
                return Copy(layer, number, *run.fate)
            for copy in table.child(place, name, folder)[0]:
                if (copy.layer, copy.number) == (layer, number):
                    return copy
        raise AssertionError("a file of a layer is a copy of its path")


# -- one file's names -----------------------------------------------------------------------------------------------


class Relation(Value):
    """A copy of a path among the names of its file, as paths.  `others`: those to be seen beside it when its layer is
    the top one.  `broke`: those that stay names of the file that was there before, since the path has its own now."""

    __slots__ = ()
    others: tuple[bytes, ...] = ()
    broke: tuple[bytes, ...] = ()


def relations(table: Table, path: bytes, copies: Sequence[Copy]) -> list[Relation]:
    """How each copy of a path stands to the other names of its file."""
    if not any(index.count(Kind.HARDLINK) for index in table.indexes):
        return [Relation()] * len(copies)
    files = [table.content(copy.layer, copy.number) for copy in copies]
    ends, links = _Ends(table), links_of(table)
    names = {file: [ends.copy(*key) for key in (file, *links[file])] for file in files if file in links}

    def beside(file: Key, at: int) -> tuple[bytes, ...]:
        seen = (table.indexes[name.layer].path(name.number) for name in names.get(file, ()) if name.seen_at(at))
        return tuple(dict.fromkeys(other for other in seen if other != path))

    found = []
    for number, (copy, file) in enumerate(zip(copies, files, strict=True)):
        before = copies[number - 1] if number else None
        again = before is not None and before.ended == copy.layer and before.cause in _WRITTEN
        broke = beside(files[number - 1], copy.layer + 1) if again and files[number - 1] != file else ()
        found.append(Relation(beside(file, copy.layer + 1), broke))
    return found


_WRITTEN = (Cause.OVERWRITTEN, Cause.REWRITTEN)


class Broken(Value):
    """`size` bytes that layer `layer` stores once more at `path` as they were, because what was there before was the
    same file as `others`, which keep it."""

    __slots__ = ()
    path: bytes
    layer: int
    size: int
    others: tuple[bytes, ...]


def broken_links(table: Table) -> list[Broken]:
    """The names that a layer made files of their own without another content, the most bytes first."""
    found = []
    for file in linked_files(table):
        for name in file.names:
            others = [other for other in file.names if other.seen_at(name.ended + 1)]
            if name.cause is Cause.REWRITTEN and others:
                path = table.indexes[name.layer].path(name.number)
                number = table.indexes[name.ended].find(path)
                if number is not None and table.indexes[name.ended].kinds[number] == _REGULAR:
                    paths = (table.indexes[other.layer].path(other.number) for other in others)
                    found.append(Broken(path, name.ended, file.size, tuple(dict.fromkeys(paths))))
    return sorted(found, key=lambda each: (-each.size, each.path))
