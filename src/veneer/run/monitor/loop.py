"""One thread that does everything: descriptors, timers, children; and coroutines that wait for them.

`async` without asyncio, whose import alone takes more memory and more time than a monitor may.  A coroutine awaits
Futures, and goes on in the loop when one is set.
Sources: waitpid(2), signal.set_wakeup_fd, PEP 492.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import signal
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Future(Generic[T]):
    """Something that will be known."""

    def __init__(self) -> None:
        self.is_set = False
        self._value: T
        self.error: BaseException | None = None
        self._then: list[Callable[[], object]] = []

    def set(self, value: T) -> None:
        """It is known now; whoever waits goes on.  What is known already stays."""
        if not self.is_set:
            self._value = value
            self._settle()

    def fail(self, error: BaseException) -> None:
        """Whoever waits gets this error."""
        if not self.is_set:
            self.error = error
            self._settle()

    def then(self, call: Callable[[], object]) -> None:
        """Call this when it is known; at once if it is."""
        if self.is_set:
            call()
        else:
            self._then.append(call)

    def value(self) -> T:
        """What is known, or the error raised."""
        if self.error is not None:
            raise self.error
        return self._value

    def __await__(self) -> Generator[Future[T], None, T]:
        if not self.is_set:
            yield self
        return self.value()

    def _settle(self) -> None:
        self.is_set = True
        waiting, self._then = self._then, []
        for call in waiting:
            call()


class Task(Future[T]):
    """A coroutine at work; a Future of what it returns."""

    def __init__(self, coroutine: Coroutine[Future[Any], None, T]) -> None:
        super().__init__()
        self._coroutine = coroutine
        self._waits_for: Future[Any] | None = None
        self._step()

    def cancel(self) -> None:
        """End it where it waits: its `finally` blocks run, and nothing it awaits matters any more."""
        if not self.is_set:
            self._waits_for = None
            self._coroutine.close()
            self.fail(Cancelled())

    def _step(self, of: Future[Any] | None = None) -> None:
        if self.is_set or of is not self._waits_for:
            return
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as end:
            self.set(end.value)
        except BaseException as error:  # noqa: BLE001 - raised where the task is awaited
            self.fail(error)
        else:
            self._waits_for = awaited
            awaited.then(lambda: self._step(awaited))


class Cancelled(Exception):
    """A task was ended before its end."""


class Timer:
    """A call that will be made, unless it is cancelled."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Looks at everything; made in the process that runs it, whose SIGCHLD it takes."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._children: dict[int, Future[int]] = {}
        self._unclaimed: dict[int, int] = {}
        self.report: Callable[[BaseException], object] = lambda _: None
        self.starting = 0
        """How many programs are being started whose children's numbers are not known yet."""
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.watch(woken, READ, lambda _: self._reap(woken))

    def watch(self, fd: int, events: int, call: Callable[[int], object]) -> None:
        """Call with the events (READ, WRITE) that are possible on the descriptor; with `events` 0 no more."""
        known = fd in self._selector.get_map()
        if known and events:
            self._selector.modify(fd, events, call)
        elif known:
            self._selector.unregister(fd)
        elif events:
            self._selector.register(fd, events, call)

    def later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call in this many seconds."""
        timer = Timer(call)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._numbers), timer))
        return timer

    def sleep(self, seconds: float) -> Future[None]:
        """Known in this many seconds."""
        future: Future[None] = Future()
        self.later(seconds, lambda: future.set(None))
        return future

    async def within(self, seconds: float, future: Future[Any]) -> bool:
        """Wait for it, but no longer than this; whether it came."""
        either: Future[None] = Future()
        timer = self.later(seconds, lambda: either.set(None))
        future.then(lambda: either.set(None))
        await either
        timer.cancel()
        return future.is_set

    def spawn(self, coroutine: Coroutine[Future[Any], None, T]) -> Task[T]:
        """Have it done beside; what it raises and nobody awaits is told to `report`."""
        task = Task(coroutine)
        task.then(lambda: task.error is None or isinstance(task.error, Cancelled) or self.report(task.error))
        return task

    def child(self, pid: int) -> Future[int]:
        """The exit code of this child (128 and the signal's number for one that a signal ended)."""
        if pid in self._unclaimed:
            future: Future[int] = Future()
            future.set(self._unclaimed.pop(pid))
            return future
        return self._children.setdefault(pid, Future())

    def run(self, until: Future[Any]) -> None:
        """Go on until this is known."""
        while not until.is_set:
            seconds = self._due()
            for key, events in self._selector.select(0 if until.is_set else seconds):
                # What an earlier call of this round has taken away is not asked any more.
                if self._selector.get_map().get(key.fd) is key:
                    key.data(events)

    def _due(self) -> float | None:
        """Make the calls that are due; seconds to the next one."""
        while self._timers:
            at, _, timer = self._timers[0]
            if timer.call is not None:
                left = at - time.monotonic()
                if left > 0:
                    return left
            heapq.heappop(self._timers)
            if timer.call is not None:
                timer.call()
        return None

    def _reap(self, woken: int) -> None:
        os.read(woken, 512)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
            future = self._children.pop(pid, None)
            if future is not None:
                future.set(code)
            elif self.starting:
                self._unclaimed[pid] = code
            if not self.starting:
                self._unclaimed.clear()
