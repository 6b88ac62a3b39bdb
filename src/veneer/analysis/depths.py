"""The sums of directories at every depth at once: one pass, and then any two depths are compared without another.

A copy is seen from the layer that has it up to the one where it ends, so what a directory holds is told by how many
bytes and entries of it have which such span.  Few directories have many different spans, however many files they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from veneer.analysis.copies import NEVER, Copy, Row, Run
from veneer.analysis.names import Names
from veneer.analysis.sweep import Again, Together, sweep
from veneer.analysis.table import Table
from veneer.analysis.waste import Account, account
from veneer.changeset.entry import Kind
from veneer.values import Value

_WHITEOUT = int(Kind.WHITEOUT)
_Span = tuple[int, int]
_Story = tuple[tuple[int, int, int], ...]


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


class _Tally:
    """What is beneath one directory.  `spans`: (first layer, where it ends) -> bytes, and entries of paths that have
    but one span; and of others.  `stories`: how many paths of several spans have these, each with what tells whether
    one is as another.
    """

    __slots__ = ("spans", "stories")

    def __init__(self) -> None:
        self.spans: dict[_Span, list[int]] = {}
        self.stories: dict[_Story, int] = {}

    def add(self, span: _Span, size: int, single: int, other: int) -> None:
        known = self.spans.get(span)
        if known is None:
            self.spans[span] = [size, single, other]
        else:
            known[0] += size
            known[1] += single
            known[2] += other

    def take(self, beneath: _Tally) -> None:
        for span, (size, single, other) in beneath.spans.items():
            self.add(span, size, single, other)
        stories = self.stories
        for story, count in beneath.stories.items():
            stories[story] = stories.get(story, 0) + count

    def sums(self, since: int, at: int) -> Sums:
        size = waste = entries = changed = holders = 0
        for (layer, ended), (stored, single, other) in self.spans.items():
            if layer >= at:
                continue
            if stored:
                holders |= 1 << layer
            if at <= ended:
                size += stored
                entries += single + other
                if not layer < since:
                    changed += single
            else:
                waste += stored
                if layer < since <= ended:
                    changed += single
        for story, count in self.stories.items():
            before = now = -1
            for layer, ended, kind in story:
                if layer < since <= ended:
                    before = kind
                if layer < at <= ended:
                    now = kind
            if before != now:
                changed += count
        return Sums(size, waste, entries, changed, holders)

    def stored_by(self, layer: int) -> int:
        """The bytes that a layer stores there."""
        return sum(size for (each, _), (size, *_) in self.spans.items() if each == layer)


class _Moved:
    """Bytes to be added to what is `seen` and `hidden` beneath a directory, and to what each layer `stored` there."""

    __slots__ = ("hidden", "seen", "stored")

    def __init__(self) -> None:
        self.seen = self.hidden = 0
        self.stored: dict[int, int] = {}

    def add(self, layer: int, stored: int, seen: int, hidden: int) -> None:
        self.seen += seen
        self.hidden += hidden
        self.stored[layer] = self.stored.get(layer, 0) + stored


class Depths:
    """The sums of a table's directories in which layers meet, for any depth; made by one pass over the table.

    Not `whole`: whoever sweeps the table for something else too gives each step to `step`, and calls `settle` then.
    """

    def __init__(self, table: Table, *, whole: bool = True) -> None:
        self.table = table
        self._tallies: dict[bytes, _Tally] = {}
        self._names: dict[int, Names] = {}
        self._moved: dict[int, dict[bytes, _Moved]] = {}
        self._above: list[tuple[bytes, _Tally]] = []
        if whole:
            for step in sweep(table):
                self.step(step)
            self.settle()

    def sums(self, path: bytes, since: int, at: int) -> Sums:
        """What is beneath directory `path`, in which layers meet, with the lowest `at` layers, beside `since`."""
        tally = self._tallies[path]
        found, moved = tally.sums(since, at), self._moved_at(at).get(path)
        if moved is None:
            return found
        holders = found.holders
        for layer, size in moved.stored.items():
            bit = 1 << layer
            holders = holders | bit if tally.stored_by(layer) + size else holders & ~bit
        return found.replaced(size=found.size + moved.seen, waste=found.waste + moved.hidden, holders=holders)

    def names(self, at: int) -> Names:
        """Which names have the bytes of files with several, with the lowest `at` layers."""
        found = self._names.get(at)
        if found is None:
            found = self._names[at] = Names(self.table, at)
        return found

    # -- the pass --------------------------------------------------------------------------------------------

    def step(self, step: Row | Together) -> None:
        """The next step of the sweep."""
        above = self._above
        while len(above) > step.depth:
            self._close(above)
        tally = above[-1][1] if above else _Tally()  # nobody has a copy of the root, or a run beside all others
        if isinstance(step, Together):
            for each in step.alone:
                tally.add((each.layer, NEVER), each.bytes, each.entries, 0)
            for files in step.again:
                self._again(tally, files, step.path)
            return
        if step.copies:
            self._path(tally, step.copies)
        if step.run is not None and not step.run.empty:
            self._run(tally, step.run)
        if step.place is not None and step.run is None:
            above.append((step.path, _Tally()))

    def settle(self) -> None:
        """All rows are there."""
        while self._above:
            self._close(self._above)

    def _close(self, above: list[tuple[bytes, _Tally]]) -> None:
        path, tally = above.pop()
        self._tallies[path] = tally
        if above:
            above[-1][1].take(tally)

    def _path(self, tally: _Tally, copies: Sequence[Copy]) -> None:
        indexes = self.table.indexes
        if len(copies) == 1:
            (copy,) = copies
            tally.add((copy.layer, copy.ended), indexes[copy.layer].sizes[copy.number], 1, 0)
            return
        story = self._story(copies)
        if len(story) == 1:
            ((first, last, _),) = story
            tally.add((first, last), 0, 1, 0)
        else:
            tally.stories[story] = tally.stories.get(story, 0) + 1
        for copy in copies:
            tally.add((copy.layer, copy.ended), indexes[copy.layer].sizes[copy.number], 0, len(story) > 1)

    def _again(self, tally: _Tally, files: Again, path: bytes) -> None:
        count, layers = len(files.names), files.layers
        story = tuple(zip(layers, (*layers[1:], NEVER), range(len(layers)), strict=True))
        tally.stories[story] = tally.stories.get(story, 0) + count
        for (layer, ended, _), stored in zip(story, files.bytes, strict=True):
            tally.add((layer, ended), stored, 0, count)

    def _story(self, copies: Sequence[Copy]) -> _Story:
        """The spans of a path, those of directories that are the same joined where they meet."""
        same = self.table.same_directory
        kinds: list[int] = []
        story: list[tuple[int, int, int]] = []
        for number, copy in enumerate(copies):
            kind = next((kinds[at] for at in range(number) if same(copies[at], copy)), number)
            kinds.append(kind)
            if story and story[-1][2] == kind and story[-1][1] == copy.layer:
                story[-1] = (story[-1][0], copy.ended, kind)
            else:
                story.append((copy.layer, copy.ended, kind))
        return tuple(story)

    def _run(self, tally: _Tally, run: Run) -> None:
        index = self.table.indexes[run.layer]
        entries = run.end - run.start - index.kinds.count(_WHITEOUT, run.start, run.end)
        tally.add((run.layer, run.ended), index.bytes_of(run.start, run.end), entries, 0)

    # -- files with several names ----------------------------------------------------------------------------

    def _moved_at(self, at: int) -> dict[bytes, _Moved]:
        """What is to be added to the sums of directories, for files whose bytes are another name's than they are stored
        under."""
        if at not in self._moved:
            moved: dict[bytes, _Moved] = {}
            for file, owner in self.names(at).moved:
                stored, seen = file.stored, owner.seen_at(at)
                for beneath in self._directories(stored, moved):
                    beneath.add(stored.layer, -file.size, 0, -file.size)
                for beneath in self._directories(owner, moved):
                    beneath.add(stored.layer, file.size, file.size * seen, file.size * (not seen))
            self._moved[at] = moved
        return self._moved[at]

    def _directories(self, copy: Copy, moved: dict[bytes, _Moved]) -> Iterator[_Moved]:
        """What is to be added to each directory in which layers meet that a copy is beneath."""
        path = self.table.indexes[copy.layer].path(copy.number)
        while path:
            path = path.rpartition(b"/")[0]
            if path in self._tallies:
                yield moved.setdefault(path, _Moved())


def weighed(table: Table) -> tuple[Account, Depths]:
    """An image's account and the sums of its directories, by one sweep."""
    depths = Depths(table, whole=False)

    def steps() -> Iterator[Row | Together]:
        for step in sweep(table):
            depths.step(step)
            yield step

    found = account(table, steps())
    depths.settle()
    return found, depths
