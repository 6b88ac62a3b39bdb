"""The 512-byte tar header: its fields, its numbers, its checksum.

Sources: POSIX.1-2017 pax (ustar Interchange Format), GNU tar manual (Basic Tar Format), star(5).
Functions here raise ValueError with the fact; the reader adds the member and the layer.
"""

from __future__ import annotations

import struct
import zlib

BLOCK = 512

FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12s")
"""name mode uid gid size mtime checksum typeflag linkname magic uname gname devmajor devminor prefix rest"""

MAX_I64 = (1 << 63) - 1
_MOST_SUMS = 1 << 14


def number(field: bytes) -> int:
    """A numeric field: octal digits among spaces and NULs, or GNU's base-256 when the top bit is set."""
    if field[-1] in b" \0":
        digits = field[:-1]
        if digits.isdigit():  # as nearly all are written: zeros ahead, one end mark
            try:
                return int(digits, 8)
            except ValueError:
                raise ValueError(f"numeric field {field!r} is not octal") from None
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        return value - (1 << bits) if field[0] & 0x40 else value
    digits = field.strip(b" \0").partition(b"\0")[0].rstrip(b" ")
    if not digits:
        return 0
    if not digits.isdigit():  # int() alone would take signs and underscores
        raise ValueError(f"numeric field {field!r} is not octal")
    try:
        return int(digits, 8)
    except ValueError:
        raise ValueError(f"numeric field {field!r} is not octal") from None


known_sums: dict[bytes, int] = {}
"""Checksum fields, most of which come again and again, and the low half of adler32 that their header must have."""


def checksum_holds(block: memoryview, field: bytes) -> bool:
    """Whether the checksum field is the sum of the header's bytes, taken unsigned or (old Sun tars) signed.

    The field itself counts as eight spaces.  adler32's low half is 1 + the sum modulo 65521, which is the
    sum in C speed; a header that differs by exactly 65521 passes too, harmlessly.
    """
    adler = zlib.adler32(block) & 0xFFFF
    if known_sums.get(field) == adler:
        return True
    try:
        stored = number(field)
    except ValueError:
        return False
    wanted = (1 + stored + sum(field) - 256) & 0xFFFF
    if wanted == adler:
        if len(known_sums) >= _MOST_SUMS:
            known_sums.clear()
        known_sums[field] = wanted
        return True
    data = bytes(block)
    unsigned = sum(data) - sum(field) + 256
    signed = unsigned - 256 * sum(byte > 127 for byte in data[:148] + data[156:])
    return stored in (unsigned, signed)


def full_name(name: bytes, magic: bytes, prefix: bytes, rest: bytes) -> bytes:
    """The name field with ustar's prefix before it, both cut at their first NUL.

    GNU's old format keeps times and a sparse map where ustar has the prefix, and star's a shorter prefix.
    """
    name = name.partition(b"\0")[0]
    if prefix[0] and magic.startswith(b"ustar\0"):
        if rest[8:12] == b"tar\0":
            prefix = prefix[:131]
        return prefix.partition(b"\0")[0] + b"/" + name
    return name
