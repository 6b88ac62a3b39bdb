"""The tar headers of files, directories and links as `tar_writer.member_header` makes them, several times as fast.

Whoever handles many files spends more on headers than on their bytes.  What is not of the common kind (long names,
large numbers, attributes) goes to `member_header` itself; that both say the same is a law of the tests.
"""

from __future__ import annotations

from zlib import adler32

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.tar_writer import BLOCK, member_header, pax_time

_SECOND = 1_000_000_000
_MAX_NAME = 100
_MAX_ID = 0o7777777
_MAX_NUMBER = 0o77777777777
_MAGIC = b"ustar\x0000"
_AFTER_LINK = _MAGIC + bytes(64) + b"0000000\0" + b"0000000\0" + bytes(155 + 12)
_TYPES = {Kind.REGULAR: b"0", Kind.HARDLINK: b"1", Kind.SYMLINK: b"2", Kind.DIRECTORY: b"5", Kind.FIFO: b"6"}
_PAX = b"0000644\x000000000\x000000000\0%011o\x0000000000000\0"
_RECORD = 512


def header(
    path: bytes, kind: Kind, mode: int, uid: int, gid: int, size: int, mtime_ns: int, link: bytes = b""
) -> bytes:
    """The header blocks of an entry without device and attributes."""
    name = path + b"/" if kind is Kind.DIRECTORY else path
    seconds, nanoseconds = divmod(mtime_ns, _SECOND)
    if (
        len(name) > _MAX_NAME or len(link) > _MAX_NAME or uid > _MAX_ID or gid > _MAX_ID or size > _MAX_NUMBER
        or not 0 <= seconds <= _MAX_NUMBER or b"\0" in name or b"\0" in link or not path
    ):  # fmt: skip
        entry = Entry(path, kind, mode, uid, gid, size, mtime_ns, link)
        return member_header(entry)
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, seconds)
    own = _block(name, numbers, _TYPES[kind], link)
    if not nanoseconds:
        return own
    time = pax_time(mtime_ns)
    length = len(time) + 10  # "NN mtime=" and the line's end
    record = b"%d mtime=%b\n" % (length, time)
    last = b"PaxHeaders.0/" + name.rstrip(b"/").rpartition(b"/")[2]
    return _block(last[:_MAX_NAME], _PAX % length, b"x", b"") + record + bytes(BLOCK - length) + own


def _block(name: bytes, numbers: bytes, kind: bytes, link: bytes) -> bytes:
    # The sum of all bytes, the checksum counting as eight blanks; adler32's low half is 1 + that sum modulo 65521,
    # and two names of 100 bytes with fifty digits stay below.
    head = name + bytes(_MAX_NAME - len(name)) + numbers
    tail = kind + link + bytes(_MAX_NAME - len(link)) + _AFTER_LINK
    total = (adler32(head) & 0xFFFF) - 1 + (adler32(tail) & 0xFFFF) - 1 + 256
    return b"%b%06o\0 %b" % (head, total, tail)
