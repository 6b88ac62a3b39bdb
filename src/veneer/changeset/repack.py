"""A layer's tar written again from its index and its files: no directory is walked, nothing below is looked at.

For layers that were packed here (pack.py), whose tar is canonical: the index, sorted as the tar is, has every field of
every member, and the driver's directory the contents.  The caller compares the diff ID.
"""

from __future__ import annotations

import contextlib
import os

from veneer.changeset.entry import Kind
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
        for entry in index:
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
