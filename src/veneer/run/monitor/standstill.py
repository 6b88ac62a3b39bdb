"""All processes of a container stopped by signals, for a moment, where there is no control group to freeze them by.

Stopped all at once they are of one moment, as when frozen; but they can find out, which is why it is no `pause`.
Sources: kill(2) (-1: every process of the namespace but its first), signal(7), proc_pid_stat(5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

_PATIENCE_SECONDS = 10.0
_TICK_SECONDS = 0.001
_STOPPED = (b"T", b"t", b"Z", b"X")


def is_possible() -> bool:
    """Whether we are the first process of a PID namespace, so that the others in it are the container's."""
    return os.getpid() == 1


def begin() -> list[int]:
    """Stop all of them; returns, when they stand still, those that did not before."""
    standing = {pid for pid in _pids() if _state(pid) in _STOPPED}
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGSTOP)  # who forks just now does so afterwards
    stopped = [pid for pid in _pids() if pid not in standing]
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not all(_state(pid) in _STOPPED for pid in stopped) and time.monotonic() < deadline:
        time.sleep(_TICK_SECONDS)
    return stopped


def end(stopped: list[int]) -> None:
    """Have them go on."""
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _pids() -> list[int]:
    return [pid for name in os.listdir("/proc") if name.isdigit() and (pid := int(name)) != os.getpid()]


def _state(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return b"X"
