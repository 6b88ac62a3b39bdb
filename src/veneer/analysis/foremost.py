"""A directory with a great many names, of which few are wanted: no line is made for the others.

Where there are very many, nearly all are files that one layer alone has and that share their fate.  Those are told by
the columns of that layer's index; lines are made of all else, and of as many of the files as are asked for.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from veneer.analysis.copies import NEVER, Copy, Place
from veneer.analysis.view import Line, View
from veneer.changeset.entry import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.table import Table
    from veneer.changeset.index import LayerIndex

MANY = 4096
"""From so many names of one layer on it is worth while."""
_SHARE = 8
"""The other layers together may have one name to so many of that layer's."""
ORDERS: dict[str, Callable[[Line], tuple[object, ...]]] = {
    "name": lambda line: (line.path,),
    "size": lambda line: (-line.sums.size, -line.sums.waste, line.path),
    "waste": lambda line: (-line.sums.waste, -line.sums.size, line.path),
    "layer": lambda line: (-line.sums.holders, line.path),
}
"""What lines can be sorted by: the most bytes first, or what the highest layer stores."""
_HARDLINK = int(Kind.HARDLINK)
_NOT_FILES = frozenset((int(Kind.DIRECTORY), int(Kind.WHITEOUT)))


class Files:
    """Files of directory `path` that one layer alone has, all with the same state; as `numbers` of entries, by name.

    What is true of the line of one of them is true of all, but for name, size and what an entry says.
    """

    def __init__(self, view: View, path: bytes, place: Place, layer: int, numbers: Sequence[int]) -> None:
        self._view = view
        self._prefix = path + b"/" if path else b""
        self._index: LayerIndex = view.table.indexes[layer]
        self.layer = layer
        self.numbers = numbers
        cut = next((cut for cut in place.cuts if cut.layer > layer), None)
        self._fate = (cut.layer, cut.cause, cut.path) if cut is not None else (NEVER, None, b"")

    def __len__(self) -> int:
        return len(self.numbers)

    def line(self, number: int) -> Line:
        """The line of one of them."""
        return self._view.line(self._prefix + self._index.name(number), (Copy(self.layer, number, *self._fate),), None)

    @property
    def size(self) -> int:
        """The bytes of theirs that are to be seen."""
        if self._fate[0] != NEVER:
            return 0
        return sum(map(self._index.sizes.__getitem__, self.numbers))

    def first(self, most: int, sort: str) -> Iterator[Line]:
        """The lines of the first `most` by one of ORDERS; in that order, unless these are all.

        What is hidden has no size and what is to be seen no waste, so that either way it goes by the bytes stored.
        """
        stored, numbers = self._index.sizes, self.numbers
        if sort == "name" or most >= len(numbers):
            chosen: Iterable[int] = numbers[:most]
        elif sort == "layer":
            chosen = islice(chain((each for each in numbers if stored[each]),
                                  (each for each in numbers if not stored[each])), most)  # fmt: skip
        else:
            chosen = heapq.nlargest(most, numbers, key=stored.__getitem__)
        return map(self.line, chosen)


def apart(view: View, path: bytes, place: Place) -> tuple[Files | None, Iterator[Line]]:
    """What is in a directory: files told by columns, None where these are not very many, and the lines of all else."""
    table = view.table
    listed = [(len(table.indexes[layer].children(number)), layer, number) for layer, number in place.parts]
    most, layer, number = max(listed, default=(0, 0, None))
    if most < MANY or (sum(count for count, _, _ in listed) - most) * _SHARE > most:
        return None, view.beneath(path, place)
    index = table.indexes[layer]
    numbers, kinds = index.children(number), index.kinds
    names = {name for above, inside in place.parts if above != layer
             for name in table.indexes[above].names_of(table.indexes[above].children(inside))}  # fmt: skip
    aside = {index.child(number, name) for name in names}
    aside.update(_with_names(table, layer))
    files: Sequence[int] = range(numbers[0], numbers[-1] + 1)
    inside = kinds[files[0] : files[-1] + 1]
    if len(files) != most or not aside.isdisjoint(files) or any(kind in inside for kind in _NOT_FILES):
        files = array("I", (each for each in numbers if kinds[each] not in _NOT_FILES and each not in aside))
        names.update(index.names_of(each for each in numbers if kinds[each] in _NOT_FILES or each in aside))
    prefix = path + b"/" if path else b""
    stories = ((prefix + name, *table.child(place, name, path)) for name in sorted(names))
    lines = (view.line(*story) for story in stories if story[1])
    return Files(view, path, place, layer, files) if files else None, lines


def _with_names(table: Table, layer: int) -> Iterator[int]:
    """The numbers of a layer's files with several names: what they store need not be what their lines say."""
    for above in range(layer, len(table.indexes)):
        kinds = table.indexes[above].kinds
        link = kinds.find(_HARDLINK)
        while link >= 0:
            holder, stored = table.content(above, link)
            if holder == layer:
                yield stored
            if above == layer:
                yield link
            link = kinds.find(_HARDLINK, link + 1)
