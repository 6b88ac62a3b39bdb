"""A layer's bytes become a directory: every rule of applying a changeset, and nothing outside the root.

Order of an entry: create, owner, permissions (chown clears setuid), extended attributes (chown clears
capabilities), time.  The rules that are not obvious:

- Whiteouts and opaque markers hide what the layers below have, never what this layer itself holds, wherever in the
  archive they stand.  A whiteout beside a directory of the same name makes that directory opaque.
- The last entry of a path wins; two directories merge, with the attributes of the last.
- An entry for the root may only be a directory, and changes nothing: docker's graph drivers ignore it too.
- A symlink made by this layer is followed, within the root, where an entry lies below it; one of a layer below,
  or one that leads nowhere, is replaced by a directory.
- `security.capability` and `user.*` are the extended attributes that are kept, those that unions have for themselves
  (`user.overlay.*`, `user.fuseoverlayfs.*`) excepted.

Source: OCI image-spec layer.md; moby pkg/archive/diff.go; containerd archive/tar.go.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import BinaryIO

from veneer.changeset import compression, metadata, whiteout
from veneer.changeset.applying import Applying
from veneer.changeset.bounds import Bounded, Counted
from veneer.changeset.compression import BadCompression, Compression, Source
from veneer.changeset.entry import Kind
from veneer.changeset.failures import explain
from veneer.changeset.growing import GrowingSource
from veneer.changeset.limits import Limits
from veneer.changeset.safepath import normal, plain
from veneer.changeset.settle import settle
from veneer.changeset.tar import TarReader
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.oci.digest import DiffID, Digest

__all__ = ["Unpacked", "settle", "unpack"]

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
    digest: Digest | None = None,
) -> Unpacked:
    """Extract the layer that `source` holds, compressed or not, into the directory `root_fd`.

    The directory is empty and new, but for ERASE, where it holds a copy of the layers below.  The layer's index is
    written to `index`.  Nothing is undone on failure: the caller throws the directory away.  `digest`: the SHA-256 of
    the source as it comes, which somebody else proves; of a plain tar it is the diff ID, and not calculated again.

    Raises BadArchive or BadCompression (Corrupt) naming `what`, the member and the fact; NoSpace and other
    Unavailable for what this machine lacks; Aborted if a growing source's writer gave up.
    """
    counted = Counted(source)
    reader: TarReader | None = None
    unpacker: Unpacker | None = None
    try:
        kind, plain = compression.opened(counted)
        plain_digest = digest is not None and digest.algorithm == "sha256" and kind is Compression.NONE
        known = DiffID(digest) if digest is not None and plain_digest else None
        # What is neither inflated nor hashed is not worth a thread.
        reader = TarReader(
            Bounded(plain, counted, limits, what), limits=limits, what=what, hashed=known is None, ahead=known is None
        )
        unpacker = Unpacker(reader, root_fd, style, index is not None)
        result = unpacker.run(known)
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
        if isinstance(source, GrowingSource):
            source.interrupt()  # after a failure the reading thread may wait for a download that takes hours
        if reader is not None:
            reader.close()
        if unpacker is not None:
            unpacker.tree.close()


class Unpacker(Applying):
    """One layer on its way into one directory."""

    def run(self, diff_id: DiffID | None) -> Unpacked:
        """Apply every member, then what had to wait for the end.  `diff_id`: if known, else the reader's."""
        reader, tree = self.reader, self.tree
        # By kind: REGULAR, DIRECTORY, SYMLINK, HARDLINK, CHARACTER, BLOCK, FIFO.
        node = self._node
        handlers = (self._regular, self._directory, self._symlink, self.links.member, node, node, node)
        while reader.next():
            path = plain(reader.path)
            if path is None:
                path = normal(reader.path, reader.limits)
                if b".wh." in path and self.marker(path):
                    continue
                if not path:
                    self._root()
                    continue
            parent, _, name = path.rpartition(b"/")
            if parent != tree.here:
                tree.go(parent)
                if parent != tree.here:
                    path = tree.here + b"/" + name if tree.here else name
            if self.links.deferred and self.links.forget(path):
                self.covered = path
            handlers[reader.kind](name, path)
        reader.drain()
        self.links.finish()
        tree.leave()
        return Unpacked(
            diff_id or DiffID(Digest.sha256(reader.hexdigest())),
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

    def _directory(self, name: bytes, path: bytes) -> None:
        reader, tree = self.reader, self.tree
        mode = reader.mode
        merged, opaque = False, path == self.covered
        try:
            os.mkdir(name, mode & 0o777 | 0o700, dir_fd=tree.fd)
        except FileExistsError:
            merged, covered = self._directory_over(name, path)
            opaque |= covered
        if self.made is not None or self.markers:
            opaque |= self.note_made(name, path)
        above = tree.frame
        frame = tree.push(name, path)
        self.owner.file(frame.fd, reader, above.inherits or merged)
        if mode & self.special or mode & 0o700 != 0o700 or above.setgid or merged:
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
            self.opaque_here()
        else:
            self.add(path, 1, mode, reader.uid, reader.gid, 0, reader.mtime_ns, b"", b"", 0, xattrs)

    def _directory_over(self, name: bytes, path: bytes) -> tuple[bool, bool]:
        """Have a directory where something is: (an old one stays, it must hide what is below)."""
        if self.is_directory(name):
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
        if not metadata.make_node(tree.fd, name, kind | reader.mode & 0o777, os.makedev(major, minor)):
            self.owner.warn("device files are empty files here: devices are for root of the machine")
        self.owner.name(tree.fd, name, reader, tree.frame.inherits)
        if reader.mode & self.special:
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
