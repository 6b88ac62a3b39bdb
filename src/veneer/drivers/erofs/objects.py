"""The contents: `objects/ab/cdef...` is a file's bytes, named by their SHA-256; how many layers have it are its links.

A layer's own directory links to the same inodes, so nothing has to be counted: an object whose only name is its own
belongs to nobody.  Taking in holds the lock shared, sweeping holds it alone, so that nobody links to what is going.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from veneer.changeset.safepath import DIRECTORY, open_beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex

_NEW = b".veneer-object-"


class Objects:
    """The contents below `root`, a directory that is made when first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seals: bool | None = None
        self._damaged: set[bytes] = set()

    @property
    def seals(self) -> bool:
        """Whether contents are sealed by fs-verity here."""
        if self._seals is None:
            from veneer.drivers.erofs import verity

            self._seals = verity.usable(self.prepare())
        return self._seals

    def sealed(self, digest: bytes) -> bytes:
        """The fs-verity digest of a content, which is sealed if that was not done when it came."""
        from veneer.drivers.erofs import verity

        path = self.path(digest)
        found = verity.measured(path)
        if not found:
            verity.seal(path)
            found = verity.measured(path)
        return found

    def prepare(self) -> Path:
        """The directory, there."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        return self.root

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        fd = os.open(self.prepare() / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    def take_in(self, tree: Path, index: LayerIndex) -> None:
        """Have every regular file of a layer's directory `tree` be a link to the object of its content.

        May be repeated.  The directories keep their times; a regular file's attributes are from then on those of the
        first file that had its content, and only the index and what is made of it tell its own.
        """
        from veneer.changeset.entry import Kind

        root = os.open(tree, DIRECTORY)
        try:
            with self._locked(fcntl.LOCK_SH):
                contents: dict[bytes, bytes] = {}
                here, fd, times = b"\0", -1, (0, 0)
                try:
                    for number, path in enumerate(index.paths()):
                        kind = index.kind(number)
                        if kind is Kind.REGULAR and index.sizes[number]:
                            digest = contents[path] = index.digest(number)
                        elif kind is Kind.HARDLINK and index.link(number) in contents:
                            digest = contents[index.link(number)]
                        else:
                            continue
                        parent, _, name = path.rpartition(b"/")
                        if parent != here:
                            _leave(fd, times)
                            here, fd = parent, -1
                            fd = open_beneath(root, parent)
                            status = os.fstat(fd)
                            times = (status.st_atime_ns, status.st_mtime_ns)
                        self._take(fd, name, digest)
                finally:
                    _leave(fd, times)
        finally:
            os.close(root)

    def _take(self, fd: int, name: bytes, digest: bytes) -> None:
        place = self.path(digest)
        try:
            try:
                os.link(name, place, src_dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:  # the folder, as a rule; where it is the name, it is told now
                with contextlib.suppress(FileExistsError):
                    place.parent.mkdir(0o711)
                os.link(name, place, src_dir_fd=fd, follow_symlinks=False)
            if self.seals:
                self.sealed(digest)
            return
        except FileExistsError:
            pass
        if _same(fd, name, place):
            return
        fresh = _NEW + os.urandom(8).hex().encode()
        if digest in self._damaged:
            self._replace(fd, name, place, fresh)
            if self.seals:
                self.sealed(digest)
            self._damaged.discard(digest)
            return
        try:
            os.link(place, fresh, dst_dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            # As many names as the file system allows: from here on the next inode stands for the content.
            self._replace(fd, name, place, fresh)
            return
        os.replace(fresh, name, src_dir_fd=fd, dst_dir_fd=fd)

    @staticmethod
    def _replace(fd: int, name: bytes, place: Path, fresh: bytes) -> None:
        """Have the file `name` be what lies at `place`, at once."""
        beside = place.with_name(os.fsdecode(fresh))
        os.link(name, beside, src_dir_fd=fd, follow_symlinks=False)
        beside.rename(place)

    def doubt(self, digests: Iterable[bytes]) -> None:
        """Look at contents of which some may not be what they are called: the next file with such a content takes the
        place of what is there."""
        import hashlib

        for digest in digests:
            with contextlib.suppress(FileNotFoundError), open(self.path(digest), "rb", buffering=0) as file:
                if hashlib.file_digest(file, "sha256").digest() != digest:
                    self._damaged.add(digest)

    def sweep(self, digests: Iterable[bytes]) -> None:
        """Delete those of the objects that no layer has any more."""
        with self._locked(fcntl.LOCK_EX):
            for digest in digests:
                path = self.path(digest)
                with contextlib.suppress(FileNotFoundError):
                    if path.lstat().st_nlink == 1:
                        path.unlink()

    def path(self, digest: bytes) -> Path:
        """Where a content lies."""
        return self.root / inside(digest).decode()


def inside(digest: bytes) -> bytes:
    """A content's path in the store of contents."""
    text = digest.hex().encode()
    return text[:2] + b"/" + text[2:]


def _same(fd: int, name: bytes, place: Path) -> bool:
    one, two = os.stat(name, dir_fd=fd, follow_symlinks=False), place.lstat()
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _leave(fd: int, times: tuple[int, int]) -> None:
    if fd >= 0:
        os.utime(fd, ns=times)
        os.close(fd)
