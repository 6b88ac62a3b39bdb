"""What an image stores and does not show: whose bytes they are, who hid them, and why.

Definitions.  *Stored* is the sum of the regular files of all layers, a file with several names once.  *Visible* is that
sum over the files that can be seen in the whole image, under any of their names.  Their difference is the *waste*;
*efficiency* is visible by stored (1 for an image that stores nothing).  Waste is *held* by the layer that stores the
bytes and *made* by the layer that hid them, which is the one a Dockerfile's author can do something about.
A file with several names is hidden when the last of them is, so a link from a higher layer keeps it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from veneer.analysis.copies import NEVER, Cause, Copy, Fate, Row, Run
from veneer.analysis.names import linked_files
from veneer.analysis.sweep import Again, Together, sweep
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.values import Value

_REGULAR, _HARDLINK, _WHITEOUT = int(Kind.REGULAR), int(Kind.HARDLINK), int(Kind.WHITEOUT)


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


class Account:
    """What an image stores, shows and wastes; `layers` base first.

    `totals` are its losses put together by holder, maker and cause, each with path b"".
    """

    def __init__(self, layers: Sequence[LayerFigures], totals: Sequence[Loss], by_path: _Losses) -> None:
        self.layers = tuple(layers)
        self.totals = tuple(totals)
        self._by_path = by_path

    @functools.cached_property
    def losses(self) -> tuple[Loss, ...]:
        """Each loss, the most bytes first; of many it takes a while when first asked for."""
        return self._by_path.all()

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

    def together(self, step: Together) -> None:
        for each in step.alone:
            self.added[each.layer] += each.entries
        for files in step.again:
            count = len(files.names)
            self.added[files.layers[0]] += count
            for _, high, cause, _ in files.hidden():
                self._by_cause[cause][high] += count

    def _gone(self, copy: Copy | None) -> None:
        if copy is not None and copy.ended != NEVER:
            self.deleted[copy.ended] += 1

    def run(self, run: Run, paths: int) -> None:
        self.added[run.layer] += paths
        if run.ended != NEVER:
            self.deleted[run.ended] += paths


class _Losses:
    """Losses as they are found."""

    def __init__(self, table: Table) -> None:
        self._indexes = table.indexes
        self._known: dict[tuple[bytes, int, int, Cause], list[int]] = {}
        self._again: list[tuple[bytes, Again]] = []

    def add(self, fate: Fate, holder: int, size: int, files: int) -> None:
        ended, cause, by = fate
        if cause is not None and files:
            loss = self._known.setdefault((by, holder, ended, cause), [0, 0])
            loss[0] += size
            loss[1] += files

    def again(self, files: Again, path: bytes) -> None:
        """Those of directory `path`."""
        self._again.append((path, files))

    def totals(self) -> list[Loss]:
        """By holder, maker and cause alone."""
        found: dict[tuple[int, int, Cause], list[int]] = {}

        def add(holder: int, maker: int, cause: Cause, size: int, files: int) -> None:
            loss = found.setdefault((holder, maker, cause), [0, 0])
            loss[0] += size
            loss[1] += files

        for (_, holder, maker, cause), (size, count) in self._known.items():
            add(holder, maker, cause, size, count)
        for _, each in self._again:
            for holder, maker, cause, size in each.hidden():
                add(holder, maker, cause, size, len(each.names))
        return [Loss(b"", *key, size, count) for key, (size, count) in sorted(found.items()) if count or size]

    def all(self) -> tuple[Loss, ...]:
        """Each, the most bytes first."""
        known = dict(self._known)
        found: list[Loss] = []
        for path, each in self._again:
            prefix = path + b"/" if path else b""
            for at, (low, high, cause, _) in enumerate(each.hidden()):
                sizes = self._indexes[low].sizes
                for name, numbers in zip(each.names, each.numbers, strict=True):
                    by, size, files = prefix + name, sizes[numbers[at]], 1
                    if known and (more := known.pop((by, low, high, cause), None)):
                        size, files = size + more[0], files + more[1]
                    if files or size:
                        found.append(Loss(by, low, high, cause, size, files))
        found += (Loss(*key, size, files) for key, (size, files) in known.items() if files or size)
        found.sort()
        found.sort(key=attrgetter("bytes"), reverse=True)
        return tuple(found)


def account(table: Table, steps: Iterable[Row | Together] | None = None) -> Account:
    """Weigh an image.  Goes through the directories in which layers meet, and the rest as ranges.

    `steps` are those of `sweep`, for whoever sweeps it for something else too.
    """
    indexes, counts, losses = table.indexes, _Counts(table), _Losses(table)
    for step in sweep(table) if steps is None else steps:
        if isinstance(step, Together):
            counts.together(step)
            for files in step.again:
                losses.again(files, step.path)
            continue
        if step.copies:
            counts.path(step.copies)
        for copy in step.copies:
            if copy.ended != NEVER:
                kind = indexes[copy.layer].kinds[copy.number]
                if kind == _REGULAR:
                    losses.add(copy.fate, copy.layer, indexes[copy.layer].sizes[copy.number], 1)
        if step.run is not None and not step.run.empty:
            run = step.run
            kinds = indexes[run.layer].kinds
            counts.run(run, run.end - run.start - kinds.count(_WHITEOUT, run.start, run.end))
            if run.ended != NEVER:
                losses.add(run.fate, run.layer, indexes[run.layer].bytes_of(run.start, run.end),
                           kinds.count(_REGULAR, run.start, run.end))  # fmt: skip
    for file in linked_files(table):
        stored, owner = file.stored, file.owner(len(indexes))
        if owner is not stored:
            losses.add(stored.fate, stored.layer, -file.size, -1)
            losses.add(owner.fate, stored.layer, file.size, 1)
    return _account(table, counts, losses)


def _account(table: Table, counts: _Counts, losses: _Losses) -> Account:
    layers, totals = len(table.indexes), losses.totals()
    made, held = [0] * layers, [0] * layers
    for loss in totals:
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
    return Account(figures, totals, losses)


class Waste(Value):
    """Losses put together under one heading; `holders` and `makers` are layers, ascending.

    Where nothing but empty files was hidden, nothing is wasted and there is no heading; beside others they count as
    `files`.
    """

    __slots__ = ()
    key: bytes | int | Cause
    bytes: int
    files: int
    holders: tuple[int, ...]
    makers: tuple[int, ...]
    causes: tuple[Cause, ...]


def by_path(losses: Iterable[Loss]) -> list[Waste]:
    """By the path that something was done to, the most bytes first."""
    return _grouped(losses, attrgetter("path"))


def by_maker(losses: Iterable[Loss]) -> list[Waste]:
    """By the layer that made the waste, the most bytes first."""
    return _grouped(losses, attrgetter("maker"))


def by_cause(losses: Iterable[Loss]) -> list[Waste]:
    """By cause, the most bytes first."""
    return _grouped(losses, attrgetter("cause"))


def _grouped(losses: Iterable[Loss], key: Callable[[Loss], bytes | int | Cause]) -> list[Waste]:
    groups: dict[bytes | int | Cause, list[Loss]] = {}
    for loss in losses:
        groups.setdefault(key(loss), []).append(loss)
    found = [waste for key, losses in groups.items() if (waste := _waste(key, losses)).bytes]
    found.sort()
    found.sort(key=attrgetter("bytes", "files"), reverse=True)
    return found


def _waste(key: bytes | int | Cause, losses: Sequence[Loss]) -> Waste:
    if len(losses) == 1:  # as most paths have it
        loss = losses[0]
        return Waste(key, loss.bytes, loss.files, (loss.holder,), (loss.maker,), (loss.cause,))
    return Waste(
        key,
        sum(loss.bytes for loss in losses),
        sum(loss.files for loss in losses),
        tuple(sorted({loss.holder for loss in losses})),
        tuple(sorted({loss.maker for loss in losses})),
        tuple(sorted({loss.cause for loss in losses})),
    )


def saved_by_squashing(losses: Iterable[Loss], first: int, last: int) -> int:
    """The bytes that go when layers `first` to `last` (counted from 0, both included) become one."""
    return sum(loss.bytes for loss in losses if first <= loss.holder and loss.maker <= last)
