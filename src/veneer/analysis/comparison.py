"""Two images side by side: their files, directory by directory.

Directories that both have from the same layer alone, equally hidden, are passed over as a whole, so images on one base
are compared about as fast as what is above it.
"""

from __future__ import annotations

from collections.abc import Iterator

from veneer.analysis.copies import NEVER, Copy, Place, Run
from veneer.analysis.events import Op, changed_fields, entries_of
from veneer.analysis.table import Table
from veneer.analysis.view import View
from veneer.changeset.entry import Entry, Kind
from veneer.values import Value

TIMES = frozenset({"mtime"})
"""What a semantic comparison does not look at."""
_DIRECTORY, _HARDLINK = int(Kind.DIRECTORY), int(Kind.HARDLINK)


class Difference(Value):
    """A path that is not the same in two images.

    `op` turns the first into the second; `before`, `after` are None where it is not.  Of a directory that only one has
    `entries` are all beneath it, and `size_before`, `size_after` include them.
    """

    __slots__ = ()
    path: bytes
    op: Op
    before: Entry | None
    after: Entry | None
    changed: tuple[str, ...]
    size_before: int
    size_after: int
    entries: int = 0


class _Side:
    def __init__(self, table: Table, names: tuple[object, ...]) -> None:
        self.table = table
        self.names = names
        """What tells layers apart: the same for layers of the same content."""
        self.view = View(table)

    def seen(self, copies: tuple[Copy, ...]) -> Copy | None:
        return copies[-1] if copies and copies[-1].ended == NEVER else None

    def is_directory(self, copy: Copy) -> bool:
        return self.table.indexes[copy.layer].kinds[copy.number] == _DIRECTORY

    def run_of(self, place: Place) -> tuple[object, int, int, bool] | None:
        """What is in a directory that only one layer has: the same for the same; None if nothing tells that."""
        run = self.table.run(place)
        if run is None or self._leads_below(run):
            return None
        return (self.names[run.layer], run.start, run.end, run.ended == NEVER) if not run.empty else ("", 0, 0, True)

    def _leads_below(self, run: Run) -> bool:
        """Whether a hard link in it is a name of a lower layer's file, which another image may have otherwise."""
        kinds = self.table.indexes[run.layer].kinds
        number = kinds.find(_HARDLINK, run.start, run.end)
        while number >= 0 and self.table.content(run.layer, number)[0] == run.layer:
            number = kinds.find(_HARDLINK, number + 1, run.end)
        return number >= 0


def compare(
    first: Table, second: Table, names: tuple[tuple[object, ...], tuple[object, ...]], *,
    semantic: bool = False, expand: bool = False,
) -> Iterator[Difference]:  # fmt: skip
    """The paths that differ between two images, by path.

    `names` are for each image one for each layer, equal for layers of equal content (diff IDs).  `semantic` does not
    look at times.  A directory that only one of them has stands for all in it, unless `expand`.
    """
    sides = (_Side(first, names[0]), _Side(second, names[1]))
    ignored = TIMES if semantic else frozenset[str]()
    stack = [_pairs(sides, b"", (first.root(), second.root()))]
    while stack:
        for path, copies, places in stack[-1]:
            before, after = (side.seen(each) for side, each in zip(sides, copies, strict=True))
            if before is not None or after is not None:
                yield from _differences(sides, path, (before, after), copies, places, ignored, expand=expand)
            if _goes_on(sides, (before, after), places):
                stack.append(_pairs(sides, path, places))
                break
        else:
            stack.pop()


_Children = Iterator[tuple[bytes, tuple[tuple[Copy, ...], tuple[Copy, ...]], tuple[Place | None, Place | None]]]


