"""A walk over the event table that does not stop at every path: of a directory the plain files are told together.

Most of what is in a directory in which layers meet is in one of them alone, or is a file that another wrote once more.
Neither needs the whole story of a path, and sets of names find out quickly which they are.  All else comes in rows, as
`Table.walk` gives them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from veneer.analysis.copies import Cause, Place, Row
from veneer.analysis.table import Child, Table
from veneer.changeset.entry import Kind
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.changeset.index import LayerIndex

_LARGE = 1 << 16
"""Names of one directory from which they are not held together."""
_FEW = 8
"""Names of such a directory are looked up in it where all other layers together have one to so many."""
_UNSAID = bytes(32)
"""What the column has of a regular file whose digest is not known yet."""
_REWRITTEN, _OVERWRITTEN = Cause.REWRITTEN, Cause.OVERWRITTEN
_REGULAR, _DIRECTORY, _WHITEOUT = int(Kind.REGULAR), int(Kind.DIRECTORY), int(Kind.WHITEOUT)


class Alone(Value):
    """What of a directory layer `layer` alone has, directories and what is in them too: `entries` paths to be seen to
    the top, which store `bytes`."""

    __slots__ = ()
    layer: int
    entries: int
    bytes: int


class Again(Value):
    """The regular files of a directory that these `layers` have, two or more, each in place of the one before.

    `causes`: OVERWRITTEN or REWRITTEN, what each layer but the first did.  `names` go with `numbers`, which has the
    entry in each layer.  `bytes` are those that each layer stores.
    """

    __slots__ = ()
    layers: tuple[int, ...]
    causes: tuple[Cause, ...]
    names: list[bytes]
    numbers: list[tuple[int, ...]]
    bytes: list[int]

    def hidden(self) -> Iterator[tuple[int, int, Cause, int]]:
        """Each time another file took the place of one: (the hidden file's layer, the other's, cause, bytes hidden)."""
        return zip(self.layers[:-1], self.layers[1:], self.causes, self.bytes[:-1], strict=True)


class Together(Value):
    """What is told together of directory `path`, whose paths have this depth."""

    __slots__ = ()
    depth: int
    path: bytes
    alone: tuple[Alone, ...]
    again: tuple[Again, ...]


def sweep(table: Table) -> Iterator[Row | Together]:
    """Every path once, in a row, a run, or told together with others; each directory's before those beneath it.

    Runs of a layer come in the order of its numbers.
    """
    return table.descend(functools.partial(_inside, table))


_Stories = dict[bytes, list[tuple[int, int]]]
"""By name the (layer, number) of each layer that has it, lowest first."""


class _Single:
    """The only child of a directory as one layer has it: most layers touch one file here and one there."""

    __slots__ = ("index", "layer", "names", "number")

    def __init__(self, layer: int, index: LayerIndex, number: int) -> None:
        self.layer = layer
        self.index = index
        self.number = number
        self.names = (index.name(number),)

    def meet(self, seen: set[bytes]) -> Iterable[bytes]:
        """As of `_Listed`."""
        return seen.intersection(self.names)

    def alone(self, met: set[bytes], stories: _Stories) -> Alone | None:
        """As of `_Listed`."""
        name, number, index = self.names[0], self.number, self.index
        if name in met:
            stories.setdefault(name, []).append((self.layer, number))
            return None
        kind = index.kinds[number]
        if kind == _WHITEOUT:
            return None
        entries, stored = _beneath(index, number) if kind == _DIRECTORY else (0, index.sizes[number])
        return Alone(self.layer, entries + 1, stored)


class _Listed:
    """The children of a directory as one layer has them, by name."""

    __slots__ = ("bytes", "index", "kinds", "layer", "names", "numbers")

    def __init__(self, layer: int, index: LayerIndex, numbers: memoryview[int]) -> None:
        self.layer = layer
        self.index = index
        self.numbers = numbers
        start, end = numbers[0], numbers[-1] + 1
        self.names: list[bytes]
        if end - start == len(numbers) and end <= len(index):
            self.names = index.names_between(start, end)
            self.kinds = index.kinds[start:end]
            self.bytes = index.bytes_of(start, end)
        else:
            self.names = index.names_of(numbers)
            self.kinds = bytes(map(index.kinds.__getitem__, numbers))
            self.bytes = sum(map(index.sizes.__getitem__, numbers))

    def meet(self, seen: set[bytes]) -> Iterable[bytes]:
        """The names that are among those of other layers."""
        return seen.intersection(self.names)

    def alone(self, met: set[bytes], stories: _Stories) -> Alone | None:
        """What no other layer has, if anything; the others, whose names have `met`, go to their stories."""
        layer, index, names, numbers = self.layer, self.index, self.names, self.numbers
        entries, stored = len(names), self.bytes
        if met and not met.isdisjoint(names):
            sizes = index.sizes
            for name, number in zip(names, numbers, strict=True):
                if name in met:
                    stories.setdefault(name, []).append((layer, number))
                    entries -= 1
                    stored -= sizes[number]
        if _DIRECTORY in self.kinds or _WHITEOUT in self.kinds:
            for name, number, kind in zip(names, numbers, self.kinds, strict=True):
                if kind == _WHITEOUT and name not in met:
                    entries -= 1
                elif kind == _DIRECTORY and name not in met:
                    more, more_stored = _beneath(index, number)
                    entries += more
                    stored += more_stored
        return Alone(layer, entries, stored) if entries else None


class _Large:
    """The children of a directory with very many names beside which the other layers' are few: these are looked up."""

    __slots__ = ("directory", "index", "layer", "met", "numbers")
    names = ()

    def __init__(self, layer: int, index: LayerIndex, directory: int | None, numbers: memoryview[int]) -> None:
        self.layer = layer
        self.index = index
        self.directory = directory
        self.numbers = numbers
        self.met: dict[bytes, int] = {}

    def meet(self, seen: set[bytes]) -> Iterable[bytes]:
        """As of `_Listed`; `seen` are the names of all others."""
        found = ((name, self.index.child(self.directory, name)) for name in seen)
        self.met = {name: number for name, number in found if number is not None}
        return self.met

    def alone(self, met: set[bytes], stories: _Stories) -> Alone | None:
        """As of `_Listed`."""
        index, numbers, apart = self.index, self.numbers, set(self.met.values())
        for name, number in self.met.items():
            stories.setdefault(name, []).append((self.layer, number))
        start, end = numbers[0], numbers[-1] + 1
        if end - start == len(numbers):
            stored = index.bytes_of(start, end)
        else:
            stored = sum(map(index.sizes.__getitem__, numbers))
        entries, stored = len(numbers) - len(apart), stored - sum(map(index.sizes.__getitem__, apart))
        kinds = index.kinds
        if _DIRECTORY in kinds[start:end] or _WHITEOUT in kinds[start:end]:
            for number in numbers:
                if kinds[number] == _WHITEOUT and number not in apart:
                    entries -= 1
                elif kinds[number] == _DIRECTORY and number not in apart:
                    more, more_stored = _beneath(index, number)
                    entries += more
                    stored += more_stored
        return Alone(self.layer, entries, stored) if entries else None


