"""The change that a run of layers makes together, as one layer: decided from layer indexes alone.

What is left of several layers is what the topmost of them says of each path, with whiteouts and opaque marks only
where something below the run must be hidden, and nothing where the run ends as it began.  The members come in the
order of layers, by path components.  Source: OCI image-spec layer.md (Applying Changesets, Whiteouts).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from veneer.analysis.tree import MergedTree, Node, Part, merge
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex

_SYMLINK_MODE = 0o777

Place = tuple[int, int]
"""(layer, number of an entry in it)."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the composed layer.

    `entry` is as it will be in the layer: a whiteout, a directory (`opaque` or not), a file, a hard link to an
    earlier member.  A regular file's content is what entry `source[1]` of layer `source[0]` has.
    """

    entry: Entry
    source: Place | None = None


_File = tuple[int, Place]
"""Names for which this is the same are names of one file: the layer that has them, where their content is.

A hard link to what only a lower layer has is a copy of it, as a union mount makes one.
"""


@dataclass(slots=True)
class _Said:
    """What the run says of one path: `kind` None is nothing.

    `hides`: what is in it in the layers below counts no more; `replaces`: nor does what it was there.
    """

    kind: Kind | None = None
    place: Place = (0, 0)
    hides: bool = False
    replaces: bool = False
    parts: tuple[Part, ...] = ()


@dataclass(slots=True)
class _Directory:
    """A directory of the run that is being walked; its own member may wait until something in it is told."""

    path: bytes
    hidden: bool
    member: Member | None
    names: Iterator[tuple[bytes, _Said]]


def compose(indexes: Sequence[LayerIndex], first: int, last: int) -> Iterator[Member]:
    """The members of the one layer that stands for layers `first` to `last` (the base is 0, both included).

    `indexes` are of those layers and of all below them.  Raises BadLink for a hard link to nothing.
    """
    return _Composition(indexes, first, last).members()


class _Composition:
    def __init__(self, indexes: Sequence[LayerIndex], first: int, last: int) -> None:
        self._indexes = indexes
        self._run = range(first, last + 1)
        self._top = merge(indexes[: last + 1])
        self._below = merge(indexes[:first])
        self._shared = _linked(self._top, self._run)
        self._first_names: dict[_File, bytes] = {}

    def members(self) -> Iterator[Member]:
        stack = [_Directory(b"", False, None, self._root())]
        while stack:
            here = stack[-1]
            for name, said in here.names:
                path = here.path + b"/" + name if here.path else name
                if said.kind is Kind.DIRECTORY:
                    inside, differs = self._directory(path, said, hidden=here.hidden)
                    stack.append(inside)
                    if differs:
                        yield from _waiting(stack)
                    break
                member = self._file(path, said, hidden=here.hidden)
                if member is not None:
                    yield from _waiting(stack)
                    yield member
            else:
                stack.pop()

    def _root(self) -> Iterator[tuple[bytes, _Said]]:
        """What the run says of each name in the root.

        An opaque root is spelt as whiteouts and opaque directories: kernels do not look for the mark there, and
        docker keeps to the kernel.
        """
        parts: list[Part] = []
        opaque = False
        for layer in self._run:
            number = self._indexes[layer].find(b"")
            if number is not None and self._indexes[layer].is_opaque(number):
                parts.clear()
                opaque = True
            parts.append((layer, None))
        found = self._entries(parts)
        if opaque:
            for node in self._below.children():
                found.setdefault(node.path, [])
        return ((name, self._say(found[name], hides=opaque)) for name in sorted(found))

    def _names(self, parts: Sequence[Part]) -> Iterator[tuple[bytes, _Said]]:
        found = self._entries(parts)
        return ((name, self._say(found[name])) for name in sorted(found))

    def _entries(self, parts: Sequence[Part]) -> dict[bytes, list[Place]]:
        found: dict[bytes, list[Place]] = {}
        for layer, number in parts:
            index = self._indexes[layer]
            for inside in index.children(number):
                found.setdefault(index.name(inside), []).append((layer, inside))
        return found

    def _say(self, entries: Sequence[Place], *, hides: bool = False) -> _Said:
        """What the entries for one path, from the lowest layer of the run up, come to."""
        said = _Said(hides=hides, replaces=hides)
        parts: list[Part] = []
        for layer, number in entries:
            index = self._indexes[layer]
            kind = index.kind(number)
            if kind is Kind.DIRECTORY:
                if index.is_opaque(number):
                    parts.clear()
                    said.hides = True
                parts.append((layer, number))
                if said.kind is not Kind.DIRECTORY or not index.is_implied(number):
                    said.place = (layer, number)
            else:
                parts.clear()
                said.hides = said.replaces = True
                said.place = (layer, number)
            said.kind = kind
        said.parts = tuple(parts)
        return said

    def _directory(self, path: bytes, said: _Said, *, hidden: bool) -> tuple[_Directory, bool]:
        """The directory to go on with, and whether it must be told whatever is in it."""
        below = None if hidden else self._below.find(path)
        was = self._below.entry(below) if below is not None and below.kind is Kind.DIRECTORY else None
        opaque = said.hides and was is not None and next(self._below.children(path), None) is not None
        entry = self._indexes[said.place[0]].entry(said.place[1])
        if entry.implied and was is not None and not said.replaces:
            # No layer of the run mentions it, but a layer that leaves it out looks different where it lies alone.
            entry = was
        # What nobody mentions at all gets the attributes that unpacking gives it.
        entry = replace(entry, path=path, opaque=opaque, implied=False, xattrs=tuple(sorted(entry.xattrs)))
        differs = opaque or was is None or not _same(entry, was)
        return _Directory(path, hidden or said.hides, Member(entry), self._names(said.parts)), differs

    def _file(self, path: bytes, said: _Said, *, hidden: bool) -> Member | None:
        below = None if hidden else self._below.find(path)
        if said.kind is None or said.kind is Kind.WHITEOUT:
            return Member(Entry(path, Kind.WHITEOUT)) if below is not None else None
        content = self._top.content(Node(path, said.kind, *said.place))
        entry = self._indexes[content[0]].entry(content[1])
        if entry.kind is Kind.SYMLINK:
            entry = replace(entry, mode=_SYMLINK_MODE)
        file = (said.place[0], content)
        first = self._first_names.get(file)
        if first is not None:
            return Member(Entry(path, Kind.HARDLINK, entry.mode, entry.uid, entry.gid, 0, entry.mtime_ns, first))
        if file in self._shared:
            self._first_names[file] = path
        elif below is not None and self._is_as_before(below, entry):
            return None
        entry = replace(entry, path=path, xattrs=tuple(sorted(entry.xattrs)))
        return Member(entry, content if entry.kind is Kind.REGULAR else None)

    def _is_as_before(self, below: Node, entry: Entry) -> bool:
        """Whether what is below is the same file, and one with a single name."""
        found = self._below.content(below)
        return (below.layer, found) not in self._shared_below and _same(entry, self._indexes[found[0]].entry(found[1]))

    @functools.cached_property
    def _shared_below(self) -> set[_File]:
        return _linked(self._below, range(self._run.start))


def _waiting(stack: Sequence[_Directory]) -> Iterator[Member]:
    """The directories we are in that have not been told of."""
    for directory in stack:
        if directory.member is not None:
            yield directory.member
            directory.member = None


def _linked(tree: MergedTree, layers: range) -> set[_File]:
    """The files that hard links of these layers are names of."""
    found: set[_File] = set()
    for layer in layers:
        index = tree.indexes[layer]
        if not index.count(Kind.HARDLINK):
            continue
        for number in range(len(index)):
            if index.kind(number) is Kind.HARDLINK:
                found.add((layer, tree.content(Node(index.path(number), Kind.HARDLINK, layer, number))))
    return found


def _same(one: Entry, other: Entry) -> bool:
    """Whether two entries make the same file, whatever their layers call it."""

    def facts(entry: Entry) -> tuple[object, ...]:
        mode = _SYMLINK_MODE if entry.kind is Kind.SYMLINK else entry.mode
        return (entry.kind, mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.link, entry.device,
                tuple(sorted(entry.xattrs)), entry.digest)  # fmt: skip

    return facts(one) == facts(other)
