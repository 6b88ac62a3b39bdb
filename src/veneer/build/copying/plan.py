"""What a copy makes of the image: the new layer's directories, and what goes into each.

Decided before anything is written, beside the tree below (a descriptor of which is only read).  Nothing in a plan lies
below a link: the destination's links are followed here, inside the image, and directories that are copied replace
links of their name, as docker's extraction does.
Source: moby builder/dockerfile/copy.go, pkg/archive (Unpack).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from veneer.build.context.failures import shown
from veneer.build.context.scan import LINKS, MODE, MTIME, OWNER, WIDTH, Folder, Tree, owner_in
from veneer.build.context.select import Root
from veneer.build.copying.items import Rules
from veneer.build.copying.modes import Change, change
from veneer.build.state import InvalidStep
from veneer.changeset.safepath import DIRECTORY
from veneer.changeset.xattrs import Xattrs, read_xattrs
from veneer.values import Value

MADE = 0o755


class NotADirectory(InvalidStep):
    """A path of the image that would have to be a directory, and is something else."""


class Origin(Value):
    """A tree with its sources in it, and what becomes of them.  `implied`: directories without an entry of their own
    (an archive's), below the root."""

    tree: Tree
    roots: tuple[Root, ...]
    rules: Rules
    implied: frozenset[bytes] = frozenset()


class Place:
    """A directory of the new layer.

    `there`: the tree below has a directory at this path, through real directories.  `kept`: its attributes are that
    one's.  `listed`: it has an entry of its own.
    `children`: a Place, or (origin's number, Root or Folder, number in the folder).
    """

    __slots__ = ("children", "gid", "kept", "listed", "mode", "mtime_ns", "path", "there", "uid", "xattrs")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.there = self.kept = False
        self.listed = True
        self.mode = MADE
        self.uid = self.gid = 0
        self.mtime_ns = 0
        self.xattrs: Xattrs = ()
        self.children: dict[bytes, Place | Child] = {}

    def child(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name


Child = tuple[int, Root | Folder, int]


class Plan:
    """A layer in the making on top of `below` (None: of nothing).

    `link`: it looks at nothing below: no link is followed, what stands in the way is replaced, and directories that
    are there have no entry, so that they stay as they are whatever they are.  `owner` gets the directories made on
    the way, `now_ns` is their time and that of directories that are there and get something new.  `latest_ns`: no
    copied time is later.
    """

    def __init__(
        self, below: Tree | None, *, owner: tuple[int, int], now_ns: int, latest_ns: int | None, link: bool = False
    ) -> None:
        self.below = below
        self.origins: list[Origin] = []
        self.root = Place(b"")
        self.root.there = self.root.kept = True
        self._owner = owner
        self._now = now_ns
        self._latest = latest_ns
        self._link = link

    # ---- what goes where

    def add(self, origin: Origin, target: bytes, *, into: bool) -> None:
        """Put the sources at `target`, a path without links in normal form; `into`: it is a directory.

        Raises NotADirectory.
        """
        number = len(self.origins)
        self.origins.append(origin)
        turned = change(origin.rules.chmod) if origin.rules.chmod else None
        for root in origin.roots:
            if root.folder is None and not into:
                directory, _, name = target.rpartition(b"/")
                self._put(self._place(directory), name, (number, root, 0))
                continue
            here = self._place(target)
            for path, row in root.parents:
                self._copied(self._sub(here, path), origin, root.path, row, turned)
            if root.folder is None:
                above, _, name = root.base.rpartition(b"/")
                self._put(self._sub(here, above), name, (number, root, 0))
                continue
            if root.base:
                here = self._sub(here, root.base)
                self._copied(here, origin, root.path, root.row, turned)
            self._merge(number, origin, root.folder, here, turned)

    def _merge(self, number: int, origin: Origin, top: Folder, place: Place, turned: Change | None) -> None:
        begin = len(top.path)
        stack = [(top, place)]
        while stack:
            folder, here = stack.pop()
            rows, folders = folder.rows, folder.folders
            for at, name in enumerate(folder.names):
                mode = rows[at * WIDTH + MODE]
                below = folders.get(name)
                if below is None:
                    if not stat.S_ISSOCK(mode):
                        self._put(here, name, (number, folder, at))
                elif below.path[begin:].strip(b"/") in origin.implied:
                    stack.append((below, self._followed(place, here, name)))
                else:
                    inside = self._directory(here, name)
                    self._copied(inside, origin, below.path, rows[at * WIDTH : at * WIDTH + WIDTH], turned)
                    stack.append((below, inside))

    def _copied(
        self, place: Place, origin: Origin, path: bytes, row: Sequence[int], turned: Change | None
    ) -> None:  # fmt: skip
        """Give a directory the attributes of the one it is copied from, `path` in the origin's tree."""
        place.kept, place.listed = False, True
        place.mode = stat.S_IMODE(row[MODE]) if turned is None else turned(row[MODE])
        place.uid, place.gid = owner_in(row[OWNER]) if origin.rules.owner is None else origin.rules.owner
        place.mtime_ns = row[MTIME] if self._latest is None else min(row[MTIME], self._latest)
        place.xattrs = _xattrs(origin.tree, path) if origin.rules.attributes else ()

    def _put(self, place: Place, name: bytes, child: Child) -> None:
        place.children[name] = child
        self._touch(place)

    def _touch(self, place: Place) -> None:
        """Something new comes into a directory that is there."""
        if place.kept:
            place.mtime_ns = self._now

    def _sub(self, place: Place, path: bytes) -> Place:
        for name in path.split(b"/") if path else ():
            place = self._directory(place, name)
        return place

    def _place(self, path: bytes) -> Place:
        """A directory that must be one, or be made: the destination, or what leads to it."""
        place = self.root
        for name in path.split(b"/") if path else ():
            found = place.children.get(name)
            if isinstance(found, tuple):
                raise _no_directory(place.child(name))
            status = self._status(place, name) if found is None else None
            if status is not None and not stat.S_ISDIR(status.st_mode) and not self._link:
                raise _no_directory(place.child(name))
            place = found or self._directory(place, name)
        return place

    def _directory(self, place: Place, name: bytes) -> Place:
        """The directory `name` in `place`: as it is below, or new."""
        found = place.children.get(name)
        if isinstance(found, Place):
            return found
        made = Place(place.child(name))
        status = self._status(place, name) if found is None else None
        if status is not None and stat.S_ISDIR(status.st_mode):
            made.there = made.kept = True
            made.listed = not self._link
            made.mode, made.uid, made.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
            made.mtime_ns = status.st_mtime_ns
            assert self.below is not None
            made.xattrs = _xattrs(self.below, made.path)
        else:
            made.uid, made.gid = self._owner
            made.mtime_ns = self._now
            self._touch(place)
        place.children[name] = made
        return made

    def _status(self, place: Place, name: bytes) -> os.stat_result | None:
        # Only real directories are looked into: a link of the image could lead out of it.
        return self.below.status(place.child(name)) if self.below is not None and place.there else None

    def _followed(self, top: Place, place: Place, name: bytes) -> Place:
        """The directory that an archive means by a name it has no entry for: links of the image are followed, as in a
        chroot at the archive's destination."""
        child = place.children.get(name)
        if self.below is None or child is not None:
            return self._directory(place, name)
        status = self._status(place, name)
        if status is None or not stat.S_ISLNK(status.st_mode):
            return self._directory(place, name)
        start = top.path
        inside = place.path[len(start) :].strip(b"/")
        real = resolve(self.below, inside + b"/" + name if inside else name, start)
        here = top
        for part in real.split(b"/") if real else ():
            here = self._directory(here, part)
        return here

    # ---- in the order of a layer

    @property
    def is_standalone(self) -> bool:
        """Whether the layer's files are right on top of anything: no directory is one that others decide about."""
        todo = [self.root]
        while todo:
            place = todo.pop()
            if not place.listed and (place.mode, place.uid, place.gid, place.xattrs) != (MADE, 0, 0, ()):
                return False
            todo += [child for child in place.children.values() if isinstance(child, Place)]
        return True

    def walk(self) -> Iterator[tuple[Place, bytes, Child | None]]:
        """Every entry in the layer's order: (directory, b"", None) for a directory before what is in it, else
        (directory, name, child).  Directories that are there and get nothing are left out."""
        self._prune(self.root)
        stack: list[tuple[Place, Iterator[bytes]]] = [(self.root, iter(sorted(self.root.children)))]
        while stack:
            place, names = stack[-1]
            for name in names:
                child = place.children[name]
                if isinstance(child, Place):
                    yield child, b"", None
                    stack.append((child, iter(sorted(child.children))))
                    break
                yield place, name, child
            else:
                stack.pop()

    def _prune(self, place: Place) -> bool:
        """Whether a directory is only there as it was."""
        for name in [name for name, child in place.children.items() if isinstance(child, Place) and self._prune(child)]:
            del place.children[name]
        return place.kept and not place.children


def _no_directory(path: bytes) -> NotADirectory:
    return NotADirectory(f"cannot copy into /{shown(path)}: not a directory", hint="a file of the image stands there")


def _xattrs(tree: Tree, path: bytes) -> Xattrs:
    """The extended attributes of a directory that a layer keeps."""
    fd = tree.open(path, DIRECTORY)
    try:
        return read_xattrs(fd)
    finally:
        os.close(fd)


def row_at(child: Child) -> tuple[int, ...]:
    """The row of what a child was listed as."""
    _, holder, number = child
    if isinstance(holder, Root):
        return holder.row
    return tuple(holder.rows[number * WIDTH : number * WIDTH + WIDTH])


def is_linked(row: Sequence[int]) -> bool:
    """Whether a row is of a file with several names."""
    return row[LINKS] > 1 and stat.S_ISREG(row[MODE])


def is_single(row: Sequence[int]) -> bool:
    """Whether a row is of a file with one name."""
    return row[LINKS] == 1 and stat.S_ISREG(row[MODE])


def resolve(tree: Tree, path: bytes, root: bytes = b"") -> bytes:
    """The real path of what `path` names below the directory `root`, links followed as in a chroot there.

    What is not there is taken as written.  Raises InvalidStep for a loop of links.
    """
    todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
    real: list[bytes] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            real = real[:-1]
            continue
        here = b"/".join([*real, part])
        status = tree.status(root + b"/" + here if root else here)
        if status is not None and stat.S_ISLNK(status.st_mode):
            links += 1
            if links > 255:
                raise InvalidStep(f"cannot copy to /{shown(path)}: too many levels of symbolic links in the image")
            target = os.readlink(root + b"/" + here if root else here, dir_fd=tree.fd)
            if target.startswith(b"/"):
                real = []
            todo += [each for each in reversed(target.split(b"/")) if each not in (b"", b".")]
            continue
        real.append(part)
    return b"/".join(real)
