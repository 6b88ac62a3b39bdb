"""The content store: blobs by digest, kept byte for byte as they came.

A blob is visible when it is whole: verified, on the disk, its name on the disk, and then its row.  What fails
on the way leaves nothing but a scratch file or, for a download, a partial one to go on from.
Recipe: containerd plugins/content/local/writer.go, plus a size cap while writing, a check of what is already
there under the name, and a sync of every new directory.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import threading
import time
from collections.abc import Callable, Iterator

from veneer.errors import Corrupt, NotFound
from veneer.oci.digest import BlobDigest, Digest
from veneer.store.catalog import Catalog
from veneer.store.durability import crashpoint, file_errors, make_directories, sync_directory, sync_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    import apsw

    from veneer.store.blob_writer import BlobWriter
    from veneer.store.leases import Lease

CHUNK = 1 << 20


class NoSuchBlob(NotFound):
    """The store does not have that blob."""


class BlobDamaged(Corrupt):
    """A stored blob's bytes are not those its digest names."""


class DocumentTooLarge(Corrupt):
    """A blob that was to be read whole is larger than any manifest or config may be."""


class BlobStore:
    """The blobs of the store at `root`."""

    def __init__(self, root: str | os.PathLike[str], catalog: Catalog, *, sync: bool = True) -> None:
        self._root = os.fspath(root)
        self.catalog = catalog
        self.syncing = sync
        self._own = threading.local()

    @functools.cached_property
    def root(self) -> Path:
        from pathlib import Path

        return Path(self._root)

    # ---- reading

    def __contains__(self, digest: object) -> bool:
        return self.catalog.row("SELECT 1 FROM blob WHERE digest = ?", (digest,)) is not None

    def path(self, digest: Digest) -> Path:
        """Where the blob is, if it is here."""
        return self.root / "blobs" / digest.algorithm / digest.hex

    def _file(self, digest: Digest) -> str:
        # The path as text: `inspect` reads one blob, and pathlib takes longer to import than that takes.
        return f"{self._root}/blobs/{digest.algorithm}/{digest.hex}"

    def size(self, digest: Digest) -> int:
        """The blob's length in bytes.  Raises NoSuchBlob."""
        found: int | None = self.catalog.value("SELECT size FROM blob WHERE digest = ?", (digest,))
        if found is None:
            raise NoSuchBlob(f"no blob {digest} in {self._root}")
        return found

    def open(self, digest: Digest) -> BinaryIO:
        """The blob to read from, unbuffered.  Raises NoSuchBlob, or BlobDamaged where its row has no file."""
        size = self.size(digest)
        try:
            return open(self._file(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise BlobDamaged(
                f"blob {digest} ({size} bytes) is missing from {self._root}",
                hint="veneer pull again restores it; veneer system check tells what needs it",
            ) from None

    def read(self, digest: Digest, limit: int = 4 << 20) -> bytes:
        """The whole blob, verified.  Raises NoSuchBlob, and BlobDamaged if it is not what its name says."""
        with self.open(digest) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DocumentTooLarge(f"blob {digest} has {size} bytes, more than the {limit} a document may have")
            data = file.read(limit + 1)
        actual = Digest.of(data, digest.algorithm)
        if actual != digest:
            raise BlobDamaged(
                f"blob {digest} reads back as {actual}",
                hint="veneer pull again restores it; veneer system check tells what needs it",
            )
        return data

    def is_intact(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the file is there with the right size and digest; reads all of it."""
        try:
            fd = os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return False
            raise
        import hashlib

        try:
            if size is not None and os.fstat(fd).st_size != size:
                return False
            with open(fd, "rb", buffering=0, closefd=False) as file:
                return hashlib.file_digest(file, digest.algorithm).hexdigest() == digest.hex
        finally:
            os.close(fd)

    # ---- writing

    def acquire(self, lease: Lease, digest: BlobDigest) -> bool:
        """Whether the blob is here; if so the lease keeps it from now on.

        False also for one whose file is gone or has another length: writing it again repairs it.
        """
        with self.catalog.transaction(durable=False) as transaction:
            size = _size(transaction, digest)
            if size is None or not self._has_file(digest, size):
                return False
            lease.hold_blob(transaction, digest)
            return True

    def put(self, lease: Lease, data: bytes, media_type: str = "") -> BlobDigest:
        """Store a small document and keep it; `media_type` as for `describe`.  Returns its digest."""
        digest = BlobDigest(Digest.of(data))
        if not self.acquire(lease, digest):
            file = lease.file("put")
            with file_errors(self.root):
                fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                try:
                    write_all(fd, memoryview(data), 0)
                    if self.syncing and self._later is None:
                        sync_file(fd)
                finally:
                    os.close(fd)
                self.publish(lease, file, digest, len(data))
        if media_type:
            self.describe(digest, media_type)
        return digest

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Have what this thread `put`s meanwhile on the disk at the end, all at once: each alone waits for the journal.

        For use inside a transaction, so that no row is there before its file.
        """
        assert self.catalog.writing, "a row may be there before its file"
        later: list[Path] = []
        self._own.later = later
        try:
            yield
        finally:
            self._own.later = None
        with file_errors(self.root):
            for path in later:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    sync_file(fd)
                finally:
                    os.close(fd)
            for folder in {path.parent for path in later}:
                sync_directory(folder)

    @property
    def _later(self) -> list[Path] | None:
        """What `together` will bring to the disk; None outside of it."""
        found: list[Path] | None = getattr(self._own, "later", None)
        return found

    def _sync_name(self, path: Path) -> None:
        """Have a new blob's name on the disk, now or soon."""
        if not self.syncing:
            return
        if (later := self._later) is None:
            sync_directory(path.parent)
        else:
            later.append(path)

    def describe(self, digest: BlobDigest, media_type: str) -> None:
        """Remember what a stored manifest or index was sent as, for those that do not say it themselves."""
        with self.catalog.transaction(durable=False) as transaction:
            transaction.execute("UPDATE blob SET media_type = ? WHERE digest = ?", (media_type, digest))

    @contextlib.contextmanager
    def writer(
        self,
        lease: Lease,
        *,
        expect: BlobDigest | None = None,
        size: int | None = None,
        waiting: Callable[[], None] | None = None,
    ) -> Iterator[BlobWriter]:
        """A blob to write.  With `expect` it goes on where an earlier one stopped, even in another process.

        While another process writes the same blob this waits, calling `waiting` (which may raise) now and then,
        and then finds it complete: check `writer.offset` before asking anybody for bytes.  Leaving the `with`
        without `commit()` keeps what came, to go on from.
        """
        from veneer.store.blob_writer import opened

        with opened(self, lease, expect, size, waiting) as writer:
            yield writer

    def rescue(self, lease: Lease, digest: BlobDigest, size: int | None) -> bool:
        """Take in a file that has a blob's name and content but no row: its writer was killed in between."""
        spare = lease.file("found")
        try:
            os.link(self.path(digest), spare)
        except FileNotFoundError:
            return False
        length = os.stat(spare).st_size
        if not self.is_intact(digest, length if size is None else size):
            spare.unlink()
            return False
        self.publish(lease, spare, digest, length)
        return True

    def publish(self, lease: Lease, file: Path, digest: BlobDigest, size: int) -> None:
        """Make a verified, synced file in the store's own folders the blob `digest`; takes the file away.

        The file stays linked until the row is there, so that a collection which sees a name without a row and
        takes it for rubbish costs a second link, not the content.
        """
        target = self.path(digest)
        self._folder(target.parent)
        self._link(lease, file, target, digest, size)
        crashpoint("blob-linked")
        self._sync_name(target)
        with self.catalog.transaction(durable=False) as transaction:
            if not self._has_file(digest, size):
                # Swept between link and transaction, which no collection can do from here on.
                os.link(file, target)
                self._sync_name(target)
            transaction.execute(
                "INSERT INTO blob (digest, size, added) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET size = excluded.size",
                (digest, size, time.time()),
            )
            transaction.execute("DELETE FROM trash WHERE kind = 'blob' AND key = ?", (digest,))
            lease.hold_blob(transaction, digest)
        crashpoint("blob-row")
        os.unlink(file)

    def _link(self, lease: Lease, file: Path, target: Path, digest: BlobDigest, size: int) -> None:
        """Give the file its final name, unless an intact blob has it; a damaged one gives way."""
        try:
            os.link(file, target)
        except FileExistsError:
            if self.is_intact(digest, size):
                return
            spare = lease.file("replacement")
            os.link(file, spare)
            os.replace(spare, target)

    def _folder(self, folder: Path) -> None:
        if not folder.exists():
            make_directories(folder)

    def _has_file(self, digest: Digest, size: int) -> bool:
        try:
            return os.stat(self._file(digest), follow_symlinks=False).st_size == size
        except FileNotFoundError:
            return False


def _size(transaction: apsw.Connection, digest: str) -> int | None:
    found = transaction.execute("SELECT size FROM blob WHERE digest = ?", (digest,)).fetchone()
    return None if found is None else int(found[0])


def write_all(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data = data[written:]
        offset += written
