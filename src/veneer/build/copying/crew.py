"""Processes that copy for one build: entry after entry is Python, which only processes do side by side.

They are started when a copy is large enough to be worth it, and kept for the next.  A job goes to whoever has the
least to do, and the answers are taken in the order of the jobs, so the layer's hash sees its tar from start to end.
What a process is ahead by lies in its buffers; it waits when they are full.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from veneer.build.copying.buffer import BUFFER
from veneer.build.copying.items import Copied, Rules
from veneer.changeset.pool import WorkerDied, error_class
from veneer.changeset.worker import Message, packed, receive, send

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.copying.filling import Job

LEAST_ITEMS = 1000
LEAST_BYTES = 32 << 20
"""What is less in both ways is copied faster than processes start."""
_BUFFERS = 16
"""Of each process: while one is at a large file, the other goes on with what comes after it."""
_AHEAD = 3
"""Jobs a process has been given and not yet answered."""
_UNREAD = 64
"""Jobs whose results may wait for those of one before them."""
_SHOWN = 2000
_START = "import sys; sys.path[:] = sys.argv[1:]; from veneer.build.copying.worker import main; main()"


class _Process:
    """One process, its socket and its buffers."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        self._errors = errors = open(os.memfd_create("veneer-copier"), "w+b")  # noqa: SIM115 -- open as long as the process
        path = [entry for entry in sys.path if entry.startswith("/")]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _START, *path], stdin=theirs.fileno(), stdout=errors, stderr=errors
        )
        theirs.close()
        memory = os.memfd_create("veneer-copy", os.MFD_CLOEXEC)
        reading, self._free = os.pipe2(os.O_CLOEXEC)
        try:
            os.ftruncate(memory, _BUFFERS * BUFFER)
            self._memory = memoryview(mmap.mmap(memory, _BUFFERS * BUFFER))
            self.say(("memory", _BUFFERS), memory, reading)
        finally:
            os.close(memory)
            os.close(reading)
        self._most = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 3  # the kernel counts more than the bytes
        self._owed: deque[int] = deque()
        self.arrived: deque[Message] = deque()
        """What it said and nobody has looked at: of each of its jobs the pieces, then what became of it."""

    @property
    def owes(self) -> int:
        """How many jobs it has not answered."""
        return len(self._owed)

    def has_room(self, length: int) -> bool:
        """Whether a job of so many bytes can be given without waiting for the process to take it.

        It does not take one while its buffers are full, and they may be until this process is done with others'.
        """
        owed = self._owed
        return not owed or (len(owed) < _AHEAD and sum(owed) + length <= self._most)

    def give(self, job: bytes) -> None:
        """Have a job done."""
        self._owed.append(len(job))
        try:
            self.socket.sendall(job)
        except OSError:
            raise self._death() from None

    def say(self, message: Message, *fds: int) -> None:
        try:
            send(self.socket, message, list(fds))
        except OSError:
            raise self._death() from None

    def hear(self) -> None:
        """Take what it says next; waits for it."""
        try:
            received = receive(self.socket)
        except OSError:
            received = None
        if received is None:
            raise self._death()
        message = received[0]
        if message[0] != "piece":
            self._owed.popleft()
        self.arrived.append(message)

    def buffer(self, number: int) -> memoryview:
        """One of its buffers; it is left alone until `release`."""
        return self._memory[number * BUFFER : (number + 1) * BUFFER]

    def release(self, buffer: int) -> None:
        """Let it fill a buffer again."""
        os.write(self._free, bytes((buffer,)))

    def _death(self) -> WorkerDied:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)  # its socket is closed: it is about to end, if it has not
        self._process.kill()
        status = self._process.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _SHOWN))
        said = self._errors.read().decode(errors="backslashreplace").strip()
        how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
        hint = "signal 9 without anybody sending it means that memory ran out" if status == -9 else ""
        return WorkerDied(f"a process that copied files {how}" + (f": {said}" if said else ""), hint=hint)

    def stop(self) -> None:
        self.socket.close()
        os.close(self._free)
        self._process.kill()
        self._process.wait()
        self._errors.close()


class Crew:
    """As many processes as there are cores, for one layer at a time."""

    def __init__(self) -> None:
        self._processes: list[_Process] = []
        try:
            for _ in os.sched_getaffinity(0):
                self._processes.append(_Process())
        except BaseException:
            self.close()
            raise
        self._by_fd = {process.socket.fileno(): process for process in self._processes}
        self._poll = select.poll()
        for fd in self._by_fd:
            self._poll.register(fd, select.POLLIN)

    def begin(self, target: int, trees: Sequence[tuple[int, Rules]], *, latest_ns: int | None, replacing: bool) -> None:
        """Say what is to be filled, and from what."""
        for process in self._processes:
            process.say(("begin", latest_ns, replacing), target)
            for fd, rules in trees:
                process.say(("tree", rules.as_tuple()), fd)

    def work(
        self, jobs: Iterator[Job], piece: Callable[[memoryview], None]
    ) -> Iterator[tuple[Job, list[Copied]]]:  # fmt: skip
        """Have jobs done: each with what its items became, in order; before it, `piece` has been given its tar.

        Raises what copying raises, and WorkerDied.
        """
        waiting: deque[tuple[_Process, Job]] = deque()
        todo = ((job, packed(("copy", tuple((*run[:3], tuple(run[3])) for run in job.runs)))) for job in jobs)
        following = next(todo, None)
        while following is not None or waiting:
            while following is not None and len(waiting) < _UNREAD:
                process = min(self._processes, key=lambda each: each.owes)
                if not process.has_room(len(following[1])):
                    break
                process.give(following[1])
                waiting.append((process, following[0]))
                following = next(todo, None)
            process, job = waiting[0]
            self._hear(None if not process.arrived else 0)
            if process.arrived and (copied := _next(process, piece)) is not None:
                waiting.popleft()
                yield job, copied
        for process in self._processes:
            process.say(("end",))

    def _hear(self, patience: int | None) -> None:
        """Take what the processes say within so many milliseconds; None: until one says something."""
        for fd, _ in self._poll.poll(patience):
            self._by_fd[fd].hear()

    def close(self) -> None:
        for process in self._processes:
            process.stop()
        self._processes = []


def _next(process: _Process, piece: Callable[[memoryview], None]) -> list[Copied] | None:
    """Take what has arrived of a job: its results, or None after one of its pieces."""
    message = process.arrived.popleft()
    if message[0] == "piece":
        _, buffer, length = message
        piece(process.buffer(buffer)[:length])
        process.release(buffer)
        return None
    if message[0] == "done":
        return list(message[1])
    if message[0] == "os":
        _, number, text, name = message
        raise OSError(number, text, name)
    _, module, kind, text, hint = message
    raise error_class(module, kind)(text, hint=hint)


class Crews:
    """Lends a build's crew to one copy at a time; whoever finds it taken works alone.  Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._crew: Crew | None = None

    @contextlib.contextmanager
    def lend(self, items: int, size: int) -> Iterator[Crew | None]:
        """The crew, or None where it is not worth it for so many entries and bytes, or not to be had."""
        worth = (items >= LEAST_ITEMS or size >= LEAST_BYTES) and len(os.sched_getaffinity(0)) > 1
        if not worth or not self._lock.acquire(blocking=False):
            yield None
            return
        try:
            if self._crew is None:
                self._crew = Crew()
            try:
                yield self._crew
            except BaseException:
                self.close()  # it may be in the middle of something
                raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the processes, and wait for them."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()
