"""A blob on its way in: read as fast as the socket gives, resumed where it broke, never a byte too many.

What is written is always the blob's bytes from the sink's offset on, whatever the registry does with Range; the
sink's owner checks the digest at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from veneer.distribution.client import Registry
from veneer.distribution.retry import Clock, check
from veneer.distribution.session import Effort, RegistryRefused, TryAgain
from veneer.distribution.transport import CHUNK, ConnectionFailed, Response
from veneer.errors import Corrupt, VeneerError
from veneer.oci.manifest import Descriptor
from veneer.progress import Cancelled

BATCH = 1 << 20
"""Bytes gathered before they are written: one system call and one hash update a MiB."""
PACE_WINDOW = 30.0
PACE_FLOOR = 1024
"""Bytes a second below which a connection counts as dead, measured over PACE_WINDOW seconds."""

Opener = Callable[[int], Response]
"""Opens the blob from an offset on: status 200 (from 0) or 206."""


class WrongSize(Corrupt):
    """A blob that is longer or shorter than its descriptor says."""


class Sink(Protocol):
    """Where a blob goes: so many bytes are there, and more can be added."""

    @property
    def offset(self) -> int: ...
    def write(self, data: bytes | bytearray | memoryview, /) -> object: ...


def download(
    sources: Sequence[tuple[str, Opener]],
    descriptor: Descriptor,
    sink: Sink,
    effort: Effort,
    report: Callable[[int], None],
) -> None:
    """Fill `sink` up to the descriptor's size from the first of `sources` (host name, opener) that can.

    `report` is told the bytes that are there.  Raises the last source's error; what arrived stays in the sink.
    """
    for position, (host, opener) in enumerate(sources):
        try:
            _Download(host, opener, descriptor, sink, effort, report).run()
            return
        except Cancelled:
            raise
        except VeneerError:
            check(effort.stop)
            if position == len(sources) - 1:
                raise


class _Pace:
    """Notices a connection that drips."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window = self._paused = clock.monotonic()
        self._bytes = 0

    def arrived(self, count: int, what: str) -> bool:
        """Count bytes; True a few times a second, when what was gathered should be passed on.

        Raises ConnectionFailed, naming `what`, where too little came for too long.
        """
        self._bytes += count
        now = self._clock.monotonic()
        if now - self._window > PACE_WINDOW:
            if self._bytes < PACE_FLOOR * PACE_WINDOW:
                raise ConnectionFailed(f"{what}: only {self._bytes} bytes in {now - self._window:.0f} s")
            self._window, self._bytes = now, 0
        if now - self._paused > 0.25:
            self._paused = now
            return True
        return False


class _Download:
    def __init__(
        self,
        host: str,
        opener: Opener,
        descriptor: Descriptor,
        sink: Sink,
        effort: Effort,
        report: Callable[[int], None],
    ) -> None:
        self._host, self._open, self._effort = host, opener, effort
        self._descriptor, self._sink, self._report = descriptor, sink, report
        self._attempts = effort.attempts()
        self._ranges = True

    def run(self) -> None:
        size = self._descriptor.size
        while self._sink.offset < size:
            check(self._effort.stop)
            try:
                self._stream()
            except (ConnectionFailed, TryAgain) as error:
                check(self._effort.stop)
                self._attempts.failed(error, getattr(error, "retry_after", None))

    def _stream(self) -> None:
        offset = self._sink.offset
        try:
            response = self._open(offset if self._ranges else 0)
        except RegistryRefused as error:
            if offset and "HTTP 416" in error.message:
                raise self._wrong_size(f"the registry has nothing from byte {offset} on") from None
            raise
        with response:
            self._copy(response, self._skip(response, offset))

    def _skip(self, response: Response, offset: int) -> int:
        """How many of the bytes that come are here already.  Raises where they cannot be the blob's."""
        length = response.headers.get("Content-Length", "")
        coming = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
        start = 0
        if response.status == 206:
            start, total = _content_range(response.headers.get("Content-Range", ""))
            wrong = not 0 <= start <= offset or total not in (-1, self._descriptor.size)
            if wrong or "Content-Encoding" in response.headers:
                # Not the part that was asked for, and no telling which: ask for the whole from now on.
                self._ranges = False
                raise ConnectionFailed(f"{self._host}: blob {self._descriptor.digest}: wrong Content-Range")
        if coming is not None and start + coming > self._descriptor.size:
            raise self._wrong_size(f"the registry offers {start + coming}")
        return offset - start

    def _copy(self, response: Response, skip: int) -> None:
        # One buffer for the whole stream: chunks are gathered in it, so that it is written and hashed a MiB at a time.
        buffer = memoryview(bytearray(BATCH + CHUNK))
        filled = 0
        pace = _Pace(self._effort.clock)
        try:
            while skip or self._sink.offset + filled < self._descriptor.size:
                chunk = response.read1(CHUNK)
                if not chunk:
                    missing = self._descriptor.size - self._sink.offset - filled
                    raise ConnectionFailed(f"{self._host}: blob {self._descriptor.digest} ended {missing} bytes early")
                check(self._effort.stop)
                count = len(chunk)
                if skip:
                    dropped = min(skip, len(chunk))
                    skip -= dropped
                    chunk = chunk[dropped:]
                buffer[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
                pause = pace.arrived(count, f"{self._host}: blob {self._descriptor.digest}")
                if filled >= BATCH or pause:
                    # Emptied first: whatever interrupts the writing, `finally` must not write the same bytes again.
                    ready, filled = filled, 0
                    self._write(buffer[:ready])
            if self._sink.offset + filled > self._descriptor.size or response.read1(1):
                raise self._wrong_size("the registry sends more")
        finally:
            self._write(buffer[:filled])

    def _write(self, data: memoryview) -> None:
        count = min(len(data), self._descriptor.size - self._sink.offset)
        if count > 0:
            self._sink.write(data[:count])
            self._attempts.progressed(count)
            self._report(self._sink.offset)

    def _wrong_size(self, fact: str) -> WrongSize:
        return WrongSize(
            f"{self._host}: blob {self._descriptor.digest}: its size is {self._descriptor.size} bytes, but {fact}",
            hint="the image's manifest and its blobs do not fit together; ask who pushed it",
        )


def _content_range(header: str) -> tuple[int, int]:
    """Start and total of `bytes START-END/TOTAL`; -1 for what is not there or not a number."""
    unit, _, rest = header.strip().partition(" ")
    span, _, total = rest.partition("/")
    start = span.partition("-")[0]

    def number(text: str) -> int:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1

    return (number(start) if unit == "bytes" else -1), number(total)


def registry_source(registry: Registry, repository: str, descriptor: Descriptor) -> tuple[str, Opener]:
    """A source for `download`: the blob as one registry has it."""
    return registry.host, lambda offset: registry.open_blob(repository, descriptor, offset)
