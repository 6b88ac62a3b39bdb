"""The merged tree between two depths: one directory at a time, each row with its state and what is beneath it.

A view looks at the lowest `at` layers and tells what differs from the lowest `since` of them: since = at - 1 is what
the top layer did, since = 0 the whole image so far, anything between a range.  Sizes and waste of what is beneath are
those of `at`.  The sums of directories in which layers meet are made once, in one pass, when first asked for; all
others are ranges of one layer's columns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from veneer.analysis.copies import NEVER, Cause, Copy, Place, Run
from veneer.analysis.events import Op, changed_fields
from veneer.analysis.table import Table
from veneer.analysis.waste import adoptions, fates_of
from veneer.changeset.entry import Entry, Kind
from veneer.errors import InvalidRequest, NotFound
from veneer.values import Value

_DIRECTORY, _WHITEOUT = int(Kind.DIRECTORY), int(Kind.WHITEOUT)
UNCHANGED = ""


class NoSuchDepth(InvalidRequest):
    """A range of layers that the image does not have."""


class NotThere(NotFound):
    """A path that no layer has, or that is no directory where one is wanted."""


class Sums(Value):
    """What is at and beneath a path: `size` bytes to be seen, `waste` bytes stored and hidden, `entries` to be seen,
    `changed` how many paths differ from before; `holders`: bit n is set if layer n stores some of the bytes.
    """

    __slots__ = ()
    size: int = 0
    waste: int = 0
    entries: int = 0
    changed: int = 0
    holders: int = 0

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that store some of the bytes, ascending."""
        return tuple(layer for layer in range(self.holders.bit_length()) if self.holders >> layer & 1)


_NOTHING = Sums()


def _together(first: Sums, second: Sums) -> Sums:
    return Sums(
        first.size + second.size, first.waste + second.waste, first.entries + second.entries,
        first.changed + second.changed, first.holders | second.holders,
    )  # fmt: skip


class Line(Value):
    """One path of a view.  `state`: an Op, or "" if it is as before; `entry` is what is there now, or was before.

    `is_there`: to be seen at this depth; if not, it was before, or `hidden` in between or before.
    `changed`: names of differing fields.  `sums` includes all beneath.
    """

    __slots__ = ()
    path: bytes
    state: Op | str
    entry: Entry
    is_there: bool
    changed: tuple[str, ...]
    sums: Sums
    place: Place | None

    @property
    def name(self) -> bytes:
        return self.path.rpartition(b"/")[2]

    @property
    def is_directory(self) -> bool:
        return self.entry.kind is Kind.DIRECTORY


