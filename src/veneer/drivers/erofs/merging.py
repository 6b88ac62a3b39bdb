"""A stack of layer indexes as one tree of inodes: what its image describes.

Source: OCI image-spec layer.md (Applying changesets), read as the kernel's overlay does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence

from veneer.changeset.entry import Entry, Kind
from veneer.drivers.erofs.image import Node
from veneer.drivers.erofs.objects import inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex

_FORMATS = {
    Kind.REGULAR: stat.S_IFREG, Kind.DIRECTORY: stat.S_IFDIR, Kind.SYMLINK: stat.S_IFLNK, Kind.CHARACTER: stat.S_IFCHR,
    Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO,
}  # fmt: skip


class _Place:
    """A directory of the merged tree: itself, and what is in it (a directory, or the entry that is the file)."""

    __slots__ = ("entry", "names")

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.names: dict[bytes, _Place | Entry] = {}


def merged(
    layers: Iterable[tuple[LayerIndex, os.stat_result]], sealed: Callable[[bytes], bytes] | None = None
) -> list[Node]:
    """The inodes of the tree that `layers`, base first, make together; the first is the root.

    `sealed` tells a content's fs-verity digest by its SHA-256.

    With each layer comes the status of its root directory, for an index need not have an entry for it.
    """
    root = _Place(Entry(b"", Kind.DIRECTORY, 0o755))
    for index, status in layers:
        _apply(root, index, status)
    return _numbered(root, sealed or (lambda digest: b""))


def _apply(root: _Place, index: LayerIndex, status: os.stat_result) -> None:
    own = Entry(b"", Kind.DIRECTORY, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid,
                mtime_ns=status.st_mtime_ns)  # fmt: skip
    root.entry = own
    files: dict[bytes, Entry] = {}
    here: list[tuple[bytes, _Place]] = [(b"", root)]
    for entry in index:
        if not entry.path:
            root.entry = entry
            continue
        parent, _, name = entry.path.rpartition(b"/")
        while here[-1][0] != parent and not (here[-1][0] and parent.startswith(here[-1][0] + b"/")) and len(here) > 1:
            here.pop()
        place = here[-1][1]
        if here[-1][0] != parent:
            place = _way(place, parent[len(here[-1][0]) :].strip(b"/"), here)
        if entry.kind is Kind.WHITEOUT:
            place.names.pop(name, None)
        elif entry.kind is Kind.DIRECTORY:
            found = place.names.get(name)
            if not isinstance(found, _Place):
                found = place.names[name] = _Place(entry)
            elif not entry.implied:
                found.entry = entry
            if entry.opaque:
                found.names.clear()
            here.append((entry.path, found))
        elif entry.kind is Kind.HARDLINK:
            place.names[name] = files[entry.link]
        else:
            place.names[name] = files[entry.path] = entry


def _way(place: _Place, below: bytes, here: list[tuple[bytes, _Place]]) -> _Place:
    """The directory `below` another, made where no layer mentions it."""
    path = here[-1][0]
    for name in below.split(b"/"):
        path = path + b"/" + name if path else name
        found = place.names.get(name)
        if not isinstance(found, _Place):
            found = place.names[name] = _Place(Entry(path, Kind.DIRECTORY, 0o755))
        here.append((path, found))
        place = found
    return place


def _numbered(root: _Place, sealed: Callable[[bytes], bytes]) -> list[Node]:
    """Number the inodes; directories before what is in them."""
    nodes: list[Node] = []
    links: dict[int, int] = {}
    numbers: dict[int, int] = {}
    waiting: list[tuple[_Place, int]] = [(root, 0)]
    names: list[dict[bytes, int]] = [{b"..": 0}]
    nodes.append(_node(root.entry))
    at = 0
    while at < len(waiting):
        place, number = waiting[at]
        own = names[at]
        at += 1
        subdirectories = 0
        for name, found in place.names.items():
            if isinstance(found, _Place):
                own[name] = len(nodes)
                waiting.append((found, len(nodes)))
                names.append({b"..": number})
                nodes.append(_node(found.entry))
                subdirectories += 1
                continue
            # One entry under several names is one inode.
            known = numbers.get(id(found))
            if known is None:
                known = numbers[id(found)] = len(nodes)
                nodes.append(_node(found, sealed(found.digest) if found.kind is Kind.REGULAR and found.size else b""))
            own[name] = known
            links[known] = links.get(known, 0) + 1
        nodes[number] = nodes[number].replaced(names=own, links=2 + subdirectories)
    for number, count in links.items():
        if count > 1:
            nodes[number] = nodes[number].replaced(links=count)
    return nodes


def _node(entry: Entry, sealed: bytes = b"") -> Node:
    content = inside(entry.digest) if entry.kind is Kind.REGULAR and entry.size else b""
    return Node(
        mode=_FORMATS[entry.kind] | (0o777 if entry.kind is Kind.SYMLINK else entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        mtime_ns=entry.mtime_ns,
        size=entry.size,
        device=os.makedev(*entry.device) if entry.kind in (Kind.CHARACTER, Kind.BLOCK) else 0,
        link=entry.link if entry.kind is Kind.SYMLINK else b"",
        xattrs=_own(entry.xattrs),
        content=content,
        sealed=sealed,
    )


def _own(xattrs: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Without those that an overlay would take for its own."""
    return tuple(pair for pair in xattrs if not pair[0].startswith(b"trusted.overlay."))
