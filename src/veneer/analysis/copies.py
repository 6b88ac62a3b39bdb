"""The parts of the event table: copies of paths and what ended them, directories as layers have them, rows and runs."""

from __future__ import annotations

import enum

from veneer.values import Value

NEVER = 1 << 30
"""Where a copy ends that is to be seen in the whole image."""
Fate = tuple[int, "Cause | None", bytes]
"""Where a copy ends, why, and where that was done: `ended`, `cause` and `by` of Copy."""


class Cause(enum.IntEnum):
    """Why a copy is not to be seen any more."""

    DELETED = 1
    """A whiteout, of itself or of a directory above it."""
    SHADOWED = 2
    """An opaque directory above it."""
    REPLACED = 3
    """Something of another kind took its place, or the place of a directory above it."""
    OVERWRITTEN = 4
    """A copy with another content."""
    REWRITTEN = 5
    """A copy with the same bytes: at most owner, mode, times or attributes are others."""

    @property
    def shown(self) -> str:
        return self.name.lower()


class Cut(Value):
    """Layer `layer` hides what lower layers have in a directory, by what it does at `path`."""

    __slots__ = ()
    layer: int
    cause: Cause
    path: bytes


class Copy(Value):
    """Entry `number` of layer `layer`, seen up to layer `ended` (NEVER: to the top), which hid it by `cause`.

    `by` is where that was done: the copy's own path, or that of a directory above it (b"" if it did not end).
    """

    __slots__ = ()
    layer: int
    number: int
    ended: int = NEVER
    cause: Cause | None = None
    by: bytes = b""

    @property
    def fate(self) -> Fate:
        return self.ended, self.cause, self.by

    def seen_at(self, layers: int) -> bool:
        """Whether it is to be seen in the lowest `layers` layers."""
        return self.layer < layers <= self.ended


class Place(Value):
    """A directory as all the layers have it.

    `parts`: (layer, entry number; None for the root) of each layer that has it, lowest first.  `cuts`: those above the
    lowest part, by layer.
    """

    __slots__ = ()
    parts: tuple[tuple[int, int | None], ...]
    cuts: tuple[Cut, ...] = ()


class Run(Value):
    """Entries `start` to `end` (left out) of one layer, all that is in a directory that only this layer has.

    They end together, as `Copy` says.
    """

    __slots__ = ()
    layer: int
    start: int
    end: int
    ended: int = NEVER
    cause: Cause | None = None
    by: bytes = b""

    @property
    def fate(self) -> Fate:
        return self.ended, self.cause, self.by

    @property
    def empty(self) -> bool:
        return self.start == self.end


class Row(Value):
    """A path with its copies, lowest layer first; `place` if any of them is a directory.

    Of what is beneath a directory, `run` is all there is if only one layer has it; else rows of a greater depth follow.
    """

    __slots__ = ()
    depth: int
    path: bytes
    copies: tuple[Copy, ...]
    place: Place | None
    run: Run | None
