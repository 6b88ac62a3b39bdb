"""The layer index file, version 1: what a layer holds, in columns, to be mapped and read without parsing.

All numbers are little-endian.  Every section starts at a multiple of 8; gaps are zero.

    header      magic b"veneerLI", u32 version, u32 number of sections, u64 length of the whole file,
                u64 entries, u64 bytes (sum of the `size` column), 8 x u64 entries of each kind
    table       per section: 4 bytes tag, u32 item size, u64 offset, u64 length in bytes
    u32, u32    CRC-32 of header and table, zero
    sections
    trailer     u32 CRC-32 of everything between the table's CRC and here, b"EOLI"

A reader ignores sections whose tag it does not know and refuses another version, so a column can be added
without a new version.  n is the number of entries, d the number of directories among them:

    MODE  n x u32    bits 0-11 permissions, 16-23 kind (entry.Kind), 24 opaque, 25 implied
    UID_  n x u32    GID_ n x u32    SIZE n x u64 (bytes)    TIME n x i64 (ns since 1970)
    PARN  n x u32    entry number of the directory the entry is in; 0xFFFFFFFF at the top
    NAMO  (n+1) x u32  where each entry's last path component starts in NAME; one ends where the next starts
    NAME  bytes
    LNKO  (n+1) x u32  the same for the link's target in LINK; empty for what is no link
    LINK  bytes
    HASH  n x 32 bytes raw SHA-256 of a regular file's content, zeros for other kinds
    DIRS  d x u32    the entry numbers of the directories, ascending
    ENDS  d x u32    for each of them, the number after its last descendant
    CHLS  (d+1) x u32  where each directory's children start in CHLD; slot 0 is the top, slot k+1 is DIRS[k]
    CHLN  (d+1) x u32  how many children it has
    CHLD  u32        entry numbers of children, by name within a directory
    DEVE  u32        the entry numbers that are devices, ascending;  DEVN  u64 each  major << 32 | minor
    XATE  u32        the entry numbers with extended attributes, ascending
    XATO  (x+1) x u32  where each one's attributes start in XATR
    XATR  bytes      per attribute: u16 length of the name, u32 length of the value, name, value

Entries are sorted by path components, bytewise, so a directory comes right before everything beneath it.
The root has an entry (number 0, empty name) only if the layer mentions it.  Every other entry's directory
is an entry too, `implied` if the layer does not mention it.
"""

from __future__ import annotations

import struct

from veneer.changeset.entry import Kind
from veneer.errors import Corrupt

MAGIC = b"veneerLI"
END_MAGIC = b"EOLI"
VERSION = 1
HEADER = struct.Struct("<8sIIQQQ8Q")
SECTION = struct.Struct("<4sIQQ")
CHECKSUM = struct.Struct("<II")
TRAILER = struct.Struct("<I4s")
XATTR = struct.Struct("<HI")

TOP = 0xFFFFFFFF
MODE_MASK = 0o7777
KIND_SHIFT = 16
OPAQUE = 1 << 24
IMPLIED = 1 << 25
DIRECTORY_META = Kind.DIRECTORY << KIND_SHIFT
KIND_MASK = 0xFF << KIND_SHIFT

ITEM_FORMATS = {
    b"MODE": "I", b"UID_": "I", b"GID_": "I", b"SIZE": "Q", b"TIME": "q", b"PARN": "I", b"NAMO": "I", b"NAME": "B",
    b"LNKO": "I", b"LINK": "B", b"HASH": "B", b"DIRS": "I", b"ENDS": "I", b"CHLS": "I", b"CHLN": "I", b"CHLD": "I",
    b"DEVE": "I", b"DEVN": "Q", b"XATE": "I", b"XATO": "I", b"XATR": "B",
}  # fmt: skip
"""The sections of version 1, in the order they are written, with the array/memoryview code of their items."""

ITEM_SIZES = {"B": 1, "I": 4, "Q": 8, "q": 8}


class IndexCorrupt(Corrupt):
    """A layer index that is not what it should be.  It can always be made again from the layer's blob."""


def aligned(offset: int) -> int:
    """`offset` rounded up to where a section may start."""
    return (offset + 7) & ~7
