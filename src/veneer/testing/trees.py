"""Trees of files as values: made at random, written to a directory, read back, compared, changed.

For the tests of drivers, here and elsewhere.  The strategies need Hypothesis, everything else only the standard
library.  A `Tree` has no root entry: what a layer says of its root is not part of it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING

from veneer.changeset.entry import Kind
from veneer.changeset.xattrs import read_xattrs
from veneer.drivers.userns import privileged, standing

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
"""`security.capability` for CAP_NET_BIND_SERVICE, permitted and effective (VFS_CAP_REVISION_2)."""

_NAMES = (
    b"a", b"b", b"c", b"d", b"a-b", b"a.b", b"A", b"\xff\xfe", "é".encode(), b"new\nline", b"sp ace", b"-rf", b"~",
    b"x" * 101, b"y" * 251, b"..data", b"=",
)  # fmt: skip
_MODES = (0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o7777, 0o444, 0o000)
_IDS = (0, 0, 0, 1, 1000, 65534, 2097151, 2097152, 4294967294)
_TIMES = (0, 10**18, 10**18 + 1, 10**18 + 123_456_789, 1_500_000_000_500_000_000, -1, -(10**9), 4_294_967_296 * 10**9)
_SIZES = (0, 1, 13, 511, 512, 513, 5000)
_DEVICES = ((1, 3), (1, 5), (8, 1), (259, 1048575))
_FIRST_CHANGE = 1_900_000_000 * 10**9


def path_key(path: bytes) -> list[bytes]:
    """The order of layers: by path components, bytewise."""
    return path.split(b"/")


@dataclass(frozen=True, slots=True)
class Node:
    """One file, as `entry.Entry` describes it; a hard link has nothing but its kind and `link`."""

    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    content: bytes = b""
    link: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Tree(Mapping[bytes, Node]):
    """Paths and their nodes, in the order of layers; equal if every attribute of every node is.

    Of several names for one file the first in that order is REGULAR and the others are HARDLINKs to it; given
    any other way, they are turned that way.  Nodes whose directory is missing are an error (ValueError).
    """

    def __init__(self, nodes: Mapping[bytes, Node]) -> None:
        self._nodes = _normal(nodes)

    def __getitem__(self, path: bytes) -> Node:
        return self._nodes[path]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self._nodes == other._nodes

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Tree({\n" + "".join(f"    {path!r}: {node},\n" for path, node in self.items()) + "})"

    def without(self, path: bytes) -> Tree:
        """This tree less `path` and everything beneath it; other names of the files in it stay."""
        gone = {name for name in self if name == path or name.startswith(path + b"/")}
        kept = {name: node for name, node in self.items() if name not in gone}
        return Tree(_rehomed(kept, self))


def _normal(nodes: Mapping[bytes, Node]) -> dict[bytes, Node]:
    groups: dict[bytes, list[bytes]] = {}
    for path, node in nodes.items():
        parent = path.rpartition(b"/")[0]
        if not path or (parent and (parent not in nodes or nodes[parent].kind is not Kind.DIRECTORY)):
            raise ValueError(f"{path!r} is in no directory of this tree")
        if node.kind is Kind.HARDLINK:
            groups.setdefault(node.link, [node.link]).append(path)
    ordered = dict(nodes)
    for holder, names in groups.items():
        if holder not in nodes or nodes[holder].kind is not Kind.REGULAR:
            raise ValueError(f"{names[1]!r} is a hard link to {holder!r}, which is no regular file")
        first, *others = sorted(names, key=path_key)
        ordered[first] = nodes[holder]
        ordered.update((path, Node(Kind.HARDLINK, link=first)) for path in others)
    return {path: ordered[path] for path in sorted(ordered, key=path_key)}


def _rehomed(kept: dict[bytes, Node], tree: Mapping[bytes, Node]) -> dict[bytes, Node]:
    """`kept` with hard links whose holder is gone made into the file itself, the first of each file."""
    homes: dict[bytes, bytes] = {}
    result: dict[bytes, Node] = {}
    for path, node in kept.items():
        if node.kind is Kind.HARDLINK and node.link not in kept:
            home = homes.setdefault(node.link, path)
            result[path] = tree[node.link] if home == path else Node(Kind.HARDLINK, link=home)
        else:
            result[path] = node
    return result


def difference(expected: Tree, found: Tree) -> list[str]:
    """One line per path that is not the same in both, naming the fields; empty if they are equal."""
    lines = []
    for path in sorted(expected.keys() | found.keys(), key=path_key):
        shown = path.decode(errors="backslashreplace")
        if path not in found:
            lines.append(f"missing     {shown}: {expected[path]}")
        elif path not in expected:
            lines.append(f"unexpected  {shown}: {found[path]}")
        elif expected[path] != found[path]:
            fields = [
                f"{name} {found_value!r}, not {value!r}"
                for name in Node.__slots__
                if (value := getattr(expected[path], name)) != (found_value := getattr(found[path], name))
            ]
            lines.append(f"different   {shown}: {'; '.join(fields)}")
    return lines


def assert_same(expected: Tree, found: Tree) -> None:
    """AssertionError with the difference, one path a line, unless the trees are equal."""
    if lines := difference(expected, found):
        raise AssertionError("the trees differ:\n" + "\n".join(lines))


def read_tree(dir_fd: int) -> Tree:
    """What is in a directory, with the extended attributes that layers keep.  Sockets are left out."""
    nodes: dict[bytes, Node] = {}
    names: dict[tuple[int, int], bytes] = {}
    _read(dir_fd, b"", nodes, names)
    return Tree(nodes)


def _read(dir_fd: int, prefix: bytes, nodes: dict[bytes, Node], names: dict[tuple[int, int], bytes]) -> None:
    for name in sorted(map(os.fsencode, os.listdir(dir_fd))):
        path = prefix + name
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        node = Node(
            Kind.DIRECTORY, status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_mtime_ns
        )  # fmt: skip
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=dir_fd)
            try:
                nodes[path] = replace(node, xattrs=read_xattrs(fd))
                _read(fd, path + b"/", nodes, names)
            finally:
                os.close(fd)
        elif stat.S_ISLNK(status.st_mode):
            nodes[path] = replace(node, kind=Kind.SYMLINK, link=os.readlink(name, dir_fd=dir_fd))
        elif stat.S_ISREG(status.st_mode):
            holder = names.setdefault((status.st_dev, status.st_ino), path) if status.st_nlink > 1 else path
            if holder == path:
                nodes[path] = _read_file(dir_fd, name, node)
            else:
                nodes[path] = Node(Kind.HARDLINK, link=holder)
        elif stat.S_ISFIFO(status.st_mode):
            nodes[path] = replace(node, kind=Kind.FIFO)
        elif not stat.S_ISSOCK(status.st_mode):
            kind = Kind.CHARACTER if stat.S_ISCHR(status.st_mode) else Kind.BLOCK
            nodes[path] = replace(node, kind=kind, device=(os.major(status.st_rdev), os.minor(status.st_rdev)))


def _read_file(dir_fd: int, name: bytes, node: Node) -> Node:
    with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=dir_fd), "rb") as file:
        return replace(node, kind=Kind.REGULAR, content=file.read(), xattrs=read_xattrs(file.fileno()))


def write_tree(tree: Tree, dir_fd: int) -> None:
    """Make `tree` in an empty directory, with every attribute."""
    change_tree(dir_fd, Tree({}), tree)


def change_tree(dir_fd: int, old: Tree, new: Tree) -> None:
    """Turn `old`, which is in the directory, into `new`, touching only what differs.

    It works as a container would: what goes or changes its kind is removed, what stays is changed in place, so a
    union file system records it as whiteouts and copies.  A directory's time is set last.
    """
    staying = _staying(old, new)
    for path in reversed(list(old)):
        if path not in staying:
            _remove(dir_fd, path, old[path].kind)
    for path, node in new.items():
        if path not in staying:
            _make(dir_fd, path, node)
        elif old[path] != node and node.kind is not Kind.DIRECTORY:
            _attributes(dir_fd, path, node, old[path])
    for path in reversed(list(new)):
        node = new[path]
        if node.kind is Kind.DIRECTORY:
            before = old[path] if path in staying else Node(Kind.DIRECTORY)
            status = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
            if before != node or status.st_mtime_ns != node.mtime_ns:
                _attributes(dir_fd, path, node, before)


def _staying(old: Tree, new: Tree) -> set[bytes]:
    """The paths of both that can become the new node without being removed."""
    old_links, new_links = _links(old), _links(new)
    staying: set[bytes] = set()
    for path in old.keys() & new.keys():
        before, after = old[path], new[path]
        if before.kind is not after.kind or (before.link, before.device) != (after.link, after.device):
            continue
        holder = before.link if before.kind is Kind.HARDLINK else path
        links = old_links.get(holder, set())
        if links != new_links.get(holder, set()) or before.content != after.content:
            continue
        # A union breaks links when it copies a file up, so a file with several names stays only untouched.
        if not links or old[holder] == new.get(holder):
            staying.add(path)
    return staying


def _links(tree: Tree) -> dict[bytes, set[bytes]]:
    links: dict[bytes, set[bytes]] = {}
    for path, node in tree.items():
        if node.kind is Kind.HARDLINK:
            links.setdefault(node.link, set()).add(path)
    return links


def _remove(dir_fd: int, path: bytes, kind: Kind) -> None:
    if kind is Kind.DIRECTORY:
        os.rmdir(path, dir_fd=dir_fd)
    else:
        os.unlink(path, dir_fd=dir_fd)


def _make(dir_fd: int, path: bytes, node: Node) -> None:
    if node.kind is Kind.DIRECTORY:
        os.mkdir(path, dir_fd=dir_fd)
        return
    if node.kind is Kind.HARDLINK:
        os.link(node.link, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
        return
    if node.kind is Kind.REGULAR:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd)
        with open(fd, "wb") as file:
            file.write(node.content)
    elif node.kind is Kind.SYMLINK:
        os.symlink(node.link, path, dir_fd=dir_fd)
    else:
        kinds = {Kind.FIFO: stat.S_IFIFO, Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK}
        os.mknod(path, kinds[node.kind] | 0o600, os.makedev(*node.device), dir_fd=dir_fd)
    _attributes(dir_fd, path, node, Node(node.kind))


def _attributes(dir_fd: int, path: bytes, node: Node, before: Node) -> None:
    if node.kind is Kind.HARDLINK:
        return
    os.chown(path, node.uid, node.gid, dir_fd=dir_fd, follow_symlinks=False)
    if node.kind is not Kind.SYMLINK:
        os.chmod(path, node.mode, dir_fd=dir_fd)
        full = b"/proc/self/fd/%d/%s" % (dir_fd, path)
        for name, _ in before.xattrs:
            # The kernel has dropped a capability by itself when the owner was set.
            if name not in dict(node.xattrs) and os.fsdecode(name) in os.listxattr(full, follow_symlinks=False):
                os.removexattr(full, name, follow_symlinks=False)
        for name, value in node.xattrs:
            os.setxattr(full, name, value, follow_symlinks=False)
    os.utime(path, ns=(node.mtime_ns, node.mtime_ns), dir_fd=dir_fd, follow_symlinks=False)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What random trees may contain."""

    size: int = 12
    """About how many nodes."""
    names: Sequence[bytes] = _NAMES
    devices: bool = True
    """Device nodes, which only root of the machine can make."""
    owners: bool = True
    """Foreign owners and capabilities, which also root of a user namespace can give, as far as it has ids."""
    xattrs: bool = True


