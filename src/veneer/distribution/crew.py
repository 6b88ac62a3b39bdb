"""Several transfers at a time, of which the first failure stops all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from veneer.distribution.client import Registries
from veneer.distribution.retry import check

Task = Callable[[], None]


def _nothing(position: int) -> None:
    """Nothing is to be done after a task."""


class Crew:
    """Runs tasks in at most `size` threads; a failure breaks the connections of the others, so that none lingers."""

    def __init__(self, registries: Registries, size: int, name: str) -> None:
        self._registries, self._size, self._name = registries, size, name
        self._failure: BaseException | None = None
        self._lock = threading.Lock()

    def run(self, tasks: Mapping[int, Task], then: Callable[[int], None] = _nothing) -> None:
        """Do every task, begun in the order of the mapping; `then` is called here for each position, lowest first.

        Raises what failed first; whatever else was under way has ended by then.
        """
        if not tasks:
            return
        with ThreadPoolExecutor(min(self._size, len(tasks)), self._name) as pool:
            running: dict[int, Future[None]] = {at: pool.submit(self._guarded, task) for at, task in tasks.items()}
            try:
                for position in sorted(running):
                    running[position].result()
                    then(position)
            except BaseException as error:
                # What failed first explains the rest, which was merely stopped because of it.
                first = self._failure
                self._registries.stop()
                for future in running.values():
                    future.cancel()
                wait(running.values())
                if first is not None and first is not error and isinstance(error, Exception):
                    raise first from None
                raise

    def _guarded(self, task: Task) -> None:
        check(self._registries.effort.stop)
        try:
            task()
        except BaseException as error:
            with self._lock:
                self._failure = self._failure or error
            self._registries.stop()
            raise
