"""The stream that a tar is read from: blocks and contents out of reused buffers, whatever the members say.

A content, or the padding behind it, may lie across the ends of the buffers, and none of it is copied for that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from veneer.changeset.fillings import Fillings, FillingsAhead
from veneer.changeset.header import BLOCK
from veneer.changeset.limits import Limits
from veneer.errors import Corrupt


@runtime_checkable
class Skippable(Protocol):
    """A source that can go on without reading."""

    def skip(self, count: int, /) -> int:
        """Pass over `count` bytes; how many there were."""
        ...


class BadArchive(Corrupt):
    """A tar stream that is damaged, hostile, or no tar at all; names the layer, the member and the fact."""


def shown(name: bytes) -> str:
    """A member's name for people: printable, and short enough for one line."""
    text = name.decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= 200 else f"{text[:120]}...{text[-60:]}"


class TarStream:
    """Where in the stream a reader is, and the content of its present member.

    `path` and `number` are of that member, for errors.  `left`: stored bytes of its content not yet taken.

    `fillings` are what is read; `pass_over`, where given, goes on in them without reading (see Skippable).
    """

    def __init__(
        self,
        fillings: Fillings | FillingsAhead,
        pass_over: Callable[[int], int] | None,
        *,
        limits: Limits,
        what: str,
    ) -> None:
        self.what = what
        self.limits = limits
        self.path = b""
        self.left = self.number = 0
        self._fillings = fillings
        self._pass_over = pass_over
        self._view = memoryview(b"")
        self._pos = self._end = 0
        self._pad = 0
        self._total = 0

    @property
    def offset(self) -> int:
        """How many bytes of the stream are behind."""
        return self._total - self._end + self._pos

    @property
    def total(self) -> int:
        """How many bytes of the stream have been read; after drain() its length."""
        return self._total

    def bad(self, fact: str) -> BadArchive:
        """The error that says `fact` about the present member."""
        where = f"{shown(self.path)!r}: " if self.path else f"byte {self.offset}: "
        return BadArchive(f"{self.what}: {where}{fact}")

    def take(self) -> memoryview:
        """The next piece of the member's stored content, as long as the buffer has; empty at its end.

        The view is good until the next call of any method.
        """
        pos = self._pos
        stop = pos + self.left
        if stop > self._end:
            if pos == self._end and self.left:
                if not self._fill():
                    raise self.bad(f"the archive is cut off, {self.left} bytes of content are missing")
                pos = 0
                stop = self.left
            stop = min(stop, self._end)
        self._pos = stop
        self.left -= stop - pos
        return self._view[pos:stop]

    def take_at_most(self, count: int) -> memoryview:
        """As take(), but no more than `count` bytes."""
        piece = self.take()
        if len(piece) > count:
            self._pos -= len(piece) - count
            self.left += len(piece) - count
            piece = piece[:count]
        return piece

    def read(self, limit: int) -> bytes:
        """All content that is left, at most `limit` bytes; raises BadArchive where there is more."""
        if self.left > limit:
            raise self.bad(f"{self.left} bytes are more than the {limit} it may have")
        pieces = bytearray()
        while self.left:
            pieces += self.take()
        return bytes(pieces)

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        """Fill the start of `buffer` with content: the member as a Source, for archives within archives."""
        if not self.left:
            return 0
        piece = self.take_at_most(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def drain(self) -> None:
        """Read to the stream's end.

        A tar ends at two zero blocks, but padding and other bytes may follow, and the diff ID covers them.
        """
        self.left = self._pad = 0
        while self._fill():
            pass

    def hexdigest(self) -> str:
        """SHA-256 of every byte of the stream read so far; after drain() that is the diff ID's."""
        return self._fillings.hexdigest()

    def close(self) -> None:
        """Let go of the source: nothing reads it any more."""
        self._fillings.close()

    def _fill(self) -> int:
        """Go on to the next filling; how many bytes it has, 0 at the end of the stream."""
        self._view = self._fillings.next()
        have = len(self._view)
        self._total += have
        self._pos, self._end = 0, have
        if self._total > self.limits.size:
            raise self.bad(f"the uncompressed archive exceeds the limit of {self.limits.size} bytes")
        return have

    def _skip(self, count: int) -> None:
        while count > self._end - self._pos:
            count -= self._end - self._pos
            if self._pass_over is not None:
                passed = self._pass_over(count)
                self._total += passed
                count -= passed
                self._pos = self._end = 0
                if not count:
                    return
            if not self._fill():
                if count > self._pad:
                    raise self.bad(f"the archive is cut off, {count} bytes are missing")
                return  # only the last block's padding is missing, which docker forgives as well
        self._pos += count

    def _take_block(self) -> bytes:
        if self._pos >= self._end and not self._fill():
            raise ValueError("the archive is cut off within a header")
        block = bytes(self._view[self._pos : self._pos + BLOCK])
        self._pos += BLOCK
        if len(block) < BLOCK or self._pos > self._end:
            raise ValueError("the archive is cut off within a header")
        return block
