"""Sparse files as GNU tar stores them: which pieces of a file are there, the rest being holes.

Four spellings: the old 'S' header with extension blocks, and PAX 0.0, 0.1 and 1.0.  Source: GNU tar manual,
"Storing Sparse Files".  Functions raise ValueError with the fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from veneer.changeset.header import number

Segments = list[tuple[int, int]]
"""(offset, length) of each piece that is stored, ascending, not overlapping."""


def checked(segments: Sequence[tuple[int, int]], stored: int, real: int) -> Segments:
    """`segments` without empty ones, proven to ascend, to lie within `real` bytes and to sum up to `stored`."""
    at = total = 0
    kept: Segments = []
    for offset, length in segments:
        if offset < at or length < 0 or offset + length > real:
            raise ValueError(f"sparse map: piece of {length} bytes at {offset} overlaps or exceeds {real} bytes")
        at = offset + length
        total += length
        if length:
            kept.append((offset, length))
    if total != stored:
        raise ValueError(f"sparse map: pieces of {total} bytes for {stored} stored")
    return kept


def old_map(header: bytes, extension: Callable[[], bytes], limit: int) -> tuple[Segments, int]:
    """The map of an 'S' header and the file's real size; `extension()` gives each further 512-byte block."""
    segments: Segments = []
    real = number(header[483:495])
    _collect(header, 386, 4, segments)
    more = header[482]
    while more:
        block = extension()
        _collect(block, 0, 21, segments)
        more = block[504]
        if len(segments) > limit:
            raise ValueError(f"sparse map of more than {limit} pieces")
    return segments, real


def _collect(block: bytes, start: int, count: int, segments: Segments) -> None:
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            return
        segments.append((number(block[at : at + 12]), number(block[at + 12 : at + 24])))


def pax_map(records: Sequence[tuple[bytes, bytes]], limit: int) -> Segments | None:
    """The map of a PAX 0.0 or 0.1 member; None where the records hold none."""
    offsets: list[int] = []
    lengths: list[int] = []
    found = False
    for key, value in records:
        if key == b"GNU.sparse.offset":
            offsets.append(_decimal(value))
        elif key == b"GNU.sparse.numbytes":
            lengths.append(_decimal(value))
        elif key == b"GNU.sparse.map":
            numbers = [_decimal(part) for part in value.split(b",")] if value else []
            offsets, lengths = numbers[0::2], numbers[1::2]
        elif key in (b"GNU.sparse.numblocks", b"GNU.sparse.size"):
            found = True
            continue
        else:
            continue
        found = True
        if len(offsets) > limit:
            raise ValueError(f"sparse map of more than {limit} pieces")
    if len(offsets) != len(lengths):
        raise ValueError("sparse map with an offset that has no length")
    return list(zip(offsets, lengths, strict=True)) if found else None


def embedded_map(block: Callable[[], bytes], limit: int) -> Segments:
    """The map at the start of a PAX 1.0 member's content, of which `block()` gives the next 512 bytes.

    Decimal numbers, a newline after each: how many pieces, then offset and length of each; padded to 512.
    """
    text = bytearray()
    line = 0
    numbers: list[int] = []
    wanted = 1
    while len(numbers) < wanted:
        newline = text.find(b"\n", line)
        if newline < 0:
            if len(text) - line > 20:
                raise ValueError("sparse map: number without an end")
            del text[:line]
            line = 0
            text += block()
            continue
        numbers.append(_decimal(bytes(text[line:newline])))
        line = newline + 1
        if len(numbers) == 1:
            wanted = 1 + 2 * numbers[0]
            if numbers[0] > limit:
                raise ValueError(f"sparse map of more than {limit} pieces")
    return list(zip(numbers[1::2], numbers[2::2], strict=True))


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 20:
        raise ValueError(f"sparse map: {value[:40]!r} is not a number")
    return int(value)