class View:
    """The tree of the lowest `at` layers, beside that of the lowest `since`.  Raises NoSuchDepth."""

    def __init__(self, table: Table, at: int | None = None, since: int = 0) -> None:
        layers = len(table.indexes)
        self.at = layers if at is None else at
        self.since = since
        if not 0 <= since <= self.at <= layers:
            raise NoSuchDepth(
                f"no range from layer {since} to layer {self.at}: the image has {layers} layers",
                hint=f"give 0 <= since <= at <= {layers}",
            )
        self.table = table.up_to(self.at)
        self._names: _Names | None = None
        self._meeting: dict[bytes, Sums] | None = None

    # -- asking ----------------------------------------------------------------------------------------------

    def level(self, path: bytes = b"") -> list[Line]:
        """What is directly in directory `path`, by name, hidden things too.  Raises NotThere."""
        copies, place = self.table.find(path)
        if place is None:
            shown = path.decode(errors="backslashreplace")
            raise NotThere(f"/{shown} is no directory of this image" if copies else f"/{shown} is in no layer")
        return list(self.beneath(path, place))

    def beneath(self, path: bytes, place: Place) -> Iterator[Line]:
        """As `level`, for a directory that is at hand."""
        prefix = path + b"/" if path else b""
        for name, copies, inner in self.table.children(place, path):
            yield self.line(prefix + name, copies, inner)

    def line(self, path: bytes, copies: tuple[Copy, ...], place: Place | None) -> Line:
        """The line of a path, from its copies."""
        sums = self.sums(path, copies, place)
        before, now = self._pair(copies)
        shown = now or before or copies[-1]
        entry = self.table.entry(shown, path)
        state, changed = self._state(path, before, now, entry)
        if now is None and copies[-1].ended >= self.since:
            state = Op.DELETED  # perhaps something that came and went between the two depths
        if state == UNCHANGED and sums.changed and place is not None:
            state = Op.MODIFIED
        return Line(path, state, entry, now is not None, changed, sums, place)

    def total(self) -> Sums:
        """The sums of the whole tree."""
        return self.sums(b"", (), self.table.root())

    def sums(self, path: bytes, copies: tuple[Copy, ...], place: Place | None) -> Sums:
        """The sums of a path and all beneath it."""
        own = self._own(copies)
        if place is None:
            return own
        run = self.table.run(place)
        return _together(own, self._of_run(run) if run is not None else self._sums_of_meeting()[path])

    # -- states ----------------------------------------------------------------------------------------------

    def _pair(self, copies: tuple[Copy, ...]) -> tuple[Copy | None, Copy | None]:
        """The copies to be seen before and now."""
        before = now = None
        for copy in copies:
            if copy.layer < self.since <= copy.ended:
                before = copy
            if copy.ended == NEVER:
                now = copy
        return before, now

    def _state(
        self, path: bytes, before: Copy | None, now: Copy | None, entry: Entry
    ) -> tuple[Op | str, tuple[str, ...]]:
        if now is None:
            return UNCHANGED, ()
        if before is None:
            return Op.ADDED, ()
        if before == now or self.table.same_directory(before, now):
            return UNCHANGED, ()
        fields = changed_fields(self.table.entry(before, path), entry)
        return self._op(before, now), fields

    def _op(self, before: Copy, now: Copy) -> Op:
        if self._kind(before) == self._kind(now) == _DIRECTORY:
            return Op.METADATA
        cause = self.table.difference((before.layer, before.number), (now.layer, now.number))
        return {Cause.REPLACED: Op.REPLACED, Cause.OVERWRITTEN: Op.MODIFIED}.get(cause, Op.METADATA)

    def _kind(self, copy: Copy) -> int:
        return self.table.indexes[copy.layer].kinds[copy.number]

    def _differs(self, copies: tuple[Copy, ...]) -> bool:
        before, now = self._pair(copies)
        if before is None or now is None:
            return before is not now
        return before != now and not self.table.same_directory(before, now)

    # -- sums ------------------------------------------------------------------------------------------------

    @property
    def names(self) -> _Names:
        """The files that outlive the name they are stored under."""
        if self._names is None:
            self._names = _Names(self.table)
        return self._names

    def _own(self, copies: tuple[Copy, ...]) -> Sums:
        """What the copies of one path store."""
        names = self.names
        size = waste = there = holders = 0
        for copy in copies:
            stored = self.table.indexes[copy.layer].sizes[copy.number]
            if stored:
                holders |= 1 << copy.layer
            if copy.ended == NEVER:
                there = 1
                size += stored + names.given.get((copy.layer, copy.number), 0)
            elif (copy.layer, copy.number) not in names.kept:
                waste += stored
        return Sums(size, waste, there, int(self._differs(copies)), holders)

    def _of_run(self, run: Run) -> Sums:
        """What a run holds."""
        if run.empty:
            return _NOTHING
        index = self.table.indexes[run.layer]
        stored = index.bytes_of(run.start, run.end)
        entries = run.end - run.start - index.kinds.count(_WHITEOUT, run.start, run.end)
        holders = 1 << run.layer if stored else 0
        before = run.layer < self.since <= run.ended
        if run.ended != NEVER:
            kept = self.names.sum_of(self.names.kept_in, run)
            return Sums(0, stored - kept, 0, entries if before else 0, holders)
        given = self.names.sum_of(self.names.given_in, run)
        return Sums(stored + given, 0, entries, 0 if before else entries, holders)

    def _sums_of_meeting(self) -> dict[bytes, Sums]:
        """The sums beneath each directory in which layers meet."""
        if self._meeting is None:
            found: dict[bytes, Sums] = {}
            above: list[tuple[bytes, Sums]] = []

            def close() -> None:
                path, sums = above.pop()
                found[path] = sums
                if above:
                    above[-1] = (above[-1][0], _together(above[-1][1], sums))

            for row in self.table.walk():
                while len(above) > row.depth:
                    close()
                own = self._own(row.copies)
                if row.run is not None:
                    own = _together(own, self._of_run(row.run))
                if above:
                    above[-1] = (above[-1][0], _together(above[-1][1], own))
                if row.place is not None and row.run is None:
                    above.append((row.path, _NOTHING))
            while above:
                close()
            self._meeting = found
        return self._meeting


class _Names:
    """Files with several names, where the name they are stored under is hidden and another one is not.

    `kept`: the entries that store them, which are no waste.  `given`: bytes by the entry of the name to be seen, which
    stores nothing itself.  Both also by layer, as sorted (number, bytes).
    """

    def __init__(self, table: Table) -> None:
        self.kept: dict[tuple[int, int], int] = {}
        self.given: dict[tuple[int, int], int] = {}
        self.kept_in: list[list[tuple[int, int]]] = [[] for _ in table.indexes]
        self.given_in: list[list[tuple[int, int]]] = [[] for _ in table.indexes]
        if not any(index.count(Kind.HARDLINK) for index in table.indexes):
            return
        for file in adoptions(table, fates_of(table)):
            if file.name is not None:
                size = table.indexes[file.layer].sizes[file.number]
                self.kept[file.layer, file.number] = size
                self.given[file.name] = size
        for flat, by_layer in ((self.kept, self.kept_in), (self.given, self.given_in)):
            for (layer, number), size in sorted(flat.items()):
                by_layer[layer].append((number, size))

    @staticmethod
    def sum_of(by_layer: list[list[tuple[int, int]]], run: Run) -> int:
        """The bytes among those that are in a run."""
        numbered = by_layer[run.layer]
        if not numbered:
            return 0
        start, end = bisect_left(numbered, (run.start, 0)), bisect_left(numbered, (run.end, 0))
        return sum(size for _, size in numbered[start:end])
