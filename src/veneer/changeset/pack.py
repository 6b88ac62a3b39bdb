"""Makes a layer of a directory: what a driver's directory says has changed, a whole tree, or what differs of two.

A layer made here is canonical: the same change becomes the same bytes, whichever driver recorded it.
  - Entries are sorted by path components, bytewise; a whiteout stands where the name it deletes would.
  - The root has no entry; the layers below decide what it is.  Sockets are left out, as every engine does.
  - Of several names for one file the first holds the content, the others are hard links to it.
  - Extended attributes are `security.capability` and `user.*` without those that drivers keep for themselves,
    by name.  Whiteouts carry no attributes at all, and never are hard links to each other, though overlay makes
    them all one inode.
  - With the tree below at hand (`pack_difference`, or `pack` with `below`) only what differs from it is packed, if in
    nothing but a file's content; deletions are whiteouts of exactly what is there below, and no directory is opaque.
    Without, the driver's directory is taken at its word: copied up means changed, and opaque stays opaque.
What disappears while the tree is walked is taken as not there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import BinaryIO

from veneer.changeset.entry import Entry
from veneer.changeset.pack_sink import Packed, Sink
from veneer.changeset.pack_walk import NotPlain, ReservedName, Unpackable, Walk
from veneer.changeset.tar_writer import Writable
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.changeset.xattrs import read_xattrs

__all__ = ["NotPlain", "Packed", "ReservedName", "Unpackable", "pack", "pack_difference", "pack_entry", "pack_tree"]


def pack(
    root_fd: int,
    style: WhiteoutStyle,
    out: Writable,
    *,
    index: BinaryIO | None = None,
    below: int | None = None,
    prefix: bytes = b"",
) -> Packed:
    """Write a driver's directory as a layer to `out`, and its layer index to `index`.

    `below` is a directory with the merged tree that the layer goes on top of; see the module's page for what it
    changes.  Deletions and opaque marks are those of the style alone: a container can set `user.overlay.opaque` on a
    mount where it means nothing, and make a file `.wh.etc` where that is a name like others.  An ERASE directory
    is a whole tree and is compared with `below`.  `prefix`, for a directory taken at its word: as for `pack_tree`.
    Raises Unpackable, NotPlain, OSError.
    """
    if style is WhiteoutStyle.ERASE:
        return pack_difference(below, root_fd, out, index=index)
    sink = Sink(out, index)
    linked = _changed_links(root_fd, below, style) if below is not None else ()
    Walk(sink, style=style, keep=below is None, linked=linked).run(root_fd, below, prefix)
    return sink.finish()


def pack_tree(
    root_fd: int,
    out: Writable,
    *,
    index: BinaryIO | None = None,
    prefix: bytes = b"",
    owner: tuple[int, int] | None = None,
    latest_ns: int | None = None,
    true: Mapping[bytes, Entry] | None = None,
    any_name: bool = False,
) -> Packed:
    """Write all of a plain directory as one layer.

    `prefix` is a path put before every name; the directories it names get no entry.  `owner` (uid, gid) replaces
    every owner; times after `latest_ns` become `latest_ns`.  `true`: what a disk
    without root's privileges could not keep, by path: other owners than the files', devices that are empty files.
    `any_name`: the tar is to be no layer, and may have names that begin with `.wh.`.  Raises Unpackable, OSError.
    """
    sink = Sink(out, index, owner=owner, latest_ns=latest_ns, true=true)
    Walk(sink, style=WhiteoutStyle.ERASE, any_name=any_name).run(root_fd, None, prefix.strip(b"/"))
    return sink.finish()


def pack_entry(folder: int, name: bytes, path: bytes, out: Writable, status: os.stat_result) -> Packed:
    """Write `name` of the open directory `folder`, with all below it, as a tar in which it is called `path`.

    The tar is no layer, and may have names that begin with `.wh.`.  `status` is its own.  Raises Unpackable, OSError.
    """
    sink = Sink(out, None)
    if not stat.S_ISDIR(status.st_mode):
        sink.file(folder, name, path, status)
        return sink.finish()
    root = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        sink.directory(path, status, read_xattrs(root), opaque=False)
        Walk(sink, style=WhiteoutStyle.ERASE, any_name=True).run(root, None, path)
    finally:
        os.close(root)
    return sink.finish()


def pack_difference(
    old_fd: int | None,
    new_fd: int,
    out: Writable,
    *,
    index: BinaryIO | None = None,
    untouched: range = range(0),
    any_name: bool = False,
) -> Packed:
    """Write as a layer what turns the plain tree at `old_fd` (None: nothing) into the one at `new_fd`.

    A path differs by kind, permissions, owner, time, device, link target, kept extended attributes and, unless it
    is a directory, size and content.  That is docker's rule, made stricter where it would lose a change: docker takes
    times within one second as equal if one has no fraction, ignores a directory's, and looks at no attribute but
    capabilities and at no content.  `untouched`: the ctimes (ns) of what nobody wrote to since the new tree was made
    as a copy of the old one; contents of such files are not read.  `any_name`: as for pack_tree.
    All names of a file are packed if one is.  Source: moby pkg/archive/changes_linux.go, changes_unix.go.
    """
    sink = Sink(out, index)
    style = WhiteoutStyle.ERASE
    linked = _changed_links(new_fd, old_fd, style, untouched, any_name=any_name) if old_fd is not None else ()
    Walk(sink, style=style, linked=linked, untouched=untouched, any_name=any_name).run(new_fd, old_fd)
    return sink.finish()


def _changed_links(
    new_fd: int, old_fd: int, style: WhiteoutStyle, untouched: range = range(0), *, any_name: bool = False
) -> set[tuple[int, int]]:
    """The files with several names of which at least one differs from what is below.

    A new name for an old file leaves the old name as it was; a link to a file that is only in a lower layer is
    something engines refuse, so the old name has to be packed as well, as overlay does by copying it up.
    """
    walk = Walk(None, style=style, untouched=untouched, any_name=any_name)
    walk.run(new_fd, old_fd)
    return walk.linked
