"""A layer's bytes become a directory: every rule of applying a changeset, and nothing outside the root.

Order of an entry: create, owner, permissions (chown clears setuid), extended attributes (chown clears
capabilities), time.  The rules that are not obvious:

- Whiteouts and opaque markers hide what the layers below have, never what this layer itself holds, wherever in the
  archive they stand.  A whiteout beside a directory of the same name makes that directory opaque.
- The last entry of a path wins; two directories merge, with the attributes of the last.
- An entry for the root may only be a directory, and changes nothing: docker's graph drivers ignore it too.
- A symlink made by this layer is followed, within the root, where an entry lies below it; one of a layer below,
  or one that leads nowhere, is replaced by a directory.
- `security.capability` and `user.*` (without `user.overlay.*`) are the extended attributes that are kept.

Source: OCI image-spec layer.md; moby pkg/archive/diff.go; containerd archive/tar.go.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import BinaryIO

from veneer.changeset import compression, links, metadata, whiteout
from veneer.changeset.compression import BadCompression, Source
from veneer.changeset.entry import Kind
from veneer.changeset.failures import explain
from veneer.changeset.index_builder import IndexBuilder
from veneer.changeset.limits import Limits
from veneer.changeset.metadata import Owner
from veneer.changeset.safepath import PathSet, normal, remove_children, remove_tree
from veneer.changeset.settle import settle
from veneer.changeset.tar import BadArchive, TarReader
from veneer.changeset.tree import Tree
from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, PSEUDO_LINKS, WhiteoutStyle
from veneer.oci.digest import DiffID, Digest

__all__ = ["Unpacked", "settle", "unpack"]

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LIMITS_GIVEN = Limits()


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What unpack() made of a layer.

    `tar_size`: bytes of the uncompressed archive.  `size`: the layer's size as docker counts it, the lstat sizes of
    everything but directories, each inode once.  `entries`: members of the archive.  `implied`: directories that
    had to be made without an entry, parents first; they still need the attributes of the layers below.
    `lower_links`: (path, target) of hard links whose target this layer does not have; settle() makes them.
    `whited_out`: directories with whiteouts on the disk; settle() drops those that have nothing to hide, and turns
    an opaque root (b"") into whiteouts, so what it leaves depends on the layers below.
    """

    diff_id: DiffID
    tar_size: int
    size: int
    entries: int
    implied: tuple[bytes, ...] = ()
    lower_links: tuple[tuple[bytes, bytes], ...] = ()
    warnings: tuple[str, ...] = ()
    whited_out: tuple[bytes, ...] = ()


def unpack(
    source: Source,
    root_fd: int,
    style: WhiteoutStyle,
    *,
    index: BinaryIO | None,
    limits: Limits = _NO_LIMITS_GIVEN,
    what: str = "layer",
) -> Unpacked:
    """Extract the layer that `source` holds, compressed or not, into the directory `root_fd`.

    The directory is empty and new, but for ERASE, where it holds a copy of the layers below.  The layer's index is
    written to `index`.  Nothing is undone on failure: the caller throws the directory away.

    Raises BadArchive or BadCompression (Corrupt) naming `what`, the member and the fact; NoSpace and other
    Unavailable for what this machine lacks; Aborted if a growing source's writer gave up.
    """
    counted = _Counted(source)
    reader: TarReader | None = None
    unpacker: Unpacker | None = None
    try:
        plain = compression.decompressed(counted)
        reader = TarReader(_Bounded(plain, counted, limits, what), limits=limits, what=what)
        unpacker = Unpacker(reader, root_fd, style, index is not None)
        result = unpacker.run()
        if index is not None:
            unpacker.builder.write(index)
        return result
    except BadCompression as error:
        raise BadCompression(f"{what}: {error}", hint=error.hint) from error
    except OSError as error:
        raise explain(error, what, reader.path if reader else b"", root_fd) from error
    except (ValueError, OverflowError) as error:
        if reader is None:
            raise
        raise reader.bad(str(error)) from error
    finally:
        if unpacker is not None:
            unpacker.tree.close()


class _Counted:
    """The compressed bytes, counted."""

    def __init__(self, source: Source) -> None:
        self._readinto = source.readinto
        self.total = 0

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        count = self._readinto(buffer)
        self.total += count
        return count


class _Bounded:
    """The plain bytes, as long as they stay in proportion to the compressed ones."""

    def __init__(self, plain: Source, counted: _Counted, limits: Limits, what: str) -> None:
        self._readinto = plain.readinto
        self._counted = counted
        self._limits = limits
        self._what = what
        self._total = 0

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        count = self._readinto(buffer)
        self._total += count
        if self._total > self._limits.ratio_grace and self._total > self._limits.ratio * self._counted.total:
            raise BadArchive(
                f"{self._what}: {self._counted.total} compressed bytes became more than {self._total}, "
                f"over {self._limits.ratio} times as many: a decompression bomb"
            )
        return count


