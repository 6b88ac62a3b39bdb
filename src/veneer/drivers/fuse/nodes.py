"""The union as a tree of nodes: what each branch has, merged as directories are asked for.

A directory is listed once, in all its branches, and its index kept: later every name costs one stat, whatever the
number of branches, and a name that is not there costs nothing.  Directories are reached by one descriptor for each
branch and single names, so that no path is too long; descriptors are opened when needed and closed oldest first.
Source: aufs(5) on whiteouts and opaque directories.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Sequence

from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, is_whiteout
from veneer.drivers.fuse import wire

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
UPPER = 0
FILE = -1
"""In the place of a branch: the file itself, open."""
_SOME, _MANY = 64, 1000
"""Descriptors to close at once, where there is no room for more; places without a name that a directory may have."""
Entry = tuple[int, tuple[int, ...]]
"""What an index has of a name: its directory entry type, and the branches it is in, topmost first: several for a
directory, and for one that was not listed yet also those that it hides."""


class Node:
    """A file or directory that somebody knows; see Union for what may be said of it.

    `branch` is the topmost one that has it, and `name` in `parent` where it is there; a file with several names has
    the others in `others`, and is found by `key`, its inode number there; `inode` is the one that was told first.
    `gone`: it has no name any more, but is used.  Of a directory: `stack`, the branches that make it; once it is listed
    `visible` (what is in it), `below` (what would be without the upper branch), `whited` (what that one deletes).
    `order` has the names as they were told, None where one is gone; `places` the number of each, ascending, which a
    reader comes back with: it stays that of one name for good; `positions` the same by name.
    """

    __slots__ = (
        "below", "branch", "children", "fd", "fds", "gone", "id", "inode", "is_dir", "key", "lookups", "name", "order",
        "others", "parent", "places", "positions", "stack", "visible", "whited", "writable",
    )  # fmt: skip

    def __init__(self, number: int, parent: Node | None, name: bytes, entry: Entry, inode: int) -> None:
        self.id = number
        self.parent = parent
        self.name = name
        self.is_dir = entry[0] == 4
        self.stack = entry[1]
        self.branch = entry[1][0]
        self.inode = inode
        self.key = 0
        self.lookups = 0
        self.children: dict[bytes, Node] = {} if self.is_dir else _NO_NODES
        self.others: set[tuple[Node, bytes]] | None = None
        self.fds: dict[int, int] = {} if self.is_dir else _NO_FDS
        self.fd = -1
        self.writable = False
        self.gone = False
        self.visible: dict[bytes, Entry] | None = None
        self.below: dict[bytes, Entry] = {} if self.is_dir else _NO_ENTRIES
        self.whited: set[bytes] = set() if self.is_dir else _NO_NAMES
        self.order: list[bytes | None] | None = None
        self.places: list[int] = [] if self.is_dir else _NO_PLACES
        self.positions: dict[bytes, int] = {} if self.is_dir else _NO_POSITIONS


# What files have of a directory's: nobody puts anything in, and there are many files.
_NO_NODES: dict[bytes, Node] = {}
_NO_FDS: dict[int, int] = {}
_NO_PLACES: list[int] = []
_NO_POSITIONS: dict[bytes, int] = {}
_NO_ENTRIES: dict[bytes, Entry] = {}
_NO_NAMES: set[bytes] = set()


class Union:
    """The branches `roots` (open directories, topmost first) as one tree.  With `has_upper` the first is written to.

    They delete in aufs's spelling or in overlay's; `opaque` is the attribute by which that hides all below a directory.
    """

    def __init__(self, roots: Sequence[int], *, descriptors: int, has_upper: bool = False, opaque: str = "") -> None:
        self.has_upper = has_upper
        self._opaque = opaque
        self.roots = roots
        self._next = wire.ROOT_ID
        self._limit = descriptors
        self._ceiling, self._newest = descriptors + len(roots) + 16, 0
        self._kept: dict[tuple[int, int], Node] = {}
        self.nodes: dict[int, Node] = {}
        self.linked: dict[int, Node] = {}
        """Files with several names, by inode number; all branches are on one file system."""
        status = os.fstat(roots[0])
        self.root = self._new(None, b"", (4, tuple(range(len(roots)))), status.st_ino)
        self.root.fds = dict(enumerate(roots))

    def _new(self, parent: Node | None, name: bytes, entry: Entry, inode: int) -> Node:
        node = Node(self._next, parent, name, entry, inode)
        self.nodes[node.id] = node
        self._next += 1
        return node

    # -- descriptors -----------------------------------------------------------------------------------------

    @property
    def crowded(self) -> bool:
        return len(self._kept) > self._limit or self._newest > self._ceiling

    def shed(self) -> None:
        """Close the oldest descriptors, if there are too many; not while one is being used."""
        room = self._limit
        if self._newest > self._ceiling:
            # The kernel gives the lowest number that is free: many are taken by what has no name any more.
            room, self._newest = min(room, len(self._kept) - _SOME), 0
        while len(self._kept) > max(room, 0):
            key = next(iter(self._kept))
            node = self._kept.pop(key)
            if key[1] == FILE:
                os.close(node.fd)
                node.fd = -1
            else:
                os.close(node.fds.pop(key[1]))

    def directory(self, node: Node, branch: int) -> int:
        """The directory `node` in one branch, open."""
        fd = node.fds.get(branch)
        if fd is not None:
            return fd
        trail = []
        above: Node = node
        while branch not in above.fds:
            trail.append(above.name)
            assert above.parent is not None, "the root is always open"
            above = above.parent
        fd = above.fds[branch]
        own = False
        for name in reversed(trail):
            inside = os.open(name, DIRECTORY, dir_fd=fd)
            if own:
                os.close(fd)
            fd, own = inside, True
        self.keep(node, branch, fd)
        return fd

    def keep(self, node: Node, branch: int, fd: int) -> None:
        node.fds[branch] = self._newest = fd
        self._kept[node.id, branch] = node

    def file(self, node: Node, *, writable: bool = False) -> int:
        """The file `node`, open; to write to it, it has to be in the upper branch."""
        if node.fd >= 0 and (node.writable or not writable):
            return node.fd
        assert node.parent is not None, "the root is no file"
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(node.name, flags, dir_fd=self.directory(node.parent, node.branch))
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # it has become something else, where somebody writes
            os.close(fd)
            raise OSError(errno.ESTALE, "")
        self.drop_file(node)
        node.fd, node.writable, self._newest = fd, writable, fd
        self._kept[node.id, FILE] = node
        return fd

    def drop_file(self, node: Node) -> None:
        """Close the file: it is going to be another one."""
        if node.fd >= 0:
            os.close(node.fd)
            node.fd = -1
            self._kept.pop((node.id, FILE), None)

    def hold_file(self, node: Node) -> None:
        """Keep the file open from now on: it has lost its last name, and somebody may still use it."""
        self._kept.pop((node.id, FILE), None)

    def status(self, node: Node) -> os.stat_result:
        if node.gone and self.has_upper and node.branch == UPPER:
            return os.fstat(node.fds[UPPER] if node.is_dir else node.fd)
        fd = node.fds.get(node.branch)
        if fd is not None:
            return os.fstat(fd)
        assert node.parent is not None, "the root is always open"
        return os.stat(node.name, dir_fd=self.directory(node.parent, node.branch), follow_symlinks=False)

    # -- names -----------------------------------------------------------------------------------------------

    def child(self, parent: Node, name: bytes) -> tuple[Node, os.stat_result]:
        """What `name` is in a directory.  Raises FileNotFoundError."""
        visible = parent.visible
        if visible is None:
            visible = self.listed(parent)
        entry = visible.get(name)
        if entry is None:
            raise FileNotFoundError(errno.ENOENT, "")
        return self.known(parent, name, entry)

    def known(
        self, parent: Node, name: bytes, entry: Entry, status: os.stat_result | None = None
    ) -> tuple[Node, os.stat_result]:
        """What `name` is in a directory whose index has `entry` of it; asked for, unless its `status` is known."""
        if status is None:
            branch = entry[1][0]
            fd = parent.fds.get(branch)
            if fd is None:
                fd = self.directory(parent, branch)
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode) != (entry[0] == 4):  # a branch that somebody writes to is looked at
                raise FileNotFoundError(errno.ENOENT, "")
        node = parent.children.get(name)
        if node is None:
            if entry[0] != 4 and (status.st_nlink > 1 or status.st_ino in self.linked):
                node = self._another_name(parent, name, entry, status)
            else:
                node = self._new(parent, name, entry, status.st_ino)
            parent.children[name] = node
        return node, status

    def member(self, parent: Node, name: bytes) -> Node:
        """Which node `name` is in a directory, of which nothing else is asked.  Raises FileNotFoundError."""
        known = parent.children.get(name)
        return known if known is not None else self.child(parent, name)[0]

    def inode(self, parent: Node, name: bytes) -> int:
        """The inode number that `child` would tell of a name that is in the directory."""
        known = parent.children.get(name)
        if known is None:
            fd = self.directory(parent, self.listed(parent)[name][1][0])
            number = os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino
            known = self.linked.get(number)
        return known.inode if known is not None else number

    def _another_name(self, parent: Node, name: bytes, entry: Entry, status: os.stat_result) -> Node:
        node = self.linked.get(status.st_ino)
        if node is None:
            node = self._new(parent, name, entry, status.st_ino)
            self.link(node, status.st_ino)
        elif node.gone or node.parent is None:
            self.drop_file(node)  # held for want of a name, perhaps for nothing but its place
            node.parent, node.name, node.gone = parent, name, False
        else:
            node.others = node.others or set()
            node.others.add((parent, name))
        return node

    def link(self, node: Node, key: int) -> None:
        """Have a file with several names found by its inode number; 0: it has them no more."""
        if self.linked.get(node.key) is node:
            del self.linked[node.key]
        node.key = key
        if key:
            self.linked[key] = node

    def forget(self, number: int, count: int) -> None:
        """The kernel knows a node by `count` names less."""
        node = self.nodes.get(number)
        if node is None:
            return
        node.lookups -= count
        while node.parent is not None and node.lookups <= 0 and not node.children:
            self._drop(node)
            node = node.parent

    def _drop(self, node: Node) -> None:
        self.nodes.pop(node.id, None)
        for parent, name in ((node.parent, node.name), *(node.others or ())):
            if parent is not None and parent.children.get(name) is node:
                del parent.children[name]
        self.link(node, 0)
        if node.fd >= 0:
            self._kept.pop((node.id, FILE), None)
            os.close(node.fd)
            node.fd = -1
        for branch, fd in node.fds.items():
            self._kept.pop((node.id, branch), None)
            os.close(fd)
        node.fds.clear()

    # -- directories -----------------------------------------------------------------------------------------

    def listed(self, node: Node) -> dict[bytes, Entry]:
        """What shows in a directory, by name."""
        if node.visible is not None:
            return node.visible
        if not (self.has_upper and node.stack[0] == UPPER):
            node.below, node.stack = self._merged(node, node.stack)
            node.visible = node.below
            return node.visible
        own, node.whited, opaque = self._listed_in(node, UPPER)
        lower = node.stack[1:]
        if opaque or not lower:
            node.stack, node.below, node.visible = (UPPER,), {}, own
            return own
        node.below, lower = self._merged(node, lower)
        node.stack = (UPPER, *lower)
        visible = {name: entry for name, entry in node.below.items() if name not in node.whited}
        for name, (kind, _) in own.items():
            under = visible.get(name)
            visible[name] = (kind, (UPPER, *(under[1] if under is not None and kind == under[0] == 4 else ())))
        node.visible = visible
        return visible

    def _merged(self, node: Node, stack: tuple[int, ...]) -> tuple[dict[bytes, Entry], tuple[int, ...]]:
        """What a directory shows of some branches, and which of them count: none below an opaque one."""
        found: dict[bytes, Entry] = {}
        shut: set[bytes] = set()
        for number, branch in enumerate(stack):
            own, whited, opaque = self._listed_in(node, branch)
            if number == 0:
                found = own
                shut = whited | {name for name, (kind, _) in own.items() if kind != 4}
            else:
                for name, (kind, _) in own.items():
                    if name in shut:
                        continue
                    above = found.get(name)
                    if above is None:
                        found[name] = (kind, (branch,))
                    elif kind == 4:
                        found[name] = (4, (*above[1], branch))
                    if kind != 4:
                        shut.add(name)
                shut |= whited
            if opaque:
                return found, stack[: number + 1]
        return found, stack

    def _listed_in(self, node: Node, branch: int) -> tuple[dict[bytes, Entry], set[bytes], bool]:
        """What one branch has in a directory, what it deletes, and whether it hides all below."""
        own: dict[bytes, Entry] = {}
        whited: set[bytes] = set()
        here = (branch,)
        fd = self.directory(node, branch)
        # listxattr first: where there is none, which is everywhere, an exception would cost more than the call.
        opaque = bool(self._opaque) and self._opaque in os.listxattr(fd) and os.getxattr(fd, self._opaque) == b"y"
        os.lseek(fd, 0, os.SEEK_SET)
        with os.scandir(fd) as entries:
            for each in entries:
                name = os.fsencode(each.name)
                if name.startswith(PREFIX):
                    if name == OPAQUE_MARKER:
                        opaque = True
                    elif not name.startswith(META_PREFIX):
                        whited.add(name[len(PREFIX) :])
                elif each.is_file(follow_symlinks=False):
                    own[name] = (8, here)
                elif each.is_dir(follow_symlinks=False):
                    own[name] = (4, here)
                elif each.is_symlink():
                    own[name] = (10, here)
                else:
                    status = each.stat(follow_symlinks=False)
                    if is_whiteout(status):
                        whited.add(name)
                    else:
                        own[name] = (wire.TYPES[stat.S_IFMT(status.st_mode)], here)
        return own, whited, opaque

    def order(self, node: Node) -> list[bytes | None]:
        """The names of a directory in the order of their places."""
        if node.order is None:
            names = list(self.listed(node))
            node.places = list(range(len(names)))
            node.positions = dict(zip(names, node.places, strict=True))
            node.order = [*names]
        return node.order

    @staticmethod
    def _vacate(node: Node, order: list[bytes | None], place: int) -> None:
        """A place has no name any more.  Many such are left out, but for the last: no number is given twice."""
        order[bisect_left(node.places, place)] = None
        if len(order) > _MANY and len(node.positions) * 2 < len(order):
            kept = [at for at, name in enumerate(order) if name is not None or at == len(order) - 1]
            order[:] = [order[at] for at in kept]
            node.places = [node.places[at] for at in kept]

    def add(self, parent: Node, name: bytes, entry: Entry) -> None:
        """A name is there now."""
        visible = self._own_index(parent)
        visible[name] = entry
        if parent.order is not None and name not in parent.positions:
            place = parent.places[-1] + 1 if parent.places else 0
            parent.positions[name] = place
            parent.places.append(place)
            parent.order.append(name)

    def take(self, parent: Node, name: bytes) -> None:
        """A name is there no more."""
        self._own_index(parent).pop(name, None)
        place = parent.positions.pop(name, None)
        if parent.order is not None and place is not None:
            self._vacate(parent, parent.order, place)

    def _own_index(self, node: Node) -> dict[bytes, Entry]:
        visible = self.listed(node)
        if visible is node.below:
            visible = node.visible = dict(visible)
        return visible
