"""The merged tree: what a stack of layers looks like from above, computed from their indexes alone.

Nothing is mounted and nothing is extracted.  Work goes directory by directory: one that only one layer has is
read straight from that layer's index, so a tree costs about as much as its entries, however many layers there are.

The rules: a whiteout hides the path in the layers below; an opaque directory hides what the layers below have in
it; only a directory over a directory merges, with the attributes of the upper one, unless the upper layer never
mentions it (`implied`); anything else hides all that was at its path.  Source: OCI image-spec layer.md
(Applying Changesets, Whiteouts); Linux Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.errors import Corrupt

_MAX_LINKS = 40

Part = tuple[int, int | None]
"""(layer, number of the entry of a directory in it); the number is None for the root."""


class BadLink(Corrupt):
    """A hard link that leads to nothing, or round in circles."""


@dataclass(frozen=True, slots=True)
class Node:
    """A path of the merged tree, and the entry that gives it its attributes: indexes[layer].entry(number)."""

    path: bytes
    kind: Kind
    layer: int
    number: int


@dataclass(frozen=True, slots=True)
class _Child:
    """What the layers together have under one name: `parts` are the directories that merge there, if it is one."""

    name: bytes
    kind: Kind
    layer: int
    number: int
    parts: tuple[Part, ...]


def merge(indexes: Sequence[LayerIndex]) -> MergedTree:
    """The tree of these layers, base first.  Give a slice of an image's layers to see it at another depth."""
    return MergedTree(indexes)


class MergedTree:
    """The tree that a stack of layers makes.  Cheap to make; every question is answered when it is asked.

    Iterating gives every path but the root, sorted by path components, in memory bounded by the largest
    directory.  Layers are numbered from the base, 0.
    """

    def __init__(self, indexes: Sequence[LayerIndex]) -> None:
        self.indexes = tuple(indexes)
        self._last: tuple[bytes | None, tuple[Part, ...]] = (None, ())

    def __iter__(self) -> Iterator[Node]:
        stack: list[tuple[bytes, Iterator[_Child]]] = [(b"", iter(self._merged(self._root())))]
        while stack:
            prefix, children = stack[-1]
            for child in children:
                path = prefix + child.name
                yield Node(path, child.kind, child.layer, child.number)
                if len(child.parts) == 1:
                    yield from self._subtree(path, *child.parts[0])
                elif child.parts:
                    stack.append((path + b"/", iter(self._merged(child.parts))))
                    break
            else:
                stack.pop()

    def find(self, path: bytes) -> Node | None:
        """What is at `path`, or None.  The root is not a node, since most layers do not say what it is."""
        found = self._find(path)
        return Node(path, found.kind, found.layer, found.number) if found is not None else None

    def children(self, path: bytes = b"") -> Iterator[Node]:
        """What is directly in the directory at `path` (b"" is the root), by name; nothing if it is no directory."""
        if path:
            found = self._find(path)
            parts = found.parts if found is not None else ()
            prefix = path + b"/"
        else:
            parts, prefix = self._root(), b""
        for child in self._merged(parts):
            yield Node(prefix + child.name, child.kind, child.layer, child.number)

    def entry(self, node: Node) -> Entry:
        """The node as an entry; a hard link as the file that it is a name of, under its own path."""
        layer, number = self.content(node)
        return self.indexes[layer].entry(number, node.path)

    def content(self, node: Node) -> tuple[int, int]:
        """(layer, number) of the entry that holds the node's content: its own, but for hard links.

        Names for which this is the same are names of one file.  A hard link to what only a lower layer has means
        the file visible there when the layer was made.  Raises BadLink.
        """
        layer, number, kind = node.layer, node.number, node.kind
        for _ in range(_MAX_LINKS):
            if kind is not Kind.HARDLINK:
                return layer, number
            index = self.indexes[layer]
            target = index.link(number)
            inside = index.find(target)
            # A directory took the place of the file that was linked: that was one of a layer below.
            if inside is not None and index.kind(inside) not in (Kind.WHITEOUT, Kind.DIRECTORY):
                number, kind = inside, index.kind(inside)
                continue
            below = MergedTree(self.indexes[:layer]).find(target)
            if below is None:
                break
            layer, number, kind = below.layer, below.number, below.kind
        shown = node.path.decode(errors="backslashreplace")
        raise BadLink(f"{shown} in layer {node.layer} is a hard link to a file that is in no layer below")

    def _root(self) -> tuple[Part, ...]:
        parts: list[Part] = []
        for layer, index in enumerate(self.indexes):
            root = index.find(b"")
            if root is not None and index.is_opaque(root):
                parts.clear()
            parts.append((layer, None))
        return tuple(parts)

    def _find(self, path: bytes) -> _Child | None:
        folder, _, name = path.rpartition(b"/")
        kept, parts = self._last
        return self._child(parts if kept == folder else self._parts(folder), name)

    def _parts(self, folder: bytes) -> tuple[Part, ...]:
        """The directories that merge at a path; those asked for last are kept, since questions come by directory."""
        parts = self._root()
        for name in folder.split(b"/") if folder else ():
            child = self._child(parts, name)
            parts = child.parts if child is not None else ()
        self._last = (folder, parts)
        return parts

    def _child(self, parts: Sequence[Part], name: bytes) -> _Child | None:
        stack = []
        for layer, number in parts:
            inside = self.indexes[layer].child(number, name)
            if inside is not None:
                stack.append((layer, inside))
        return self._top(name, stack)

    def _merged(self, parts: Sequence[Part]) -> Iterator[_Child]:
        """The visible children of the directories `parts`, by name."""
        stacks: dict[bytes, list[tuple[int, int]]] = {}
        for layer, number in parts:
            index = self.indexes[layer]
            for inside in index.children(number):
                stacks.setdefault(index.name(inside), []).append((layer, inside))
        for name in sorted(stacks):
            child = self._top(name, stacks[name])
            if child is not None:
                yield child

    def _top(self, name: bytes, stack: Sequence[tuple[int, int]]) -> _Child | None:
        """What is to be seen of the entries for one path, from the lowest layer up."""
        kind: Kind | None = None
        owner = (0, 0)
        parts: list[Part] = []
        for layer, number in stack:
            index = self.indexes[layer]
            above = index.kind(number)
            if above is Kind.DIRECTORY:
                if index.is_opaque(number):
                    parts.clear()
                parts.append((layer, number))
                if kind is not Kind.DIRECTORY or not index.is_implied(number):
                    owner = (layer, number)
                kind = above
            else:
                parts.clear()
                kind = above if above is not Kind.WHITEOUT else None
                owner = (layer, number)
        return None if kind is None else _Child(name, kind, *owner, tuple(parts))

    def _subtree(self, path: bytes, layer: int, number: int | None) -> Iterator[Node]:
        """All beneath a directory that only one layer has."""
        index = self.indexes[layer]
        if number is None:
            raise AssertionError("the root is merged, never walked alone")
        for inside, below in index.subtree(number, path):
            kind = index.kind(inside)
            if kind is not Kind.WHITEOUT:
                yield Node(below, kind, layer, inside)
