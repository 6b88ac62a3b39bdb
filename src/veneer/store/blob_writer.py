"""One blob on its way in: hashed while it is written, capped, resumable, readable while it grows."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from veneer.errors import Corrupt, InvalidRequest
from veneer.oci.digest import BlobDigest, Digest
from veneer.store.blobs import CHUNK, BlobStore, write_all
from veneer.store.durability import crashpoint, file_errors, sync_file

if TYPE_CHECKING:
    from veneer.changeset.growing import Feeder
    from veneer.store.leases import Lease


WRITE_BACK = 8 << 20
"""Every so many bytes the kernel is told to begin writing what came to the disk: the sync at the end is then short."""


class _WriteBack:
    """Has the kernel write a growing file to its disk meanwhile; from a thread, for a busy disk lets nobody go on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._changed = threading.Condition()
        self._total = self._begun = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="write-back", daemon=True)
        self._thread.start()

    def advanced(self, total: int) -> None:
        """Say that the first `total` bytes are there."""
        with self._changed:
            self._total = total
            if total - self._begun >= WRITE_BACK:
                self._changed.notify()

    def _run(self) -> None:
        from veneer.changeset.syscalls import start_writing_back

        while True:
            with self._changed:
                while self._total - self._begun < WRITE_BACK and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                begun, self._begun = self._begun, self._total
            start_writing_back(self._fd, begun, self._begun - begun)

    def close(self) -> None:
        """Let go of the file, once the kernel is through with what it was told."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()


class BlobTooLong(Corrupt):
    """More bytes came than were announced."""


class BlobTooShort(Corrupt):
    """Fewer bytes came than were announced."""


class BlobMismatch(Corrupt):
    """The bytes that came have another digest, `actual`, than the one asked for."""

    def __init__(self, message: str, *, actual: BlobDigest | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.actual = actual


class BlobComplete(InvalidRequest):
    """Bytes are offered for a blob that the store has already."""


class BlobWriter:
    """Write bytes in order, then `commit()`.

    `offset` is how many bytes are here; `resumed` how many of them an earlier writer left; `complete` says that
    the store has the whole blob already, so that only `commit()` is left to do.
    """

    def __init__(
        self, blobs: BlobStore, lease: Lease, file: Path, fd: int, expect: BlobDigest | None, size: int | None
    ) -> None:
        self.expect = expect
        self.size = size
        self.digest: BlobDigest | None = None
        self.offset = 0
        self.resumed = 0
        self.complete = False
        self._blobs = blobs
        self._lease = lease
        self._file = file
        self._fd = fd
        self._hash = hashlib.new(expect.algorithm if expect else "sha256")
        self._feeder: Feeder | None = None
        self._fed = 0
        self._write_back: _WriteBack | None = None

    def _what(self) -> str:
        return f"blob {self.expect}" if self.expect else "blob"

    def fileno(self) -> int:
        """A descriptor of the growing file, for GrowingSource.  It is the writer's; duplicate it to keep it."""
        return self._fd

    def feeder(self) -> Feeder:
        """The Feeder that tells a GrowingSource how far the file has grown; the writer runs and closes it."""
        if self._feeder is None:
            from veneer.changeset.growing import Feeder

            self._feeder = Feeder()
            self._announce()
            if self.complete:
                self._feeder.finish(self.offset)
        return self._feeder

    def _announce(self) -> None:
        if self._feeder is not None and self.offset > self._fed:
            self._fed = self.offset
            self._feeder.advanced(self.offset)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Add bytes.  Raises BlobTooLong past the announced size, StoreFull."""
        view = memoryview(data).cast("B")
        length = len(view)
        if self.complete or (self.size is not None and self.offset + length > self.size):
            # The first bytes may well be right, but whoever sends too much is not to be gone on from.
            self._forget()
            raise BlobTooLong(f"{self._what()}: more than the {self.size} bytes announced")
        with file_errors(self._blobs.root):
            write_all(self._fd, view, self.offset)
        self._hash.update(view)
        self.offset += length
        self._announce()
        if self._blobs.syncing and self.offset >= WRITE_BACK:
            if self._write_back is None:
                self._write_back = _WriteBack(self._fd)
            self._write_back.advanced(self.offset)
        return length

    def restart(self) -> None:
        """Begin again at the first byte: the sender cannot go on from `offset`."""
        if self.complete:
            raise BlobComplete(f"{self._what()} is complete")
        # The file keeps its bytes: somebody may be reading them, and the same ones are about to be written.
        self._hash = hashlib.new(self._hash.name)
        self.offset = self.resumed = 0

    def resume(self) -> None:
        """Take over what the file holds, re-hashed; what cannot be a beginning of the blob is dropped."""
        length = os.fstat(self._fd).st_size
        if self.size is not None and length > self.size:
            os.ftruncate(self._fd, 0)
            return
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        while count := os.preadv(self._fd, [view], self.offset):
            self._hash.update(view[:count])
            self.offset += count
        if self.offset == self.size and self.expect and self._hash.hexdigest() != self.expect.hex:
            os.ftruncate(self._fd, 0)
            self.restart()
        self.resumed = self.offset

    def adopt(self) -> None:
        """The store has this blob: stand at its end."""
        self.offset = self.resumed = os.fstat(self._fd).st_size
        self.digest = self.expect
        self.complete = True

    def commit(self) -> BlobDigest:
        """Verify, make it durable and give it its name and row; the lease keeps it.  Returns its digest.

        Raises BlobTooShort (what came stays, to go on from) and BlobMismatch (nothing stays).
        """
        if self.digest is not None:
            return self.digest
        if self.size is not None and self.offset < self.size:
            raise BlobTooShort(f"{self._what()}: {self.offset} of {self.size} bytes came",
                               hint="try again: it goes on from there")  # fmt: skip
        if self._feeder is not None:
            self._feeder.finish(self.offset)
        actual = BlobDigest(Digest.parse(f"{self._hash.name}:{self._hash.hexdigest()}"))
        if self.expect is not None and actual != self.expect:
            self._forget()
            raise BlobMismatch(
                f"blob {self.expect}: what came has digest {actual}",
                actual=actual,
                hint="the sender, or something on the way, changed it; try again",
            )
        with file_errors(self._blobs.root):
            if os.fstat(self._fd).st_size != self.offset:
                os.ftruncate(self._fd, self.offset)
            crashpoint("blob-written")
            self._end_write_back()
            if self._blobs.syncing:
                sync_file(self._fd)
            self._blobs.publish(self._lease, self._file, actual, self.offset)
        self.digest = actual
        return actual

    def _end_write_back(self) -> None:
        if self._write_back is not None:
            self._write_back.close()
            self._write_back = None

    def _forget(self) -> None:
        """Leave nothing to go on from."""
        if not self.complete:
            os.ftruncate(self._fd, 0)

    def close(self) -> None:
        self._end_write_back()
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            if self.digest is None:
                feeder.abort()
            feeder.close()
        if self.digest is None and (self.expect is None or os.fstat(self._fd).st_size == 0):
            self._file.unlink(missing_ok=True)
        os.close(self._fd)


@contextlib.contextmanager
def opened(
    blobs: BlobStore,
    lease: Lease,
    expect: BlobDigest | None,
    size: int | None,
    waiting: Callable[[], None] | None = None,
) -> Iterator[BlobWriter]:
    """See BlobStore.writer."""
    with file_errors(blobs.root):
        writer = _open(blobs, lease, expect, size, waiting)
    try:
        yield writer
    finally:
        writer.close()


def _open(
    blobs: BlobStore, lease: Lease, expect: BlobDigest | None, size: int | None, waiting: Callable[[], None] | None
) -> BlobWriter:
    if expect is None:
        file = lease.file("blob")
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        return BlobWriter(blobs, lease, file, fd, None, size)
    partial = (
        blobs.root / "partial" / (expect.hex if expect.algorithm == "sha256" else f"{expect.algorithm}-{expect.hex}")
    )
    fd = _hold_partial(partial, waiting)
    try:
        if blobs.acquire(lease, expect) or blobs.rescue(lease, expect, size):
            held = os.open(blobs.path(expect), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            partial.unlink()
            os.close(fd)
            fd = held
            writer = BlobWriter(blobs, lease, partial, fd, expect, size)
            writer.adopt()
            return writer
        writer = BlobWriter(blobs, lease, partial, fd, expect, size)
        writer.resume()
        return writer
    except BaseException:
        os.close(fd)
        raise


def _hold_partial(partial: Path, waiting: Callable[[], None] | None) -> int:
    """The partial file, held against other writers of the same blob."""
    pause = 0.01
    while True:
        fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            if waiting is not None:
                waiting()
            time.sleep(pause)
            pause = min(pause * 2, 0.25)
            continue
        except BaseException:
            os.close(fd)
            raise
        mine = os.fstat(fd)
        try:
            named = os.stat(partial, follow_symlinks=False)
        except FileNotFoundError:
            named = None
        if named is not None and (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino):
            if mine.st_nlink == 1:
                return fd
            # Killed between the blob's name and its row: this file *is* the blob and must not be written to.
            # BlobStore.rescue takes it in under its own name.
            partial.unlink()
        # Else the one before us committed it away: what we hold is a stored blob, or nothing.
        os.close(fd)
