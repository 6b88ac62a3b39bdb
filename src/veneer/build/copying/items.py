"""What a Copier is told, and what it answers: values that go from process to process."""

from __future__ import annotations

from collections.abc import Sequence

from veneer.changeset.xattrs import Xattrs
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOTHING = bytes(32)
"""The SHA-256 of what has none, or is not known."""


class Rules(Value):
    """What becomes of a tree's entries.

    `normalised`: checksums are made with the owner 0:0.  `owner` None: each keeps its own.  `chmod` is --chmod's word.
    `attributes`: all extended attributes that a layer keeps, not only capabilities.  `what` names the tree.
    `ours`: it is on the layer's file system and nobody needs it afterwards, so that files may be moved out of it.
    """

    normalised: bool
    owner: tuple[int, int] | None
    chmod: str
    attributes: bool
    what: str
    ours: bool = False

    def as_tuple(self) -> tuple[bool, tuple[int, int] | None, str, bool, str, bool]:
        """To be sent."""
        return self.normalised, self.owner, self.chmod, self.attributes, self.what, self.ours


class Item(Value):
    """Something to copy that is no directory: `name` in its directory, `given` as checksums know it, `new` its name
    in the layer.

    `mode` is what it was when it was listed.  `known` is its row when `total` (its checksum) and `content` (its
    SHA-256) were made, () if they are not known.
    `first`: the path in the layer of the file that it is another name of, b"" if of none.
    """

    __slots__ = ()
    name: bytes
    given: bytes
    new: bytes
    mode: int
    known: tuple[int, ...]
    total: bytes
    content: bytes
    first: bytes


Copied = tuple[int, int, int, int, int, int, bytes, int, Xattrs, bytes, bytes, tuple[int, ...]]
"""What an Item became: an entry's kind, mode, uid, gid, size, mtime_ns, link, rdev and xattrs, its checksum, its
content's SHA-256 (zeros for what has none), and the row of the source as it was read."""

Run = tuple[int, bytes, bytes, Sequence["tuple[Any, ...] | bytes"]]
"""Items of one directory: the tree's number, the directory there, the one in the layer, the items.

An item is an Item's fields or, of a regular file that keeps its name and of which nothing is known, the name alone.
With the number -1 the second is tar blocks as they are, and nothing else counts.
"""
