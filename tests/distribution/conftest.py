"""An in-process registry, and registries' clients whose clock never really waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from veneer.config import Config
from veneer.distribution.client import Registries
from veneer.distribution.retry import Clock
from veneer.testing.registry import Registry


class FakeClock(Clock):
    """A clock whose waits only move it; `waits` are the seconds asked for.  `tick` passes at each look."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.tick = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now

    def time(self) -> float:
        return self.now

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fake() -> Iterator[Registry]:
    """A registry without authentication that can be told to misbehave."""
    with Registry() as registry:
        yield registry


ConnectTo = Callable[..., Registries]


@pytest.fixture
def connect(config: Config, clock: FakeClock) -> Iterator[ConnectTo]:
    """Call it, with changes to the configuration, for the registries as one operation sees them."""
    with ExitStack() as stack:

        def make(certificates: Any = None, **changes: Any) -> Registries:
            more = {} if certificates is None else {"certificates": certificates}
            return stack.enter_context(Registries(config.replaced(**changes), clock=clock, **more))

        yield make
