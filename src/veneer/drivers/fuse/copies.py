"""What is written to a union has to be in its upper branch first: copies up.

What is new is made in a scratch folder and renamed into its place, so that the branch is right by itself whenever the
server is killed.  All names of a file with several come up together, and stay names of one file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence

from veneer.drivers import treecopy
from veneer.drivers.fuse import wire
from veneer.drivers.fuse.nodes import DIRECTORY, UPPER, Node, Union
from veneer.drivers.spelling import times_kept
from veneer.drivers.treewalk import walk

OVERLAYS_OWN = (b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs.")
"""Attributes that overlay and fuse-overlayfs keep in branches for themselves, and would believe: what they say is said
of that branch.  No layer can hold them."""
CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class CopyingUnion(Union):
    """A union whose first branch takes what is written; `work` is an open scratch directory beside it."""

    def __init__(self, roots: Sequence[int], work: int, *, descriptors: int, opaque: str = "") -> None:
        super().__init__(roots, has_upper=True, descriptors=descriptors, opaque=opaque)
        self._work = work
        self._count = 0
        self._links: dict[int, dict[int, list[bytes]]] = {}

    def copy_up(self, node: Node, *, content: bool = True) -> None:
        """Have a file or directory, with those it is in, in the upper branch; a file without its `content`, if that is
        to go."""
        if node.branch == UPPER:
            return
        if node.gone:
            self._copy_up_nameless(node)
            return
        assert node.parent is not None, "the root is in every branch"
        missing = [node]
        while missing[-1].parent is not None and missing[-1].parent.branch != UPPER:
            missing.append(missing[-1].parent)
        for each in reversed(missing):
            if each.is_dir:
                self._copy_up_directory(each)
            else:
                self._copy_up_file(each, content)

    def upper(self, node: Node) -> int:
        """The directory `node` in the upper branch, open, to change what is in it."""
        self.copy_up(node)
        if node.gone:
            raise refused(errno.ENOENT)
        return self.directory(node, UPPER)

    def _copy_up_directory(self, node: Node) -> None:
        parent = node.parent
        assert parent is not None
        scratch, new = self._emptied(node)
        os.close(new)
        with self._placed(scratch, (parent, node.name)):
            self.listed(parent)
            node.stack = (UPPER, *node.stack)
            node.branch = UPPER
            self.add(parent, node.name, (4, node.stack))

    def _copy_up_file(self, node: Node, content: bool) -> None:
        parent = node.parent
        assert parent is not None
        source = self.directory(parent, node.branch)
        status = os.stat(node.name, dir_fd=source, follow_symlinks=False)
        names = self._visible_names(node, status) if status.st_nlink > 1 else [(parent, node.name)]
        for folder, _ in names:
            self.upper(folder)  # before there is a copy: that may have the name of a scratch directory
        # Who is killed when some names are there leaves two files: they are to have the same in them.
        scratch = self._copied(source, node.name, status, content or len(names) > 1)
        first, *others = names
        kind = wire.TYPES[stat.S_IFMT(status.st_mode)]
        with self._placed(scratch, *names):
            for folder, name in names:
                self.add(folder, name, (kind, (UPPER,)))
                folder.children[name] = node
            node.parent, node.name = first
            node.others = set(others) or None
            self._is_upper(node)
            if others:
                self.link(node, os.stat(node.name, dir_fd=self.upper(first[0]), follow_symlinks=False).st_ino)

    def _copy_up_nameless(self, node: Node) -> None:
        assert node.parent is not None
        if node.is_dir:
            scratch, node.fds[UPPER] = self._emptied(node)
            os.rmdir(scratch, dir_fd=self._work)
            self._is_upper(node)
            return
        source = self.directory(node.parent, node.branch)
        status = os.stat(node.name, dir_fd=source, follow_symlinks=False)
        scratch = self._copied(source, node.name, status, content=True)
        how = os.O_RDWR if stat.S_ISREG(status.st_mode) else os.O_PATH  # nobody wants what a device does when opened
        fd = os.open(scratch, how | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._work)
        os.unlink(scratch, dir_fd=self._work)
        self._is_upper(node)
        node.fd, node.writable = fd, True

    def _is_upper(self, node: Node) -> None:
        self.drop_file(node)
        self.link(node, 0)
        node.branch, node.stack = UPPER, (UPPER,)

    def _emptied(self, node: Node) -> tuple[str, int]:
        """A directory like `node`'s with nothing in it, in the scratch folder: its name there, and itself, open."""
        source = self.directory(node, node.branch)
        scratch = self._scratch()
        os.mkdir(scratch, 0o700, dir_fd=self._work)
        new = os.open(scratch, DIRECTORY, dir_fd=self._work)
        try:
            treecopy.copy_attributes(source, new, os.fstat(source))
            _strip(new)
        except OSError:
            os.close(new)
            os.rmdir(scratch, dir_fd=self._work)
            raise
        return scratch, new

    def _copied(self, source: int, name: bytes, status: os.stat_result, content: bool) -> str:
        """A copy of a file in the scratch folder."""
        scratch = os.fsdecode(name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(scratch, dir_fd=self._work)
        try:
            if content or not stat.S_ISREG(status.st_mode):
                treecopy.copy_entry(source, self._work, scratch)
            else:
                self._copy_without_content(source, scratch, status)
            _strip(f"/proc/self/fd/{self._work}/{scratch}")
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(scratch, dir_fd=self._work)  # half of it may have taken the last room there was
            raise
        return scratch

    def _copy_without_content(self, source: int, name: str, status: os.stat_result) -> None:
        old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=source)
        try:
            new = os.open(name, CREATE, 0o600, dir_fd=self._work)
            try:
                treecopy.copy_attributes(old, new, status)
            finally:
                os.close(new)
        finally:
            os.close(old)

    def _visible_names(self, node: Node, status: os.stat_result) -> list[tuple[Node, bytes]]:
        """All the names by which a file of a lower branch shows: they stay names of one file."""
        branch = node.branch
        if branch not in self._links:
            self._links[branch] = links_in(self.roots[branch])
        found = []
        for path in self._links[branch].get(status.st_ino, ()):
            *folders, name = path.split(b"/")
            folder = self.root
            try:
                for each in folders:
                    folder = self.child(folder, each)[0]
                    if not folder.is_dir:
                        raise refused(errno.ENOTDIR)
                if self.listed(folder).get(name, (0, ()))[1][:1] == (branch,) and branch in folder.stack:
                    found.append((folder, name))
            except (FileNotFoundError, NotADirectoryError):
                continue  # hidden by a branch above
        assert node.parent is not None
        return found or [(node.parent, node.name)]

    def _scratch(self) -> str:
        self._count += 1
        return f"{self._count}"

    @contextlib.contextmanager
    def _placed(self, scratch: str, *names: tuple[Node, bytes]) -> Iterator[None]:
        """Have what was made in the scratch folder where it belongs; a copy up changes no directory's times.

        By all its names, or by none: some alone would be in the way of the next copy, and outlive those it was made of.
        The block takes note of it, before there may be no room for the times.
        """
        places = [(self.upper(folder), name) for folder, name in names]
        first, *others = places
        with contextlib.ExitStack() as kept:
            for fd in {fd for fd, _ in places}:
                kept.enter_context(times_kept(fd))
            linked: list[tuple[int, bytes]] = []
            try:
                for fd, name in others:
                    os.link(scratch, name, src_dir_fd=self._work, dst_dir_fd=fd, follow_symlinks=False)
                    linked.append((fd, name))
                os.rename(scratch, first[1], src_dir_fd=self._work, dst_dir_fd=first[0])
            except OSError:
                for fd, name in linked:
                    os.unlink(name, dir_fd=fd)
                treecopy.delete_entry(self._work, scratch)
                raise
            yield


def _strip(target: int | str) -> None:
    """Take off a copy what overlay says of what was copied."""
    itself = isinstance(target, int)
    for name in os.listxattr(target, follow_symlinks=itself):
        if os.fsencode(name).startswith(OVERLAYS_OWN):
            os.removexattr(target, name, follow_symlinks=itself)


def links_in(root: int) -> dict[int, list[bytes]]:
    """The files of a tree with several names in it, by inode number: their paths."""
    found: dict[int, list[bytes]] = {}
    for cursor, below in walk(root):
        here = f"{cursor.path}/" if cursor.path else ""
        with os.scandir(cursor.fd) as entries:
            for each in entries:
                if each.is_dir(follow_symlinks=False):
                    below.append(each.name)
                else:
                    found.setdefault(each.inode(), []).append(os.fsencode(here + each.name))
    return {inode: paths for inode, paths in found.items() if len(paths) > 1}
