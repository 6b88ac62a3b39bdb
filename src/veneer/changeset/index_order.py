"""Numbers a layer's entries as its index has them: a directory right before all that is beneath it, siblings by name.

In a tar that was written by walking a tree they come so; one pass over the rows then finds what is in what, and
nothing has to be sorted or looked up.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from veneer.changeset.index_format import TOP
from veneer.values import Value

_RUN = 1 << 16
"""So many names of one directory are sorted at once."""


class Rows(Value):
    """Entries as they were added: the number of the directory each is in, by path in `numbers`; where in `names` each
    one's name ends; which are directories."""

    __slots__ = ()
    owners: Sequence[int]
    name_ends: Sequence[int]
    names: bytearray
    is_directory: bytearray
    numbers: dict[bytes, int]

    def name(self, row: int) -> bytes:
        return bytes(self.names[self.name_ends[row - 1] if row else 0 : self.name_ends[row]])


class Order(Value):
    """How an index numbers its entries: `order` is entry -> row, `parents` entry -> that of its directory.

    The others go by slot, 0 being the top and the rest the directories as they come: their entry, the end of what is
    beneath, and where their children are among `children`.
    """

    __slots__ = ()
    order: array[int]
    parents: array[int]
    dirs: array[int]
    ends: array[int]
    child_starts: array[int]
    child_counts: array[int]
    children: array[int]


# ---- as they come


class _Open:
    """A directory whose children are coming."""

    __slots__ = ("children", "entry", "last", "number", "path", "slot")

    def __init__(self, number: int, entry: int, slot: int, path: bytes) -> None:
        self.number = number
        self.entry = entry
        self.slot = slot
        self.path = path
        self.last = b""
        self.children = array("I")


def in_order(rows: Rows) -> Order | None:
    """The order of rows that come as an index has them, no path twice; None if they do not."""
    parents, children = array("I"), array("I")
    dirs, ends, starts, counts = array("I", [TOP]), array("I", [0]), array("I", [0]), array("I", [0])
    names, is_directory = rows.names, rows.is_directory
    here = _Open(0, TOP, 0, b"")
    above: list[_Open] = []
    end = 0

    def close(directory: _Open, at: int) -> None:
        ends[directory.slot] = at
        starts[directory.slot] = len(children)
        counts[directory.slot] = len(directory.children)
        children.extend(directory.children)

    for row, (owner, name_end) in enumerate(zip(rows.owners, rows.name_ends, strict=True)):
        name, end = bytes(names[end:name_end]), name_end
        while owner != here.number:
            if not above:
                return None
            close(here, row)
            here = above.pop()
        if name <= here.last and row:  # the root's own name is empty, and its entry the first
            return None
        here.last = name
        here.children.append(row)
        parents.append(here.entry)
        if not is_directory[row]:
            continue
        dirs.append(row)
        ends.append(row + 1)
        starts.append(0)
        counts.append(0)
        path = here.path + b"/" + name if here.path else name
        number = rows.numbers.get(path) if name else None
        if number is not None:
            above.append(here)
            here = _Open(number, row, len(dirs) - 1, path)
    for directory in (here, *reversed(above)):
        close(directory, len(parents))
    return Order(array("I", range(len(parents))), parents, dirs, ends, starts, counts, children)


# ---- in any order


class _Frame:
    """A directory whose children are being numbered."""

    __slots__ = ("at", "children", "directories", "number", "path", "rows", "since", "slot")

    def __init__(self, path: bytes, number: int, slot: int, since: int, rows: array[int]) -> None:
        self.path = path
        self.number = number
        self.slot = slot
        self.since = since
        self.rows = rows
        self.at = 0
        self.children = array("I")
        self.directories: Iterator[int] = iter(())


class _Sorter:
    """Sorts rows directory by directory; see `put_in_order`."""

    def __init__(self, rows: Rows, real: int) -> None:
        self._rows = rows
        self._real = real
        self._replaced: dict[int, int] = {}
        self._group_by_directory()

    def _group_by_directory(self) -> None:
        """Counting sort of the row numbers by directory; within one directory in the order of adding."""
        owners = self._rows.owners
        free = array("I", bytes(4 * (len(self._rows.numbers) + 1)))
        for number in owners:
            free[number + 1] += 1
        free = array("I", accumulate(free))
        self._grouped = array("I", bytes(4 * len(owners)))
        for row, number in enumerate(owners):
            at = free[number]
            self._grouped[at] = row
            free[number] = at + 1
        self._group_ends = free  # each has moved up to the start of the next

    def _frame(self, directory: int, path: bytes, number: int, slot: int, since: int) -> _Frame:
        """What is finally in a directory, by name; rows before `since` do not count."""
        real, is_directory, name_of = self._real, self._rows.is_directory, self._rows.name
        final = array("I")
        last = b""
        for row in self._by_name(
            self._grouped[self._group_ends[directory - 1] if directory else 0 : self._group_ends[directory]]
        ):
            if row < since:
                continue
            name = name_of(row)
            if name != last or not final:
                final.append(row)
                last = name
            elif row < real:
                before = final[-1]
                if not is_directory[before]:
                    self._replaced[row] = before
                elif before in self._replaced:
                    self._replaced[row] = self._replaced[before]
                final[-1] = row
        frame = _Frame(path, number, slot, since, final)
        frame.directories = iter([at for at, row in enumerate(final) if is_directory[row]])
        return frame

    def _by_name(self, rows: array[int]) -> Iterable[int]:
        """The rows by name; of one name in the order of adding."""
        if len(rows) <= _RUN:
            return sorted(rows, key=self._rows.name)
        # A million names at once are a hundred megabytes; sorted runs, merged, keep a few of them in sight.
        runs = [array("I", sorted(rows[at : at + _RUN], key=self._rows.name)) for at in range(0, len(rows), _RUN)]
        return heapq.merge(*runs, key=self._rows.name)

    def sorted(self) -> Order:
        """The order of all of them."""
        order, parents, children = array("I"), array("I"), array("I")
        dirs, ends, starts, counts = array("I", [TOP]), array("I", [0]), array("I", [0]), array("I", [0])
        numbers = self._rows.numbers
        stack = [self._frame(0, b"", TOP, 0, 0)]
        while stack:
            frame = stack[-1]
            at = next(frame.directories, -1)
            first, count = len(order), (at + 1 if at >= 0 else len(frame.rows)) - frame.at
            order.extend(frame.rows[frame.at : frame.at + count])
            parents.extend([frame.number] * count)
            frame.children.extend(range(first, first + count))
            frame.at += count
            if at < 0:
                ends[frame.slot] = len(order)
                starts[frame.slot] = len(children)
                counts[frame.slot] = len(frame.children)
                children.extend(frame.children)
                stack.pop()
                continue
            row = frame.rows[at]
            name = self._rows.name(row)
            dirs.append(len(order) - 1)
            for column in (ends, starts, counts):
                column.append(0)
            ends[-1] = len(order)
            child = frame.path + b"/" + name if frame.path else name
            number = numbers.pop(child, None) if name else None  # popped to give its path back
            if number is not None:
                since = max(frame.since, self._replaced.get(row, 0))
                stack.append(self._frame(number, child, len(order) - 1, len(dirs) - 1, since))
        return Order(order, parents, dirs, ends, starts, counts, children)


def put_in_order(rows: Rows, real: int) -> Order:
    """The order of rows that come in any.

    The last of several with one path counts; what was beneath a directory before something else took its place is left
    out.  The rows from `real` on were never added: they stand in for directories.  `numbers` is used up.
    """
    return _Sorter(rows, real).sorted()
