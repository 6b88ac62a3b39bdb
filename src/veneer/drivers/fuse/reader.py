"""The process that serves a FUSE mount: takes the kernel's requests one by one and answers from a union.

One thread: Python runs one at a time, and more of them only wait for each other.  The kernel keeps what it is told (the
entries and attributes for a day, the contents while it has room), so that what was looked at once costs nothing here;
files are opened by the kernel alone (NO_OPEN_SUPPORT), and copied up when they are first written to.
Source: Linux Documentation/filesystems/fuse.rst.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from bisect import bisect_left
from collections.abc import Callable

from veneer.drivers.fuse import wire
from veneer.drivers.fuse.copies import OVERLAYS_OWN, refused
from veneer.drivers.fuse.lookout import Lookout
from veneer.drivers.fuse.memory import Memory
from veneer.drivers.fuse.nodes import UPPER, Node, Union

_GONE_ON = (errno.ENOENT, errno.EINTR, errno.EAGAIN)
"""A request that was taken back, or a signal: read the next."""
_LITTLE = 16_384
"""Bytes that are copied once more in less time than it takes to put them in their place."""
_ERRORS = 512
"""Numbers from here on are the kernel's own; some file systems let one out, and no server may say it."""
Answer = bytes | memoryview | None
"""An answer's bytes, or a memory with room for its header in front of them; None: an empty one."""
Who = tuple[int, int]


