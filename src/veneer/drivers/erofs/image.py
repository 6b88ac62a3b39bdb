"""An EROFS image of a tree's metadata: names, attributes, links; of a file's content only where it lies.

The kernel mounts such an image straight from the file.  Regular files are holes of the right size with overlay's
`metacopy` and `redirect` attributes, so that an overlay which has the contents as a data-only layer shows them whole.
Source: Linux fs/erofs/erofs_fs.h; Documentation/filesystems/erofs.rst, overlayfs.rst (Data-only lower layers).
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO

from veneer.drivers.erofs import verity
from veneer.errors import Unsupported
from veneer.values import Value

BLOCK = 4096
_SLOT = 32
_SUPERBLOCK_AT = 1024
_MAGIC = 0xE0F5E1E2
_CHUNKED_FILE = 4
_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_INODE = struct.Struct("<HHHHQIIIIQII16x")
_DIRENT = struct.Struct("<QHBx")
_XATTR = struct.Struct("<BBH")
_XATTR_HEADER = struct.Struct("<IB7x")
_PLAIN, _INLINE, _CHUNKED = 0, 2, 4
_HOLE = 0xFFFFFFFF
_LARGEST_CHUNK = 31
"""Of a file that is one hole, in powers of two blocks: one entry describes it whatever its size."""
_NO_FILTER = 0xFFFFFFFF
_PREFIXES = ((b"user.", 1), (b"system.posix_acl_access", 2), (b"system.posix_acl_default", 3), (b"trusted.", 4),
             (b"security.", 6))  # fmt: skip
_TYPES = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFCHR: 3, stat.S_IFBLK: 4, stat.S_IFIFO: 5, stat.S_IFSOCK: 6,
          stat.S_IFLNK: 7}  # fmt: skip


class CannotDescribe(Unsupported):
    """Something that an EROFS image cannot hold."""


class Node(Value):
    """One inode.  `mode` is a st_mode; `link` a symbolic link's target; `names` a directory's, each with the position
    of its node; `content` is where a regular file's bytes lie below the root of the data layer (b"ab/cdef..."), b""
    for an empty one, and `sealed` their fs-verity digest, b"" where they have none."""

    __slots__ = ()
    mode: int
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0
    device: int = 0
    links: int = 1
    link: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    content: bytes = b""
    sealed: bytes = b""
    names: Mapping[bytes, int] = MappingProxyType({})


def write(nodes: Sequence[Node], out: BinaryIO) -> int:
    """Write the image of the tree whose root is the first of `nodes`; how many bytes it has.

    The same nodes give the same bytes.  Raises CannotDescribe.
    """
    return _Image(nodes).write(out)


class _Image:
    """Where everything goes is decided from sizes alone, before anything is written."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._xattrs = [_xattrs(node) for node in nodes]
        self._blocks = [_directory_blocks(node.names) if stat.S_ISDIR(node.mode) else [] for node in nodes]
        self._at: list[int] = []
        self._inline: list[bool] = []
        self._data: list[int] = []
        position, blocks = _SUPERBLOCK_AT + _SUPERBLOCK.size, 0
        for number, node in enumerate(nodes):
            head = _INODE.size + len(self._xattrs[number])
            tail = self._tail_size(number)
            position = _up(position, _SLOT)
            inline = 0 < tail <= BLOCK and len(self._blocks[number]) < 2
            if inline and (position + head) % BLOCK + tail > BLOCK:
                # What is inline must not reach into another block.
                inline = head % BLOCK + tail <= BLOCK
                position = _up(position, BLOCK) if inline else position
            self._at.append(position)
            self._inline.append(inline)
            self._data.append(blocks)
            if inline:
                position += head + tail
            else:
                position += head + (8 if node.content else 0)
                blocks += -(-self._tail_size(number) // BLOCK)
        self._first_block = -(-position // BLOCK)
        self._block_count = self._first_block + blocks

    def _tail_size(self, number: int) -> int:
        """Bytes of a link's target or of a directory."""
        if blocks := self._blocks[number]:
            return (len(blocks) - 1) * BLOCK + _used(blocks[-1])
        return len(self._nodes[number].link)

    def write(self, out: BinaryIO) -> int:
        """Write it; the size."""
        image = bytearray(self._block_count * BLOCK)
        for number, node in enumerate(self._nodes):
            self._put(image, number, node)
        root = self._at[0] // _SLOT
        head = _SUPERBLOCK.pack(
            _MAGIC, 0, 0, BLOCK.bit_length() - 1, 0, root, len(self._nodes), 0, 0, self._block_count, 0, 0,
            bytes(16), bytes(16), _CHUNKED_FILE, 0, 0, 0, 0, 0, 0, 0, 0,
        )  # fmt: skip
        image[_SUPERBLOCK_AT : _SUPERBLOCK_AT + len(head)] = head
        out.write(image)
        return len(image)

    def _put(self, image: bytearray, number: int, node: Node) -> None:
        at, xattrs, inline = self._at[number], self._xattrs[number], self._inline[number]
        size, layout, where = node.size, _PLAIN, 0
        tail = b""
        if stat.S_ISREG(node.mode):
            if node.content:
                layout, where = _CHUNKED, _LARGEST_CHUNK
                hole = _up(at + _INODE.size + len(xattrs), 4)
                struct.pack_into("<I", image, hole, _HOLE)
        elif stat.S_ISDIR(node.mode) or stat.S_ISLNK(node.mode):
            tail = self._directory(number) if stat.S_ISDIR(node.mode) else node.link
            size, layout = len(tail), _INLINE if inline else _PLAIN
            where = 0 if inline else self._first_block + self._data[number]
        elif stat.S_ISCHR(node.mode) or stat.S_ISBLK(node.mode):
            where = _device(node.device)
        count = (len(xattrs) - _XATTR_HEADER.size) // 4 + 1 if xattrs else 0
        _INODE.pack_into(
            image, at, 1 | layout << 1, count, node.mode, 0, size, where, number + 1, node.uid, node.gid,
            node.mtime_ns // 1_000_000_000 & 0xFFFFFFFFFFFFFFFF, node.mtime_ns % 1_000_000_000, node.links,
        )  # fmt: skip
        after = at + _INODE.size
        image[after : after + len(xattrs)] = xattrs
        if tail:
            start = after + len(xattrs) if inline else where * BLOCK
            image[start : start + len(tail)] = tail

    def _directory(self, number: int) -> bytes:
        """A directory's entries, block by block."""
        names, nodes = self._nodes[number].names, self._nodes
        made = bytearray()
        blocks = self._blocks[number]
        for position, block in enumerate(blocks):
            offset = len(block) * _DIRENT.size
            head, text = bytearray(), bytearray()
            for name in block:
                target = number if name == b"." else names[name]
                kind = _TYPES[stat.S_IFMT(nodes[target].mode)]
                head += _DIRENT.pack(self._at[target] // _SLOT, offset + len(text), kind)
                text += name
            made += head + text
            if position + 1 < len(blocks):
                made += bytes(-len(made) % BLOCK)
        return bytes(made)


def _directory_blocks(names: Mapping[bytes, int]) -> list[list[bytes]]:
    """A directory's names, `.` and `..` among them, sorted, as many to a block as fit.

    `..` must be one of `names`: who stands above is for the caller to say.
    """
    blocks: list[list[bytes]] = [[]]
    used = 0
    for name in sorted((b".", *names)):
        if len(name) > 255:
            raise CannotDescribe(f"the name {name[:40]!r}... has {len(name)} bytes, more than the 255 of a file system")
        if used + _DIRENT.size + len(name) > BLOCK:
            blocks.append([])
            used = 0
        blocks[-1].append(name)
        used += _DIRENT.size + len(name)
    return blocks


def _used(block: Sequence[bytes]) -> int:
    return sum(_DIRENT.size + len(name) for name in block)


def _xattrs(node: Node) -> bytes:
    """The attributes as they stand behind an inode; b"" for none."""
    wanted = node.xattrs
    if node.content:
        wanted = (*wanted, (b"trusted.overlay.metacopy", verity.metacopy(node.sealed)),
                  (b"trusted.overlay.redirect", b"/" + node.content))  # fmt: skip
    if not wanted:
        return b""
    made = bytearray(_XATTR_HEADER.pack(_NO_FILTER, 0))
    for name, value in wanted:
        found = next(((prefix, number) for prefix, number in _PREFIXES if name.startswith(prefix)), None)
        if found is None:
            raise CannotDescribe(f"an EROFS image cannot hold the attribute {name.decode(errors='replace')}")
        rest = name[len(found[0]) :]
        if len(rest) > 255 or len(value) > 0xFFFF:
            raise CannotDescribe(f"the attribute {name[:40].decode(errors='replace')} is too long for an EROFS image")
        made += _XATTR.pack(len(rest), found[1], len(value)) + rest + value
        made += bytes(-len(made) % 4)
    return bytes(made)


def _device(number: int) -> int:
    """A device number in the kernel's own 32 bits (new_encode_dev)."""
    major, minor = os.major(number), os.minor(number)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def _up(position: int, unit: int) -> int:
    return -(-position // unit) * unit
