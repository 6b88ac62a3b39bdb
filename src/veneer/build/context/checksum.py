"""The checksum of one file as docker's classic builder has it: tarsum version 1.

SHA-256 over what a tar header of the file would say, without its time, and then the content.  A directory's checksum
is that of its entries' ones, sorted; several sources' is that of theirs, in order.
Source: moby pkg/tarsum/versioning.go, builder/dockerfile/copy.go.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable

from veneer.changeset.xattrs import Xattrs

_TYPES = {
    stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4", stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}  # fmt: skip


def header(
    name: bytes,
    mode: int,
    owner: tuple[int, int] = (0, 0),
    *,
    size: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
    xattrs: Xattrs = (),
) -> bytes:
    """What goes before the content; `name` is relative to the context, a directory's ends with a slash."""
    attributes = b"".join(key + value for key, value in xattrs)
    return b"name%bmode%duid%dgid%dsize%dtypeflag%blinkname%bunamegnamedevmajor%ddevminor%d%b" % (
        name, mode, *owner, size, _TYPES[stat.S_IFMT(mode)], link, *device, attributes,
    )  # fmt: skip


def of_parent(path: bytes, mode: int) -> bytes:
    """The raw checksum of a directory that is only copied because of what is in it."""
    return hashlib.sha256(header(path + b"/", mode)).digest()


def of_directory(sums: Iterable[bytes]) -> str:
    """The checksum of a directory from its entries' raw ones, its own included."""
    # Sorted raw they are in the order of their hex digits, and one call writes those of all.
    return "dir:" + hashlib.sha256(b"".join(sorted(sums)).hex(",", 32).encode()).hexdigest()


def of_several(checksums: Iterable[str]) -> str:
    """The checksum of several sources from theirs (`file:...`, `dir:...`), in order."""
    return "multi:" + hashlib.sha256(",".join(checksums).encode()).hexdigest()
