"""What a blob's bytes are once unpacked from gzip, zstd, bzip2 or xz: told by magic, never by name.

Everything is decompressed in this process: no helper program is looked up, so none can be planted.
"""

from __future__ import annotations

import contextlib
import enum
import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

from veneer.errors import Corrupt

_CHUNK = 131072
_MEMORY = 160 << 20  # bytes an xz dictionary may take; `xz -9` needs 65 MiB to decompress
_ZSTD_WINDOW_LOG = 27  # what the zstd command itself accepts without --memory


class Source(Protocol):
    """Bytes in order.  Like a raw file: 0 at the end, otherwise at least one byte."""

    def readinto(self, buffer: memoryview | bytearray, /) -> int: ...


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int: ...


class BadCompression(Corrupt):
    """A compressed stream that is damaged, cut off, or followed by something else."""


class Compression(enum.Enum):
    """How a stream is compressed.  `suffix` is what a media type says of it."""

    NONE = ""
    GZIP = "+gzip"
    ZSTD = "+zstd"
    BZIP2 = "+bzip2"
    XZ = "+xz"

    @property
    def suffix(self) -> str:
        return self.value


def sniff(head: bytes) -> Compression:
    """Tell the compression from the first 6 bytes or more; NONE for anything unknown, short heads included."""
    if head[:3] == b"\x1f\x8b\x08":
        return Compression.GZIP
    # zstd allows skippable frames, 0x184D2A5?, ahead of the first real one (RFC 8878, 3.1.2).
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50):
        return Compression.ZSTD
    if head[:3] == b"BZh" and head[3:4].isdigit():
        return Compression.BZIP2
    if head[:6] == b"\xfd7zXZ\x00":
        return Compression.XZ
    return Compression.NONE


def decompressed(source: Source) -> Source:
    """The plain bytes of `source`, whatever it is compressed with (see sniff).

    gzip members, zstd frames, bzip2 and xz streams may follow one another; zero bytes may pad the end of
    gzip, bzip2 and xz.  Anything else after the last of them is BadCompression, as are damage and an early end.
    """
    return opened(source)[1]


def opened(source: Source) -> tuple[Compression, Source]:
    """As decompressed(), and what the compression was."""
    head = bytearray(6)
    view = memoryview(head)
    have = 0
    while have < 6:
        count = source.readinto(view[have:])
        if not count:
            break
        have += count
    kind = sniff(bytes(head[:have]))
    whole = _Rejoined(bytes(head[:have]), source)
    if kind is Compression.GZIP:
        return kind, _Gzip(whole)
    if kind is Compression.NONE:
        return kind, whole
    return kind, _Framed(whole, kind)


class _Rejoined:
    """A source whose first bytes were read ahead."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        if not self._head:
            return self._source.readinto(buffer)
        count = min(len(self._head), len(buffer))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


class _Gzip:
    """gzip through ISA-L straight into the caller's buffer."""

    def __init__(self, source: Source) -> None:
        import zlib

        from isal import isal_zlib

        self._readinto: Callable[[memoryview | bytearray], int]
        # isal's stub declares its exception class as an exception.
        self._failures: tuple[type[Exception], ...] = (zlib.error, cast("type[Exception]", isal_zlib.IsalError))
        try:
            # isal's reader class is not public, but it is the one way without a copy (600 MB/s here);
            # a version without it leaves zlib's.
            from isal.isal_zlib import _GzipReader

            self._readinto = _GzipReader(cast(BinaryIO, _Reader(source)), _CHUNK).readinto
        except ImportError:
            import gzip

            self._readinto = gzip.GzipFile(fileobj=cast(BinaryIO, _Reader(source)), mode="rb").readinto

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        try:
            return self._readinto(buffer)
        except EOFError:
            raise BadCompression(
                "gzip stream is cut off, or a few bytes that are neither gzip nor zeros follow its last member"
            ) from None
        except self._failures as error:
            raise BadCompression(f"gzip stream is damaged: {error}") from None
        except OSError as error:
            if error.errno is not None:
                raise  # the file below, not the stream in it
            raise BadCompression(f"gzip stream is damaged, or other bytes follow its last member: {error}") from None


