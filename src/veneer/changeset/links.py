"""Hard links of a layer: made at once, made at the end, or left to settle().

A link's target may stand later in the archive, or only in a layer below.  It is looked for without following
symlinks, so a link to a symlink is a link to the symlink itself.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from veneer.changeset import metadata, whiteout
from veneer.changeset.entry import Kind
from veneer.changeset.safepath import normal, open_beneath, remove_tree
from veneer.changeset.tar import BadArchive, shown
from veneer.changeset.whiteout import PSEUDO_LINKS, WhiteoutStyle

if TYPE_CHECKING:
    from veneer.changeset.applying import Applying


class Links:
    """The hard links of one layer."""

    def __init__(self, unpacker: Applying) -> None:
        self._unpacker = unpacker
        self._reader = unpacker.reader
        self._limit = unpacker.reader.limits.remembered
        self.deferred: dict[bytes, bytes] = {}
        self.lower: list[tuple[bytes, bytes]] = []
        # aufs keeps some links' targets in .wh..wh.plnk: what each is, until the first link takes its place.
        self._pseudo: dict[bytes, tuple[int, int, int, int, int, bytes, metadata.Xattrs]] = {}
        self._pseudo_names: dict[bytes, bytes] = {}

    def member(self, name: bytes, path: bytes) -> None:
        """Apply a hard link entry: `name` in the tree's present directory, which is `path`."""
        reader, unpacker = self._reader, self._unpacker
        try:
            target = normal(reader.link, reader.limits)
        except ValueError as error:
            raise reader.bad(f"hard link to {shown(reader.link)!r}: {error}") from None
        if not target:
            raise reader.bad("hard link to the root")
        metadata.ids(reader)
        if target.startswith(path + b"/"):
            raise reader.bad("hard link to what is below itself")
        if target == path:
            raise reader.bad("hard link to itself")
        if target in self._pseudo or target in self._pseudo_names:
            self._from_pseudo(name, path, target)
            return
        if not unpacker.is_ours(target):
            target = self._real(target) or target
        found = self._link(name, path, target) if unpacker.is_ours(target) else None
        if found is None:
            if len(self.deferred) >= self._limit:
                raise reader.bad(f"more than {self._limit} hard links to what is not there yet")
            if unpacker.exists(name):
                unpacker.clear(name, path)
            self.deferred[path] = target
        if unpacker.made is not None or unpacker.markers:
            unpacker.note_made(name, path)
        unpacker.add(path, 3, reader.mode, reader.uid, reader.gid, 0, reader.mtime_ns, found or target)

    def _real(self, target: bytes) -> bytes | None:
        """`target` with the symlinks of this layer on its way resolved; None if that leads nowhere."""
        parent, _, last = target.rpartition(b"/")
        real = self._unpacker.tree.resolved(parent)
        return None if real is None else real + b"/" + last if real else last

    def _link(self, name: bytes, path: bytes, target: bytes) -> bytes | None:
        """Link `path` to `target`, and say where that really is; None if it is not there, or only as a whiteout."""
        tree = self._unpacker.tree
        parent, _, last = target.rpartition(b"/")
        if parent == tree.here:
            return target if self._link_at(name, path, tree.fd, last) else None
        try:
            fd = open_beneath(self._unpacker.root_fd, parent)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                raise
            real = self._real(target)
            if real is None:
                return None
            target = real
            fd = open_beneath(self._unpacker.root_fd, target.rpartition(b"/")[0])
        try:
            return target if self._link_at(name, path, fd, last) else None
        finally:
            os.close(fd)

    def _link_at(self, name: bytes, path: bytes, source_fd: int, source: bytes) -> bool:
        fd = self._unpacker.tree.fd
        try:
            status = os.stat(source, dir_fd=source_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(status.st_mode):
            raise self._bad(path, "hard link to a directory")
        if whiteout.is_whiteout(status):
            return False
        try:
            os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            there = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if (there.st_dev, there.st_ino) != (status.st_dev, status.st_ino):
                self._unpacker.clear(name, path)
                try:
                    os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)
                except FileNotFoundError:
                    raise self._bad(path, "hard link to what it replaces") from None
        return True

    def _bad(self, path: bytes, fact: str) -> BadArchive:
        return BadArchive(f"{self._reader.what}: {shown(path)!r}: {fact}")

    def forget(self, path: bytes) -> bool:
        """Something else takes the place of a link that waits; whether one did."""
        return self.deferred.pop(path, None) is not None

    def forget_below(self, prefix: bytes) -> None:
        """What waits below a directory that went, goes too."""
        for path in [path for path in self.deferred if path.startswith(prefix)]:
            del self.deferred[path]

    def finish(self) -> None:
        """Make the links that waited; those whose target is still not there are `lower`."""
        waiting = self.deferred
        tree = self._unpacker.tree
        rounds = 0
        while waiting:
            rounds += 1
            if rounds > self._reader.limits.rounds:
                # One round each for a chain of 250,000 links in the wrong order would take days.
                raise self._bad(next(iter(waiting)), f"hard link to a hard link, {rounds} times in a row")
            left: dict[bytes, bytes] = {}
            for path, target in waiting.items():
                parent, _, name = path.rpartition(b"/")
                if parent != tree.here:
                    tree.go(parent)
                if self._link(name, path, target) is None:
                    left[path] = target
            if len(left) == len(waiting):
                break
            waiting = left
        self.deferred = {}
        self.lower = list(waiting.items())
        if self.lower and self._unpacker.style in (WhiteoutStyle.ERASE, WhiteoutStyle.PLAIN):
            # Nothing else can turn up: the layers below are in this very tree, or there are none.
            path, target = self.lower[0]
            raise self._bad(path, f"hard link to {shown(target)!r}, which neither this layer nor one below has")
        if self._pseudo or self._pseudo_names:
            tree.go(b"")
            self._unpacker.size -= remove_tree(tree.fd, PSEUDO_LINKS, PSEUDO_LINKS)

    # aufs pseudo-links.  Source: moby pkg/archive/diff.go, aufsHardlinks.

    def pseudo(self, path: bytes) -> bool:
        """Keep a file of aufs's pseudo-link folder until the end, for links to it; always True."""
        reader, unpacker = self._reader, self._unpacker
        if len(self._pseudo) + len(self._pseudo_names) >= self._limit:
            raise reader.bad(f"more than {self._limit} aufs pseudo-links")
        name = path.removeprefix(PSEUDO_LINKS + b"/")
        if b"/" in name:
            return True
        tree = unpacker.tree
        tree.go(b"")
        if not unpacker.exists(PSEUDO_LINKS):
            os.mkdir(PSEUDO_LINKS, 0o700, dir_fd=tree.fd)
        tree.push(PSEUDO_LINKS, PSEUDO_LINKS)
        digest, xattrs = unpacker.write_file(name, path)
        tree.up()
        if unpacker.made is not None:  # an opaque marker on the root must not take them away
            unpacker.made.add(PSEUDO_LINKS)
            unpacker.made.add(path)
        self._pseudo[path] = (reader.mode, reader.uid, reader.gid, reader.size, reader.mtime_ns, digest, xattrs)
        return True

    def _from_pseudo(self, name: bytes, path: bytes, target: bytes) -> None:
        """The first link to a pseudo-link becomes the file itself, later ones links to that."""
        unpacker = self._unpacker
        self._link(name, path, target)
        if unpacker.made is not None or unpacker.markers:
            unpacker.note_made(name, path)
        first = self._pseudo_names.get(target)
        if first is None:
            mode, uid, gid, size, mtime_ns, digest, xattrs = self._pseudo.pop(target)
            self._pseudo_names[target] = path
            unpacker.add(path, Kind.REGULAR, mode, uid, gid, size, mtime_ns, b"", digest, 0, xattrs)
        else:
            reader = self._reader
            unpacker.add(path, Kind.HARDLINK, reader.mode, reader.uid, reader.gid, 0, reader.mtime_ns, first)
