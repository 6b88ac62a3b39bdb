"""Random stacks of layers, unpacked one on the other for real: what each prefix of an image is on a disk."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from veneer.changeset.entry import Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.tar import BadArchive
from veneer.changeset.unpack import unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.testing.images import Member, directory, fifo, file, hardlink, layer_tar, symlink
from veneer.testing.trees import Tree, read_tree

_NAMES = ("a", "b", "c", "d", "a-b", "a.b", "\udcff", "new\nline", "\x1b[31m", "\u202eoff")


@dataclass(frozen=True)
class Life:
    """One file on the disk: its bytes, the layer that wrote it, the one that took its last name; the names that
    it had after the last layer, and all that it ever had."""

    size: int
    born: int
    died: int | None
    now: frozenset[bytes] = frozenset()
    ever: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Stack:
    """Layers' tars and indexes, base first, the tree after each of them, and all files there were on the disk."""

    tars: tuple[bytes, ...]
    indexes: tuple[LayerIndex, ...]
    trees: tuple[Tree, ...]
    files: tuple[Life, ...]


def random_layer(random: Random, below: Tree | None, size: int) -> dict[str, Member | bytes]:
    """A layer of about `size` members: some of its own, some at paths that the tree below has, whiteouts, opaques."""
    members: dict[str, Member | bytes] = {}
    folders = [""]
    below = below or Tree({})
    known = [os.fsdecode(path) for path in below]
    linkable = [os.fsdecode(path) for path, node in below.items() if node.kind in (Kind.REGULAR, Kind.HARDLINK)]
    for _ in range(random.randint(0, size)):
        path = random.choice(folders) + random.choice(_NAMES)
        if known and random.random() < 0.5:
            path = random.choice(known)
        if path.count("/") > 4 or _replaces_its_own(members, path):
            continue
        folder, _, name = path.rpartition("/")
        prefix = folder + "/" if folder else ""
        times = random.choice((10**18, 10**18 + 10**9))
        members.pop(path, None)
        action = random.random()
        if action < 0.15:
            members[f"{prefix}.wh.{name}"] = b""
        elif action < 0.21:
            members[f"{prefix}.wh..wh..opq"] = b""
        elif action < 0.45:
            members[path] = directory(random.choice((0o755, 0o700)))
            folders.append(path + "/")
        elif action < 0.52:
            members[path] = symlink(random.choice(("nowhere", "else")))
        elif action < 0.55:
            members[path] = fifo()
        elif action < 0.68:
            files = [name for name, member in members.items() if isinstance(member, Member) and member.type == b"0"]
            targets = [target for target in files + linkable if target != path]
            if targets:
                members[path] = hardlink(random.choice(targets))
        else:
            content = bytes([random.randint(0, 2)]) * random.choice((0, 1, 10, 1000))
            members[path] = file(content, random.choice((0o644, 0o600)), mtime_ns=times)
    # As engines write them: what hides comes before what is there instead.
    opaque = sorted((name for name in members if name.endswith(".wh..wh..opq")), key=lambda name: name.count("/"))
    return {name: members[name] for name in [*opaque, *(name for name in members if name not in opaque)]}


def _replaces_its_own(members: dict[str, Member | bytes], path: str) -> bool:
    """Whether a member at `path` would take the place of one of the same layer, or be beneath one that is a file."""
    above = path
    while above := above.rpartition("/")[0]:
        member = members.get(above)
        if isinstance(member, Member) and member.type != b"5":
            return True
    return any(name.startswith(path + "/") for name in members)


class _Lives:
    """Watches the files below a folder from layer to layer; one name more keeps each, so that no number comes twice."""

    def __init__(self, root: Path, kept: Path) -> None:
        self.root = root
        self.kept = kept
        self.known: dict[int, Life] = {}
        kept.mkdir()

    def after(self, layer: int) -> None:
        seen, root = set(), os.fsencode(self.root)
        names_of: dict[int, set[bytes]] = {}
        for folder, _, names in os.walk(root):
            for name in names:
                path = folder + b"/" + name
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    seen.add(status.st_ino)
                    if status.st_ino not in self.known:
                        self.known[status.st_ino] = Life(status.st_size, layer, None)
                        os.link(path, os.fsencode(self.kept / str(status.st_ino)))
                    names_of.setdefault(status.st_ino, set()).add(os.path.relpath(path, root))
        for number, life in self.known.items():
            now = frozenset(names_of.get(number, ()))
            self.known[number] = life = replace(life, now=now, ever=life.ever | now)
            if life.died is None and number not in seen:
                self.known[number] = replace(life, died=layer)


def random_stack(random: Random, folder: Path, layers: int, size: int = 16) -> Stack:
    """A stack of up to `layers` layers, unpacked into `folder`; layers that no engine would take are left out."""
    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    lives = _Lives(folder, folder.with_name(f"{folder.name}.kept"))
    tars: list[bytes] = []
    indexes: list[LayerIndex] = []
    trees: list[Tree] = []
    try:
        for _ in range(random.randint(2, layers)):
            tar = layer_tar(random_layer(random, trees[-1] if trees else None, size))
            out = io.BytesIO()
            try:
                unpack(io.BytesIO(tar), root, WhiteoutStyle.ERASE, index=out, what="layer")
            except BadArchive:
                break  # half of it is in the folder; the stack ends here
            tars.append(tar)
            indexes.append(LayerIndex.from_bytes(out.getvalue()))
            trees.append(read_tree(root))
            lives.after(len(trees) - 1)
    finally:
        os.close(root)
    return Stack(tuple(tars), tuple(indexes), tuple(trees), tuple(lives.known.values()))
