"""What a server gives back of its memory: a walk over a large tree takes half a kilobyte for each file, and the kernel
forgets the files as soon as it wants the room for something else."""

from __future__ import annotations

import gc

_MANY = 20_000
"""Nodes that are worth the look: 10 MB."""


class Memory:
    """How many nodes there were, and whether so many are forgotten that the system is to have their room."""

    def __init__(self) -> None:
        self._most = 0

    def forgotten(self, before: int, now: int) -> None:
        """There were `before` nodes and are `now`."""
        self._most = max(self._most, before)
        if self._most > _MANY and now * 4 < self._most:
            self._most = now
            give_back()


def give_back() -> None:
    """Let the system have what is free: else single objects that Python keeps for later hold on to whole arenas.

    Takes a tenth of a second where there are 100,000 nodes, none where there are few.
    """
    import ctypes

    gc.collect()  # for its lists of free objects: there are no cycles
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