def _possible() -> Wishes:
    """All that this process can make."""
    return Wishes(devices=privileged(), owners=os.geteuid() == 0)


def random_tree(random: Random, wishes: Wishes | None = None) -> Tree:
    """A tree that `random` chose; the same for the same seed."""
    wishes = wishes or _possible()
    nodes: dict[bytes, Node] = {}
    for _ in range(random.randint(0, 2 * wishes.size)):
        _add(random, wishes, nodes, random.choice(_TIMES))
    return Tree(nodes)


def random_change(random: Random, tree: Tree, wishes: Wishes | None = None) -> Tree:
    """`tree` after a few removals, additions, replacements and changes of attributes.

    Every regular file whose content is new gets a time of its own, as a write would give it.
    """
    wishes = wishes or _possible()
    nodes = dict(tree)
    for step in range(random.randint(0, wishes.size)):
        now = _FIRST_CHANGE + random.randint(0, 10**9) * 10**6 + step
        action = random.choice(("add", "add", "remove", "attributes", "replace", "empty"))
        path = random.choice(sorted(nodes)) if nodes else b""
        if action == "add" or not nodes:
            _add(random, wishes, nodes, now)
        elif action == "remove":
            nodes = dict(Tree(nodes).without(path))
        elif action == "replace":
            nodes = dict(Tree(nodes).without(path))
            nodes[path] = _node(random, wishes, nodes, now)
        elif action == "empty" and nodes[path].kind is Kind.DIRECTORY:
            node = nodes[path]
            nodes = dict(Tree(nodes).without(path))
            nodes[path] = replace(node, mtime_ns=now)
        elif nodes[path].kind not in (Kind.HARDLINK, Kind.SYMLINK):
            nodes[path] = replace(nodes[path], mode=random.choice(_MODES), mtime_ns=now)
        nodes = dict(Tree(nodes))
    return Tree(nodes)