class _Reader:
    """The least of a file object that gzip's own classes ask of one."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int = _CHUNK) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self._source.readinto(buffer)])

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        return self._source.readinto(buffer)


class _Decompressor(Protocol):
    """What bz2, lzma and zstd decompressors have in common: one stream each, then `eof`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Framed:
    """zstd, bzip2 and xz: stream after stream, each by a fresh decompressor."""

    def __init__(self, source: Source, kind: Compression) -> None:
        self._source = source
        self._name = kind.name.lower()
        self._make, self._failures = _decompressors(kind)
        self._pads = kind is not Compression.ZSTD
        self._decompressor = self._make()
        self._input = bytearray(_CHUNK)
        self._ahead = b""
        self._begun = False

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        while True:
            if self._decompressor.eof and not self._next_stream():
                return 0
            data = b""
            if self._decompressor.needs_input:
                data = self._ahead or self._fetch()
                self._ahead = b""
                if not data:
                    if not self._begun:
                        return 0
                    raise BadCompression(f"{self._name} stream is cut off")
                self._begun = True
            try:
                plain = self._decompressor.decompress(data, len(buffer))
            except self._failures as error:
                raise BadCompression(f"{self._name} stream is damaged, or other bytes follow it: {error}") from None
            if plain:
                buffer[: len(plain)] = plain
                return len(plain)

    def _next_stream(self) -> bool:
        rest = self._decompressor.unused_data or self._fetch()
        while self._pads and rest:
            rest = rest.lstrip(b"\0")
            if rest:
                break
            rest = self._fetch()
        if not rest:
            return False
        self._decompressor = self._make()
        self._ahead = rest
        return True

    def _fetch(self) -> bytes:
        return bytes(self._input[: self._source.readinto(self._input)])


def _decompressors(kind: Compression) -> tuple[Callable[[], _Decompressor], tuple[type[Exception], ...]]:
    if kind is Compression.BZIP2:
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)
    if kind is Compression.XZ:
        import lzma

        return (lambda: lzma.LZMADecompressor(memlimit=_MEMORY)), (lzma.LZMAError, ValueError, EOFError)
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return (lambda: zstd.ZstdDecompressor(options=options)), (zstd.ZstdError, ValueError, EOFError)


def _zstd() -> Any:
    """The zstd module: in the standard library from Python 3.14, else the backport with the same interface."""
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        from backports import zstd
    return zstd


@contextlib.contextmanager
def compressor(out: BinaryIO, kind: Compression, level: int | None = None) -> Iterator[Sink]:
    """A sink whose bytes go to `out` compressed, the same bytes for the same input on every run.

    Leaving the block writes the stream's end; leaving it by an exception does not.  gzip levels 0-3 are
    ISA-L's (default 2), 4-9 zlib's; zstd's default is 3.  bzip2 and xz are for reading only: ValueError.
    """
    if kind is Compression.NONE:
        yield out
    elif kind is Compression.GZIP:
        gzip = _GzipWriter(out, 2 if level is None else level)
        yield gzip
        gzip.finish()
    elif kind is Compression.ZSTD:
        zstd = _zstd()
        parameter = zstd.CompressionParameter
        stream = zstd.ZstdCompressor(
            options={parameter.compression_level: 3 if level is None else level, parameter.checksum_flag: 1}
        )
        yield _ZstdWriter(out, stream)
        out.write(stream.flush())
    else:
        raise ValueError(f"layers are not written as {kind.name.lower()}")


class _GzipWriter:
    """One gzip member with a fixed header: no name, no time, OS byte 255 (RFC 1952, 2.3.1)."""

    def __init__(self, out: BinaryIO, level: int) -> None:
        import zlib

        from isal import isal_zlib

        self._out = out
        self._crc32 = isal_zlib.crc32
        self._crc = 0
        self._size = 0
        if level <= 3:
            self._deflate = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
        else:
            self._deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)  # type: ignore[assignment]
        out.write(b"\x1f\x8b\x08\0\0\0\0\0\0\xff")

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        self._crc = self._crc32(data, self._crc)
        self._size += len(data)
        packed = self._deflate.compress(data)
        if packed:
            self._out.write(packed)
        return len(data)

    def finish(self) -> None:
        self._out.write(self._deflate.flush())
        self._out.write(struct.pack("<II", self._crc & 0xFFFFFFFF, self._size & 0xFFFFFFFF))


class _ZstdWriter:
    def __init__(self, out: BinaryIO, stream: Any) -> None:
        self._out = out
        self._stream = stream

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        packed = self._stream.compress(data)
        if packed:
            self._out.write(packed)
        return len(data)
