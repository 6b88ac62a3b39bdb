"""A layer while it is applied: what it has made so far, what it hides, and what had its place before.

In most styles all that is in the directory is the layer's own.  For ERASE the directory began as a copy of the layers
below, so what the layer made or hid is noted here, by hash (PathSet).
"""

from __future__ import annotations

import os
import stat

from veneer.changeset import links, metadata, whiteout
from veneer.changeset.entry import Kind
from veneer.changeset.index_builder import IndexBuilder
from veneer.changeset.metadata import Owner
from veneer.changeset.safepath import PathSet, remove_children, remove_tree
from veneer.changeset.tar import TarReader
from veneer.changeset.tree import Tree
from veneer.changeset.whiteout import META_PREFIX, OPAQUE_MARKER, PREFIX, PSEUDO_LINKS, WhiteoutStyle

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Applying:
    """One layer on its way into one directory: what its members need to know of each other."""

    def __init__(self, reader: TarReader, root_fd: int, style: WhiteoutStyle, indexed: bool) -> None:
        self.reader = reader
        self.root_fd = root_fd
        self.style = style
        self.builder = IndexBuilder()
        self.add = self.builder.add if indexed else _nothing
        self.digests = indexed
        self.size = 0
        self.owner = Owner()
        self.implied: dict[bytes, None] = {}
        self.whited_out: dict[bytes, None] = {}
        self.links = links.Links(self)
        # ERASE only: the tree has the lower layers' files too, so what this layer made must be remembered.
        self.made = PathSet() if style is WhiteoutStyle.ERASE else None
        self.hidden = PathSet() if style is WhiteoutStyle.ERASE else None
        self._replaced: dict[bytes, int] = {}
        self.markers = False  # AUFS only: whether a .wh. file was made that an entry may have to take back
        self.covered = b""
        metadata.drop_default_acl(root_fd)
        self.special = 0o7000 | metadata.umask()
        self.tree = Tree(
            root_fd, arrived=self._arrived, ours=self.is_ours, clear=self._cover, max_steps=reader.limits.steps
        )

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
            digest = metadata.write_content(fd, reader, self.digests)
            self.owner.file(fd, reader, tree.frame.inherits)
            if mode & self.special:
                os.fchmod(fd, mode)
            xattrs = self.owner.attributes(fd, reader.xattrs) if reader.xattrs else ()
            os.utime(fd, ns=(reader.mtime_ns, reader.mtime_ns))
        finally:
            os.close(fd)
        self.size += reader.size
        return digest, xattrs

    # Whiteouts.

    def marker(self, path: bytes) -> bool:
        """Apply `path` if it is a whiteout or opaque marker; False if it is an ordinary name."""
        if self.style is WhiteoutStyle.PLAIN:
            return False
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
            self.opaque_here()
        else:
            here = self.tree.here
            self._hide(name[4:], here + b"/" + name[4:] if here else name[4:])
        return True

    def _hide(self, name: bytes, path: bytes) -> None:
        """Hide what the layers below have at `path`, never what this layer has there."""
        if path in self.links.deferred:
            return
        if self.exists(name) and self.is_ours(path):
            if self.is_directory(name):
                self.tree.go(path)
                self.opaque_here()
            return
        if self.hidden is not None:
            if self.exists(name):
                remove_tree(self.tree.fd, name, path)
            self.hidden.add(self._era(path))
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

    def opaque_here(self) -> None:
        """Make the present directory hide what the layers below have in it."""
        frame = self.tree.frame
        if self.made is not None and self.hidden is not None:
            era = self._era(frame.path)
            if era not in self.hidden:  # a marker repeated a million times would walk the directory as often
                remove_children(os.dup(frame.fd), frame.path, self.made)
            self.hidden.add(era)
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

    def is_directory(self, name: bytes) -> bool:
        return stat.S_ISDIR(os.stat(name, dir_fd=self.tree.fd, follow_symlinks=False).st_mode)

    def clear(self, name: bytes, path: bytes) -> None:
        """Remove what is at `path`, a whole directory too, so that something else can take its place."""
        ours, directory = self.is_ours(path), self.is_directory(name)
        if ours and self.hidden is not None and directory:
            self._forget_hidden(path)
        removed = remove_tree(self.tree.fd, name, path)
        if ours:
            self.size -= removed
        self.implied.pop(path, None)
        if directory:
            self.tree.steps += len(self.implied) + len(self.links.deferred)
            below = path + b"/"
            for gone in [known for known in self.implied if known.startswith(below)]:
                del self.implied[gone]
            self.links.forget_below(below)
            if self.tree.steps > self.reader.limits.steps:
                raise self.reader.bad("too many directories replaced in one layer")

    def _forget_hidden(self, path: bytes) -> None:
        """ERASE: what was hidden below `path` goes with it, as whiteouts on a disk would."""
        if len(self._replaced) >= self.reader.limits.remembered:
            raise self.reader.bad(f"more than {self.reader.limits.remembered} directories replaced")
        self._replaced[path] = self._replaced.get(path, 0) + 1

    def _era(self, path: bytes) -> bytes:
        """ERASE: `path` as it is noted in `hidden`: with how often something above it was replaced."""
        if not self._replaced:
            return path
        times, above = 0, path
        while above:
            above = above.rpartition(b"/")[0]
            times += self._replaced.get(above, 0)
        return b"%s\0%d" % (path, times) if times else path

    def _cover(self, name: bytes, path: bytes) -> None:
        """Clear the way for a directory without an entry."""
        self.covered = path if self.is_ours(path) else b""
        self.clear(name, path)

    def note_made(self, name: bytes, path: bytes) -> bool:
        """Note that this layer made `path`; whether it had hidden it before."""
        if self.made is not None and self.hidden is not None:
            self.made.add(path)
            return self._era(path) in self.hidden
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
            if path in self.made and not made:
                return
            opaque = self.note_made(b"", path)
        elif not made:
            return
        else:
            opaque = self.markers and self._unmarked(path)
        if len(self.implied) >= self.reader.limits.remembered:
            raise self.reader.bad(f"more than {self.reader.limits.remembered} directories without an entry")
        self.implied[path] = None
        covered = self.links.forget(path) or path == self.covered
        if opaque or covered:
            self.opaque_here()
        else:
            self.add(path, 1, 0o755, 0, 0, 0, 0, b"", b"", 0, (), False, True)
        self.covered = b""

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
