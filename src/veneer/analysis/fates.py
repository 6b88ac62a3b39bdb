"""What becomes of entries of layers, and of the files with several names."""

from __future__ import annotations

from bisect import bisect_right

from veneer.analysis.copies import NEVER, Copy, Fate, Run
from veneer.analysis.sweep import Again
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.values import Value

_REGULAR, _HARDLINK = int(Kind.REGULAR), int(Kind.HARDLINK)
_SEEN: Fate = (NEVER, None, b"")


class Fates:
    """What becomes of entries of layers: of those noted here, and NEVER ends whatever is not."""

    def __init__(self, layers: int) -> None:
        self._single: list[dict[int, Fate]] = [{} for _ in range(layers)]
        self._starts: list[list[int]] = [[] for _ in range(layers)]
        self._runs: list[list[Run]] = [[] for _ in range(layers)]

    def copy(self, copy: Copy) -> None:
        self._single[copy.layer][copy.number] = copy.fate

    def run(self, run: Run) -> None:
        # Runs of a layer come in the order of its numbers, for both are sorted by path.
        self._starts[run.layer].append(run.start)
        self._runs[run.layer].append(run)

    def again(self, files: Again, path: bytes) -> None:
        """Those of directory `path`."""
        prefix = path + b"/" if path else b""
        for at, (low, high, cause, _) in enumerate(files.hidden()):
            noted = self._single[low]
            for name, numbers in zip(files.names, files.numbers, strict=True):
                noted[numbers[at]] = (high, cause, prefix + name)

    def of(self, layer: int, number: int) -> Fate:
        found = self._single[layer].get(number)
        if found is not None:
            return found
        at = bisect_right(self._starts[layer], number) - 1
        if at >= 0 and number < self._runs[layer][at].end:
            return self._runs[layer][at].fate
        return _SEEN

    @property
    def lowest(self) -> int:
        """The lowest layer of which something ends; NEVER if nothing does."""
        return next((n for n, runs in enumerate(self._runs) if runs or self._single[n]), NEVER)


class Adopted(Value):
    """A file whose first name ended otherwise than the file: (layer, number) of the entry that stores it.

    `name` is the entry, as (layer, number), of a name that is seen to the top, None where none is.
    """

    __slots__ = ()
    layer: int
    number: int
    fate: Fate
    name: tuple[int, int] | None


def links_of(table: Table, lowest: int) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """The hard links of layer `lowest` and those above it, as (layer, number) ascending, by the entry of their file."""
    names: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for layer in range(lowest, len(table.indexes)):
        kinds = table.indexes[layer].kinds
        number = kinds.find(_HARDLINK)
        while number >= 0:
            names.setdefault(table.content(layer, number), []).append((layer, number))
            number = kinds.find(_HARDLINK, number + 1)
    return names


def adoptions(table: Table, fates: Fates) -> list[Adopted]:
    """The files with several names that outlive the name they are stored under, by layer and number."""
    found = []
    for (layer, number), links in sorted(links_of(table, fates.lowest).items()):
        own = fates.of(layer, number)
        if table.indexes[layer].kinds[number] != _REGULAR or own[0] == NEVER:
            continue
        last, name = own, None
        for link in links:
            fate = fates.of(*link)
            if fate[0] == NEVER and name is None:
                name = link
            if fate[0] > last[0]:
                last = fate
        if last[0] != own[0]:
            found.append(Adopted(layer, number, last, name))
    return found


def fates_of(table: Table) -> Fates:
    """The fates of all files of an image."""
    fates = Fates(len(table.indexes))
    for row in table.walk():
        for copy in row.copies:
            if copy.ended != NEVER and table.indexes[copy.layer].kinds[copy.number] in (_REGULAR, _HARDLINK):
                fates.copy(copy)
        if row.run is not None and row.run.ended != NEVER and not row.run.empty:
            fates.run(row.run)
    return fates
