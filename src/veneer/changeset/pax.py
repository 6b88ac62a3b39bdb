"""PAX extended header records, as bytes.  Source: POSIX.1-2017 pax, "pax Extended Header".

Values are kept raw: extended attributes hold NULs and bytes that are no UTF-8, and names are whatever the
file system has.  So `hdrcharset` changes nothing: no name is ever decoded.
"""

from __future__ import annotations

XATTR_PREFIX = b"SCHILY.xattr."


def records(data: bytes) -> list[tuple[bytes, bytes]]:
    """The key and value of each "length key=value\\n" record, in order, repeated keys included.

    Raises ValueError for a record that is not of that form or does not fit.
    """
    found: list[tuple[bytes, bytes]] = []
    position, end = 0, len(data)
    while position < end:
        space = data.find(b" ", position, position + 9)
        digits = data[position:space] if space > 0 else b""
        if not digits.isdigit():
            if not data[position:].strip(b"\0"):
                break  # some writers pad the records with NULs
            raise ValueError("PAX record without a length")
        stop = position + int(digits)
        equals = data.find(b"=", space + 1, stop)
        if stop > end or equals < 0 or data[stop - 1] != 0x0A or stop <= space:
            raise ValueError("PAX record of a wrong length")
        found.append((data[space + 1 : equals], data[equals + 1 : stop - 1]))
        position = stop
    return found


def decimal(value: bytes, what: str) -> int:
    """A whole number of at most 20 digits, as uid, gid and size have it; ValueError names `what`."""
    if not value.isdigit() or len(value) > 20:
        raise ValueError(f"PAX {what} {value[:40]!r} is not a number")
    return int(value)


def nanoseconds(value: bytes) -> int:
    """A PAX time in nanoseconds since 1970, exactly: floats lose the nanoseconds.

    More digits than nine are cut off towards the past, as POSIX has it for times a file system cannot hold.
    """
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    whole = whole.removeprefix(b"-")
    if not (whole or fraction) or not (whole + fraction + b"0").isdigit() or len(value) > 64:
        raise ValueError(f"PAX mtime {value[:40]!r} is not a time")
    result = int(whole or b"0") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    if not negative:
        return result
    return -result - (1 if fraction[9:].strip(b"0") else 0)


def xattr_name(key: bytes) -> bytes:
    """The extended attribute a key with XATTR_PREFIX names: `%3D` is "=", which ends a key, and `%25` is "%".

    Source: GNU tar xheader.c, xattr_decode_keyword.
    """
    name = key[len(XATTR_PREFIX) :]
    return name.replace(b"%3D", b"=").replace(b"%25", b"%") if b"%" in name else name


def xattr_key(name: bytes) -> bytes:
    """The other way round; a "%" stays itself where it cannot be misread, as in what docker writes."""
    return XATTR_PREFIX + name.replace(b"%25", b"%2525").replace(b"%3D", b"%253D").replace(b"=", b"%3D")
