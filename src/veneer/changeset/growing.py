"""A file that is read while it is still being written, in this process or another.

The writer keeps a `Feeder` and says how far the file has come; the reader sees an ordinary source that
waits where the file ends until there is more.  Between them is a pipe of 8-byte records, so a writer
that dies is seen as the pipe's end.
"""

from __future__ import annotations

import os
import select
import struct
from types import TracebackType
from typing import Protocol, runtime_checkable

from veneer.errors import Unavailable

_RECORD = struct.Struct("<Q")
_FINISHED = 1 << 63
_PENDING = 4096  # bytes; well under a pipe's capacity even where it is one page (pipe-user-pages-soft)
_FIONREAD = 0x541B


@runtime_checkable
class Interruptible(Protocol):
    """A source that may make a thread wait, and can call it back."""

    def interrupt(self) -> None: ...


class Aborted(Unavailable):
    """The writer gave up before the file was whole."""


class Feeder:
    """The writing side: tells a GrowingSource how many bytes of the file are there.

    Not thread-safe: one writer.  `wake_fd` is the reader's end; it stays open until `close`.
    """

    def __init__(self) -> None:
        self.wake_fd, self._fd = os.pipe()
        os.set_blocking(self._fd, False)

    def advanced(self, total: int) -> None:
        """Say that the first `total` bytes are written.  Never blocks; news may be merged with the next."""
        if self._fd >= 0 and self._pending() < _PENDING:
            self._send(total)

    def finish(self, total: int) -> None:
        """Say that the file is whole and `total` bytes long."""
        if self._fd >= 0:
            # Always fits: advanced() stops at _PENDING bytes, so the news of the end is never lost.
            self._send(total | _FINISHED)
            self._shut()

    def abort(self) -> None:
        """Give up: the reader raises Aborted once it has read what is there."""
        self._shut()

    def close(self) -> None:
        """Release both ends; aborts unless finished."""
        self._shut()
        if self.wake_fd >= 0:
            os.close(self.wake_fd)
            self.wake_fd = -1

    def __enter__(self) -> Feeder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pending(self) -> int:
        import fcntl

        return int(struct.unpack("i", fcntl.ioctl(self._fd, _FIONREAD, b"\0\0\0\0"))[0])

    def _send(self, record: int) -> None:
        try:
            os.write(self._fd, _RECORD.pack(record))
        except BrokenPipeError:
            self._shut()  # nobody reads any more; whoever unpacks reports why

    def _shut(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class GrowingSource:
    """The reading side: the bytes of the file at `blob_fd` from its start, as they arrive.

    `wake_fd` None means that the file is complete.  Both descriptors stay the caller's.  `readinto` raises
    Aborted if the writer gave up or died.  `shown`: the file's own offset goes along, so that others who have the same
    open file, in whatever process, see how far this is.
    """

    def __init__(self, blob_fd: int, wake_fd: int | None, *, shown: bool = False) -> None:
        self._blob_fd = blob_fd
        self._wake_fd = wake_fd
        self._shown = shown
        self._interrupt_fd = -1 if wake_fd is None else os.eventfd(0, os.EFD_CLOEXEC)
        self._offset = 0
        self._known = 0
        self._finished = wake_fd is None

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        """Fill the start of `buffer`; 0 at the end of the finished file."""
        if self._wake_fd is None:
            count = os.preadv(self._blob_fd, [buffer], self._offset)
        else:
            while self._offset >= self._known:
                if self._finished:
                    return 0
                self._wait()
            view = memoryview(buffer)[: self._known - self._offset]
            count = os.preadv(self._blob_fd, [view], self._offset)
            if count == 0 and len(view):
                raise Aborted(f"the download is shorter ({self._offset} bytes) than its writer said ({self._known})")
        self._offset += count
        if self._shown:
            os.lseek(self._blob_fd, self._offset, os.SEEK_SET)
        return count

    def interrupt(self) -> None:
        """Have a `readinto` of another thread that waits for more, and every later one that would, raise Aborted."""
        if self._interrupt_fd >= 0:
            os.eventfd_write(self._interrupt_fd, 1)

    def close(self) -> None:
        """Give back what waiting took; nobody may be in `readinto`."""
        if self._interrupt_fd >= 0:
            os.close(self._interrupt_fd)
            self._interrupt_fd = -1

    def __enter__(self) -> GrowingSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self) -> None:
        assert self._wake_fd is not None
        waiting = select.poll()
        waiting.register(self._wake_fd, select.POLLIN)
        waiting.register(self._interrupt_fd, select.POLLIN)
        if any(fd == self._interrupt_fd for fd, _ in waiting.poll()):
            raise Aborted(f"reading was given up after {self._offset} bytes")
        # Records are written whole (8 < PIPE_BUF) and read in multiples of 8, so none is ever split.
        records = os.read(self._wake_fd, 1 << 16)
        if not records:
            raise Aborted(f"the download stopped after {self._known} bytes")
        record = _RECORD.unpack_from(records, len(records) - 8)[0]
        self._finished = bool(record & _FINISHED)
        self._known = max(self._known, record & ~_FINISHED)
