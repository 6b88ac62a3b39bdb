"""A health check: a program run in the container now and then, and what its exit codes come to.

Sources: moby daemon/health.go; docker's reference, HEALTHCHECK.
"""

from __future__ import annotations

import time

from veneer.errors import VeneerError
from veneer.run.monitor.state import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from typing import Any

    from veneer.run.monitor.loop import Loop

    Probe = Callable[[Sequence[str], float], Awaitable[tuple[int, bytes]]]
    """Runs a command for no longer than so many seconds: its exit code (-1: it took longer) and what it printed."""

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
MAX_OUTPUT = 4096
_MAX_LOG = 5
_SECOND = 1_000_000_000
_INTERVAL, _TIMEOUT, _RETRIES = 30 * _SECOND, 30 * _SECOND, 3


def command_of(check: Mapping[str, Any] | None, shell: Sequence[str] | None) -> list[str]:
    """What is run; [] for none."""
    kind, *words = (check or {}).get("Test") or ["NONE"]
    if kind == "CMD":
        return words
    if kind == "CMD-SHELL" and words:
        return [*(shell or ("/bin/sh", "-c")), words[0]]
    return []


class Health:
    """How a container with this check (docker's HealthConfig, times in nanoseconds) is; see `document`."""

    def __init__(self, check: Mapping[str, Any], command: Sequence[str]) -> None:
        self._command = command
        self._interval = (check.get("Interval") or _INTERVAL) / _SECOND
        self._timeout = (check.get("Timeout") or _TIMEOUT) / _SECOND
        self._start_period = (check.get("StartPeriod") or 0) / _SECOND
        self._start_interval = (check.get("StartInterval") or 0) / _SECOND
        self._retries = check.get("Retries") or _RETRIES
        self._status = STARTING
        self._streak = 0
        self._log: list[dict[str, Any]] = []

    def document(self) -> dict[str, Any]:
        """docker's Health object."""
        return {"Status": self._status, "FailingStreak": self._streak, "Log": list(self._log)}

    async def watch(self, loop: Loop, probe: Probe, changed: Callable[[str], object]) -> None:
        """Check for ever; calls `changed` after each check with the new status, "" where it is the one before."""
        began = time.monotonic()
        while True:
            starting = self._status == STARTING and time.monotonic() - began < self._start_period
            await loop.sleep(self._start_interval if starting and self._start_interval else self._interval)
            start = rfc3339()
            try:
                code, output = await probe(self._command, self._timeout)
            except VeneerError as error:  # it could not even be begun: that is no sign of health, and the next may be
                code, output = -1, error.message.encode(errors="replace")
            else:
                if code == -1:
                    output = f"Health check exceeded timeout ({_seconds(self._timeout)})".encode()
            result = {"Start": start, "End": rfc3339(), "ExitCode": code, "Output": _text(output)}
            self._log = [*self._log, result][-_MAX_LOG:]
            before = self._status
            self._count(code, forgiven=time.monotonic() - began < self._start_period)
            changed(self._status if self._status != before else "")

    def _count(self, code: int, *, forgiven: bool) -> None:
        if code == 0:
            self._status, self._streak = HEALTHY, 0
        elif not (self._status == STARTING and forgiven):
            self._streak += 1
            if self._streak >= self._retries:
                self._status = UNHEALTHY


def _text(output: bytes) -> str:
    text = output[:MAX_OUTPUT].decode("utf-8", "replace")
    return text + "..." if len(output) > MAX_OUTPUT else text


def _seconds(seconds: float) -> str:
    """As Go writes a duration: 1m30s, 0.5s, 30s."""
    minutes, rest = divmod(seconds, 60)
    return f"{f'{minutes:.0f}m' if minutes else ''}{rest:g}s"
