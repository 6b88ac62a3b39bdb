"""What an image stores and does not show: whose bytes they are, who hid them, and why.

Definitions.  *Stored* is the sum of the regular files of all layers, a file with several names once.  *Visible* is that
sum over the files that can be seen in the whole image, under any of their names.  Their difference is the *waste*;
*efficiency* is visible by stored (1 for an image that stores nothing).  Waste is *held* by the layer that stores the
bytes and *made* by the layer that hid them, which is the one a Dockerfile's author can do something about.
A file with several names is hidden when the last of them is, so a link from a higher layer keeps it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from veneer.analysis.copies import NEVER, Cause, Copy, Fate, Row, Run
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.values import Value

_REGULAR, _DIRECTORY, _HARDLINK, _WHITEOUT = (
    int(kind) for kind in (Kind.REGULAR, Kind.DIRECTORY, Kind.HARDLINK, Kind.WHITEOUT)
)


class Loss(Value):
    """Waste of one kind: `bytes` in `files` that layer `holder` stores and layer `maker` hid by `cause`, at `path`.

    `path` is what the maker did something to: a file, or the directory that it deleted or replaced as a whole.
    """

    __slots__ = ()
    path: bytes
    holder: int
    maker: int
    cause: Cause
    bytes: int
    files: int


class LayerFigures(Value):
    """One layer's part.  Bytes: `stored` in it; `net`, by which it changed what is visible (may be negative);
    `total` visible with it on top; of waste `made` and `held`.  Paths it added, modified (content), changed the
    metadata of alone, deleted, exchanged for another kind.
    """

    __slots__ = ()
    stored: int
    net: int
    total: int
    made: int
    held: int
    added: int
    modified: int
    metadata: int
    deleted: int
    exchanged: int


class Account(Value):
    """What an image stores, shows and wastes; `layers` base first, `losses` the most bytes first."""

    __slots__ = ()
    layers: tuple[LayerFigures, ...]
    losses: tuple[Loss, ...]

    @property
    def stored(self) -> int:
        return sum(layer.stored for layer in self.layers)

    @property
    def visible(self) -> int:
        return self.layers[-1].total if self.layers else 0

    @property
    def wasted(self) -> int:
        return self.stored - self.visible

    @property
    def efficiency(self) -> float:
        """Visible by stored, 0 to 1."""
        return self.visible / self.stored if self.stored else 1.0


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


class _Counts:
    """The paths of each layer, by what it did to them."""

    def __init__(self, table: Table) -> None:
        layers = len(table.indexes)
        self._same = table.same_directory
        self.added = [0] * layers
        self.modified = [0] * layers
        self.metadata = [0] * layers
        self.deleted = [0] * layers
        self.exchanged = [0] * layers
        self._by_cause = {
            Cause.OVERWRITTEN: self.modified, Cause.REWRITTEN: self.metadata, Cause.REPLACED: self.exchanged,
        }  # fmt: skip

    def path(self, copies: Sequence[Copy]) -> None:
        before: Copy | None = None
        for copy in copies:
            counted = self._by_cause.get(before.cause) if before is not None and before.cause is not None else None
            if before is not None and counted is not None and before.ended == copy.layer:
                if before.cause is not Cause.REWRITTEN or not self._same(before, copy):
                    counted[copy.layer] += 1
            else:
                self._gone(before)
                self.added[copy.layer] += 1
            before = copy
        self._gone(before)

    def _gone(self, copy: Copy | None) -> None:
        if copy is not None and copy.ended != NEVER:
            self.deleted[copy.ended] += 1

    def run(self, run: Run, paths: int) -> None:
        self.added[run.layer] += paths
        if run.ended != NEVER:
            self.deleted[run.ended] += paths


def account(table: Table, rows: Iterable[Row] | None = None) -> Account:
    """Weigh an image.  Goes through the directories in which layers meet, and the rest as ranges.

    `rows` are those of `table.walk`, for whoever walks it for something else too.
    """
    indexes, counts, fates = table.indexes, _Counts(table), Fates(len(table.indexes))
    losses: dict[tuple[bytes, int, int, Cause], list[int]] = {}

    def lose(fate: Fate, holder: int, size: int, files: int) -> None:
        ended, cause, by = fate
        if cause is not None and files:
            loss = losses.setdefault((by, holder, ended, cause), [0, 0])
            loss[0] += size
            loss[1] += files

    for row in table.walk() if rows is None else rows:
        if row.copies:
            counts.path(row.copies)
        for copy in row.copies:
            if copy.ended != NEVER:
                kind = indexes[copy.layer].kinds[copy.number]
                if kind in (_REGULAR, _HARDLINK):
                    fates.copy(copy)
                    if kind == _REGULAR:
                        lose(copy.fate, copy.layer, indexes[copy.layer].sizes[copy.number], 1)
        if row.run is not None and not row.run.empty:
            run = row.run
            kinds = indexes[run.layer].kinds
            counts.run(run, run.end - run.start - kinds.count(_WHITEOUT, run.start, run.end))
            if run.ended != NEVER:
                fates.run(run)
                lose(run.fate, run.layer, indexes[run.layer].bytes_of(run.start, run.end),
                     kinds.count(_REGULAR, run.start, run.end))  # fmt: skip
    for file in adoptions(table, fates):
        size = indexes[file.layer].sizes[file.number]
        lose(fates.of(file.layer, file.number), file.layer, -size, -1)
        lose(file.fate, file.layer, size, 1)
    told = (Loss(by, holder, maker, cause, size, files)
            for (by, holder, maker, cause), (size, files) in losses.items() if files or size)  # fmt: skip
    return _account(table, counts, sorted(told, key=lambda loss: (-loss.bytes, loss.path, loss.holder)))


def _account(table: Table, counts: _Counts, losses: Sequence[Loss]) -> Account:
    layers = len(table.indexes)
    made, held = [0] * layers, [0] * layers
    for loss in losses:
        made[loss.maker] += loss.bytes
        held[loss.holder] += loss.bytes
    figures, total = [], 0
    for layer, index in enumerate(table.indexes):
        net = index.bytes_total - made[layer]
        total += net
        figures.append(
            LayerFigures(index.bytes_total, net, total, made[layer], held[layer], counts.added[layer],
                         counts.modified[layer], counts.metadata[layer], counts.deleted[layer],
                         counts.exchanged[layer])
        )  # fmt: skip
    return Account(tuple(figures), tuple(losses))


class Waste(Value):
    """Losses put together under one heading; `holders` and `makers` are layers, ascending."""

    __slots__ = ()
    key: bytes | int | Cause
    bytes: int
    files: int
    holders: tuple[int, ...]
    makers: tuple[int, ...]
    causes: tuple[Cause, ...]


def by_path(losses: Iterable[Loss]) -> list[Waste]:
    """By the path that something was done to, the most bytes first."""
    return _grouped(losses, lambda loss: loss.path)


def by_maker(losses: Iterable[Loss]) -> list[Waste]:
    """By the layer that made the waste, the most bytes first."""
    return _grouped(losses, lambda loss: loss.maker)


def by_cause(losses: Iterable[Loss]) -> list[Waste]:
    """By cause, the most bytes first."""
    return _grouped(losses, lambda loss: loss.cause)


def _grouped(losses: Iterable[Loss], key: object) -> list[Waste]:
    groups: dict[object, list[Loss]] = {}
    for loss in losses:
        groups.setdefault(key(loss), []).append(loss)  # type: ignore[operator]
    return sorted(_wastes(groups), key=lambda waste: (-waste.bytes, -waste.files, str(waste.key)))


def _wastes(groups: dict[object, list[Loss]]) -> Iterator[Waste]:
    for key, losses in groups.items():
        yield Waste(
            key,  # type: ignore[arg-type]
            sum(loss.bytes for loss in losses),
            sum(loss.files for loss in losses),
            tuple(sorted({loss.holder for loss in losses})),
            tuple(sorted({loss.maker for loss in losses})),
            tuple(sorted({loss.cause for loss in losses})),
        )


def saved_by_squashing(losses: Iterable[Loss], first: int, last: int) -> int:
    """The bytes that go when layers `first` to `last` (counted from 0, both included) become one."""
    return sum(loss.bytes for loss in losses if first <= loss.holder and loss.maker <= last)
