"""What is written to a union: whiteouts, and everything that makes, moves and removes names.

Each step leaves the branch right by itself, whenever the server is killed: a whiteout comes before what it stands for
goes, and goes after what takes its place has come; where both are found, the thing counts and not the whiteout
(spelling.py).
Source: aufs(5); the rules of POSIX for rename and unlink.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from veneer.changeset.syscalls import exchange
from veneer.changeset.whiteout import OPAQUE_MARKER, PREFIX
from veneer.drivers import treecopy
from veneer.drivers.fuse import wire
from veneer.drivers.fuse.copies import CopyingUnion, refused
from veneer.drivers.fuse.nodes import DIRECTORY, FILE, UPPER, Entry, Node
from veneer.drivers.spelling import mark, times_kept

ROOT = (0, 0)
"""For whom the kernel makes what this process makes: with the right group, and bits, by itself."""
_LONGEST = 255 - len(PREFIX)
_REGULAR = wire.TYPES[stat.S_IFREG]

_DEFAULT_ACL = "system.posix_acl_default"


def has_default_acl(folder: int) -> bool:
    """Whether an open directory says what ACL is given to what is made in it."""
    try:
        return bool(os.getxattr(folder, _DEFAULT_ACL))
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise


def owner_in(folder: int, who: tuple[int, int]) -> tuple[int, int, int]:
    """uid and gid of what somebody makes in an open directory, which gives its group on if it is set-group-ID; that
    bit, if so."""
    status = os.fstat(folder)
    return (who[0], status.st_gid, stat.S_ISGID) if status.st_mode & stat.S_ISGID else (*who, 0)


def own(new: int, folder: int, mode: int, who: tuple[int, int]) -> None:
    """Give somebody the open file that was just made for him in an open directory, with all the bits of `mode`."""
    if who != ROOT:
        uid, gid, _ = owner_in(folder, who)
        os.fchown(new, uid, gid)
    if mode & 0o7000:
        os.fchmod(new, stat.S_IMODE(os.fstat(new).st_mode) | mode & 0o7000)


class WritableUnion(CopyingUnion):
    """A union that can be changed."""

    # -- whiteouts -------------------------------------------------------------------------------------------

    def hide(self, parent: Node, name: bytes) -> None:
        """Have the upper branch delete a name, before it goes from there, if a lower branch has it."""
        fd = self.upper(parent)
        self.listed(parent)
        if name not in parent.below or name in parent.whited:
            return
        if len(name) > _LONGEST:
            self._fill(parent)
            return
        mark(self.roots[UPPER], fd, PREFIX + name)
        parent.whited.add(name)

    def shown(self, parent: Node, name: bytes) -> None:
        """A name that is there again is deleted no more."""
        if name in parent.whited:
            with contextlib.suppress(OSError):  # beside what it would delete it says nothing, and may stay
                os.unlink(PREFIX + name, dir_fd=self.directory(parent, UPPER))
                parent.whited.discard(name)

    def make_opaque(self, node: Node) -> None:
        fd = self.upper(node)
        with times_kept(fd):
            mark(self.roots[UPPER], fd, OPAQUE_MARKER)
        node.stack, node.below = (UPPER,), {}

    def _fill(self, node: Node) -> None:
        """Have a directory hold all that shows in it, and hide all below: a name too long for a whiteout is deleted."""
        waiting = [node]
        done = []
        while waiting:
            folder = waiting.pop()
            done.append(folder)
            for name in list(self.listed(folder)):
                child = self.child(folder, name)[0]
                self.copy_up(child)
                if child.is_dir:
                    waiting.append(child)
        for folder in reversed(done):
            if folder.visible is folder.below:
                folder.visible = dict(folder.below)
            self.make_opaque(folder)

    # -- names -----------------------------------------------------------------------------------------------

    @staticmethod
    def allowed(name: bytes) -> None:
        """Raises PermissionError for a name that is aufs's own, as the kernel's aufs does."""
        if name.startswith(PREFIX):
            raise refused(errno.EPERM)

    def place(self, parent: Node, name: bytes) -> int:
        """The directory to make a new name in, by a single call; then it `came`."""
        self.allowed(name)
        fd = self.upper(parent)
        if name in self.listed(parent):
            raise refused(errno.EEXIST)
        return fd

    def came(self, parent: Node, name: bytes, entry: Entry) -> None:
        """The upper branch has a new name, that nobody knew."""
        self.shown(parent, name)
        parent.children.pop(name, None)
        self.add(parent, name, entry)

    def make_directory(
        self, parent: Node, name: bytes, mode: int, umask: int, who: tuple[int, int]
    ) -> tuple[Node, os.stat_result]:
        """A new, empty directory, whatever lower branches have there."""
        fd = self.place(parent, name)
        if who == ROOT and name not in parent.below:
            os.umask(umask)
            try:
                os.mkdir(name, mode, dir_fd=fd)
            finally:
                os.umask(0)
        else:
            self._make_aside(fd, name, mode, umask, who, hides=name in parent.below)
        entry = (4, (UPPER,))
        self.came(parent, name, entry)
        node, status = self.known(parent, name, entry)
        node.visible = {}
        return node, status

    def _make_aside(self, fd: int, name: bytes, mode: int, umask: int, who: tuple[int, int], *, hides: bool) -> None:
        """A directory that is whole before it has its name."""
        uid, gid, bit = owner_in(fd, who)
        inherits = has_default_acl(fd)
        # What inherits has to be made in its parent, with its mode at once; aufs does not look at such a name.
        place, scratch = (fd, f".wh..wh.{self._scratch()}") if inherits else (self._work, self._scratch())
        if inherits:
            treecopy.delete_entry(place, scratch)  # of a server that was killed
        os.mkdir(scratch, mode if inherits else 0o700, dir_fd=place)
        new = os.open(scratch, DIRECTORY, dir_fd=place)
        try:
            if hides:
                mark(self.roots[UPPER], new, OPAQUE_MARKER)
            os.fchown(new, uid, gid)
            if not inherits:
                os.fchmod(new, mode & ~umask | bit)
        finally:
            os.close(new)
        os.rename(scratch, name, src_dir_fd=place, dst_dir_fd=fd)

    def make_nameless(self, parent: Node, mode: int, umask: int, who: tuple[int, int]) -> Node:
        """A new file without a name, as O_TMPFILE makes it; `link_to` can give it one."""
        folder = self.upper(parent)
        os.umask(umask)
        try:
            new = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode & 0o777, dir_fd=folder)
        finally:
            os.umask(0)
        try:
            own(new, folder, mode, who)
            node = self._new(parent, b"", (wire.TYPES[stat.S_IFREG], (UPPER,)), os.fstat(new).st_ino)
        except OSError:
            os.close(new)
            raise
        node.fd, node.writable, node.gone = new, True, True
        return node

    def remove(self, parent: Node, name: bytes, *, directory: bool) -> None:
        """unlink and rmdir."""
        node = self.member(parent, name)
        if node.is_dir != directory:
            raise refused(errno.ENOTDIR if directory else errno.EISDIR)
        if directory and self.listed(node):
            raise refused(errno.ENOTEMPTY)
        self.hide(parent, name)
        self._away(node, parent, name)
        self.take(parent, name)

    def _away(self, node: Node, parent: Node, name: bytes, *, replaced: bool = False) -> None:
        """Take a name out of the upper branch, or let a rename do so; `node` has it no more."""
        if node.branch == UPPER:
            fd = self.directory(parent, UPPER)
            if node.is_dir:
                self.directory(node, UPPER)  # so that it can still be asked about
                self._kept.pop((node.id, UPPER), None)
                self._remove_directory(fd, name)
            else:
                if node.lookups > 0 and not node.others:
                    self._hold(node, fd, name, regular=self.listed(parent)[name][0] == _REGULAR)
                if not replaced:
                    os.unlink(name, dir_fd=fd)
        parent.children.pop(name, None)
        self._nameless(node, parent, name)

    def _remove_directory(self, fd: int, name: bytes) -> None:
        try:
            os.rmdir(name, dir_fd=fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # What it deletes from lower branches is not to show for a moment: all that goes at once.
            scratch = self._scratch()
            os.rename(name, scratch, src_dir_fd=fd, dst_dir_fd=self._work)
            # It is gone already: what cannot be deleted goes with the scratch folder.
            with contextlib.suppress(OSError):
                treecopy.delete_entry(self._work, scratch)

    def _hold(self, node: Node, fd: int, name: bytes, *, regular: bool) -> None:
        """Keep what is going to lose its last name within reach."""
        if regular:
            self.file(node, writable=True)
            self.hold_file(node)
        else:
            self.drop_file(node)
            node.fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)

    def _nameless(self, node: Node, parent: Node, name: bytes) -> None:
        if node.others and (node.parent, node.name) != (parent, name):
            node.others.discard((parent, name))
        elif node.others:
            node.parent, node.name = node.others.pop()
        else:
            node.gone = True
            if node.lookups <= 0:
                self.forget(node.id, 0)

    def link_to(self, node: Node, parent: Node, name: bytes) -> None:
        """One more name for a file."""
        self.copy_up(node)
        if node.gone:
            self._named(node, parent, name)
            return
        if node.parent is None:
            raise refused(errno.EPERM)
        fd = self.place(parent, name)
        os.link(node.name, name, src_dir_fd=self.directory(node.parent, UPPER), dst_dir_fd=fd, follow_symlinks=False)
        self.came(parent, name, (self.listed(node.parent)[node.name][0], (UPPER,)))
        parent.children[name] = node
        node.others = node.others or set()
        node.others.add((parent, name))
        if not node.key:
            self.link(node, os.stat(name, dir_fd=fd, follow_symlinks=False).st_ino)

    def _named(self, node: Node, parent: Node, name: bytes) -> None:
        """The first name of a file that was made without one; ENOENT, by the kernel, for one that has lost its last."""
        if node.is_dir or node.fd < 0:
            raise refused(errno.ENOENT)
        fd = self.place(parent, name)
        # With a directory descriptor, though the path is absolute: else Python does not have links followed.
        os.link(f"/proc/self/fd/{node.fd}", name, src_dir_fd=fd, dst_dir_fd=fd, follow_symlinks=True)
        self.came(parent, name, (wire.TYPES[stat.S_IFREG], (UPPER,)))
        parent.children[name] = node
        node.parent, node.name, node.gone = parent, name, False
        self._kept[node.id, FILE] = node

    # -- renaming --------------------------------------------------------------------------------------------

    def rename(self, old: Node, old_name: bytes, new: Node, new_name: bytes, flags: int) -> None:
        """rename and renameat2; a directory that a lower branch has part in is EXDEV, by which `mv` knows to copy."""
        self.allowed(new_name)
        if flags & ~(wire.RENAME_NOREPLACE | wire.RENAME_EXCHANGE):
            raise refused(errno.EINVAL)
        node = self.member(old, old_name)
        target = self.member(new, new_name) if new_name in self.listed(new) else None
        if flags & wire.RENAME_EXCHANGE:
            if target is None:
                raise refused(errno.ENOENT)
            self._exchange(node, old, old_name, target, new, new_name)
            return
        if target is not None:
            if flags & wire.RENAME_NOREPLACE:
                raise refused(errno.EEXIST)
            if target is node:
                return
            self._replaceable(node, target)
        self._movable(node)
        self.upper(new)
        self.hide(old, old_name)
        self._cover(node, new, new_name)
        if target is not None:
            goes_before = node.is_dir and target.branch == UPPER
            if goes_before:
                self.hide(new, new_name)  # for the moment when there is neither
            self._away(target, new, new_name, replaced=not node.is_dir)
            if goes_before:
                self.take(new, new_name)
        entry = self.listed(old)[old_name]
        os.rename(old_name, new_name, src_dir_fd=self.upper(old), dst_dir_fd=self.upper(new))
        self.take(old, old_name)
        old.children.pop(old_name, None)
        self.came(new, new_name, (entry[0], (UPPER,)))
        self._moved(node, (old, old_name), (new, new_name))

    def _exchange(self, one: Node, old: Node, old_name: bytes, other: Node, new: Node, new_name: bytes) -> None:
        if one is other:
            return
        for node in (one, other):
            self._movable(node)
        self._cover(one, new, new_name)
        self._cover(other, old, old_name)
        exchange(old_name, new_name, one_fd=self.upper(old), other_fd=self.upper(new))
        kinds = self.listed(old)[old_name][0], self.listed(new)[new_name][0]
        self.came(new, new_name, (kinds[0], (UPPER,)))
        self.came(old, old_name, (kinds[1], (UPPER,)))
        self._moved(one, (old, old_name), (new, new_name))
        self._moved(other, (new, new_name), (old, old_name))

    def _movable(self, node: Node) -> None:
        if node.is_dir:
            self.listed(node)
            if node.stack != (UPPER,):
                raise refused(errno.EXDEV)
        else:
            self.copy_up(node)

    def _replaceable(self, node: Node, target: Node) -> None:
        if node.is_dir and not target.is_dir:
            raise refused(errno.ENOTDIR)
        if target.is_dir and not node.is_dir:
            raise refused(errno.EISDIR)
        if target.is_dir and self.listed(target):
            raise refused(errno.ENOTEMPTY)

    def _cover(self, node: Node, new: Node, new_name: bytes) -> None:
        """Have a directory hide what lower branches have where it is going."""
        if node.is_dir and new_name in new.below:
            self.make_opaque(node)

    def _moved(self, node: Node, before: tuple[Node, bytes], after: tuple[Node, bytes]) -> None:
        after[0].children[after[1]] = node
        if node.others and (node.parent, node.name) != before:
            node.others.discard(before)
            node.others.add(after)
        else:
            node.parent, node.name = after
