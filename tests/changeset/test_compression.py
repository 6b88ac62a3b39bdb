"""Compressed streams: told by magic, in as many members as they come, and refused when damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zlib

import pytest
from backports import zstd

from veneer.changeset import compression
from veneer.changeset.compression import BadCompression, Compression, compressor, decompressed, sniff

DATA = os.urandom(1000) + b"compressible " * 50_000


def squeeze(kind: Compression, data: bytes) -> bytes:
    if kind is Compression.GZIP:
        return gzip.compress(data, mtime=0)
    if kind is Compression.ZSTD:
        return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})
    if kind is Compression.BZIP2:
        return bz2.compress(data)
    if kind is Compression.XZ:
        return lzma.compress(data)
    return data


def plain(data: bytes, piece: int = 100_000) -> bytes:
    source = decompressed(io.BytesIO(data))
    buffer, out = bytearray(piece), bytearray()
    while count := source.readinto(buffer):
        out += buffer[:count]
    return bytes(out)


REAL = [Compression.GZIP, Compression.ZSTD, Compression.BZIP2, Compression.XZ]
every = pytest.mark.parametrize("kind", REAL, ids=lambda kind: kind.name)


@pytest.mark.parametrize("kind", Compression, ids=lambda kind: kind.name)
def test_each_kind_is_known_by_its_magic_and_undone(kind: Compression) -> None:
    packed = squeeze(kind, DATA)
    assert sniff(packed[:6]) is kind
    assert plain(packed) == DATA
    assert plain(packed, 100) == DATA


@every
def test_several_streams_in_a_row_are_one(kind: Compression) -> None:
    assert plain(squeeze(kind, b"one") + squeeze(kind, b"") + squeeze(kind, DATA)) == b"one" + DATA


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.BZIP2, Compression.XZ], ids=lambda kind: kind.name)
def test_zero_padding_after_the_last_stream_is_fine(kind: Compression) -> None:
    assert plain(squeeze(kind, DATA) + bytes(400_000)) == DATA


@every
@pytest.mark.parametrize("junk", [b"junk", b"x" * 100, b"\x1f\x8b\x08 not gzip either" + bytes(50)])
def test_other_bytes_after_the_last_stream_are_an_error(kind: Compression, junk: bytes) -> None:
    with pytest.raises(BadCompression, match=f"{kind.name.lower()} stream"):
        plain(squeeze(kind, DATA) + junk)


@every
@pytest.mark.parametrize("left", [7, 20, 0.5, -1])
def test_a_stream_cut_off_is_an_error(kind: Compression, left: float) -> None:
    packed = squeeze(kind, DATA)
    with pytest.raises(BadCompression, match=f"{kind.name.lower()} stream is"):
        plain(packed[: int(left * len(packed)) if isinstance(left, float) else left])


@every
def test_a_flipped_bit_is_an_error(kind: Compression) -> None:
    packed = bytearray(squeeze(kind, DATA))
    packed[len(packed) // 3] ^= 4
    with pytest.raises(BadCompression):
        plain(bytes(packed))


def test_zstd_may_start_with_a_skippable_frame() -> None:
    frame = b"\x5a\x2a\x4d\x18\x04\0\0\0abcd"
    assert plain(frame + squeeze(Compression.ZSTD, DATA) + frame) == DATA


def test_a_zstd_window_beyond_what_anybody_uses_is_refused() -> None:
    # Magic, then a frame header whose window descriptor asks for 2^41 bytes (RFC 8878, 3.1.1.1.2).
    with pytest.raises(BadCompression, match="zstd"):
        plain(b"\x28\xb5\x2f\xfd\x00\xf8" + b"\1\0\0")


@pytest.mark.parametrize("head", [b"", b"\x1f", b"BZ", b"BZhx", b"\x28\xb5\x2f", b"hello!"])
def test_short_and_unknown_heads_are_plain(head: bytes) -> None:
    assert sniff(head) is Compression.NONE
    assert plain(head) == head


def test_an_error_of_the_file_below_is_not_taken_for_damage() -> None:
    class Broken:
        calls = 0

        def readinto(self, buffer: memoryview | bytearray, /) -> int:
            self.calls += 1
            if self.calls > 1:
                raise OSError(5, "Input/output error")
            buffer[:6] = b"\x1f\x8b\x08\0\0\0"
            return 6

    with pytest.raises(OSError, match="Input/output error"):
        decompressed(Broken()).readinto(bytearray(10))


def test_gzip_is_read_without_the_readers_private_class_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from isal import isal_zlib

    monkeypatch.delattr(isal_zlib, "_GzipReader")
    assert plain(squeeze(Compression.GZIP, DATA) * 2) == DATA * 2


@pytest.mark.parametrize("kind", [Compression.NONE, Compression.GZIP, Compression.ZSTD], ids=lambda kind: kind.name)
@pytest.mark.parametrize("level", [None, 1, 6])
def test_what_is_written_is_deterministic_and_reads_back(kind: Compression, level: int | None) -> None:
    results = []
    for _ in range(2):
        out = io.BytesIO()
        with compressor(out, kind, level) as sink:
            for start in range(0, len(DATA), 65536):
                sink.write(DATA[start : start + 65536])
        results.append(out.getvalue())
    assert results[0] == results[1]
    assert plain(results[0]) == DATA
    if kind is Compression.GZIP:
        assert zlib.decompress(results[0], 31) == DATA
        assert results[0][:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_bzip2_and_xz_are_not_written() -> None:
    with pytest.raises(ValueError, match="not written as xz"), compressor(io.BytesIO(), Compression.XZ):
        pass


def test_suffixes_are_those_of_media_types() -> None:
    assert [kind.suffix for kind in (Compression.NONE, Compression.GZIP, Compression.ZSTD)] == ["", "+gzip", "+zstd"]
    assert compression.opened(io.BytesIO(squeeze(Compression.ZSTD, DATA)))[0] is Compression.ZSTD
