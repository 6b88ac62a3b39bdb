"""One compressed stream made by all cores: the same bytes however many there are.

The input is cut at every CHUNK bytes and the pieces are compressed on their own, by threads (the libraries let go of
the interpreter's lock).  gzip stays a single member: each piece is a run of deflate blocks ended by a full flush, as
pigz does; zstd becomes frame after frame.  Both are what every reader takes.
"""

from __future__ import annotations

import contextlib
import struct
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from veneer.changeset.compression import Compression, _zstd

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from veneer.changeset.compression import Sink

CHUNK = {Compression.GZIP: 1 << 20, Compression.ZSTD: 4 << 20}
"""Bytes of input a piece has: smaller ones cost compression, larger ones memory."""
MOST_WORKERS = {Compression.GZIP: 16, Compression.ZSTD: 6}
"""So that the pieces under way, two for each worker, take less than 64 MB before and as much after."""
GZIP_LEVEL = 2
ZSTD_LEVEL = 2
ZSTD_OWN = {"window_log": 22, "hash_log": 15, "min_match": 6}
"""Where no level is asked for: a window that holds a whole piece makes up for fewer, longer matches, which are found
sooner.  zlib's level 6, which docker uses, lies 10 % below isal's level 2 and 2 % above this in size."""
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_END = b"\x03\x00"
"""An empty last deflate block."""


def maker(kind: Compression, level: int | None = None) -> str:
    """What is recorded of a blob's making: library, level, size of a piece.  Another of these, other bytes."""
    piece = f"{CHUNK[kind] >> 20} MiB"
    if kind is Compression.GZIP:
        import isal

        return f"isal {isal.__version__} level {GZIP_LEVEL if level is None else level}, {piece}"
    version: str = _zstd().zstd_version
    how = f"level {level}" if level is not None else " ".join(map(str, (f"level {ZSTD_LEVEL}", *ZSTD_OWN.values())))
    return f"zstd {version} {how}, {piece}"


@contextlib.contextmanager
def parallel_compressor(
    out: BinaryIO | Sink, kind: Compression, workers: int, *, level: int | None = None
) -> Iterator[Sink]:
    """A sink whose bytes go to `out` compressed.  Leaving the block well writes the stream's end.

    `workers` is how many threads compress, at most MOST_WORKERS; at most 2 * workers + 1 pieces are in memory.
    ValueError for what layers are not written as.
    """
    from concurrent.futures import ThreadPoolExecutor

    if kind not in CHUNK:
        raise ValueError(f"layers are not written as {kind.name.lower()}")
    workers = min(workers, MOST_WORKERS[kind])
    with ThreadPoolExecutor(workers, "veneer-compress") as pool:
        made: _Gzip | _Zstd = (
            _Gzip(out, pool, workers, GZIP_LEVEL if level is None else level)
            if kind is Compression.GZIP
            else _Zstd(out, pool, workers, level)
        )
        try:
            yield made
            made.finish()
        finally:
            made.abandon()


class _Pieces:
    """Cuts the input, keeps the order; lends the pieces' memory, which is used again and again (tar_writer.Lender)."""

    def __init__(self, out: BinaryIO | Sink, pool: ThreadPoolExecutor, workers: int, size: int) -> None:
        self._out = out
        self._pool = pool
        self._most = 2 * workers
        self._chunk = size
        self._piece = memoryview(bytearray(size))
        self._have = 0
        self._free: list[memoryview] = []
        self._under_way: deque[tuple[Future[bytes], memoryview]] = deque()
        self._compress: Callable[[memoryview], bytes]

    def lend(self) -> memoryview:
        return self._piece[self._have :]

    def filled(self, count: int) -> memoryview:
        self._have += count
        if self._have == self._chunk:
            self._send()
        return self._piece[self._have :]

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        rest = memoryview(data)
        while rest:
            part = rest[: self._chunk - self._have]
            self._piece[self._have : self._have + len(part)] = part
            self.filled(len(part))
            rest = rest[len(part) :]
        return len(data)

    def _send(self) -> None:
        piece, self._have = self._piece, 0
        self._seen(piece)
        self._under_way.append((self._pool.submit(self._compress, piece), piece))
        while len(self._under_way) > self._most or self._under_way[0][0].done():
            self._take()
            if not self._under_way:
                break
        self._piece = self._free.pop() if self._free else memoryview(bytearray(self._chunk))

    def _take(self) -> None:
        future, piece = self._under_way.popleft()
        self._out.write(future.result())
        self._free.append(piece)

    def _seen(self, piece: memoryview) -> None:
        """Called with each piece, in order."""

    def finish(self) -> None:
        if self._have:
            last = self._piece[: self._have]
            self._seen(last)
            self._under_way.append((self._pool.submit(self._compress, last), last))
        while self._under_way:
            self._take()

    def abandon(self) -> None:
        """Let go of what nobody waits for any more."""
        for future, _ in self._under_way:
            future.cancel()


class _Gzip(_Pieces):
    """One member with a fixed header: no name, no time, OS byte 255 (RFC 1952, 2.3.1)."""

    def __init__(self, out: BinaryIO | Sink, pool: ThreadPoolExecutor, workers: int, level: int) -> None:
        from isal import isal_zlib

        super().__init__(out, pool, workers, CHUNK[Compression.GZIP])
        self._crc32 = isal_zlib.crc32
        self._crc = 0
        self._size = 0

        def compress(piece: memoryview) -> bytes:
            deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
            return deflate.compress(piece) + deflate.flush(isal_zlib.Z_FULL_FLUSH)

        self._compress = compress
        out.write(_HEADER)

    def _seen(self, piece: memoryview) -> None:
        self._crc = self._crc32(piece, self._crc)
        self._size += len(piece)

    def finish(self) -> None:
        super().finish()
        self._out.write(_END + struct.pack("<II", self._crc & 0xFFFFFFFF, self._size & 0xFFFFFFFF))


class _Zstd(_Pieces):
    """Frames without a sum of their own: a blob's digest says more."""

    def __init__(self, out: BinaryIO | Sink, pool: ThreadPoolExecutor, workers: int, level: int | None) -> None:
        zstd = _zstd()
        super().__init__(out, pool, workers, CHUNK[Compression.ZSTD])
        chosen = {"compression_level": ZSTD_LEVEL, **ZSTD_OWN} if level is None else {"compression_level": level}
        options = {getattr(zstd.CompressionParameter, name): value for name, value in chosen.items()}
        self._compress = lambda piece: zstd.compress(piece, options=options)
        self._empty = True

    def _seen(self, piece: memoryview) -> None:
        self._empty = False

    def finish(self) -> None:
        super().finish()
        if self._empty:
            self._out.write(self._compress(memoryview(b"")))
