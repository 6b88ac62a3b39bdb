"""When to try again, and how long to wait before: a policy, a clock and a counter.

Waits use the monotonic clock, so a wall clock ten years off changes nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from veneer.errors import VeneerError
from veneer.progress import Cancelled

RETRY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


class Clock:
    """The time, and waiting; tests bring one that does neither."""

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time()

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Wait; returns early once `stop` is set."""
        stop.wait(seconds)


@dataclass(frozen=True, slots=True)
class Policy:
    """How stubborn to be.  Times are in seconds, sizes in bytes."""

    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    waits_in_all: float = 300.0
    progress: int = 1 << 20
    """So many new bytes prove that the other side works: the count of tries starts again."""


Notice = Callable[[float, str], None]
"""Told before each wait: the seconds, and why."""


def no_notice(seconds: float, reason: str) -> None:
    """Nobody wants to know about waits."""


class Attempts:
    """The tries of one piece of work."""

    def __init__(self, clock: Clock, stop: threading.Event, policy: Policy | None = None, notice: Notice = no_notice):
        self._clock, self._stop, self._notice = clock, stop, notice
        self._policy = policy or Policy()
        self._failures = 0
        self._waited = 0.0
        self._fresh = 0

    @property
    def failures(self) -> int:
        """Failures since the last proof of progress."""
        return self._failures

    def progressed(self, count: int) -> None:
        """`count` new bytes arrived; a MiB of them sets the counter back."""
        self._fresh += count
        if self._fresh >= self._policy.progress:
            self._fresh = self._failures = 0

    def failed(self, error: VeneerError, retry_after: str | None = None) -> None:
        """Wait before the next try, or raise `error` if there is none left.  Raises Cancelled if told to stop."""
        self._failures += 1
        self._fresh = 0
        if self._failures >= self._policy.tries:
            raise error
        seconds = parse_retry_after(retry_after, self._clock.time()) if retry_after is not None else None
        if seconds is None:
            exponential = self._policy.first_wait * 2 ** (self._failures - 1)
            # Half fixed, half random: many clients cut off together must not come back together.
            seconds = exponential * (0.5 + random.random() / 2)
        seconds = min(seconds, self._policy.longest_wait)
        if self._waited + seconds > self._policy.waits_in_all:
            raise error
        self._waited += seconds
        self._notice(seconds, error.message)
        self._clock.wait(seconds, self._stop)
        check(self._stop)


def check(stop: threading.Event) -> None:
    """Raise Cancelled once `stop` is set."""
    if stop.is_set():
        raise Cancelled("stopped")


def parse_retry_after(text: str, now: float) -> float | None:
    """Seconds to wait by a Retry-After header: a number or an HTTP date; None if it is neither.

    Negative numbers and dates gone by mean 0.  Source: RFC 9110 section 10.2.3.
    """
    text = text.strip()
    if len(text) > 64 or not text.isascii():
        return None
    number = text.removeprefix("-")
    if number.isdigit():
        return 0.0 if text.startswith("-") else float(number)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
