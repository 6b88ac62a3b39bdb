"""What one member of a layer is, whatever spelling it arrived in."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.IntEnum):
    """What an entry makes of its path.  The numbers are part of the layer index's file format."""

    REGULAR = 0
    DIRECTORY = 1
    SYMLINK = 2
    HARDLINK = 3
    CHARACTER = 4
    BLOCK = 5
    FIFO = 6
    WHITEOUT = 7
    """The path is deleted from the layers below."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer.

    `path` is relative, bytes, without leading, trailing or double slashes, `.` or `..`; b"" is the root.
    For a WHITEOUT it is the path that goes, without `.wh.`.  `mode` holds the 12 permission bits only.
    `size` is the content's apparent length in bytes (REGULAR only, else 0).  `link` is a symlink's target as
    written, or a hard link's target path in the same form as `path`.  `digest` is the raw SHA-256 of a regular
    file's content, b"" for other kinds.  `opaque`: a directory that hides everything the layers below have in
    it.  `implied`: a directory the layer never mentions but that must be there for what is in it; its
    attributes are those of the layer below.
    """

    path: bytes
    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    digest: bytes = b""
    opaque: bool = False
    implied: bool = False