def _pairs(sides: tuple[_Side, _Side], path: bytes, places: tuple[Place | None, Place | None]) -> _Children:
    """The children of a directory of both images, by name."""
    streams = [iter(side.table.children(place, path)) if place else iter(())
               for side, place in zip(sides, places, strict=True)]  # fmt: skip
    prefix = path + b"/" if path else b""
    one, other = next(streams[0], None), next(streams[1], None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield prefix + one[0], (one[1], ()), (one[2], None)
            one = next(streams[0], None)
        elif one is None or other[0] < one[0]:
            yield prefix + other[0], ((), other[1]), (None, other[2])
            other = next(streams[1], None)
        else:
            yield prefix + one[0], (one[1], other[1]), (one[2], other[2])
            one, other = next(streams[0], None), next(streams[1], None)


def _goes_on(
    sides: tuple[_Side, _Side], seen: tuple[Copy | None, Copy | None], places: tuple[Place | None, Place | None]
) -> bool:
    """Whether a directory that both have must be looked into."""
    if places[0] is None or places[1] is None:
        return False
    if not all(copy and side.is_directory(copy) for side, copy in zip(sides, seen, strict=True)):
        return False
    run, other = sides[0].run_of(places[0]), sides[1].run_of(places[1])
    return run is None or other is None or run != other


def _differences(
    sides: tuple[_Side, _Side], path: bytes, seen: tuple[Copy | None, Copy | None],
    copies: tuple[tuple[Copy, ...], tuple[Copy, ...]], places: tuple[Place | None, Place | None],
    ignored: frozenset[str], *, expand: bool,
) -> Iterator[Difference]:  # fmt: skip
    if _is_same(sides, seen):
        return
    entries = [side.table.entry(copy, path) if copy else None for side, copy in zip(sides, seen, strict=True)]
    before, after = entries
    if before is not None and after is not None:
        changed = tuple(name for name in changed_fields(before, after) if name not in ignored)
        if before.kind is after.kind is Kind.DIRECTORY:
            changed = tuple(name for name in changed if name != "mtime")
        if before.kind is after.kind or Kind.DIRECTORY not in (before.kind, after.kind):
            if changed:
                yield Difference(path, _op(changed), before, after, changed, before.size, after.size)
            return
        number = 0 if before.kind is Kind.DIRECTORY else 1
        sums = sides[number].view.sums(path, copies[number], places[number])
        sizes = (before.size, sums.size) if number else (sums.size, after.size)
        yield Difference(path, _op(changed), before, after, changed, *sizes, 0 if expand else sums.entries - 1)
    for number, op in ((0, Op.DELETED), (1, Op.ADDED)):
        entry, place, side = entries[number], places[number], sides[number]
        if entry is None:
            continue
        sums = side.view.sums(path, copies[number], place)
        if entries[1 - number] is None:
            sizes = (sums.size, 0) if op is Op.DELETED else (0, sums.size)
            yield Difference(path, op, before, after, (), *sizes, 0 if expand else sums.entries - 1)
        if expand and place is not None:
            yield from _all_beneath(side, path, place, op)


def _is_same(sides: tuple[_Side, _Side], seen: tuple[Copy | None, Copy | None]) -> bool:
    """Whether both are the very same entry of the same layer, and no link to something else."""
    one, other = seen
    return (
        one is not None and other is not None and one.number == other.number
        and sides[0].names[one.layer] == sides[1].names[other.layer]
        and sides[0].table.content(one.layer, one.number) == (one.layer, one.number)
    )  # fmt: skip


def _op(changed: tuple[str, ...]) -> Op:
    if "kind" in changed:
        return Op.REPLACED
    return Op.MODIFIED if {"content", "link", "device"} & set(changed) else Op.METADATA


def _all_beneath(side: _Side, path: bytes, place: Place, op: Op) -> Iterator[Difference]:
    """One difference for each path to be seen beneath a directory that only one image has."""
    run = side.table.run(place)
    if run is not None:
        yield from _all_of(side, run, path, op)
        return
    stack = [(path, side.table.children(place, path))]
    while stack:
        above, children = stack[-1]
        for name, copies, inner in children:
            below = above + b"/" + name
            copy = side.seen(copies)
            if copy is not None:
                yield _only(side.table.entry(copy, below), op)
            if inner is not None and (run := side.table.run(inner)) is not None:
                yield from _all_of(side, run, below, op)
            elif inner is not None:
                stack.append((below, side.table.children(inner, below)))
                break
        else:
            stack.pop()


def _all_of(side: _Side, run: Run, path: bytes, op: Op) -> Iterator[Difference]:
    if run.ended == NEVER:
        for number, below in entries_of(side.table, run, path):
            yield _only(side.table.entry(Copy(run.layer, number), below), op)


def _only(entry: Entry, op: Op) -> Difference:
    if op is Op.DELETED:
        return Difference(entry.path, op, entry, None, (), entry.size, 0)
    return Difference(entry.path, op, None, entry, (), 0, entry.size)
