"""Where packing puts entries: a tar and, with it, the layer index."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index_builder import IndexBuilder
from veneer.changeset.tar_writer import TarWriter, Writable
from veneer.changeset.xattrs import GONE, Xattrs, read_xattrs
from veneer.oci.digest import DiffID, Digest

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer that was written: `tar_size` is the tar's length in bytes; `size` docker's layer size, that is the
    apparent sizes of all non-directories, each file once, symlinks by the length of their target; `entries`
    how many the index has."""

    diff_id: DiffID
    tar_size: int
    size: int
    entries: int


class Sink:
    """Entries in, tar and index out."""

    def __init__(
        self,
        out: Writable,
        index: BinaryIO | None,
        *,
        owner: tuple[int, int] | None = None,
        latest_ns: int | None = None,
        true: Mapping[bytes, Entry] | None = None,
    ) -> None:
        self._tar = TarWriter(out, hash_contents=index is not None)
        self._index = index
        self._builder = IndexBuilder() if index is not None else None
        self._owner = owner
        self._latest_ns = latest_ns
        self._true = true or {}
        self._first_names: dict[tuple[int, int], bytes] = {}
        self._size = 0
        self._entries = 0

    def whiteout(self, path: bytes) -> None:
        self._put(Entry(path, Kind.WHITEOUT), None)

    def directory(self, path: bytes, status: os.stat_result, xattrs: Xattrs, *, opaque: bool) -> None:
        self._put(self._entry(path, Kind.DIRECTORY, status, xattrs=xattrs, opaque=opaque), None)

    def opaque_root(self) -> None:
        """The root hides everything below, but is otherwise none of the layer's business."""
        self._tar.add_opaque_marker(b"")
        if self._builder is not None:
            self._builder.add(b"", Kind.DIRECTORY, 0o755, opaque=True, implied=True)

    def file(self, dir_fd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        """Anything but a directory; nothing if it is gone by now."""
        mode = status.st_mode
        if stat.S_ISREG(mode):
            self._regular(dir_fd, name, path, status)
        elif stat.S_ISLNK(mode):
            try:
                link = os.readlink(name, dir_fd=dir_fd)
            except OSError as error:
                if error.errno in (*GONE, errno.EINVAL):
                    return
                raise
            self._size += len(link)
            self._put(self._entry(path, Kind.SYMLINK, status, link=link), None)
        elif stat.S_ISFIFO(mode):
            self._put(self._entry(path, Kind.FIFO, status), None)
        else:
            kind = Kind.CHARACTER if stat.S_ISCHR(mode) else Kind.BLOCK
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            self._put(self._entry(path, kind, status, device=device), None)

    def _regular(self, dir_fd: int, name: bytes, path: bytes, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            first = self._first_names.get((status.st_dev, status.st_ino))
            if first is not None:
                self._put(self._entry(path, Kind.HARDLINK, status, link=first), None)
                return
        try:
            fd = os.open(name, _OPEN_FILE, dir_fd=dir_fd)
        except OSError as error:
            if error.errno in GONE:
                return
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            if status.st_nlink > 1:
                self._first_names[status.st_dev, status.st_ino] = path
            self._size += status.st_size
            self._put(self._entry(path, Kind.REGULAR, status, size=status.st_size, xattrs=read_xattrs(fd)), fd)
        finally:
            os.close(fd)

    def _entry(
        self,
        path: bytes,
        kind: Kind,
        status: os.stat_result,
        *,
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        xattrs: Xattrs = (),
        opaque: bool = False,
    ) -> Entry:
        uid, gid = self._owner if self._owner is not None else (status.st_uid, status.st_gid)
        mtime_ns = status.st_mtime_ns
        if self._latest_ns is not None:
            mtime_ns = min(mtime_ns, self._latest_ns)
        mode = status.st_mode & 0o7777
        return Entry(path, kind, mode, uid, gid, size, mtime_ns, link, device, xattrs, opaque=opaque)

    def _put(self, entry: Entry, content: int | None) -> None:
        if (true := self._true.get(entry.path)) is not None:
            if true.kind in (Kind.CHARACTER, Kind.BLOCK):
                entry, content = replace(entry, kind=true.kind, device=true.device, link=b""), None
            entry = replace(entry, uid=true.uid, gid=true.gid)
        digest = self._tar.add(entry, content)
        self._entries += 1
        if self._builder is not None:
            self._builder.add(
                entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns, entry.link,
                digest, entry.device[0] << 32 | entry.device[1], entry.xattrs, entry.opaque,
            )  # fmt: skip

    def finish(self) -> Packed:
        diff_id = DiffID(Digest.sha256(self._tar.finish()))
        if self._builder is not None and self._index is not None:
            self._builder.write(self._index)
        return Packed(diff_id, self._tar.size, self._size, self._entries)