def _beneath(index: LayerIndex, number: int) -> tuple[int, int]:
    """Entries, and the bytes they store, beneath a directory that no other layer has."""
    start, end = number + 1, index.end(number)
    return end - start - index.kinds.count(_WHITEOUT, start, end), index.bytes_of(start, end)


def _inside(table: Table, depth: int, path: bytes, place: Place) -> tuple[tuple[Together], Iterable[Child]]:
    """What is told together of a directory, and all else that is in it, by name."""
    indexes = table.indexes
    listed = [(layer, indexes[layer], number, indexes[layer].children(number)) for layer, number in place.parts]
    total = sum(len(numbers) for *_, numbers in listed)
    large = None
    if place.cuts or total > _LARGE:
        most, large = max((len(numbers), layer) for layer, *_, numbers in listed)
        if place.cuts or (total - most) * _FEW > most:
            return (Together(depth, path, (), ()),), table.children(place, path)
    parts: list[_Single | _Listed | _Large] = []
    for layer, index, number, numbers in listed:
        if layer == large:
            parts.append(_Large(layer, index, number, numbers))
        elif numbers:
            parts.append(_Single(layer, index, numbers[0]) if len(numbers) == 1 else _Listed(layer, index, numbers))
    seen: set[bytes] = set()
    met: set[bytes] = set()
    for part in parts if large is None else sorted(parts, key=lambda part: part.layer == large):
        met.update(part.meet(seen))  # the large one comes last, and is asked for the names of all others
        seen.update(part.names)
    stories: _Stories = {}
    alone = tuple([found for part in parts if (found := part.alone(met, stories)) is not None])
    again, rest = _again(indexes, stories) if stories else ((), [])
    prefix = path + b"/" if path else b""
    told = ((name, *table.story(prefix + name, stories[name])) for name in sorted(rest))
    return (Together(depth, path, alone, again),), (each for each in told if each[1])


def _again(indexes: Sequence[LayerIndex], stories: _Stories) -> tuple[tuple[Again, ...], list[bytes]]:
    """What are regular files in all layers that have them, and the names that have another story."""
    found: dict[tuple[tuple[int, ...], tuple[Cause, ...]], Again] = {}
    rest: list[bytes] = []
    for name, stack in stories.items():
        causes: tuple[Cause, ...] = ()
        sizes: list[int] = []
        below, before = indexes[stack[0][0]], stack[0][1]
        for layer, number in stack:
            index = indexes[layer]
            if index.kinds[number] != _REGULAR:
                rest.append(name)
                break
            size = index.sizes[number]
            if sizes:
                same = size == sizes[-1] and _same_content(below, before, index, number)
                causes = (*causes, _REWRITTEN if same else _OVERWRITTEN)
            sizes.append(size)
            below, before = index, number
        else:
            layers, numbers = zip(*stack, strict=True)
            known = found.get((layers, causes))
            if known is None:
                found[layers, causes] = Again(layers, causes, [name], [numbers], sizes)
            else:
                known.names.append(name)
                known.numbers.append(numbers)
                for at, size in enumerate(sizes):
                    known.bytes[at] += size
    return tuple(found.values()), rest


def _same_content(below: LayerIndex, before: int, above: LayerIndex, after: int) -> bool:
    """Whether two regular files have the same digest: by the columns, where these say it."""
    old = bytes(below.digests[32 * before : 32 * before + 32])
    new = bytes(above.digests[32 * after : 32 * after + 32])
    return old == new if _UNSAID not in (old, new) else below.digest(before) == above.digest(after)
