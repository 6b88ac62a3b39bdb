"""The buffer that files are read into: a layer's tar, piece by piece."""

from __future__ import annotations

from collections.abc import Callable

BUFFER = 1 << 20


class Tar:
    """Where a layer's tar goes: into a buffer, handed on whenever it is full.

    `full` takes the filled part and gives the buffer to go on with, which may be the same.
    """

    def __init__(self, buffer: memoryview, full: Callable[[memoryview], memoryview]) -> None:
        self.view = buffer
        self.filled = 0
        self._full = full

    def reserve(self, length: int) -> bool:
        """Have room for `length` bytes in one piece; whether there can be as much."""
        if self.filled + length <= len(self.view):
            return True
        self.flush()
        return length <= len(self.view)

    def put(self, data: bytes | memoryview) -> None:
        after = self.filled + len(data)
        if after <= len(self.view):
            self.view[self.filled : after] = data
            self.filled = after
            return
        while data:
            if self.filled == len(self.view):
                self.flush()
            count = min(len(data), len(self.view) - self.filled)
            self.view[self.filled : self.filled + count] = data[:count]
            self.filled += count
            data = data[count:]

    def flush(self) -> None:
        if self.filled:
            self.view = self._full(self.view[: self.filled])
            self.filled = 0
