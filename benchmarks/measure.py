"""Time and peak memory of one command, its children included."""

from __future__ import annotations

import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import ProgramFailed

_INTERVAL = 0.05


@dataclass(frozen=True)
class Measure:
    """`seconds` of wall time; `peak` bytes of memory, shared pages split among those who share them."""

    seconds: float
    peak: int


@dataclass
class Series:
    """The measures of one operation by one tool, in the order taken."""

    taken: list[Measure] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(each.seconds for each in self.taken)

    @property
    def median(self) -> float:
        return statistics.median(each.seconds for each in self.taken)

    @property
    def peak(self) -> int:
        return max(each.peak for each in self.taken)


def tree_of(root: int) -> list[int]:
    """A process and all below it."""
    found, pending = [], [root]
    while pending:
        pid = pending.pop()
        found.append(pid)
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it ended while we looked
    return found


def memory_of(pid: int) -> int:
    """Bytes of memory of a process, shared pages split among those who share them; 0 if it ended."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0  # it ended while we looked
    return 0


class _Sampler(threading.Thread):
    def __init__(self, roots: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.roots = roots
        self.peak = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(_INTERVAL):
            self.peak = max(self.peak, sum(memory_of(pid) for root in self.roots for pid in tree_of(root)))


def measured(command: Sequence[str], env: Mapping[str, str] | None = None, *, also: Sequence[int] = (),
             memory: bool = True) -> Measure:  # fmt: skip
    """Run `command` to its end; `also` are processes (a daemon) whose memory belongs to the operation.

    Raises ProgramFailed, with what it said, if it fails.
    """
    started = time.perf_counter()
    process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)  # fmt: skip
    sampler = _Sampler([process.pid, *also])
    if memory:
        sampler.start()
    try:
        said, _ = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    seconds = time.perf_counter() - started
    if memory:
        sampler.done.set()
        sampler.join()
    if process.returncode != 0:
        raise ProgramFailed(f"{' '.join(command)}: exit {process.returncode}\n{said.decode(errors='replace')[-3000:]}")
    return Measure(seconds, sampler.peak)