def _add(random: Random, wishes: Wishes, nodes: dict[bytes, Node], now: int) -> None:
    directories = [b"", *(path for path, node in nodes.items() if node.kind is Kind.DIRECTORY)]
    parent = random.choice(directories)
    name = random.choice(wishes.names)
    path = parent + b"/" + name if parent else name
    if path not in nodes and path.count(b"/") < 6 and len(path) < 1500:
        nodes[path] = _node(random, wishes, nodes, now)


def _node(random: Random, wishes: Wishes, nodes: Mapping[bytes, Node], now: int) -> Node:
    kinds = [Kind.DIRECTORY] * 4 + [Kind.REGULAR] * 6 + [Kind.SYMLINK, Kind.SYMLINK, Kind.FIFO]
    files = sorted(path for path, node in nodes.items() if node.kind is Kind.REGULAR)
    if files:
        kinds += [Kind.HARDLINK] * 2
    if wishes.devices:
        kinds += [Kind.CHARACTER, Kind.BLOCK]
    kind = random.choice(kinds)
    if kind is Kind.HARDLINK:
        return Node(Kind.HARDLINK, link=random.choice(files))
    uid, gid = os.geteuid(), os.getegid()
    if wishes.owners:
        ids = [number for number in _IDS if standing().keeps(number, number)]
        uid, gid = random.choice(ids), random.choice(ids)
    node = Node(kind, random.choice(_MODES), uid, gid, now)
    if kind is Kind.SYMLINK:
        return replace(node, mode=0o777, link=random.choice((b"a", b"../b", b"/etc/passwd", b"\xff", b"l" * 150)))
    if kind in (Kind.CHARACTER, Kind.BLOCK):
        return replace(node, device=random.choice(_DEVICES))
    if kind is Kind.FIFO:
        return node
    xattrs = []
    if wishes.xattrs and random.randint(0, 4) == 0:
        xattrs = [(b"user.b", b"\0\xff\n"), (b"user.a", b"")][: random.randint(1, 2)]
        if kind is Kind.REGULAR and wishes.owners:
            xattrs.append((b"security.capability", CAPABILITY))
    if kind is Kind.REGULAR:
        node = replace(node, content=bytes([random.randint(0, 255)]) * random.choice(_SIZES))
    return replace(node, xattrs=tuple(sorted(xattrs)))


def trees(wishes: Wishes | None = None) -> SearchStrategy[Tree]:
    """A Hypothesis strategy for trees."""
    from hypothesis import strategies

    return strategies.builds(random_tree, strategies.randoms(use_true_random=False), strategies.just(wishes))


def changes(count: int = 1, wishes: Wishes | None = None) -> SearchStrategy[list[Tree]]:
    """A Hypothesis strategy for a tree and `count` changes of it, one after the other: count + 1 trees."""
    from hypothesis import strategies

    def story(random: Random) -> list[Tree]:
        told = [random_tree(random, wishes)]
        for _ in range(count):
            told.append(random_change(random, told[-1], wishes))
        return told

    return strategies.builds(story, strategies.randoms(use_true_random=False))
