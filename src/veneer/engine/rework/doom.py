"""What has to go with a path: found in layer indexes, nothing touched."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from veneer.analysis.tree import MergedTree, Node, merge
from veneer.changeset.entry import Kind
from veneer.changeset.index import LayerIndex
from veneer.errors import InvalidRequest, NotFound

_MAX_LINKS = 40
Place = tuple[int, int]


class NoSuchPath(NotFound):
    """A path that no layer of the image has."""


class NotPurgeable(InvalidRequest):
    """A path that cannot be taken out of an image: its root, or no path at all."""


@dataclass(frozen=True, slots=True)
class Doom:
    """What goes.

    `paths`: with everything beneath them, from every layer.  `names`: per layer, further names of files that go, and
    of whiteouts that only deleted those.
    `hidden`: per layer, those of them that a whiteout must take the place of, because a lower layer has another
    file there.  `contents`: SHA-256 of the files that go.  `size`: their bytes, each file once.
    """

    paths: tuple[bytes, ...]
    names: tuple[frozenset[bytes], ...]
    hidden: tuple[tuple[bytes, ...], ...]
    contents: frozenset[bytes]
    size: int

    def covers(self, path: bytes) -> bool:
        """Whether the path is one of `paths`, or beneath one."""
        return any(path == each or path.startswith(each + b"/") for each in self.paths)


def normal_path(text: str) -> bytes:
    """A path in an image as layers write it.  Raises NotPurgeable."""
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise NotPurgeable(f"{text!r} is the root of the image" if text else "the path is empty",
                           hint="name a file or directory in the image: /etc/secret")  # fmt: skip
    return "/".join(parts).encode("utf-8", "surrogateescape")


def places(indexes: Sequence[LayerIndex], path: bytes) -> set[bytes]:
    """Where `path` is, or was once, in the merged tree at any depth: symbolic links before its last part followed."""
    found = {path}
    for depth in range(1, len(indexes) + 1):
        found.add(real_path(merge(indexes[:depth]), path))
    return {each for each in found if any(index.find(each) is not None for index in indexes)}


def real_path(tree: MergedTree, path: bytes) -> bytes:
    """`path` with the symbolic links on its way followed, but for its last part; as far as there are any."""
    wanted = path.split(b"/")[::-1]
    here: list[bytes] = []
    links = 0
    while len(wanted) > 1:
        part = wanted.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            here = here[:-1]
            continue
        node = tree.find(b"/".join([*here, part]))
        if node is not None and node.kind is Kind.SYMLINK and links < _MAX_LINKS:
            links += 1
            target = tree.entry(node).link
            if target.startswith(b"/"):
                here = []
            wanted += target.split(b"/")[::-1]
        else:
            here.append(part)
    return b"/".join([*here, *wanted])


def doom(indexes: Sequence[LayerIndex], paths: Sequence[bytes]) -> Doom:
    """What has to go so that nothing of `paths` is left.  Raises NoSuchPath for one that no layer has."""
    resolved: dict[bytes, None] = {}
    for path in paths:
        found = places(indexes, path)
        if not found:
            raise NoSuchPath(f"/{_shown(path)} is in no layer of the image", hint=_nearest(indexes, path))
        resolved |= dict.fromkeys(sorted(found))
    outer = tuple(path for path in resolved if not any(path.startswith(each + b"/") for each in resolved))
    whole = merge(indexes)
    doomed = {whole.content(node) for node in _entries(indexes, outer)}
    names: list[set[bytes]] = [set() for _ in indexes]
    judge = Doom(outer, (), (), frozenset(), 0)
    for node in (*_links(indexes), *(_node(indexes, place) for place in doomed)):
        if not judge.covers(node.path) and whole.content(node) in doomed:
            names[node.layer].add(node.path)
    for path in sorted(set().union(*names)):
        for layer in _idle_whiteouts(indexes, names, path):
            names[layer].add(path)
    hidden = tuple(tuple(_to_hide(indexes, names, layer)) for layer in range(len(indexes)))
    digests = {indexes[layer].digest(number) for layer, number in doomed} - {b""}
    size = sum(indexes[layer].sizes[number] for layer, number in doomed)
    return Doom(outer, tuple(map(frozenset, names)), hidden, frozenset(digests), size)


def copies(indexes: Sequence[LayerIndex], contents: frozenset[bytes]) -> list[tuple[int, bytes]]:
    """(layer, path) of the files with one of these contents; empty files do not count."""
    found = []
    for layer, index in enumerate(indexes):
        for number in range(len(index)):
            if index.sizes[number] and index.kind(number) is Kind.REGULAR and index.digest(number) in contents:
                found.append((layer, index.path(number)))
    return found


def _node(indexes: Sequence[LayerIndex], place: Place) -> Node:
    layer, number = place
    return Node(indexes[layer].path(number), indexes[layer].kind(number), layer, number)


def _entries(indexes: Sequence[LayerIndex], paths: Sequence[bytes]) -> Iterator[Node]:
    """Every entry at or beneath `paths`, in every layer, that is a file of any kind."""
    for layer, index in enumerate(indexes):
        for path in paths:
            first = index.find(path)
            for number in range(first, index.end(first)) if first is not None else ():
                if index.kind(number) not in (Kind.DIRECTORY, Kind.WHITEOUT):
                    yield _node(indexes, (layer, number))


def _links(indexes: Sequence[LayerIndex]) -> Iterator[Node]:
    for layer, index in enumerate(indexes):
        if index.count(Kind.HARDLINK):
            for number in range(len(index)):
                if index.kind(number) is Kind.HARDLINK:
                    yield _node(indexes, (layer, number))


def _idle_whiteouts(indexes: Sequence[LayerIndex], names: Sequence[set[bytes]], path: bytes) -> Iterator[int]:
    """The layers whose whiteout of `path` is left with nothing to delete."""
    for layer, index in enumerate(indexes):
        number = index.find(path)
        if number is not None and index.kind(number) is Kind.WHITEOUT:
            deleted = merge(indexes[:layer]).find(path)
            if deleted is not None and path in names[deleted.layer]:
                yield layer


def _to_hide(indexes: Sequence[LayerIndex], names: Sequence[set[bytes]], layer: int) -> Iterator[bytes]:
    """The further names in a layer under which something else would come to light from below."""
    below = merge(indexes[:layer])
    for path in sorted(names[layer]):
        node = below.find(path)
        if node is not None and path not in names[node.layer]:
            yield path


def _nearest(indexes: Sequence[LayerIndex], path: bytes) -> str:
    """A hint with a path that was perhaps meant."""
    parent, _, name = path.rpartition(b"/")
    known: dict[str, None] = {}
    for index in indexes:
        number = index.find(parent) if parent else None
        if number is not None or not parent:
            known |= dict.fromkeys(_shown(index.name(child)) for child in index.children(number))
    close = difflib.get_close_matches(_shown(name), known, 1)
    if close:
        return f"there is /{_shown(parent) + '/' if parent else ''}{close[0]}"
    return "veneer export shows what is in an image: veneer export IMAGE | tar t"


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
