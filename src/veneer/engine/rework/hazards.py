"""What layers rely on in the base below them, and another base does not give: found in layer indexes alone.

Only where the two bases differ can layers mean something else on the new one; so every path that the upper layers
speak of is looked up in both, and nothing is said where both have the same there.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence

from veneer.analysis.tree import Node, merge
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.engine.rework.doom import real_path
from veneer.values import Value

LOST, UNFOLDED, LINKED, CHANGED, ADDED, DELETED, HIDDEN, ATTRIBUTES, DANGLING = (
    "lost", "unfolded", "linked", "changed", "added", "deleted", "hidden", "attributes", "dangling",
)  # fmt: skip
KINDS: Mapping[str, str] = {
    LOST: "is a hard link to a file that the new base does not have",
    UNFOLDED: "is a directory of the image, and a link or a file in the new base: that is hidden with all behind it",
    LINKED: "is a hard link to a file that is another one in the new base",
    CHANGED: "was changed by the image, and is another one in the new base: the image's stays",
    ADDED: "was added by the image, and the new base has another one there: the image's stays",
    DELETED: "was deleted by the image, and is another one in the new base: that is deleted too",
    HIDDEN: "was emptied by the image: what the new base has there beyond the old one is hidden",
    ATTRIBUTES: "keeps the mode and owner of the old base, and has others in the new one",
    DANGLING: "is a symbolic link to what the new base does not have",
}
SEVERE = (LOST, UNFOLDED)
"""Where the result would not be the image on another base but a broken one."""


class Hazard(Value):
    """Something of an upper layer that means something else on the new base: one of KINDS, its path, the layer that
    says so (the lowest upper one is 0), and the target of a link."""

    __slots__ = ()
    kind: str
    path: bytes
    layer: int
    target: bytes = b""

    @property
    def is_severe(self) -> bool:
        return self.kind in SEVERE

    @property
    def text(self) -> str:
        """The hazard as a sentence without its end."""
        shown = "/" + self.path.decode("utf-8", "backslashreplace")
        target = f" (/{self.target.decode('utf-8', 'backslashreplace')})" if self.target else ""
        return f"{shown} {KINDS[self.kind]}{target}"


def hazards(old: Sequence[LayerIndex], new: Sequence[LayerIndex], upper: Sequence[LayerIndex]) -> list[Hazard]:
    """What is to be known before the layers `upper` are taken from `old` and put on `new`; severe ones first."""
    found = _Hazards(old, new, upper)
    everything = [*found.of_nodes(), *found.of_whiteouts(), *found.of_opaque()]
    return sorted(everything, key=lambda each: (not each.is_severe, each.path, each.kind))


class _Hazards:
    def __init__(self, old: Sequence[LayerIndex], new: Sequence[LayerIndex], upper: Sequence[LayerIndex]) -> None:
        self._upper = tuple(upper)
        self._old, self._new, self._top = merge(old), merge(new), merge(upper)
        self._on_old, self._on_new = merge([*old, *upper]), merge([*new, *upper])

    def of_nodes(self) -> Iterator[Hazard]:
        for node in self._top:
            target = self._target_below(node) if node.kind is Kind.HARDLINK else None
            if target is not None and (kind := self._of_link(target)):
                yield Hazard(kind, node.path, node.layer, target)
            elif kind := self._of_path(node):
                yield Hazard(kind, node.path, node.layer)
            if node.kind is Kind.SYMLINK and (lost := self._dangles(node)) is not None:
                yield Hazard(DANGLING, node.path, node.layer, lost)

    def _target_below(self, node: Node) -> bytes | None:
        """The path a hard link leads to below the upper layers; None if it ends in one of them."""
        layer, number = node.layer, node.number
        seen = set()
        while self._upper[layer].kind(number) is Kind.HARDLINK and (layer, number) not in seen:
            seen.add((layer, number))
            target = self._upper[layer].link(number)
            inside = self._upper[layer].find(target)
            if inside is not None and self._upper[layer].kind(inside) is not Kind.WHITEOUT:
                number = inside
                continue
            below = merge(self._upper[:layer]).find(target)
            if below is None:
                return target
            layer, number = below.layer, below.number
        return None

    def _of_link(self, target: bytes) -> str:
        now = self._new.find(target)
        if now is None or now.kind is Kind.DIRECTORY:
            return LOST
        return "" if self._alike(target) else LINKED

    def _of_path(self, node: Node) -> str:
        now = self._new.find(node.path)
        if now is None:
            return ""
        before = self._old.find(node.path)
        alike = before is not None and same(self._old.entry(before), self._new.entry(now))
        if node.kind is Kind.DIRECTORY:
            return self._of_directory(node, before, now, alike=alike)
        if alike:
            return CHANGED if now.kind is Kind.DIRECTORY and self._loses_below(node.path) else ""
        if same(self._on_new.entry(self._on_top(node)), self._new.entry(now)):
            return ""
        return ADDED if before is None else CHANGED

    def _of_directory(self, node: Node, before: Node | None, now: Node, *, alike: bool) -> str:
        if now.kind is not Kind.DIRECTORY:
            return "" if alike else UNFOLDED
        visible = self._on_new.find(node.path)
        if not alike and visible is not None:
            # As it is seen: one that no layer mentions shows what is below it, unless that was deleted meanwhile.
            rights = _rights(self._on_new.entry(visible))
            if rights != _rights(self._new.entry(now)):
                if before is None or before.kind is not Kind.DIRECTORY:
                    return ADDED
                return ATTRIBUTES if rights == _rights(self._old.entry(before)) else CHANGED
        return HIDDEN if self._is_made_again(node.path) and self._loses_below(node.path) else ""

    def _is_made_again(self, path: bytes) -> bool:
        """Whether an upper layer had something else at the path of a directory, or deleted it."""
        for index in self._upper:
            number = index.find(path)
            if number is not None and index.kind(number) is not Kind.DIRECTORY:
                return True
        return False

    def _loses_below(self, path: bytes) -> bool:
        """Whether anything that the new base has beneath a path and the old one has not is gone from sight."""
        waiting = [path]
        while waiting:
            for node in self._new.children(waiting.pop()):
                if self._on_new.find(node.path) is None and not self._alike(node.path):
                    return True
                if node.kind is Kind.DIRECTORY:
                    waiting.append(node.path)
        return False

    def _on_top(self, node: Node) -> Node:
        return Node(node.path, node.kind, node.layer + len(self._new.indexes), node.number)

    def _dangles(self, node: Node) -> bytes | None:
        link = self._upper[node.layer].link(node.number)
        place = posixpath.join(b"/" + posixpath.dirname(node.path), link).lstrip(b"/")
        if self._on_old.find(real_path(self._on_old, place)) is None:
            return None
        lost = real_path(self._on_new, place)
        return lost if lost and self._on_new.find(lost) is None else None

    def of_whiteouts(self) -> Iterator[Hazard]:
        """Whatever is deleted in the end; a deleted path that an upper layer has again is one of its nodes."""
        told: set[bytes] = set()
        for layer in reversed(range(len(self._upper))):
            index = self._upper[layer]
            for number in range(len(index)) if index.count(Kind.WHITEOUT) else ():
                if index.kind(number) is not Kind.WHITEOUT:
                    continue
                path = index.path(number)
                if path in told or self._top.find(path) is not None:
                    continue
                told.add(path)
                if self._new.find(path) is not None and (not self._alike(path) or self._loses_below(path)):
                    yield Hazard(DELETED, path, layer)

    def of_opaque(self) -> Iterator[Hazard]:
        told: set[bytes] = set()
        for layer in reversed(range(len(self._upper))):
            index = self._upper[layer]
            for number in range(len(index)):
                if not index.is_opaque(number) or (path := index.path(number)) in told:
                    continue
                told.add(path)
                visible = self._top.find(path) if path else None
                if path and (visible is None or visible.kind is not Kind.DIRECTORY):
                    continue
                if self._loses_below(path):
                    yield Hazard(HIDDEN, path, layer)

    def _alike(self, path: bytes) -> bool:
        """Whether both bases have the same at a path."""
        before, now = self._old.find(path), self._new.find(path)
        if before is None or now is None:
            return before is now
        return same(self._old.entry(before), self._new.entry(now))


def _rights(entry: Entry) -> tuple[object, ...]:
    return entry.mode, entry.uid, entry.gid, tuple(sorted(entry.xattrs))


def same(one: Entry, other: Entry) -> bool:
    """Whether two entries are the same but for their times; of a directory what it is counts, not what is in it."""
    return (one.kind, _rights(one)) == (other.kind, _rights(other)) and (
        one.kind is Kind.DIRECTORY
        or (one.size, one.link, one.device, one.digest) == (other.size, other.link, other.device, other.digest)
    )
