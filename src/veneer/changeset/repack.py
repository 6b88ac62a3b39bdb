"""A layer's tar written again from its index and its files: no directory is walked, nothing below is looked at.

For layers that were packed here (pack.py), whose tar is canonical: the index, sorted as the tar is, has every field of
every member, and the driver's directory the contents.  The caller compares the diff ID.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.pack_sink import Packed
from veneer.changeset.tar_writer import TarWriter, Writable
from veneer.changeset.xattrs import GONE
from veneer.errors import Corrupt
from veneer.oci.digest import DiffID, Digest

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class FileGone(Corrupt):
    """A file that a layer's index tells of is not there, or no file any more."""


def repack(index: LayerIndex, root_fd: int, out: Writable) -> Packed:
    """Write the layer that `index` describes, with the contents below `root_fd`.

    The result's `size` is not known from an index and 0.  Raises FileGone, OSError.
    """
    tar = TarWriter(out)
    with contextlib.closing(_Folders(root_fd)) as folders:
        for entry in _members(index):
            if entry.kind is Kind.REGULAR and entry.size:
                fd = folders.open(entry.path)
                try:
                    tar.add(entry, fd)
                finally:
                    os.close(fd)
            elif entry.implied:
                if entry.opaque:
                    tar.add_opaque_marker(entry.path)
            else:
                tar.add(entry)
        diff_id = DiffID(Digest.sha256(tar.finish()))
    return Packed(diff_id, tar.size, 0, len(index))


def _members(index: LayerIndex) -> Iterator[Entry]:
    return iter(index)


class _Folders:
    """Opens files by path; members of one directory come together, so that is kept open."""

    def __init__(self, root_fd: int) -> None:
        self._root = root_fd
        self._path = b""
        self._fd = os.dup(root_fd)

    def open(self, path: bytes) -> int:
        folder, _, name = path.rpartition(b"/")
        try:
            if folder != self._path:
                self._enter(folder)
            return os.open(name, _OPEN_FILE, dir_fd=self._fd)
        except OSError as error:
            if error.errno in GONE:
                raise FileGone(f"/{os.fsdecode(path)} is not in the layer's files any more") from error
            raise

    def _enter(self, folder: bytes) -> None:
        # Component by component: a directory that was replaced by a symlink must not lead out of the layer.
        fd = os.dup(self._root)
        try:
            for name in folder.split(b"/") if folder else ():
                below = os.open(name, _OPEN_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
        except BaseException:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._path = fd, folder

    def close(self) -> None:
        os.close(self._fd)
