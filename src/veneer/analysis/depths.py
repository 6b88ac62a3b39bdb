"""The sums of directories at every depth at once: one pass, and then any two depths are compared without another.

A copy is seen from the layer that has it up to the one where it ends, so what a directory holds is told by how many
bytes and entries of it have which such span.  Few directories have many different spans, however many files they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from veneer.analysis.copies import NEVER, Copy, Row, Run
from veneer.analysis.fates import Fates, links_of
from veneer.analysis.sweep import Again, Together, sweep
from veneer.analysis.table import Table
from veneer.analysis.waste import Account, account
from veneer.changeset.entry import Kind
from veneer.values import Value

_REGULAR, _HARDLINK, _WHITEOUT = int(Kind.REGULAR), int(Kind.HARDLINK), int(Kind.WHITEOUT)
_Span = tuple[int, int]
_Story = tuple[tuple[int, int, int], ...]
_HiddenFirst = tuple[tuple[int, int], int, int, list[tuple[tuple[int, int], int]]]
"""A file whose first name ends somewhere: (layer, number), where, its size, and each link with its end."""


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


class Names:
    """Files with several names, where the name they are stored under is hidden and another one is not.

    `kept`: the entries that store them, which are no waste.  `given`: bytes by the entry of the name to be seen, which
    stores nothing itself.  Both also by layer, as sorted (number, bytes).
    """

    def __init__(self, layers: int) -> None:
        self.kept: dict[tuple[int, int], int] = {}
        self.given: dict[tuple[int, int], int] = {}
        self.kept_in: list[list[tuple[int, int]]] = [[] for _ in range(layers)]
        self.given_in: list[list[tuple[int, int]]] = [[] for _ in range(layers)]

    def add(self, stored: tuple[int, int], name: tuple[int, int], size: int) -> None:
        """The file of entry `stored`, as (layer, number), is seen as `name`."""
        self.kept[stored] = size
        self.given[name] = size

    def settle(self) -> None:
        """All are added."""
        for flat, by_layer in ((self.kept, self.kept_in), (self.given, self.given_in)):
            for (layer, number), size in sorted(flat.items()):
                by_layer[layer].append((number, size))


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


class Depths:
    """The sums of a table's directories in which layers meet, for any depth; made by one pass over the table.

    Not `whole`: whoever sweeps the table for something else too gives each step to `step`, and calls `settle` then.
    """

    def __init__(self, table: Table, *, whole: bool = True) -> None:
        self.table = table
        self._tallies: dict[bytes, _Tally] = {}
        self._names: dict[int, Names] = {}
        self._moved: dict[int, dict[bytes, tuple[int, int]]] = {}
        links = any(index.count(Kind.HARDLINK) for index in table.indexes)
        self._fates = Fates(len(table.indexes)) if links else None
        self._above: list[tuple[bytes, _Tally]] = []
        self._hidden_first: list[_HiddenFirst] = []
        if whole:
            for step in sweep(table):
                self.step(step)
            self.settle()

    def sums(self, path: bytes, since: int, at: int) -> Sums:
        """What is beneath directory `path`, in which layers meet, with the lowest `at` layers, beside `since`."""
        found = self._tallies[path].sums(since, at)
        moved = self._moved_at(at).get(path)
        return found if moved is None else found.replaced(size=found.size + moved[0], waste=found.waste - moved[1])

    def names(self, at: int) -> Names:
        """The files that outlive the name they are stored under, with the lowest `at` layers."""
        found = self._names.get(at)
        if found is None:
            found = self._names[at] = Names(len(self.table.indexes))
            for stored, ended, size, links in self._hidden_first:
                if ended < at and (name := next((link for link, end in links if link[0] < at <= end), None)):
                    found.add(stored, name, size)
            found.settle()
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
        if self._fates is not None:
            self._hidden_first = self._linked()

    def _close(self, above: list[tuple[bytes, _Tally]]) -> None:
        path, tally = above.pop()
        self._tallies[path] = tally
        if above:
            above[-1][1].take(tally)

    def _path(self, tally: _Tally, copies: Sequence[Copy]) -> None:
        indexes, fates = self.table.indexes, self._fates
        if fates is not None:
            for copy in copies:
                if copy.ended != NEVER and indexes[copy.layer].kinds[copy.number] in (_REGULAR, _HARDLINK):
                    fates.copy(copy)
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
        if self._fates is not None:
            self._fates.again(files, path)

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
        if self._fates is not None and run.ended != NEVER:
            self._fates.run(run)

    # -- files with several names ----------------------------------------------------------------------------

    def _linked(self) -> list[_HiddenFirst]:
        table, fates = self.table, self._fates
        assert fates is not None
        found = []
        for (layer, number), links in sorted(links_of(table, fates.lowest).items()):
            ended = fates.of(layer, number)[0]
            if table.indexes[layer].kinds[number] == _REGULAR and ended != NEVER:
                size = table.indexes[layer].sizes[number]
                found.append(((layer, number), ended, size, [(link, fates.of(*link)[0]) for link in links]))
        return found

    def _moved_at(self, at: int) -> dict[bytes, tuple[int, int]]:
        """Bytes to be added to what is seen beneath a directory, and taken from its waste, because of such names."""
        if at not in self._moved:
            moved: dict[bytes, tuple[int, int]] = {}
            names = self.names(at)
            for flat, place in ((names.given, 0), (names.kept, 1)):
                for (layer, number), size in flat.items():
                    path = self.table.indexes[layer].path(number)
                    while path:
                        path = path.rpartition(b"/")[0]
                        if path in self._tallies:
                            seen, kept = moved.get(path, (0, 0))
                            moved[path] = (seen, kept + size) if place else (seen + size, kept)
            self._moved[at] = moved
        return self._moved[at]


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