class Unpacker:
    """One layer on its way into one directory."""

    def __init__(self, reader: TarReader, root_fd: int, style: WhiteoutStyle, indexed: bool) -> None:
        self.reader = reader
        self.root_fd = root_fd
        self.style = style
        self.builder = IndexBuilder()
        self.add = self.builder.add if indexed else _nothing
        self._digests = indexed
        self.size = 0
        self.owner = Owner()
        self.implied: dict[bytes, None] = {}
        self.whited_out: dict[bytes, None] = {}
        self.links = links.Links(self)
        # ERASE only: the tree has the lower layers' files too, so what this layer made must be remembered.
        self.made = PathSet() if style is WhiteoutStyle.ERASE else None
        self.hidden = PathSet() if style is WhiteoutStyle.ERASE else None
        self.markers = False  # AUFS only: whether a .wh. file was made that an entry may have to take back
        self._covered = b""
        metadata.drop_default_acl(root_fd)
        self._special = 0o7000 | metadata.umask()
        self.tree = Tree(root_fd, arrived=self._arrived, ours=self.is_ours, clear=self._cover)

    def run(self) -> Unpacked:
        """Apply every member, then what had to wait for the end."""
        reader, tree = self.reader, self.tree
        # By kind: REGULAR, DIRECTORY, SYMLINK, HARDLINK, CHARACTER, BLOCK, FIFO.
        node = self._node
        handlers = (self._regular, self._directory, self._symlink, self.links.member, node, node, node)
        while reader.next():
            path = reader.path
            if path[:2] == b"./":
                path = path[2:]
            if path[-1:] == b"/":
                path = path[:-1]
            # What may need more care: hidden names (whiteouts), `..`, absolute or doubled slashes, long ones.
            if not path or path[0] in b"./" or b"/." in path or b"//" in path or len(path) > 255:
                path = normal(reader.path, reader.limits)
                if b".wh." in path and self._marker(path):
                    continue
                if not path:
                    self._root()
                    continue
            parent, _, name = path.rpartition(b"/")
            if parent != tree.here:
                tree.go(parent)
                if parent != tree.here:
                    path = tree.here + b"/" + name if tree.here else name
            if self.links.deferred:
                self.links.forget(path)
            handlers[reader.kind](name, path)
        reader.drain()
        self.links.finish()
        tree.leave()
        return Unpacked(
            DiffID(Digest.sha256(reader.hexdigest())),
            reader.total,
            self.size,
            reader.number,
            tuple(self.implied),
            tuple(self.links.lower),
            self.owner.warnings(),
            tuple(self.whited_out),
        )

    # One method per kind: `name` is to be made in the tree's present directory, `path` is where that is.

    def _regular(self, name: bytes, path: bytes) -> None:
        digest, xattrs = self.write_file(name, path)
        if self.made is not None or self.markers:
            self.note_made(name, path)
        reader = self.reader
        self.add(
            path, 0, reader.mode, reader.uid, reader.gid, reader.size, reader.mtime_ns, b"", digest, 0, xattrs
        )  # fmt: skip

    def write_file(self, name: bytes, path: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
        """Make the member, a regular file, as `name`; its digest and the attributes that are kept."""
        reader, tree = self.reader, self.tree
        mode = reader.mode
        try:
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=tree.fd)
        except FileExistsError:
            self.clear(name, path)
            fd = os.open(name, _CREATE, mode & 0o777, dir_fd=tree.fd)
        try:
            digest = metadata.write_content(fd, reader, self._digests)
            self.owner.file(fd, reader, tree.frame.inherits)
            if mode & self._special:
                os.fchmod(fd, mode)
            xattrs = self.owner.attributes(fd, reader.xattrs) if reader.xattrs else ()
            os.utime(fd, ns=(reader.mtime_ns, reader.mtime_ns))
        finally:
            os.close(fd)
        self.size += reader.size
        return digest, xattrs

    def _directory(self, name: bytes, path: bytes) -> None:
        reader, tree = self.reader, self.tree
        mode = reader.mode
        opaque = merged = False
        try:
            os.mkdir(name, mode & 0o777 | 0o700, dir_fd=tree.fd)
        except FileExistsError:
            merged, opaque = self._directory_over(name, path)
        if self.made is not None or self.markers:
            opaque |= self.note_made(name, path)
        above = tree.frame
        frame = tree.push(name, path)
        self.owner.file(frame.fd, reader, above.inherits or merged)
        if mode & self._special or mode & 0o700 != 0o700 or above.setgid or merged:
            frame.setgid = bool(mode & stat.S_ISGID)
            if self.owner.is_root or mode & 0o700 == 0o700:
                os.fchmod(frame.fd, mode)
            else:
                frame.mode = mode
        if merged:
            metadata.drop_attributes(frame.fd)
            opaque |= whiteout.is_opaque(frame.fd, self.style)
        frame.inherits = reader.gid != self.owner.gid
        xattrs = self.owner.attributes(frame.fd, reader.xattrs) if reader.xattrs else ()
        frame.mtime_ns = reader.mtime_ns
        frame.attributes = (mode, reader.uid, reader.gid, reader.mtime_ns, xattrs)
        if self.implied:
            self.implied.pop(path, None)
        if opaque:
            self._opaque_here()
        else:
            self.add(path, 1, mode, reader.uid, reader.gid, 0, reader.mtime_ns, b"", b"", 0, xattrs)

    def _directory_over(self, name: bytes, path: bytes) -> tuple[bool, bool]:
        """Have a directory where something is: (an old one stays, it must hide what is below)."""
        status = os.stat(name, dir_fd=self.tree.fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return True, False
        # A whiteout of this layer, or a file of it that had already hidden whatever is below.
        opaque = self.is_ours(path)
        self.clear(name, path)
        os.mkdir(name, self.reader.mode & 0o777 | 0o700, dir_fd=self.tree.fd)
        return False, opaque

    def _symlink(self, name: bytes, path: bytes) -> None:
        reader, tree = self.reader, self.tree
        if not reader.link or len(reader.link) >= 4096:
            raise reader.bad(f"symlink with a target of {len(reader.link)} bytes")
        try:
            os.symlink(reader.link, name, dir_fd=tree.fd)
        except FileExistsError:
            self.clear(name, path)
            os.symlink(reader.link, name, dir_fd=tree.fd)
        self.owner.name(tree.fd, name, reader, tree.frame.inherits)
        os.utime(name, ns=(reader.mtime_ns, reader.mtime_ns), dir_fd=tree.fd, follow_symlinks=False)
        self.size += len(reader.link)
        if self.made is not None or self.markers:
            self.note_made(name, path)
        self.owner.dropped(reader.xattrs)
        self.add(path, 2, reader.mode, reader.uid, reader.gid, 0, reader.mtime_ns, reader.link)

    def _node(self, name: bytes, path: bytes) -> None:
        """A device or FIFO; it is made but never opened."""
        reader, tree = self.reader, self.tree
        major, minor = (0, 0) if reader.kind is Kind.FIFO else reader.device
        if reader.kind is Kind.CHARACTER and (major, minor) == (0, 0):
            raise reader.bad("character device 0:0, which would be a whiteout in disguise")
        if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
            raise reader.bad(f"device number {major}:{minor} is out of range")
        kind = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}[reader.kind]
        if self.exists(name):
            self.clear(name, path)
        try:
            os.mknod(name, kind | reader.mode & 0o777, os.makedev(major, minor), dir_fd=tree.fd)
        except PermissionError:
            self.owner.warn("device files not made: that takes privileges this process does not have")
        else:
            self.owner.name(tree.fd, name, reader, tree.frame.inherits)
            if reader.mode & self._special:
                metadata.chmod_node(tree.fd, name, reader.mode)
            os.utime(name, ns=(reader.mtime_ns, reader.mtime_ns), dir_fd=tree.fd, follow_symlinks=False)
        if self.made is not None or self.markers:
            self.note_made(name, path)
        self.owner.dropped(reader.xattrs)
        rdev = major << 32 | minor
        self.add(path, reader.kind, reader.mode, reader.uid, reader.gid, 0, reader.mtime_ns, b"", b"", rdev)

    def _root(self) -> None:
        if self.reader.kind is not Kind.DIRECTORY:
            raise self.reader.bad("the root can only be a directory")

    # Whiteouts.

    def _marker(self, path: bytes) -> bool:
        """Apply `path` if it is a whiteout or opaque marker; False if it is an ordinary name."""
        parent, _, name = path.rpartition(b"/")
        parts = parent.split(b"/")
        if path.startswith(PSEUDO_LINKS + b"/") and self.reader.kind is Kind.REGULAR:
            return self.links.pseudo(path)
        if any(part.startswith(META_PREFIX) for part in parts):
            return True  # aufs's own folders: pseudo-links, orphans
        if any(part.startswith(PREFIX) for part in parts):
            raise self.reader.bad("a member below a whiteout")
        if not name.startswith(PREFIX):
            return False
        if name.startswith(META_PREFIX) and name != OPAQUE_MARKER:
            return True
        if name != OPAQUE_MARKER and name[4:] in (b"", b".", b".."):
            raise self.reader.bad("whiteout of no valid name")
        self.tree.go(parent)
        if name == OPAQUE_MARKER:
            self._opaque_here()
        else:
            here = self.tree.here
            self._hide(name[4:], here + b"/" + name[4:] if here else name[4:])
        return True

    def _hide(self, name: bytes, path: bytes) -> None:
        """Hide what the layers below have at `path`, never what this layer has there."""
        if path in self.links.deferred:
            return
        if self.exists(name) and self.is_ours(path):
            status = os.stat(name, dir_fd=self.tree.fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                self.tree.go(path)
                self._opaque_here()
            return
        if self.hidden is not None:
            if self.exists(name):
                remove_tree(self.tree.fd, name, path)
            self.hidden.add(path)
        else:
            try:
                whiteout.hide(self.tree.fd, name, self.style)
            except FileExistsError:
                pass  # AUFS: the same whiteout twice
            self.markers = self.style is WhiteoutStyle.AUFS
            if not self.markers:
                self._note_whiteout()
        self.add(path, Kind.WHITEOUT)

    def _note_whiteout(self) -> None:
        """Note that the present directory has a whiteout in it."""
        if len(self.whited_out) >= self.reader.limits.remembered:
            raise self.reader.bad(f"more than {self.reader.limits.remembered} directories with whiteouts")
        self.whited_out[self.tree.here] = None

    def _opaque_here(self) -> None:
        """Make the present directory hide what the layers below have in it."""
        frame = self.tree.frame
        if self.made is not None and self.hidden is not None:
            remove_children(os.dup(frame.fd), frame.path, self.made)
            self.hidden.add(frame.path)
        else:
            whiteout.make_opaque(frame.fd, self.style)
            if not frame.path:
                self._note_whiteout()  # the kernel does not look for a mark on the root
        implied = not frame.path or frame.path in self.implied
        if frame.attributes is None:
            frame.attributes = (0o755, 0, 0, 0, ()) if implied else metadata.attributes_of(frame)
        mode, uid, gid, mtime_ns, xattrs = frame.attributes
        self.add(frame.path, 1, mode, uid, gid, 0, mtime_ns, b"", b"", 0, xattrs, True, implied)

    # What the layer itself made.

    def is_ours(self, path: bytes) -> bool:
        """Whether this layer made what is at `path`: all there is, unless the tree began as a copy."""
        return self.made is None or path in self.made

    def exists(self, name: bytes) -> bool:
        """Whether something is at `name` in the present directory."""
        try:
            os.stat(name, dir_fd=self.tree.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def clear(self, name: bytes, path: bytes) -> None:
        """Remove what is at `path`, a whole directory too, so that something else can take its place."""
        ours = self.is_ours(path)
        removed = remove_tree(self.tree.fd, name, path)
        if ours:
            self.size -= removed
        below = path + b"/"
        self.implied.pop(path, None)
        for gone in [known for known in self.implied if known.startswith(below)]:
            del self.implied[gone]
        self.links.forget_below(below)

    def _cover(self, name: bytes, path: bytes) -> None:
        """Clear the way for a directory without an entry."""
        self._covered = path if self.is_ours(path) else b""
        self.clear(name, path)

    def note_made(self, name: bytes, path: bytes) -> bool:
        """Note that this layer made `path`; whether it had hidden it before."""
        if self.made is not None and self.hidden is not None:
            self.made.add(path)
            return path in self.hidden
        try:
            os.unlink(PREFIX + name, dir_fd=self.tree.fd)
        except (FileNotFoundError, OSError) as error:
            if isinstance(error, FileNotFoundError) or len(name) > 251:
                return False
            raise
        return True

    def _arrived(self, path: bytes, made: bool) -> None:
        """A directory was entered that has, so far, no entry."""
        if self.made is not None:
            if path in self.made:
                return
            opaque = self.note_made(b"", path)
        elif not made:
            return
        else:
            opaque = self.markers and self._unmarked(path)
        if len(self.implied) >= self.reader.limits.remembered:
            raise self.reader.bad(f"more than {self.reader.limits.remembered} directories without an entry")
        self.implied[path] = None
        if opaque or path == self._covered:
            self._opaque_here()
        else:
            self.add(path, 1, 0o755, 0, 0, 0, 0, b"", b"", 0, (), False, True)
        self._covered = b""

    def _unmarked(self, path: bytes) -> bool:
        above = os.open(b"..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self.tree.fd)
        try:
            os.unlink(PREFIX + path.rpartition(b"/")[2], dir_fd=above)
        except OSError:
            return False
        finally:
            os.close(above)
        return True


def _nothing(*_: object) -> None:
    """Where entries go when no index is wanted."""
