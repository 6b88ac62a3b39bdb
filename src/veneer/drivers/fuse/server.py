"""What is changed through a FUSE mount: the requests that a union's upper branch answers."""

from __future__ import annotations

import errno
import functools
import os
import stat

from veneer.changeset.syscalls import fallocate
from veneer.drivers.fuse import wire
from veneer.drivers.fuse.changes import ROOT, WritableUnion, own, owner_in
from veneer.drivers.fuse.copies import CREATE, OVERLAYS_OWN, refused
from veneer.drivers.fuse.nodes import UPPER, Node, Union
from veneer.drivers.fuse.reader import Answer, Reader, Who

_SECOND = 1_000_000_000
_BOTH_NOW = wire.SET_ATIME_NOW | wire.SET_MTIME_NOW


class Server(Reader):
    """Serves a union to the kernel; one without an upper branch refuses every change."""

    def __init__(self, device: int, union: Union) -> None:
        super().__init__(device, union)
        self._changes = union if isinstance(union, WritableUnion) else None
        self.handlers |= {
            wire.SETATTR: self._setattr, wire.SYMLINK: self._symlink, wire.MKNOD: self._mknod,
            wire.MKDIR: self._mkdir, wire.UNLINK: self._unlink, wire.RMDIR: self._rmdir, wire.RENAME: self._rename,
            wire.RENAME2: self._rename2, wire.LINK: self._link, wire.WRITE: self._write,
            wire.FSYNC: self._fsync, wire.FSYNCDIR: self._fsync,
            wire.SETXATTR: self._setxattr, wire.REMOVEXATTR: self._removexattr,
            wire.FALLOCATE: self._fallocate, wire.COPY_FILE_RANGE: self._copy_range, wire.TMPFILE: self._tmpfile,
        }  # fmt: skip

    # -- changing files --------------------------------------------------------------------------------------

    @property
    def _upper(self) -> WritableUnion:
        if self._changes is None:
            raise refused(errno.EROFS)
        return self._changes

    def _copied_up(self, node: Node, *, content: bool = True) -> None:
        self._upper.copy_up(node, content=content)

    def _write(self, node: Node, body: memoryview, _who: Who) -> Answer:
        offset, size, flags = wire.write_in(body)
        self._copied_up(node)
        fd = self.union.file(node, writable=True)
        done = os.pwrite(fd, body[40 : 40 + size], offset)
        if flags & wire.WRITE_KILL_SUIDGID:
            _drop_privileges(fd)
        return wire.one_word(done)

    def _fallocate(self, node: Node, body: memoryview, who: Who) -> Answer:
        offset, length, mode = wire.fallocate_in(body)
        self._copied_up(node)
        fd = self.union.file(node, writable=True)
        fallocate(fd, mode, offset, length)
        if who != ROOT:  # the kernel does not say for these two whether to
            _drop_privileges(fd)
        return None

    def _copy_range(self, node: Node, body: memoryview, who: Who) -> Answer:
        offset, other, other_offset, length = wire.copy_in(body)
        target = self.union.nodes[other]
        self._copied_up(target)
        fd = self.union.file(target, writable=True)
        done = os.copy_file_range(self.union.file(node), fd, min(length, 1 << 30), offset, other_offset)
        if who != ROOT:
            _drop_privileges(fd)
        return wire.one_word(done)

    def _fsync(self, node: Node, _body: memoryview, _who: Who) -> Answer:
        if self._changes is not None and node.branch == UPPER:
            os.fsync(self.union.directory(node, UPPER) if node.is_dir else self.union.file(node))
        return None

    def _setattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        valid, _, size, atime, mtime, atime_ns, mtime_ns, mode, uid, gid = wire.setattr_in(body)
        self._copied_up(node, content=not (valid & wire.SET_SIZE and size == 0))
        if valid & wire.SET_SIZE:
            fd = self.union.file(node, writable=True)
            os.ftruncate(fd, size)
            if valid & wire.KILL_SUIDGID:
                _drop_privileges(fd)
        if valid & (wire.SET_UID | wire.SET_GID):
            self._chown(node, uid if valid & wire.SET_UID else -1, gid if valid & wire.SET_GID else -1)
        if valid & wire.SET_MODE:
            self._chmod(node, stat.S_IMODE(mode))
        if valid & (wire.SET_ATIME | wire.SET_MTIME):
            given = (_signed(atime) * _SECOND + atime_ns, _signed(mtime) * _SECOND + mtime_ns)
            self._set_times(node, valid, given)
        return self.attributes(node)

    def _set_times(self, node: Node, valid: int, given: tuple[int, int]) -> None:
        """Say when a file was read and changed; what is to be now, the kernel says.

        It stamps files by a clock that is milliseconds behind: by ours, what is written next would be older.
        """
        before = now = self.union.status(node)
        if valid & _BOTH_NOW:
            self._utime(node, None)
            if valid & _BOTH_NOW == _BOTH_NOW:
                return
            now = self.union.status(node)
        accessed, changed = before.st_atime_ns, before.st_mtime_ns
        if valid & wire.SET_ATIME:
            accessed = now.st_atime_ns if valid & wire.SET_ATIME_NOW else given[0]
        if valid & wire.SET_MTIME:
            changed = now.st_mtime_ns if valid & wire.SET_MTIME_NOW else given[1]
        self._utime(node, (accessed, changed))

    def _chown(self, node: Node, uid: int, gid: int) -> None:
        if node.gone or node.is_dir:
            os.chown(self._descriptor(node), uid, gid)
        else:
            os.chown(node.name, uid, gid, dir_fd=self.folder(node), follow_symlinks=False)

    def _chmod(self, node: Node, mode: int) -> None:
        if node.gone or node.is_dir:
            os.chmod(self._descriptor(node), mode)
            return
        folder = self.folder(node)
        # A link is followed, to a file of the machine's.  Linux asks for that until 6.6, by way of /proc/self/fd.
        if stat.S_ISLNK(os.stat(node.name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise refused(errno.EOPNOTSUPP)
        os.chmod(node.name, mode, dir_fd=folder)

    def _utime(self, node: Node, times: tuple[int, int] | None) -> None:
        give = os.utime if times is None else functools.partial(os.utime, ns=times)
        if node.gone or node.is_dir:
            give(self._descriptor(node))
        else:
            give(node.name, dir_fd=self.folder(node), follow_symlinks=False)

    def _descriptor(self, node: Node) -> int | bytes:
        if not node.is_dir:
            return b"/proc/self/fd/%d" % node.fd
        return node.fds[UPPER] if node.gone else self.union.directory(node, UPPER)

    # -- changing names --------------------------------------------------------------------------------------

    def _mknod(self, node: Node, body: memoryview, who: Who) -> Answer:
        mode, rdev, umask = wire.mknod_in(body)
        name = bytes(body[16:-1])
        if stat.S_ISCHR(mode) and rdev == 0:
            raise refused(errno.EPERM)  # a whiteout of overlay's: no layer can hold it
        fd = self._upper.place(node, name)
        new = -1
        os.umask(umask)  # which the kernel leaves out of account where a default ACL counts instead
        try:
            if stat.S_ISREG(mode):
                new = os.open(name, CREATE, stat.S_IMODE(mode), dir_fd=fd)
            else:
                os.mknod(name, mode, wire.device(rdev), dir_fd=fd)
        finally:
            os.umask(0)
        if new < 0:
            self._given(fd, name, who)
            return self._made(node, name, mode)
        try:
            own(new, fd, mode, who)
            status = os.fstat(new)
        except OSError:
            os.unlink(name, dir_fd=fd)
            raise
        finally:
            os.close(new)
        return self._made(node, name, mode, status)

    def _tmpfile(self, node: Node, body: memoryview, who: Who) -> Answer:
        mode, umask = wire.tmpfile_in(body)
        made = self._upper.make_nameless(node, stat.S_IMODE(mode), umask, who)
        return self.entry(made, self.union.status(made)) + wire.OPENED

    def _mkdir(self, node: Node, body: memoryview, who: Who) -> Answer:
        mode, umask = wire.mkdir_in(body)
        return self.entry(*self._upper.make_directory(node, bytes(body[8:-1]), stat.S_IMODE(mode), umask, who))

    def _symlink(self, node: Node, body: memoryview, who: Who) -> Answer:
        name, target = wire.strings(body)
        fd = self._upper.place(node, name)
        os.symlink(target, name, dir_fd=fd)
        self._given(fd, name, who)
        return self._made(node, name, stat.S_IFLNK)

    @staticmethod
    def _given(folder: int, name: bytes, who: Who) -> None:
        if who == ROOT:
            return
        uid, gid, _ = owner_in(folder, who)
        try:
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
        except OSError:  # his quota, for one
            os.unlink(name, dir_fd=folder)
            raise

    def _made(self, parent: Node, name: bytes, mode: int, status: os.stat_result | None = None) -> Answer:
        entry = (wire.TYPES[stat.S_IFMT(mode)], (UPPER,))
        self._upper.came(parent, name, entry)
        return self.entry(*self.union.known(parent, name, entry, status))

    def _link(self, node: Node, body: memoryview, _who: Who) -> Answer:
        target = self.union.nodes[wire.node_in(body)[0]]
        name = bytes(body[8:-1])
        self._upper.link_to(target, node, name)
        return self.entry(*self.union.child(node, name))

    def _unlink(self, node: Node, body: memoryview, _who: Who) -> Answer:
        self._upper.remove(node, bytes(body[:-1]), directory=False)
        return None

    def _rmdir(self, node: Node, body: memoryview, _who: Who) -> Answer:
        self._upper.remove(node, bytes(body[:-1]), directory=True)
        return None

    def _rename(self, node: Node, body: memoryview, _who: Who) -> Answer:
        new = self.union.nodes[wire.node_in(body)[0]]
        self._upper.rename(node, wire.strings(body[8:])[0], new, wire.strings(body[8:])[1], 0)
        return None

    def _rename2(self, node: Node, body: memoryview, _who: Who) -> Answer:
        number, flags = wire.rename2_in(body)
        old_name, new_name = wire.strings(body[16:])
        self._upper.rename(node, old_name, self.union.nodes[number], new_name, flags)
        return None

    # -- extended attributes ---------------------------------------------------------------------------------

    def _setxattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        size, flags = wire.size_in(body)
        name, _, rest = bytes(body[8:]).partition(b"\0")
        if name.startswith(OVERLAYS_OWN):
            raise refused(errno.EOPNOTSUPP)
        self._copied_up(node)
        target, follow = self.target(node)
        os.setxattr(target, name, rest[:size], flags, follow_symlinks=follow)
        return None

    def _removexattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        if bytes(body[:-1]).startswith(OVERLAYS_OWN):
            raise refused(errno.ENODATA)
        target, follow = self.target(node)
        try:
            os.getxattr(target, bytes(body[:-1]), follow_symlinks=follow)
        except OSError as error:  # there is none, which is no reason to copy; nor an error, if it is an ACL
            if error.errno == errno.ENODATA and body[:-1].tobytes().startswith(b"system.posix_acl_"):
                return None
            raise
        self._copied_up(node)
        target, follow = self.target(node)
        os.removexattr(target, bytes(body[:-1]), follow_symlinks=follow)
        return None


def _signed(seconds: int) -> int:
    return seconds - (1 << 64) if seconds >> 63 else seconds


def _drop_privileges(fd: int) -> None:
    """A file that somebody without privileges changes is no longer set-user-ID.  Source: fuse.h,
    FUSE_HANDLE_KILLPRIV_V2; the backing file system takes capabilities away by itself."""
    mode = os.fstat(fd).st_mode
    kept = mode & ~stat.S_ISUID & ~(stat.S_ISGID if mode & stat.S_IXGRP else 0)
    if kept != mode:
        os.fchmod(fd, stat.S_IMODE(kept))
