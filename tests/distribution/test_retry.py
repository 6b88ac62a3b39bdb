"""When to try again, and how long to wait before."""

from __future__ import annotations

import threading

import pytest

from tests.distribution.conftest import FakeClock
from veneer.distribution.retry import Attempts, Policy, parse_retry_after
from veneer.errors import Unavailable
from veneer.progress import Cancelled

BROKEN = Unavailable("registry.example answers 503")


def attempts(clock: FakeClock, policy: Policy | None = None) -> Attempts:
    return Attempts(clock, threading.Event(), policy)


def test_the_fifth_failure_is_the_last(clock: FakeClock) -> None:
    tries = attempts(clock)
    for _ in range(4):
        tries.failed(BROKEN)
    with pytest.raises(Unavailable, match="answers 503"):
        tries.failed(BROKEN)
    assert [0.5 * 2**n <= wait <= 1.0 * 2**n for n, wait in enumerate(clock.waits)] == [True] * 4


def test_a_mebibyte_of_progress_sets_the_counter_back(clock: FakeClock) -> None:
    tries = attempts(clock)
    for _ in range(20):
        tries.failed(BROKEN)
        tries.progressed(1 << 20)
    tries.failed(BROKEN)
    assert tries.failures == 1


def test_a_trickle_of_progress_does_not(clock: FakeClock) -> None:
    tries = attempts(clock)
    with pytest.raises(Unavailable):
        for _ in range(10):
            tries.failed(BROKEN)
            tries.progressed(100)
    assert len(clock.waits) == 4


def test_waits_are_limited_one_by_one_and_in_all(clock: FakeClock) -> None:
    tries = attempts(clock, Policy(tries=100))
    with pytest.raises(Unavailable):
        for _ in range(100):
            tries.failed(BROKEN, "86400")
    assert clock.waits == [60.0] * 5


def test_a_notice_tells_what_is_waited_for_and_how_long(clock: FakeClock) -> None:
    told: list[tuple[float, str]] = []
    Attempts(clock, threading.Event(), None, lambda seconds, reason: told.append((seconds, reason))).failed(BROKEN, "7")
    assert told == [(7.0, "registry.example answers 503")]


def test_who_is_told_to_stop_stops_instead_of_trying_again(clock: FakeClock) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        Attempts(clock, stop).failed(BROKEN)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0), (" 3 ", 3.0), ("-5", 0.0), ("0", 0.0), ("9" * 40, 1e40),
        ("Thu, 01 Jan 1970 00:17:00 GMT", 20.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Mon, 01 Jan 9999 00:00:00 GMT", pytest.approx(253370764800 - 1000)),
        ("soon", None), ("", None), ("1.5", None), ("٣", None), ("9" * 100, None),
        ("Mon, 99 Foo 12345 99:99:99 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_never_nonsense(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, 1000.0) == seconds
