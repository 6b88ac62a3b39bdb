"""What a screen opened and its threads use: closed when the screen is left, and nobody uses it any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


class Kept:
    """Things to be closed, from whatever thread they come.

    While somebody uses them (`used`) nothing is closed; what comes after the end is closed at once.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._users = 0
        self._over = False
        self._closers: list[Callable[[], object]] = []

    def add(self, close: Callable[[], object]) -> None:
        """Call this at the end."""
        with self._guard:
            self._closers.append(close)
        self._close_if_over()

    @contextlib.contextmanager
    def used(self) -> Iterator[bool]:
        """While in here nothing is closed; False if all is over already."""
        with self._guard:
            there = not self._over
            self._users += 1
        try:
            yield there
        finally:
            with self._guard:
                self._users -= 1
            self._close_if_over()

    def close(self) -> None:
        """Nothing is needed any more but by those that use it now."""
        with self._guard:
            self._over = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        with self._guard:
            if not self._over or self._users:
                return
            closers, self._closers = self._closers, []
        for close in reversed(closers):
            close()