class Reader:
    """Serves `union` to the kernel at the open device `device`, as far as it is only looked at."""

    def __init__(self, device: int, union: Union) -> None:
        self._device = device
        self._requests = io.FileIO(device, closefd=False)
        self.union = union
        self._lookout = Lookout(device)
        self._buffer = bytearray(wire.BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._out = memoryview(bytearray(wire.ANSWER_SIZE + wire.MAX_WRITE))
        self.handlers: dict[int, Callable[[Node, memoryview, Who], Answer]] = {
            wire.LOOKUP: self._lookup, wire.GETATTR: self._getattr, wire.READLINK: self._readlink,
            wire.READ: self._read, wire.STATFS: self._statfs, wire.LSEEK: self._lseek,
            wire.READDIR: self._readdir, wire.READDIRPLUS: self._readdirplus,
            wire.GETXATTR: self._getxattr, wire.LISTXATTR: self._listxattr,
        }  # fmt: skip
        """What answers which request; an OSError is a refusal."""

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
        union, handlers, buffer, view = self.union, self.handlers, self._buffer, self._view
        nodes = union.nodes
        look, at_once = self._lookout.look, 0
        memory = Memory()
        while True:
            if at_once:
                at_once -= 1
            else:
                at_once = look()
            length = self._next()
            if not length:
                return
            _, opcode, unique, number, uid, gid, _ = wire.request(buffer)
            body = view[wire.HEADER_SIZE : length]
            if opcode == wire.FORGET:
                union.forget(number, wire.node_in(body)[0])
                continue
            if opcode == wire.BATCH_FORGET:
                before = len(nodes)
                for each, count in wire.forgets(body[8 : 8 + 16 * wire.size_in(body)[0]]):
                    union.forget(each, count)
                memory.forgotten(before, len(nodes))
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
            except Exception:  # noqa: BLE001 - a fault of ours ends that request, not the mount that all others use
                self._fail(unique, errno.EIO)
            else:
                self._reply(unique, answer or b"")
            if union.crowded:
                union.shed()

    def _next(self) -> int:
        """The next request is in the buffer: its length; 0 if there will be none."""
        while True:
            try:
                # Half as long as os.readv, which takes a list of buffers apart.
                length = self._requests.readinto(self._buffer)
                if length is not None:
                    return length
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return 0
                if error.errno not in _GONE_ON:
                    raise

    def _reply(self, unique: int, answer: bytes | memoryview) -> None:
        try:
            if isinstance(answer, bytes):
                os.write(self._device, wire.answer(wire.ANSWER_SIZE + len(answer), 0, unique) + answer)
            else:
                wire.put_answer(answer, 0, len(answer), 0, unique)
                os.write(self._device, answer)
        except FileNotFoundError:
            pass  # who asked was interrupted, and waits no more

    def _fail(self, unique: int, number: int) -> None:
        number = number if number < _ERRORS else errno.EIO
        try:
            os.write(self._device, wire.answer(wire.ANSWER_SIZE, -number, unique))
        except FileNotFoundError:
            pass  # as above

    # -- looking ---------------------------------------------------------------------------------------------

    def _lookup(self, node: Node, body: memoryview, _who: Who) -> Answer:
        name = bytes(body[:-1])
        union, visible = self.union, node.visible
        entry = (visible if visible is not None else union.listed(node)).get(name)
        if entry is None:
            return wire.NO_ENTRY
        return self.entry(*union.known(node, name, entry))

    @staticmethod
    def entry(node: Node, status: os.stat_result) -> bytes:
        node.lookups += 1
        return wire.entry(node.id, status, node.inode, 1 if node.is_dir else status.st_nlink)

    def attributes(self, node: Node) -> bytes:
        status = self.union.status(node)
        links = status.st_nlink
        if node.is_dir or (node.gone and node.branch != UPPER):
            links = 0 if node.gone else 1  # `find` takes 1 for: it is not known how many subdirectories there are
        return wire.attributes(status, node.inode, links)

    def _getattr(self, node: Node, _body: memoryview, _who: Who) -> Answer:
        return self.attributes(node)

    def _readlink(self, node: Node, _body: memoryview, _who: Who) -> Answer:
        if node.gone and node.fd >= 0:
            return os.readlink(b"", dir_fd=node.fd)
        return os.readlink(node.name, dir_fd=self.folder(node))

    def folder(self, node: Node) -> int:
        assert node.parent is not None, "only directories have no parent"
        return self.union.directory(node.parent, node.branch)

    def _statfs(self, _node: Node, _body: memoryview, _who: Who) -> Answer:
        return wire.statfs(os.fstatvfs(self.union.roots[0]))

    def _read(self, node: Node, body: memoryview, _who: Who) -> Answer:
        offset, size = wire.read_in(body)
        if size <= _LITTLE:
            return os.pread(self.union.file(node), size, offset)
        out = self._out
        end = wire.ANSWER_SIZE + min(size, wire.MAX_WRITE)
        got = os.preadv(self.union.file(node), (out[wire.ANSWER_SIZE : end],), offset)
        return out[: wire.ANSWER_SIZE + got]

    def _lseek(self, node: Node, body: memoryview, _who: Who) -> Answer:
        return wire.long_word(os.lseek(self.union.file(node), *wire.lseek_in(body)))

    def _readdir(self, node: Node, body: memoryview, _who: Who) -> Answer:
        return self._names(node, body, plus=False)

    def _readdirplus(self, node: Node, body: memoryview, _who: Who) -> Answer:
        return self._names(node, body, plus=True)

    def _names(self, node: Node, body: memoryview, *, plus: bool) -> bytes:
        place, size = wire.read_in(body)
        if node.gone:
            return b""
        order, visible = self.union.order(node), self.union.listed(node)
        parts: list[bytes] = []
        for dots in (b".", b"..")[place:] if place < 2 else ():
            place += 1
            parts.append((wire.NO_ENTRY if plus else b"") + wire.dirent(node.inode, place, 4, dots))
        total = sum(map(len, parts))
        places = node.places
        for at in range(bisect_left(places, place - 2), len(order)):
            name = order[at]
            if name is None:
                continue
            length = (152 if plus else 24) + len(name) + (-len(name) % 8)
            if total + length > size:
                break
            try:
                if plus:
                    child, status = self.union.child(node, name)
                    kind = wire.TYPES[stat.S_IFMT(status.st_mode)]
                    parts.append(self.entry(child, status) + wire.dirent(child.inode, places[at] + 3, kind, name))
                else:
                    parts.append(wire.dirent(self.union.inode(node, name), places[at] + 3, visible[name][0], name))
            except FileNotFoundError:
                continue  # it has gone from a branch that somebody writes to and that is only looked at here
            total += length
        return b"".join(parts)

    # -- extended attributes ---------------------------------------------------------------------------------

    def target(self, node: Node) -> tuple[int | bytes, bool]:
        """What to give to calls for extended attributes, which take no directory: a descriptor, or a path; and whether
        a link there is to be followed."""
        if node.is_dir:
            known = node.fds.get(node.branch)
            return known if known is not None else self.union.directory(node, node.branch), True
        if node.fd >= 0:
            # What has no name any more may be open for nothing but its place.
            return b"/proc/self/fd/%d" % node.fd if node.gone else node.fd, True
        return b"/proc/self/fd/%d/%s" % (self.folder(node), node.name), False

    def _getxattr(self, node: Node, body: memoryview, _who: Who) -> Answer:
        size, _ = wire.size_in(body)
        name = bytes(body[8:-1])
        if name.startswith(OVERLAYS_OWN):
            raise refused(errno.ENODATA)
        target, follow = self.target(node)
        value = os.getxattr(target, name, follow_symlinks=follow)
        return self._sized(value, size)

    def _listxattr(self, node: Node, body: memoryview, who: Who) -> Answer:
        size, _ = wire.size_in(body)
        hidden = (*OVERLAYS_OWN, b"trusted.") if who[0] else OVERLAYS_OWN  # as the kernel's file systems do
        target, follow = self.target(node)
        names = map(os.fsencode, os.listxattr(target, follow_symlinks=follow))
        return self._sized(b"".join(name + b"\0" for name in names if not name.startswith(hidden)), size)

    @staticmethod
    def _sized(value: bytes, size: int) -> bytes:
        if size == 0:
            return wire.one_word(len(value))
        if len(value) > size:
            raise refused(errno.ERANGE)
        return value
