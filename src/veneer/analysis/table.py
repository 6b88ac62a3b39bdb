"""The event table of an image: for each path, which layers have a copy of it, and what became of each copy.

Its rows, (path, layer), are sorted by path components and then by layer, and never written out.  The table is read off
the layers' indexes directory by directory: where several layers have one, their sorted children are merged; what only
one layer has is a `Run`, a range of that layer's index, however many entries it holds.  So the cost is that of the
directories in which layers meet.

A *copy* is what one layer has at a path.  It ends in the layer that takes it away or puts another in its place.  What
hides a whole directory at once (a whiteout, a file in its place, an opaque directory) is a *cut* in it: whatever the
lower layers have beneath ends there, unless the cutting layer has the same path again, which then counts as its change.
Source: OCI image-spec layer.md (Applying Changesets, Whiteouts).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence

from veneer.analysis.copies import Cause, Copy, Cut, Place, Row, Run
from veneer.analysis.tree import BadLink, MergedTree, Node
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.index_format import DIRECTORY_META, IMPLIED, KIND_MASK, MODE_MASK, OPAQUE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from veneer.analysis.names import LinkedFile

    T = TypeVar("T")

Child = tuple[bytes, tuple[Copy, ...], Place | None]
"""A name in a directory: its copies, and its place if it is a directory in some layer."""
_SORTED_AT_ONCE = 1 << 16
_PIECE = 4096
_REGULAR, _DIRECTORY, _SYMLINK, _HARDLINK, _WHITEOUT = (
    int(kind) for kind in (Kind.REGULAR, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.WHITEOUT)
)


class Table:
    """The event table of these layers, base first.  Making one costs nothing; layers are numbered from 0.

    Without `opaque` the marks of opaque directories mean nothing, as some tools read layers.
    """

    def __init__(self, indexes: Sequence[LayerIndex], *, opaque: bool = True) -> None:
        self.indexes = tuple(indexes)
        self.opaque = opaque
        self.tree = MergedTree(self.indexes)
        self._contents: dict[tuple[int, int], tuple[int, int]] = {}
        self.linked_files: tuple[LinkedFile, ...] | None = None
        """Kept here by `names`, once it has found them."""

    def up_to(self, layers: int) -> Table:
        """The table of the lowest `layers` layers."""
        return self if layers >= len(self.indexes) else Table(self.indexes[:layers], opaque=self.opaque)

    # -- going through it ------------------------------------------------------------------------------------

    def walk(self) -> Iterator[Row]:
        """Every path that several layers may have to do with, by path; runs stand for the others.

        The root comes first, with no copies.  Memory is bounded by the largest directory in which layers meet.
        """
        return self.descend(lambda _depth, path, place: ((), self.children(place, path)))

    def descend(self, inside: Callable[[int, bytes, Place], tuple[Iterable[T], Iterable[Child]]]) -> Iterator[Row | T]:
        """As `walk`, of directories of which `inside` (depth of what is in it, path, place) says what is told of them
        first, and which of their children are gone through."""
        root = self.root()
        run = self.run(root)
        yield Row(0, b"", (), root, run)
        if run is not None:
            return
        first, children = inside(1, b"", root)
        yield from first
        stack = [(b"", iter(children))]
        while stack:
            prefix, left = stack[-1]
            for name, copies, place in left:
                path = prefix + name
                run = self.run(place) if place is not None else None
                yield Row(len(stack), path, copies, place, run)
                if place is not None and run is None:
                    first, children = inside(len(stack) + 1, path, place)
                    yield from first
                    stack.append((path + b"/", iter(children)))
                    break
            else:
                stack.pop()

    def root(self) -> Place:
        """The root directory."""
        parts: list[tuple[int, int | None]] = []
        cuts: list[Cut] = []
        for layer, index in enumerate(self.indexes):
            number = index.find(b"")
            if self.opaque and parts and number is not None and index.is_opaque(number):
                cuts.append(Cut(layer, Cause.SHADOWED, b""))
            if len(index):
                parts.append((layer, None))
        return Place(tuple(parts), tuple(cuts))

    def run(self, place: Place) -> Run | None:
        """All that is beneath a directory, if one layer alone has it."""
        if len(place.parts) != 1:
            return None if place.parts else Run(0, 0, 0)
        ((layer, number),) = place.parts
        index = self.indexes[layer]
        if number is None:
            start, end = int(index.find(b"") is not None), len(index)
        else:
            start, end = number + 1, index.end(number)
        if not place.cuts:
            return Run(layer, start, end)
        cut = place.cuts[0]
        return Run(layer, start, end, cut.layer, cut.cause, cut.path)

    def children(self, place: Place, path: bytes = b"") -> Iterator[Child]:
        """(name, copies, place if it is a directory in some layer) of what is in directory `path`, by name."""
        stack: list[tuple[int, int]] = []
        prefix = path + b"/" if path else b""
        known = None
        for name, layer, number in self._entries(place.parts):
            if name != known:
                if stack and known is not None:
                    copies, inner = self.story(prefix + known, stack, place.cuts)
                    if copies:
                        yield known, copies, inner
                known = name
                stack.clear()
            stack.append((layer, number))
        if stack and known is not None:
            copies, inner = self.story(prefix + known, stack, place.cuts)
            if copies:
                yield known, copies, inner

    def child(self, place: Place, name: bytes, path: bytes = b"") -> tuple[tuple[Copy, ...], Place | None]:
        """What `children` gives for one name of directory `path`; no copies if no layer has it."""
        stack = []
        for layer, number in place.parts:
            inside = self.indexes[layer].child(number, name)
            if inside is not None:
                stack.append((layer, inside))
        return self.story(path + b"/" + name if path else name, stack, place.cuts)

    def find(self, path: bytes) -> tuple[tuple[Copy, ...], Place | None]:
        """The copies of a path (b"": none, but a place), as layers have them."""
        copies: tuple[Copy, ...] = ()
        place: Place | None = self.root()
        above = b""
        for name in path.split(b"/") if path else ():
            if place is None:
                return (), None
            copies, place = self.child(place, name, above)
            above = above + b"/" + name if above else name
        return copies, place

    def _entries(self, parts: Sequence[tuple[int, int | None]]) -> Iterable[tuple[bytes, int, int]]:
        """(name, layer, number) of all entries of these directories, by name and layer."""
        listed = [(layer, self.indexes[layer].children(number)) for layer, number in parts]
        if sum(len(numbers) for _, numbers in listed) > _SORTED_AT_ONCE:
            return heapq.merge(*(self._stream(layer, numbers) for layer, numbers in listed))
        # Each list is sorted, and joining sorted runs is what Python's sort does best.
        found: list[tuple[bytes, int, int]] = []
        for layer, numbers in listed:
            names = self.indexes[layer].names_of(numbers)
            found += zip(names, (layer,) * len(names), numbers, strict=True)
        found.sort()
        return found

    def _stream(self, layer: int, numbers: memoryview[int]) -> Iterator[tuple[bytes, int, int]]:
        index = self.indexes[layer]
        for start in range(0, len(numbers), _PIECE):
            piece = numbers[start : start + _PIECE]
            for name, number in zip(index.names_of(piece), piece, strict=True):
                yield name, layer, number

    # -- one path --------------------------------------------------------------------------------------------

    def story(
        self, path: bytes, stack: Sequence[tuple[int, int]], cuts: Sequence[Cut] = ()
    ) -> tuple[tuple[Copy, ...], Place | None]:
        """What became of the entries for one path, (layer, number) from the lowest up, in a directory with `cuts`."""
        if len(stack) == 1 and not cuts:
            ((layer, number),) = stack
            kind = self.indexes[layer].kinds[number]
            if kind == _WHITEOUT:
                return (), None
            return (Copy(layer, number),), Place(((layer, number),)) if kind == _DIRECTORY else None
        if stack and not cuts and (found := self._directories(path, stack)) is not None:
            return found
        return _Story(self, path, cuts).told(stack)

    def _directories(
        self, path: bytes, stack: Sequence[tuple[int, int]]
    ) -> tuple[tuple[Copy, ...], Place] | None:  # fmt: skip
        """The story of a path that is a directory in all layers, as most are; None if there is more to tell."""
        copies: list[Copy] = []
        layer, number = stack[0]
        for above, inside in stack:
            meta = self.indexes[above].metas[inside]
            if meta & (KIND_MASK | OPAQUE) != DIRECTORY_META:
                return None
            if above != layer and not meta & IMPLIED:
                copies.append(Copy(layer, number, above, Cause.REWRITTEN, path))
                layer, number = above, inside
        copies.append(Copy(layer, number))
        return tuple(copies), Place(tuple(stack))

    def difference(self, old: tuple[int, int], new: tuple[int, int]) -> Cause:
        """What a new copy, as (layer, number), does to the old one: REPLACED, OVERWRITTEN or REWRITTEN."""
        kinds = [self.indexes[layer].kinds[number] for layer, number in (old, new)]
        if _HARDLINK in kinds:
            old, new = self.content(*old), self.content(*new)
            if old == new:
                return Cause.REWRITTEN
            kinds = [self.indexes[layer].kinds[number] for layer, number in (old, new)]
        if kinds[0] != kinds[1]:
            return Cause.REPLACED
        (below, a), (above, b) = (self.indexes[old[0]], old[1]), (self.indexes[new[0]], new[1])
        if kinds[0] == _REGULAR:
            same = below.sizes[a] == above.sizes[b] and below.digest(a) == above.digest(b)
        elif kinds[0] == _SYMLINK:
            same = below.link(a) == above.link(b)
        else:
            same = below.device(a) == above.device(b)
        return Cause.REWRITTEN if same else Cause.OVERWRITTEN

    def same_directory(self, old: Copy, new: Copy) -> bool:
        """Whether two copies are directories that differ at most in their times, which come with what is in them."""
        below, above = self.indexes[old.layer], self.indexes[new.layer]
        a, b = old.number, new.number
        return (
            below.kinds[a] == above.kinds[b] == _DIRECTORY
            and below.metas[a] & MODE_MASK == above.metas[b] & MODE_MASK
            and (below.uids[a], below.gids[a]) == (above.uids[b], above.gids[b])
            and below.xattrs(a) == above.xattrs(b)
        )

    def content(self, layer: int, number: int) -> tuple[int, int]:
        """(layer, number) of the entry with the content: its own, or for a hard link that of its file.

        A link that leads nowhere is its own content.
        """
        if self.indexes[layer].kinds[number] != _HARDLINK:
            return layer, number
        found = self._contents.get((layer, number))
        if found is None:
            try:
                found = self.tree.content(Node(b"", Kind.HARDLINK, layer, number))
            except BadLink:
                found = (layer, number)
            self._contents[layer, number] = found
        return found

    def entry(self, copy: Copy, path: bytes) -> Entry:
        """A copy as an entry, a hard link as the file that it is a name of, under its own path."""
        layer, number = self.content(copy.layer, copy.number)
        return self.indexes[layer].entry(number, path)


class _Story:
    """One path, layer by layer."""

    def __init__(self, table: Table, path: bytes, cuts: Sequence[Cut]) -> None:
        self.table = table
        self.path = path
        self.cuts = cuts
        self.done: list[Copy] = []
        self.live: Copy | None = None
        self.is_directory = False
        self.parts: list[tuple[int, int | None]] = []
        self.own: list[Cut] = []

    def told(self, stack: Sequence[tuple[int, int]]) -> tuple[tuple[Copy, ...], Place | None]:
        cuts, at = self.cuts, 0
        for layer, number in stack:
            while at < len(cuts) and cuts[at].layer < layer:
                self.end(cuts[at].layer, cuts[at].cause, cuts[at].path)
                at += 1
            kind = self.table.indexes[layer].kinds[number]
            if kind == _DIRECTORY:
                self.directory(layer, number, covered=at < len(cuts) and cuts[at].layer == layer)
            elif kind == _WHITEOUT:
                self.cut(layer, Cause.DELETED)
                self.end(layer, Cause.DELETED, self.path)
            else:
                self.file(layer, number)
        for cut in cuts[at:]:
            self.end(cut.layer, cut.cause, cut.path)
        if self.live is not None:
            self.done.append(self.live)
        return tuple(self.done), Place(tuple(self.parts), self.cuts_beneath()) if self.parts else None

    def end(self, layer: int, cause: Cause, by: bytes) -> None:
        if self.live is not None and self.live.layer < layer:
            self.done.append(Copy(self.live.layer, self.live.number, layer, cause, by))
            self.live = None

    def cut(self, layer: int, cause: Cause) -> None:
        if self.parts:
            self.own.append(Cut(layer, cause, self.path))

    def directory(self, layer: int, number: int, *, covered: bool) -> None:
        """`covered`: in this very layer a directory above hides the old one."""
        index = self.table.indexes[layer]
        if self.table.opaque and index.is_opaque(number):
            self.cut(layer, Cause.SHADOWED)
        self.parts.append((layer, number))
        if self.live is not None and self.is_directory:
            if index.is_implied(number) and not covered:
                return
            self.end(layer, Cause.REWRITTEN, self.path)
        else:
            self.end(layer, Cause.REPLACED, self.path)
        self.live, self.is_directory = Copy(layer, number), True

    def file(self, layer: int, number: int) -> None:
        self.cut(layer, Cause.REPLACED)
        if self.live is not None:
            old = self.live
            same_kind = not self.is_directory
            cause = self.table.difference((old.layer, old.number), (layer, number)) if same_kind else Cause.REPLACED
            self.end(layer, cause, self.path)
        self.live, self.is_directory = Copy(layer, number), False

    def cuts_beneath(self) -> tuple[Cut, ...]:
        """The cuts in this directory, its own and those above it; of two in one layer the one further up."""
        first = self.parts[0][0]
        if not self.own:
            return tuple(cut for cut in self.cuts if cut.layer > first) if self.cuts else ()
        found = {cut.layer: cut for cut in [*self.own, *self.cuts] if cut.layer > first}
        return tuple(found[layer] for layer in sorted(found))
