"""Unpacks layers in other processes, several at a time."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from veneer.errors import KINDS, Unavailable, VeneerError

if TYPE_CHECKING:
    import socket
    import subprocess
    from collections.abc import Sequence
    from concurrent.futures import Future

    from veneer.changeset.unpack import Unpacked
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.oci.digest import DiffID

_STDERR_SHOWN = 2000
_START = "import sys; sys.path[:] = sys.argv[1:]; from veneer.changeset.worker import main; main()"


class WorkerDied(Unavailable):
    """The process that unpacked a layer ended before it was done."""


class PoolClosed(Unavailable):
    """The pool was closed while or before a layer was unpacked."""


class _Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        import socket
        import subprocess
        import sys
        import tempfile

        ours, theirs = socket.socketpair()
        self.socket: socket.socket = ours
        self._errors = errors = tempfile.TemporaryFile()  # noqa: SIM115 -- open as long as the process; stop() closes it
        try:
            # Isolated (-I) and without site (-S): neither the environment nor the working directory adds modules,
            # what this process imports from is what the worker imports from, and start-up is shorter.
            path = [entry for entry in sys.path if entry.startswith("/")]
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, *path],
                stdin=theirs.fileno(),
                stdout=errors,
                stderr=errors,
            )
        except BaseException:
            ours.close()
            errors.close()
            raise
        finally:
            theirs.close()

    def run(self, job: tuple[Any, ...], fds: Sequence[int], what: str) -> Unpacked:
        """Send one job and wait for its answer."""
        from veneer.changeset.worker import receive, send

        try:
            send(self.socket, job, list(fds))
            received = receive(self.socket)
        except OSError:
            received = None  # a worker that died resets the connection; how it ended says more
        if received is None:
            raise self._death(what)
        return _result(received[0])

    def _death(self, what: str) -> WorkerDied:
        self.process.kill()
        status = self.process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - _STDERR_SHOWN))
        said = self._errors.read().decode(errors="backslashreplace").strip()
        hint = "signal 9 without anybody sending it means that memory ran out" if status == -9 else ""
        return WorkerDied(f"{what}: the process unpacking it {how}" + (f": {said}" if said else ""), hint=hint)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process: at once if it is busy, and certainly."""
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self._errors.close()


def _result(answer: tuple[Any, ...]) -> Unpacked:
    from veneer.changeset.unpack import Unpacked

    if answer[0] == "done":
        return Unpacked(*answer[1:])
    _, module, name, message, hint = answer
    raise _error_class(module, name)(message, hint=hint)


def _error_class(module: str, name: str) -> type[VeneerError]:
    """The class of an error a worker reports: its own if it is one of ours that takes a message, else its kind."""
    import importlib

    if module.startswith("veneer."):
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, VeneerError):
            if found.__init__ is VeneerError.__init__:
                return found
            return next((kind for kind in KINDS if issubclass(found, kind)), VeneerError)
    return VeneerError


class UnpackPool:
    """Up to `workers` processes that unpack layers.  They start when first needed and stay until close().

    Thread-safe.  A worker that dies fails its own job only.
    """

    def __init__(self, workers: int) -> None:
        from concurrent.futures import ThreadPoolExecutor

        # One thread waits for one worker; the kernel kills a worker when the thread that started it ends
        # (PR_SET_PDEATHSIG), and these threads end with the executor, after every worker.
        self._threads = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="unpack")
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    def unpack(
        self,
        blob_fd: int,
        wake_fd: int | None,
        root_fd: int,
        index_fd: int | None,
        style: WhiteoutStyle,
        *,
        expect: DiffID | None,
        what: str,
    ) -> Future[Unpacked]:
        """Start unpacking the blob at `blob_fd` into the directory `root_fd`; the layer index goes to `index_fd`.

        `wake_fd`: a Feeder's, for a blob that is still being written; None for a whole one.  Descriptors are
        duplicated: the caller may close its own at once.  The future gives what unpack() gives or raises what
        it raises, DiffIDMismatch (Corrupt) unless the content is `expect`, WorkerDied, or PoolClosed.
        """
        job = (wake_fd is not None, index_fd is not None, style.name, str(expect or ""), what)
        fds: list[int] = []
        try:
            for fd in (blob_fd, root_fd, wake_fd, index_fd):
                if fd is not None:
                    fds.append(os.dup(fd))
            future = self._threads.submit(self._work, job, fds, what)
        except BaseException as error:
            for fd in fds:
                os.close(fd)
            if isinstance(error, RuntimeError):
                raise PoolClosed(f"{what}: the pool is closed") from error
            raise

        def cancelled(done: Future[Unpacked]) -> None:
            if done.cancelled():
                for fd in fds:
                    os.close(fd)

        future.add_done_callback(cancelled)
        return future

    def _work(self, job: tuple[Any, ...], fds: list[int], what: str) -> Unpacked:
        try:
            worker = self._take(what)
            try:
                result = worker.run(job, fds, what)
            except WorkerDied:
                with self._lock:
                    closed = self._closed
                    self._all.discard(worker)
                worker.stop()
                if closed:
                    raise PoolClosed(f"{what}: the pool was closed") from None
                raise
            except BaseException:
                self._give_back(worker)
                raise
            self._give_back(worker)
            return result
        finally:
            for fd in fds:
                os.close(fd)

    def _take(self, what: str) -> _Worker:
        with self._lock:
            if self._closed:
                raise PoolClosed(f"{what}: the pool is closed")
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                self._all.discard(worker)
                worker.stop()
            worker = _Worker()
            self._all.add(worker)
            return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)

    def close(self) -> None:
        """End every worker, the busy ones too (their futures raise PoolClosed), and wait for the threads."""
        with self._lock:
            self._closed = True
            for worker in self._all:
                worker.process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for worker in self._all:
                worker.stop()
            self._all.clear()
            self._idle.clear()

    def __enter__(self) -> UnpackPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
