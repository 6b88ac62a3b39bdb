"""The merged tree between two depths: one directory at a time, each row with its state and what is beneath it.

A view looks at the lowest `at` layers and tells what differs from the lowest `since` of them: since = at - 1 is what
the top layer did, since = 0 the whole image so far, anything between a range.  Sizes and waste of what is beneath are
those of `at`.  The sums of directories in which layers meet are made in one pass, when first asked for; all others are
ranges of one layer's columns.  Views of one table can share that pass: `Depths`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from veneer.analysis.copies import NEVER, Cause, Copy, Place, Run
from veneer.analysis.depths import Depths, Sums
from veneer.analysis.events import Op, changed_fields
from veneer.analysis.names import Names
from veneer.analysis.table import Table
from veneer.changeset.entry import Entry, Kind
from veneer.errors import InvalidRequest, NotFound
from veneer.values import Value

_DIRECTORY, _WHITEOUT = int(Kind.DIRECTORY), int(Kind.WHITEOUT)
UNCHANGED = ""


class NoSuchDepth(InvalidRequest):
    """A range of layers that the image does not have."""


class NotThere(NotFound):
    """A path that no layer has, or that is no directory where one is wanted."""


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
    """The tree of the lowest `at` layers, beside that of the lowest `since`.  Raises NoSuchDepth.

    `depths` are those of the whole table, for whoever makes several views of it.
    """

    def __init__(self, table: Table, at: int | None = None, since: int = 0, depths: Depths | None = None) -> None:
        layers = len(table.indexes)
        self.at = layers if at is None else at
        self.since = since
        if not 0 <= since <= self.at <= layers:
            raise NoSuchDepth(
                f"no range from layer {since} to layer {self.at}: the image has {layers} layers",
                hint=f"give 0 <= since <= at <= {layers}",
            )
        self.table = table.up_to(self.at)
        self._depths = depths

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
        if run is not None:
            return _together(own, self._of_run(run))
        return _together(own, self.depths.sums(path, self.since, self.at))

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
    def depths(self) -> Depths:
        """The sums of directories in which layers meet."""
        if self._depths is None:
            self._depths = Depths(self.table)
        return self._depths

    @functools.cached_property
    def names(self) -> Names:
        """Which names have the bytes of files with several."""
        return self._depths.names(self.at) if self._depths is not None else Names(self.table, self.at)

    def _own(self, copies: tuple[Copy, ...]) -> Sums:
        """What the copies of one path store."""
        size, waste, holders = self.names.of_path(copies)
        there = int(bool(copies) and copies[-1].ended == NEVER)
        return Sums(size, waste, there, int(self._differs(copies)), holders)

    def _of_run(self, run: Run) -> Sums:
        """What a run holds."""
        if run.empty:
            return _NOTHING
        stored, holders = self.names.of_run(run)
        kinds = self.table.indexes[run.layer].kinds
        entries = run.end - run.start - kinds.count(_WHITEOUT, run.start, run.end)
        before = run.layer < self.since <= run.ended
        if run.ended != NEVER:
            return Sums(0, stored, 0, entries if before else 0, holders)
        return Sums(stored, 0, entries, 0 if before else entries, holders)
