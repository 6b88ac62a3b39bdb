"""The process that serves a FUSE mount: takes the kernel's requests one by one and answers from a union.

One thread: Python runs one at a time, and more of them only wait for each other.  The kernel keeps what it is told (the
entries and attributes for a day, the contents while it has room), so that what was looked at once costs nothing here;
files are opened by the kernel alone (NO_OPEN_SUPPORT), and copied up when they are first written to.
Source: Linux Documentation/filesystems/fuse.rst.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable

from veneer.drivers.aufs import fuse_wire as wire
from veneer.drivers.aufs.fuse_changes import WritableUnion, refused
from veneer.drivers.aufs.fuse_nodes import UPPER, Node, Union

_GONE_ON = (errno.ENOENT, errno.EINTR, errno.EAGAIN)
"""A request that was taken back, or a signal: read the next."""
Answer = bytes | memoryview | None
Who = tuple[int, int]


class Server:
    """Serves `union` to the kernel at the open device `device`."""

    def __init__(self, device: int, union: Union) -> None:
        self._device = device
        self._union = union
        self._changes = union if isinstance(union, WritableUnion) else None
        self._buffer = bytearray(wire.BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._out = memoryview(bytearray(wire.MAX_WRITE))
        self._no_xattrs: set[bytes] = set()
        self._handlers: dict[int, Callable[[Node, memoryview, Who], Answer]] = {
            wire.LOOKUP: self._lookup, wire.GETATTR: self._getattr, wire.SETATTR: self._setattr,
            wire.READLINK: self._readlink, wire.SYMLINK: self._symlink, wire.MKNOD: self._mknod,
            wire.MKDIR: self._mkdir, wire.UNLINK: self._unlink, wire.RMDIR: self._rmdir, wire.RENAME: self._rename,
            wire.RENAME2: self._rename2, wire.LINK: self._link, wire.READ: self._read, wire.WRITE: self._write,
            wire.STATFS: self._statfs, wire.FSYNC: self._fsync, wire.FSYNCDIR: self._fsync, wire.SYNCFS: self._syncfs,
            wire.SETXATTR: self._setxattr, wire.GETXATTR: self._getxattr, wire.LISTXATTR: self._listxattr,
            wire.REMOVEXATTR: self._removexattr, wire.READDIR: self._readdir, wire.READDIRPLUS: self._readdirplus,
            wire.FALLOCATE: self._fallocate, wire.LSEEK: self._lseek, wire.COPY_FILE_RANGE: self._copy_range,
        }  # fmt: skip

    def greet(self) -> bool:
        """Answer the kernel's first request; False if there is no mount any more."""
        while True:
            length = self._next()
            if length == 0:
                return False
            _, opcode, unique, *_ = wire.request(self._buffer)
            if opcode == wire.INIT:
                _, _, readahead, flags = wire.init_in(self._buffer, wire.HEADER_SIZE)
                self._reply(unique, wire.init_out(flags, readahead))
                return True
            self._fail(unique, errno.EIO)

    def serve(self) -> None:
        """Serve until the mount is gone."""
        nodes, handlers, buffer, view = self._union.nodes, self._handlers, self._buffer, self._view
        while length := self._next():
            _, opcode, unique, number, uid, gid, _ = wire.request(buffer)
            body = view[wire.HEADER_SIZE : length]
            if opcode == wire.FORGET:
                self._union.forget(number, wire.node_in(body)[0])
                continue
            if opcode == wire.BATCH_FORGET:
                for each, count in wire.forgets(body[8 : 8 + 16 * wire.size_in(body)[0]]):
                    self._union.forget(each, count)
                continue
            handler = handlers.get(opcode)
            if handler is None:
                if opcode != wire.INTERRUPT:
                    self._fail(unique, errno.ENOSYS)
                if opcode == wire.DESTROY:
                    return
                continue
            try:
                answer = handler(nodes[number], body, (uid, gid))
            except OSError as error:
                self._fail(unique, error.errno or errno.EIO)
            except KeyError:
                self._fail(unique, errno.ESTALE)
            else:
                self._reply(unique, answer or b"")
            self._union.shed()

    def _next(self) -> int:
        """The next request is in the buffer: its length; 0 if there will be none."""
        while True:
            try:
                return os.readv(self._device, [self._buffer])
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return 0
                if error.errno not in _GONE_ON:
                    raise

    def _reply(self, unique: int, answer: bytes | memoryview) -> None:
        with contextlib.suppress(FileNotFoundError):  # who asked was interrupted, and waits no more
            os.writev(self._device, (wire.answer(16 + len(answer), 0, unique), answer))

    def _fail(self, unique: int, number: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.write(self._device, wire.answer(16, -number, unique))

    # -- looking ---------------------------------------------------------------------------------------------

    def _lookup(self, node: Node, body: memoryview, _who: Who) -> Answer:
        try:
            return self._entry(*self._union.child(node, bytes(body[:-1])))
        except FileNotFoundError:
            return wire.NO_ENTRY

    @staticmethod
    def _entry(node: Node, status: os.stat_result) -> bytes:
        node.lookups += 1
        return wire.entry(node.id, status, node.inode, 1 if node.is_dir else status.st_nlink)

    def _attributes(self, node: Node) -> bytes:
        status = self._union.status(node)
        links = status.st_nlink
        if node.is_dir or (node.gone and node.branch != UPPER):
            links = 0 if node.gone else 1  # `find` takes 1 for: it is not known how many subdirectories there are
        return wire.attributes(status, node.inode, links)

    def _getattr(self, node: Node, _body: memoryview, _who: Who) -> Answer:
        return self._attributes(node)

    def _readlink(self, node: Node, _body: memoryview, _who: Who) -> Answer:
        if node.gone and node.fd >= 0:
            return os.readlink(b"", dir_fd=node.fd)
        return os.readlink(node.name, dir_fd=self._folder(node))

    def _folder(self, node: Node) -> int:
        assert node.parent is not None, "only directories have no parent"
        return self._union.directory(node.parent, node.branch)

    def _statfs(self, _node: Node, _body: memoryview, _who: Who) -> Answer:
        return wire.statfs(os.fstatvfs(self._union.roots[0]))

    def _read(self, node: Node, body: memoryview, _who: Who) -> Answer:
        offset, size = wire.read_in(body)
        got = os.preadv(self._union.file(node), (self._out[: min(size, wire.MAX_WRITE)],), offset)
        return self._out[:got]

    def _lseek(self, node: Node, body: memoryview, _who: Who) -> Answer:
        return wire.long_word(os.lseek(self._union.file(node), *wire.lseek_in(body)))

    def _readdir(self, node: Node, body: memoryview, _who: Who) -> Answer:
        return self._names(node, body, plus=False)

    def _readdirplus(self, node: Node, body: memoryview, _who: Who) -> Answer:
        return self._names(node, body, plus=True)

    def _names(self, node: Node, body: memoryview, *, plus: bool) -> bytes:
        place, size = wire.read_in(body)
        if node.gone:
            return b""
        if place == 0:
            self._union.trim(node)
        order, visible = self._union.order(node), self._union.listed(node)
        parts: list[bytes] = []
        for dots in (b".", b"..")[place:] if place < 2 else ():
            place += 1
            parts.append((wire.NO_ENTRY if plus else b"") + wire.dirent(node.inode, place, 4, dots))
        total = sum(map(len, parts))
        for at in range(max(place - 2, 0), len(order)):
            name = order[at]
            if name is None:
                continue
            total += (152 if plus else 24) + len(name) + (-len(name) % 8)
            if total > size:
                break
            if plus:
                child, status = self._union.child(node, name)
                kind = wire.TYPES[stat.S_IFMT(status.st_mode)]
                parts.append(self._entry(child, status) + wire.dirent(child.inode, at + 3, kind, name))
            else:
                known = node.children.get(name)
                parts.append(wire.dirent(known.inode if known else 1, at + 3, visible[name][0], name))
        return b"".join(parts)

    # -- extended attributes ---------------------------------------------------------------------------------

    def _target(self, node: Node) -> int | bytes:
        """What to give to calls for extended attributes, which take no directory: a descriptor, or a path."""
        if node.is_dir:
            return node.fds[UPPER] if node.gone else self._union.directory(node, node.branch)
        if node.fd >= 0:
            return b"/proc/self/fd/%d" % node.fd if node.gone else node.fd
        return b"/proc/self/fd/%d/%s" % (self._folder(node), node.name)

    def _getxattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        size, _ = wire.size_in(body)
        target = self._target(node)
        value = os.getxattr(target, bytes(body[8:-1]), follow_symlinks=isinstance(target, int))
        return self._sized(value, size)

    def _listxattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        size, _ = wire.size_in(body)
        target = self._target(node)
        names = os.listxattr(target, follow_symlinks=isinstance(target, int))
        return self._sized(b"".join(os.fsencode(name) + b"\0" for name in names), size)

    @staticmethod
    def _sized(value: bytes, size: int) -> bytes:
        if size == 0:
            return wire.one_word(len(value))
        if len(value) > size:
            raise refused(errno.ERANGE)
        return value

    def _setxattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        size, flags = wire.size_in(body)
        name, _, rest = bytes(body[8:]).partition(b"\0")
        self._copied_up(node)
        target = self._target(node)
        os.setxattr(target, name, rest[:size], flags, follow_symlinks=isinstance(target, int))
        return None

    def _removexattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        target = self._target(node)
        os.getxattr(target, bytes(body[:-1]), follow_symlinks=isinstance(target, int))  # ENODATA is no reason to copy
        self._copied_up(node)
        target = self._target(node)
        os.removexattr(target, bytes(body[:-1]), follow_symlinks=isinstance(target, int))
        return None

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
        fd = self._union.file(node, writable=True)
        done = os.pwrite(fd, body[40 : 40 + size], offset)
        if flags & wire.WRITE_KILL_SUIDGID:
            _drop_privileges(fd)
        return wire.one_word(done)

    def _fallocate(self, node: Node, body: memoryview, _who: Who) -> Answer:
        offset, length, mode = wire.fallocate_in(body)
        if mode:
            raise refused(errno.EOPNOTSUPP)
        self._copied_up(node)
        os.posix_fallocate(self._union.file(node, writable=True), offset, length)
        return None

    def _copy_range(self, node: Node, body: memoryview, _who: Who) -> Answer:
        offset, other, other_offset, length = wire.copy_in(body)
        target = self._union.nodes[other]
        self._copied_up(target)
        fd = self._union.file(target, writable=True)
        length = min(length, 1 << 30)
        return wire.one_word(os.copy_file_range(self._union.file(node), fd, length, offset, other_offset))

    def _fsync(self, node: Node, _body: memoryview, _who: Who) -> Answer:
        if self._changes is not None and node.branch == UPPER:
            os.fsync(self._union.directory(node, UPPER) if node.is_dir else self._union.file(node))
        return None

    def _syncfs(self, _node: Node, _body: memoryview, _who: Who) -> Answer:
        return None

    def _setattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        valid, _, size, atime, mtime, atime_ns, mtime_ns, mode, uid, gid = wire.setattr_in(body)
        self._copied_up(node, content=not (valid & wire.SET_SIZE and size == 0))
        if valid & wire.SET_SIZE:
            fd = self._union.file(node, writable=True)
            os.ftruncate(fd, size)
            if valid & wire.KILL_SUIDGID:
                _drop_privileges(fd)
        if valid & (wire.SET_UID | wire.SET_GID):
            self._chown(node, uid if valid & wire.SET_UID else -1, gid if valid & wire.SET_GID else -1)
        if valid & wire.SET_MODE:
            self._chmod(node, stat.S_IMODE(mode))
        if valid & (wire.SET_ATIME | wire.SET_MTIME):
            now = time.time_ns()
            before = self._union.status(node)
            accessed, changed = before.st_atime_ns, before.st_mtime_ns
            if valid & wire.SET_ATIME:
                accessed = now if valid & wire.SET_ATIME_NOW else _signed(atime) * 1_000_000_000 + atime_ns
            if valid & wire.SET_MTIME:
                changed = now if valid & wire.SET_MTIME_NOW else _signed(mtime) * 1_000_000_000 + mtime_ns
            self._utime(node, (accessed, changed))
        return self._attributes(node)

    def _chown(self, node: Node, uid: int, gid: int) -> None:
        if node.gone or node.is_dir:
            os.chown(self._descriptor(node), uid, gid)
        else:
            os.chown(node.name, uid, gid, dir_fd=self._folder(node), follow_symlinks=False)

    def _chmod(self, node: Node, mode: int) -> None:
        if node.gone or node.is_dir:
            os.chmod(self._descriptor(node), mode)
        else:
            os.chmod(node.name, mode, dir_fd=self._folder(node))

    def _utime(self, node: Node, times: tuple[int, int]) -> None:
        if node.gone or node.is_dir:
            os.utime(self._descriptor(node), ns=times)
        else:
            os.utime(node.name, ns=times, dir_fd=self._folder(node), follow_symlinks=False)

    def _descriptor(self, node: Node) -> int | bytes:
        if not node.is_dir:
            return b"/proc/self/fd/%d" % node.fd
        return node.fds[UPPER] if node.gone else self._union.directory(node, UPPER)

    # -- changing names --------------------------------------------------------------------------------------

    def _owner(self, parent: Node, who: Who, mode: int) -> tuple[int, int, int]:
        """uid, gid and mode of what is made in a directory, which gives its group on if it is set-group-ID."""
        status = os.fstat(self._upper.upper(parent))
        uid, gid = who
        if status.st_mode & stat.S_ISGID:
            gid = status.st_gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        return uid, gid, mode

    def _mknod(self, node: Node, body: memoryview, who: Who) -> Answer:
        mode, rdev = wire.mknod_in(body)
        name = bytes(body[16:-1])
        if stat.S_ISCHR(mode) and rdev == 0:
            raise refused(errno.EPERM)  # a whiteout of overlay's: no layer can hold it
        upper = self._upper
        uid, gid, mode = self._owner(node, who, mode)
        with upper.making(node, name) as fd:
            if stat.S_ISREG(mode):
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                new = os.open(name, flags, stat.S_IMODE(mode), dir_fd=fd)
                try:
                    if uid or gid:
                        os.fchown(new, uid, gid)
                    if mode & 0o7000:
                        os.fchmod(new, stat.S_IMODE(mode))
                finally:
                    os.close(new)
            else:
                os.mknod(name, mode, wire.device(rdev), dir_fd=fd)
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        return self._made(node, name, mode)

    def _mkdir(self, node: Node, body: memoryview, who: Who) -> Answer:
        (mode,) = wire.mkdir_in(body)
        name = bytes(body[8:-1])
        uid, gid, mode = self._owner(node, who, stat.S_IFDIR | mode)
        self._upper.make_directory(node, name, stat.S_IMODE(mode), uid, gid)
        return self._entry(*self._union.child(node, name))

    def _symlink(self, node: Node, body: memoryview, who: Who) -> Answer:
        name, target = wire.strings(body)
        uid, gid, _ = self._owner(node, who, stat.S_IFLNK)
        with self._upper.making(node, name) as fd:
            os.symlink(target, name, dir_fd=fd)
            if uid or gid:
                os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        return self._made(node, name, stat.S_IFLNK)

    def _made(self, parent: Node, name: bytes, mode: int) -> Answer:
        self._upper.came(parent, name, (wire.TYPES[stat.S_IFMT(mode)], (UPPER,)))
        return self._entry(*self._union.child(parent, name))

    def _link(self, node: Node, body: memoryview, _who: Who) -> Answer:
        target = self._union.nodes[wire.node_in(body)[0]]
        name = bytes(body[8:-1])
        self._upper.link_to(target, node, name)
        return self._entry(*self._union.child(node, name))

    def _unlink(self, node: Node, body: memoryview, _who: Who) -> Answer:
        self._upper.remove(node, bytes(body[:-1]), directory=False)
        return None

    def _rmdir(self, node: Node, body: memoryview, _who: Who) -> Answer:
        self._upper.remove(node, bytes(body[:-1]), directory=True)
        return None

    def _rename(self, node: Node, body: memoryview, _who: Who) -> Answer:
        new = self._union.nodes[wire.node_in(body)[0]]
        self._upper.rename(node, wire.strings(body[8:])[0], new, wire.strings(body[8:])[1], 0)
        return None

    def _rename2(self, node: Node, body: memoryview, _who: Who) -> Answer:
        number, flags = wire.rename2_in(body)
        old_name, new_name = wire.strings(body[16:])
        self._upper.rename(node, old_name, self._union.nodes[number], new_name, flags)
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


def main() -> None:
    """`DEVICE LEASH HAS_UPPER WORK BRANCH...`: descriptors that are open, -1 for none.

    Returns to whoever started it once the mount answers, and serves on in a child of its own.  LEASH is a descriptor
    of the process (pidfd) that made the mount: when that ends, so does this one.
    """
    import _thread
    import gc
    import resource

    device, leash, has_upper, work, *roots = map(int, sys.argv[1 : sys.argv.index("--")])
    os.umask(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = max(16, min(hard, 16_384) - 2 * len(roots) - 64)
    union = WritableUnion(roots, work, descriptors=room) if has_upper else Union(roots, descriptors=room)
    server = Server(device, union)
    if not server.greet():
        sys.exit(1)
    if os.fork():
        os._exit(0)
    os.dup2(os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC), 2)  # whoever started us reads it to its end
    _thread.start_new_thread(_end_with, (leash,))
    gc.freeze()
    gc.disable()  # nodes are taken apart when they are forgotten
    server.serve()
    os._exit(0)


def _end_with(process: int) -> None:
    """Wait for the end of a process; then end."""
    import select

    ended = select.poll()
    ended.register(process, select.POLLIN)
    ended.poll()
    os._exit(0)
