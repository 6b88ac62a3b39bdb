"""Two builds of one input, compared: the first thing that differs, down to the byte.

Layers are compared by their indexes, so nothing is unpacked; only of a file whose content differs are both copies
read.  A difference is told as the step that made it, the path, what of it, and both values.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from veneer.changeset.entry import Entry
from veneer.errors import VeneerError
from veneer.values import Value

if TYPE_CHECKING:
    from typing import Any

    from veneer.store.image import Image
    from veneer.store.layers import Layer
    from veneer.store.store import Store

_CHUNK = 1 << 20
_ATTRIBUTES = ("kind", "mode", "uid", "gid", "size", "link", "device", "xattrs", "opaque", "mtime_ns")


class NotReproducible(VeneerError):
    """The same input built twice came to two images.  `image` is the first, `difference` what differs first."""

    def __init__(self, image: Image, difference: Difference) -> None:
        way_out = f"use {difference.hint}; " if difference.hint else ""
        super().__init__(
            f"a second build of the same input differs: {difference.sentence}",
            hint=f"{way_out}the first one is {image.id.short}, and was given no name",
        )
        self.image = image
        self.difference = difference


class Difference(Value):
    """Where two builds part.

    `where`: the layer and the step that made it, or "config".  `path`: of the file, or the config's key.  `what`:
    the attribute ("content", "mode", "mtime", ...) or "presence".  `offset`: of the first differing byte, for
    contents.  `hint`: what makes such a thing reproducible, if that is known.
    """

    where: str
    path: str
    what: str
    first: str
    second: str
    offset: int | None = None
    hint: str = ""

    @property
    def sentence(self) -> str:
        """The difference in one line."""
        place = f" at byte {self.offset}" if self.offset is not None else ""
        return f"{self.where}: {self.path}: {self.what} differs{place}: {self.first} and {self.second}"


def compare(store: Store, first: Image, second: Image) -> Difference | None:
    """The first difference of two images, layers before configs; None if they are the same image.

    Raises what reading a layer's index raises: LayerLost, NoSuchLayer.
    """
    if first.id == second.id:
        return None
    stacks = [store.layers.ensure(image.top) if image.top else [] for image in (first, second)]
    for number, (one, two) in enumerate(zip(*stacks, strict=False)):
        if one.diff_id != two.diff_id:
            made_by = _made_by(store, first, number)
            where = f"layer {number + 1} of {len(stacks[0])}{', made by ' if made_by else ''}{made_by}"
            found = _layers(store, one, two, where)
            return found or Difference(where, "the tar itself", "encoding", str(one.diff_id), str(two.diff_id))
    if len(stacks[0]) != len(stacks[1]):
        return Difference("image", "layers", "number", str(len(stacks[0])), str(len(stacks[1])))
    return _configs(first.config.document, second.config.document)


def _made_by(store: Store, image: Image, layer: int) -> str:
    """The step that made a layer (0 is the lowest); "" where nothing tells.

    On a base that has fewer rows than layers its rows do not, but the image that the step left: its last one did.
    """
    if image.config.tells_layers:
        return next(entry.created_by for entry, at in image.config.rows() if at == layer)
    line = [each.config for each in store.images.ancestors(image.id)]
    for config, below in itertools.pairwise(line):
        last = config.history[-1:]
        if last and not last[0].empty_layer and len(config.diff_ids) == layer + 1 and len(below.diff_ids) == layer:
            return last[0].created_by
    return ""


def _layers(store: Store, one: Layer, two: Layer, where: str) -> Difference | None:
    with store.layers.index(one.diff_id) as left, store.layers.index(two.diff_id) as right:
        for path, ours, theirs in _side_by_side(iter(left), iter(right)):
            shown = "/" + path.decode("utf-8", "backslashreplace")
            if ours is None or theirs is None:
                here, there = ("there" if each is not None else "not there" for each in (ours, theirs))
                return Difference(where, shown, "presence", here, there)
            if ours.digest != theirs.digest and ours.size == theirs.size:
                return _contents(store, one, two, path, shown, where)
            if found := _attributes(ours, theirs, shown, where):
                return found
    return None


def _side_by_side(left: Iterator[Entry], right: Iterator[Entry]) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """Both indexes' entries by path; None where one has none."""
    ours, theirs = next(left, None), next(right, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours.path.split(b"/") < theirs.path.split(b"/")):
            assert ours is not None
            yield ours.path, ours, None
            ours = next(left, None)
        elif ours is None or ours.path != theirs.path:
            yield theirs.path, None, theirs
            theirs = next(right, None)
        else:
            yield ours.path, ours, theirs
            ours, theirs = next(left, None), next(right, None)


def _attributes(ours: Entry, theirs: Entry, shown: str, where: str) -> Difference | None:
    for name in _ATTRIBUTES:
        one, two = getattr(ours, name), getattr(theirs, name)
        if one != two:
            hint = "--rewrite-timestamp with --source-date-epoch" if name == "mtime_ns" else ""
            return Difference(where, shown, name.removesuffix("_ns"), _told(name, one), _told(name, two), hint=hint)
    return None


def _told(name: str, value: Any) -> str:
    if name == "mode":
        return f"{value:04o}"
    if name == "mtime_ns":
        return f"{value // 10**9}.{value % 10**9:09d}"
    if name == "kind":
        return str(value.name.lower())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _contents(store: Store, one: Layer, two: Layer, path: bytes, shown: str, where: str) -> Difference:
    name = os.fsdecode(path)
    files = [os.path.join(store.layers.directory(layer), name) for layer in (one, two)]
    offset = 0
    with open(files[0], "rb", buffering=0) as left, open(files[1], "rb", buffering=0) as right:
        while True:
            ours, theirs = left.read(_CHUNK), right.read(_CHUNK)
            if ours != theirs:
                at = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
                          min(len(ours), len(theirs)))  # fmt: skip
                return Difference(where, shown, "content", _around(ours, at), _around(theirs, at), offset + at)
            if not ours:
                return Difference(where, shown, "content", "?", "?", hint="the files changed after they were hashed")
            offset += len(ours)


def _around(data: bytes, at: int) -> str:
    """The bytes from the place on, as a hex dump shows them."""
    piece = data[at : at + 12]
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
    return f"{piece.hex(' ')} |{text}|" if piece else "the end"


def _configs(one: Any, two: Any, path: str = "") -> Difference | None:
    if one == two:
        return None
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            if found := _configs(one.get(key), two.get(key), f"{path}.{key}" if path else key):
                return found
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for number, (ours, theirs) in enumerate(zip(one, two, strict=True)):
            if found := _configs(ours, theirs, f"{path}[{number}]"):
                return found
    hint = "--source-date-epoch" if path.endswith("created") else ""
    return Difference("config", path, "value", str(one)[:200], str(two)[:200], hint=hint)
