"""ADD's archives: what one holds, unpacked beside the layer within the limits of changeset, to be moved from there.

What is an archive is told by its content: a tar, plain or compressed, with at least one member.
Source: moby pkg/archive (IsArchivePath, Unpack), builder/dockerfile/copy.go.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from veneer.build.context.failures import shown
from veneer.build.context.scan import Tree
from veneer.build.context.select import Root
from veneer.build.copying.items import Rules
from veneer.build.copying.plan import Origin
from veneer.changeset.compression import BadCompression, decompressed
from veneer.changeset.growing import GrowingSource
from veneer.changeset.header import BLOCK, FIELDS, checksum_holds
from veneer.changeset.safepath import DIRECTORY
from veneer.changeset.tar import BadArchive

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def unpacked(tree: Tree, root: Root, scratch: Path, stack: contextlib.ExitStack) -> Origin | None:
    """What the archive `root` holds, in a new folder of `scratch`; None if it is no archive.

    Owners, modes and times are the archive's.  Raises BadArchive, BadCompression and what unpacking raises.
    """
    from veneer.changeset.unpack import unpack
    from veneer.changeset.whiteout import WhiteoutStyle

    with contextlib.closing(_File(tree.open(root.path, _OPEN_FILE))) as file:
        if not _is_archive(file.fd):
            return None
        folder = scratch / f"archive-{os.urandom(4).hex()}"
        folder.mkdir()
        fd = os.open(folder, DIRECTORY)
        stack.callback(os.close, fd)
        what = f"archive {shown(root.given)}"
        found = unpack(GrowingSource(file.fd, None), fd, WhiteoutStyle.ERASE, index=None, what=what)
    if found.lower_links:
        path, target = found.lower_links[0]
        raise BadArchive(f"{what}: {shown(path)} is a hard link to {shown(target)}, which is not in the archive")
    inside = Tree(fd, what)
    status = inside.status(b"")
    assert status is not None
    from veneer.build.context.scan import row_of

    top = Root(b"", b"", b"", row_of(status), inside.folder(b""))
    return Origin(inside, (top,), Rules(False, None, "", True, what, ours=True), frozenset(found.implied))


class _File:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        os.close(self.fd)


def _is_archive(fd: int) -> bool:
    """Whether a file begins as a tar does, once decompressed."""
    block = bytearray(BLOCK)
    view = memoryview(block)
    filled = 0
    try:
        plain = decompressed(GrowingSource(fd, None))
        while filled < BLOCK:
            count = plain.readinto(view[filled:])
            if not count:
                return False
            filled += count
    except BadCompression:
        return False
    return any(block) and checksum_holds(view, FIELDS.unpack(block)[6])
