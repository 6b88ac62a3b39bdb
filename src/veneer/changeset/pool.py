"""Unpacks layers in other processes, several at a time."""

from __future__ import annotations

import contextlib
import heapq
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
    from veneer.oci.digest import DiffID, Digest

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

        ours, theirs = socket.socketpair()
        self.socket: socket.socket = ours
        # In memory: a few lines at most, and a machine may have no place for temporary files.
        errors = open(os.memfd_create("veneer-worker"), "w+b")  # noqa: SIM115 -- open as long as the process; stop() closes it
        self._errors = errors
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

    def wait_until_ready(self) -> None:
        """Return once the process runs.  One that ended before tells why when it is given something to do."""
        from veneer.changeset.worker import receive

        with contextlib.suppress(OSError):
            receive(self.socket)

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
    raise error_class(module, name)(message, hint=hint)


def error_class(module: str, name: str) -> type[VeneerError]:
    """The class of an error a worker reports: its own if it is one of ours that takes a message, else its kind."""
    import importlib

    if module.startswith("veneer."):
        found = getattr(importlib.import_module(module), name, None)
        if isinstance(found, type) and issubclass(found, VeneerError):
            if found.__init__ is VeneerError.__init__:
                return found
            return next((kind for kind in KINDS if issubclass(found, kind)), VeneerError)
    return VeneerError


class _Job:
    """A layer that waits for a process, or has one.  The descriptors are the job's own."""

    def __init__(self, message: tuple[Any, ...], fds: Sequence[int | None], what: str) -> None:
        from concurrent.futures import Future

        self.message, self.what = message, what
        self.future: Future[Unpacked] = Future()
        self.fds: list[int] = []
        try:
            for fd in fds:
                if fd is not None:
                    self.fds.append(os.dup(fd))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())

    def give_up(self) -> None:
        if self.future.cancel():
            self.close()


class UnpackPool:
    """Up to `workers` processes that unpack layers.  They start when first needed and stay until close().

    Thread-safe.  A worker that dies fails its own job only.
    """

    def __init__(self, workers: int) -> None:
        self._most = max(1, workers)
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, _Job]] = []
        self._submitted = 0
        # One thread has one worker: the kernel kills a worker when the thread that started it ends
        # (PR_SET_PDEATHSIG).
        self._threads: list[threading.Thread] = []
        self._free = 0
        self._workers: set[_Worker] = set()
        self._closed = False

    def start(self, layers: int) -> None:
        """Have processes ready for so many layers that are about to come; it takes a while, and other things go on."""
        with self._changed:
            self._recruit(layers)

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
        digest: Digest | None = None,
        weight: int = 0,
    ) -> Future[Unpacked]:
        """Start unpacking the blob at `blob_fd` into the directory `root_fd`; the layer index goes to `index_fd`.

        `wake_fd`: a Feeder's, for a blob that is still being written; None for a whole one.  Descriptors are
        duplicated: the caller may close its own at once.  Of the layers that wait the one of most `weight` goes
        first.  The future gives what unpack() gives or raises what it raises, DiffIDMismatch (Corrupt) unless the
        content is `expect`, WorkerDied, or PoolClosed.  `digest` as for unpack(): the blob's, if the caller proves it.
        """
        message = (wake_fd is not None, index_fd is not None, style.name, str(expect or ""), str(digest or ""), what)
        job = _Job(message, (blob_fd, root_fd, wake_fd, index_fd), what)
        with self._changed:
            if self._closed:
                job.close()
                raise PoolClosed(f"{what}: the pool is closed")
            self._submitted += 1
            heapq.heappush(self._waiting, (-weight, self._submitted, job))
            self._recruit(len(self._waiting))
            self._changed.notify()
        return job.future

    def _recruit(self, jobs: int) -> None:
        """Have threads for so many jobs, as far as may be; with the lock held."""
        while not self._closed and self._free < jobs and len(self._threads) < self._most:
            # Daemons: nobody who forgets close() shall hang at exit, and no worker outlives its thread.
            thread = threading.Thread(target=self._serve, name=f"unpack-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            self._free += 1
            thread.start()

    def _serve(self) -> None:
        """One thread's life: a worker, and one job after the other for it."""
        worker: _Worker | None = None
        # Ahead of the choice of a job: by the time the process runs, more of them may have come.
        with contextlib.suppress(OSError, PoolClosed):  # the job will tell
            worker = self._hired(None)
        while (job := self._next()) is not None:
            try:
                worker = self._hired(worker)
                result = worker.run(job.message, job.fds, job.what)
            except BaseException as error:  # noqa: BLE001 -- whatever it is, it is told to who waits for the job
                if isinstance(error, WorkerDied) and self._closed:
                    error = PoolClosed(f"{job.what}: the pool was closed")
                self._finish(job)
                job.future.set_exception(error)
            else:
                self._finish(job)
                job.future.set_result(result)
        if worker is not None:
            self._dismiss(worker)

    def _next(self) -> _Job | None:
        """The weightiest job that waits, once there is one; None when the pool is closed."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return None
                job = heapq.heappop(self._waiting)[2]
                if job.future.set_running_or_notify_cancel():
                    self._free -= 1
                    return job
                job.close()

    def _finish(self, job: _Job) -> None:
        job.close()
        with self._changed:
            self._free += 1

    def _hired(self, worker: _Worker | None) -> _Worker:
        """`worker` if it lives, else another one, ready for work."""
        if worker is not None:
            if worker.alive:
                return worker
            self._dismiss(worker)
        worker = _Worker()
        with self._changed:
            closed = self._closed
            self._workers.add(worker)
        if closed:
            self._dismiss(worker)
            raise PoolClosed("the pool is closed")
        worker.wait_until_ready()
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        with self._changed:
            self._workers.discard(worker)
        worker.stop()

    def close(self) -> None:
        """End every worker, the busy ones too (their futures raise PoolClosed), and wait for the threads."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            for worker in self._workers:
                worker.process.kill()
            self._changed.notify_all()
        for _, _, job in waiting:
            job.give_up()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> UnpackPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
