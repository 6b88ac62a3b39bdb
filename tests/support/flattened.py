"""What an archive of `docker save` or `veneer save` says an image's files are; read with nothing of veneer's."""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_TYPES = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.LNKTYPE: "hard link", tarfile.SYMTYPE: "symlink",
          tarfile.DIRTYPE: "directory", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "character device",
          tarfile.BLKTYPE: "block device"}  # fmt: skip


@dataclass(eq=False)
class Node:
    """One inode: the names that are hard links of each other share one object."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    content: str = ""
    link: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[str, str] = field(default_factory=dict)


Tree = dict[str, Node]
"""Path without leading slash -> inode; the root itself is not in it."""


@dataclass(frozen=True)
class Saved:
    """An image as saved: its config document, the tree all layers make, and each layer's members, base first.

    A member is its path, with `/` behind a directory's and `.wh.` before a deleted name.
    """

    config: Mapping[str, Any]
    tree: Tree
    layers: tuple[tuple[str, ...], ...]


def read(archive: Path) -> Saved:
    """Read a docker archive of one image."""
    with tarfile.open(archive) as tar:
        manifest = json.loads(_bytes(tar, "manifest.json"))[0]
        config = json.loads(_bytes(tar, manifest["Config"]))
        tree: Tree = {}
        layers = []
        for name in manifest["Layers"]:
            member = tar.getmember(name)
            if member.issym():  # docker before 25 writes a layer once, and links to it where it comes again
                member = tar.getmember(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
            source = tar.extractfile(member)
            assert source is not None, name
            with tarfile.open(fileobj=source) as layer:
                layers.append(tuple(_apply(tree, layer)))
    return Saved(config, tree, tuple(layers))


def _bytes(tar: tarfile.TarFile, name: str) -> bytes:
    source = tar.extractfile(name)
    assert source is not None, name
    return source.read()


def _apply(tree: Tree, layer: tarfile.TarFile) -> Iterator[str]:
    """Put a layer on the tree; gives its members sorted."""
    members = [(posixpath.normpath(member.name).lstrip("/"), member) for member in layer]
    members = [(path, member) for path, member in members if path != "."]
    for path, _ in members:  # whiteouts first: they hide what is below this layer, never what is in it
        folder, name = posixpath.split(path)
        if name == _OPAQUE:
            _remove_below(tree, folder)
        elif name.startswith(_WHITEOUT):
            _remove(tree, posixpath.join(folder, name.removeprefix(_WHITEOUT)))
    for path, member in members:
        if not posixpath.basename(path).startswith(_WHITEOUT):
            _put(tree, path, member, layer)
    return iter(sorted(path + "/" * member.isdir() for path, member in members))


def _put(tree: Tree, path: str, member: tarfile.TarInfo, layer: tarfile.TarFile) -> None:
    if not (member.isdir() and path in tree and tree[path].kind == "directory"):
        _remove(tree, path)
    if member.islnk():
        tree[path] = tree[posixpath.normpath(member.linkname).lstrip("/")]
        return
    permissions = member.mode & 0o7777  # docker's tars have the file type in the mode too
    node = Node(_TYPES[member.type], permissions, member.uid, member.gid, int(member.mtime), xattrs=_xattrs(member))
    if member.isreg():
        source = layer.extractfile(member)
        assert source is not None, path
        node.size, node.content = member.size, hashlib.file_digest(source, "sha256").hexdigest()  # type: ignore[arg-type]
    elif member.issym():
        node.link = member.linkname
    elif member.isdev() and not member.isfifo():
        node.device = (member.devmajor, member.devminor)
    tree[path] = node


def _xattrs(member: tarfile.TarInfo) -> dict[str, str]:
    prefix = "SCHILY.xattr."
    return {key.removeprefix(prefix): value.encode("utf-8", "surrogateescape").hex()
            for key, value in member.pax_headers.items() if key.startswith(prefix)}  # fmt: skip


def _remove_below(tree: Tree, folder: str) -> None:
    for path in [path for path in tree if path.startswith(f"{folder}/" if folder else "")]:
        del tree[path]


def _remove(tree: Tree, path: str) -> None:
    tree.pop(path, None)
    _remove_below(tree, path)


def linked_names(tree: Tree) -> dict[str, tuple[str, ...]]:
    """Every path that has others as hard links -> all of them, sorted."""
    names: dict[int, list[str]] = {}
    for path, node in tree.items():
        names.setdefault(id(node), []).append(path)
    return {path: tuple(sorted(group)) for group in names.values() if len(group) > 1 for path in group}
