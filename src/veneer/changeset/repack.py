"""A layer's tar written again from its index and its files: no directory is walked, nothing below is looked at.

For layers that were packed here (pack.py), whose tar is canonical: the index, sorted as the tar is, has every field of
every member, and the driver's directory the contents.  The caller compares the diff ID.
"""

from __future__ import annotations

import contextlib
import os

from veneer.changeset.common_header import header
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.index_format import KIND_SHIFT, MODE_MASK
from veneer.changeset.pack_sink import Packed
from veneer.changeset.tar_writer import Lender, TarWriter, Writable, member_header
from veneer.changeset.xattrs import GONE
from veneer.errors import Corrupt
from veneer.oci.digest import DiffID, Digest

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COMMON = {kind.value: kind for kind in (Kind.REGULAR, Kind.DIRECTORY, Kind.SYMLINK, Kind.HARDLINK, Kind.FIFO)}
"""The kinds whose header has nothing but the common fields."""


class FileGone(Corrupt):
    """A file that a layer's index tells of is not there, or no file any more."""


def repack(index: LayerIndex, root_fd: int, out: Writable | Lender) -> Packed:
    """Write the layer that `index` describes, with the contents below `root_fd`.

    The result's `size` is not known from an index and 0.  Raises FileGone, OSError.
    """
    tar = TarWriter(out)
    metas, uids, gids, sizes, mtimes = index.metas, index.uids, index.gids, index.sizes, index.mtimes_ns
    attributed = frozenset(index.attributed)
    with contextlib.closing(_Folders(root_fd)) as folders:
        for number, path in enumerate(index.paths()):
            meta = metas[number]
            kind = _COMMON.get(meta >> KIND_SHIFT)  # the opaque and implied bits above it make it another number
            if kind is None or number in attributed:
                _uncommon(tar, index.entry(number, path), folders)
                continue
            size = sizes[number]
            link = index.link(number) if kind is Kind.SYMLINK or kind is Kind.HARDLINK else b""
            mode = meta & MODE_MASK
            tar.put(header(path, kind, mode, uids[number], gids[number], size, mtimes[number], link))
            if kind is Kind.REGULAR and size:
                _content(tar, folders, path, size)
        diff_id = DiffID(Digest.sha256(tar.finish()))
    return Packed(diff_id, tar.size, 0, len(index))


def _uncommon(tar: TarWriter, entry: Entry, folders: _Folders) -> None:
    if entry.kind is Kind.REGULAR and entry.size:
        tar.put(member_header(entry))
        _content(tar, folders, entry.path, entry.size)
    elif entry.implied:
        if entry.opaque:
            tar.add_opaque_marker(entry.path)
    else:
        tar.add(entry)


def _content(tar: TarWriter, folders: _Folders, path: bytes, size: int) -> None:
    fd = folders.open(path)
    try:
        tar.put_file(fd, size)
    finally:
        os.close(fd)


class _Folders:
    """Opens files by path.  The directories on the way stay open: members of one directory come together."""

    def __init__(self, root_fd: int) -> None:
        self._names: list[bytes] = []
        self._fds = [os.dup(root_fd)]
        self._path = b""

    def open(self, path: bytes) -> int:
        folder, _, name = path.rpartition(b"/")
        try:
            if folder != self._path:
                self._enter(folder)
            return os.open(name, _OPEN_FILE, dir_fd=self._fds[-1])
        except OSError as error:
            if error.errno in GONE:
                raise FileGone(f"/{os.fsdecode(path)} is not in the layer's files any more") from error
            raise

    def _enter(self, folder: bytes) -> None:
        # Component by component: a directory that was replaced by a symlink must not lead out of the layer.
        names = folder.split(b"/") if folder else []
        same = 0
        for here, wanted in zip(self._names, names, strict=False):
            if here != wanted:
                break
            same += 1
        while len(self._names) > same:
            self._names.pop()
            os.close(self._fds.pop())
        for name in names[same:]:
            self._fds.append(os.open(name, _OPEN_DIRECTORY, dir_fd=self._fds[-1]))
            self._names.append(name)
        self._path = folder

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())
