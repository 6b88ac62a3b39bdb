"""How long `veneer peel` takes to show something, and to answer a key, on synthetic images and a real terminal.

Measured from outside, at a pseudo-terminal, in a process of its own: from its start, or from a key, until all is
written.  The indexes of the images are made, their layers are not.
"""

from __future__ import annotations

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fcntl import ioctl
from pathlib import Path
from types import TracebackType

from benchmarks.looking import SHAPES, Shape
from benchmarks.measure import Measure, Series, memory_of
from benchmarks.report import table
from benchmarks.viewing import store
from tests.support.programs import VENEER

LINES, COLUMNS = 50, 160
QUIET = 0.15
"""Seconds without a byte after which all is written."""
PATIENCE = 60.0
KEYS = (
    ("a layer less", ","), ("a layer more", "."), ("compare with one less", "["), ("all so far, or this", "a"),
    ("into a pane", "2"), ("the next line", "j"), ("open a directory", "l"), ("a page down", "\x1b[6~"),
    ("a page up", "\x1b[5~"), ("another order", "s"), ("a state hidden", "A"), ("the state back", "A"),
    ("small ones hidden", "m"), ("small ones back", "m"), ("the waste ledger", "W"), ("its next tab", "\t"),
    ("its last tab", "\t"), ("back", "\x7f"), ("the map", "g"), ("a box further", "\x1b[B"),
    ("a layer less on the map", ","), ("out of the map", "g"), ("what the image says", "i"), ("out of it", "\x7f"),
    ("the keys", "?"), ("out of them", "\x7f"), ("a question", "/"), ("a letter of its answer", "f"),
    ("the question left", "\x1b"), ("bars of logarithms", "L"),
    ("long lines not wrapped", "w"), ("all directories beside opened", "*"), ("the last line", "G"),
    ("the line above it", "k"), ("the first line", "\x1b[H"), ("all of them closed", "*"), ("its history", "4"),
    ("another theme", "t"),
)  # fmt: skip
"""One after the other, as (what it does, what a terminal sends)."""
FIRST_GOALS = (500, 1500, 1500)
"""Milliseconds until something is to be seen, by shape."""
KEY_GOAL = 50
"""Milliseconds of any key."""
MEMORY_GOAL = 300
"""Megabytes."""
_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>]")


@dataclass
class Peeled:
    """What is known of one shape.  Seconds; `keys` by what they do."""

    first: Series = field(default_factory=Series)
    files: Series = field(default_factory=Series)
    weighed: Series = field(default_factory=Series)
    keys: dict[str, list[float]] = field(default_factory=dict)


Results = Mapping[str, Peeled]


class OnTerminal:
    """`veneer peel` on a terminal of its own, killed at the end."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.started = time.perf_counter()
        self._seen = b""
        self._process = subprocess.Popen(
            [VENEER, *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> OnTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:  # fmt: skip
        self._process.kill()
        self._process.wait()
        os.close(self._ours)

    @property
    def memory(self) -> int:
        return memory_of(self._process.pid)

    def until(self, text: bytes) -> float:
        """Seconds from the start until this stands on the screen."""
        while text not in self._seen:
            if time.perf_counter() - self.started > PATIENCE or not self._ready(PATIENCE):
                raise TimeoutError(f"{text!r} never came: {self._seen[-2000:]!r}")
            self._seen = _ESCAPES.sub(b"", self._seen + os.read(self._ours, 1 << 16))
        return time.perf_counter() - self.started

    def _ready(self, seconds: float) -> bool:
        return bool(select.select([self._ours], [], [], seconds)[0])

    def settle(self) -> None:
        """Until nothing is written any more."""
        while self._ready(QUIET):
            os.read(self._ours, 1 << 16)

    def press(self, key: str) -> float:
        """Seconds until all that a key sets off is written."""
        start = time.perf_counter()
        os.write(self._ours, key.encode())
        if not self._ready(PATIENCE):
            raise TimeoutError(f"{key!r} changed nothing")
        while self._ready(QUIET):
            os.read(self._ours, 1 << 16)
            last = time.perf_counter()
        return last - start


def peeling(work: Path, rounds: int, shapes: Sequence[Shape] = SHAPES) -> Results:
    """The start and the keys on each shape."""
    results: dict[str, Peeled] = {}
    for shape in shapes:
        root = store(work / "viewing", shape, 1)
        found = results[shape.name] = Peeled()
        for _ in range(rounds):
            with OnTerminal("--root", str(root), "peel", "view:1") as terminal:
                signs = (found.first, b"Layers: "), (found.files, b"Files after layer"), (found.weighed, b"eff ")
                for series, sign in signs:
                    series.taken.append(Measure(terminal.until(sign), 0))
                terminal.settle()
                for name, key in KEYS:
                    found.keys.setdefault(name, []).append(terminal.press(key))
                found.weighed.taken[-1] = Measure(found.weighed.taken[-1].seconds, terminal.memory)
        print(f"  {shape.name}: files {found.files.best * 1e3:.0f} ms", file=sys.stderr, flush=True)
    return results


def peeling_table(results: Results) -> str:
    """Milliseconds until something is to be seen and of the keys, and the memory at the end, each beside its goal."""
    rows: list[list[str]] = []

    def row(what: str, question: str, median: float, best: float, goal: int, unit: str = "ms") -> None:
        rows.append([f"{what}: {question}", f"{median:.0f} {unit}", f"{best:.0f} {unit}", f"at most {goal:,} {unit}",
                     "met" if median <= goal else "missed"])  # fmt: skip

    for (what, found), goal in zip(results.items(), FIRST_GOALS, strict=False):
        for question, series in (("layers to be seen", found.first), ("files", found.files), ("waste", found.weighed)):
            row(what, question, series.median * 1e3, series.best * 1e3, goal)
        keys = {name: sorted(taken) for name, taken in found.keys.items()}
        middle = {name: taken[len(taken) // 2] for name, taken in keys.items()}
        slowest = max(middle, key=lambda name: middle[name])
        usual, usual_best = (
            sorted(values)[len(keys) // 2] for values in (middle.values(), (taken[0] for taken in keys.values()))
        )
        row(what, "a key, as most are", usual * 1e3, usual_best * 1e3, KEY_GOAL)
        row(what, f"the slowest key ({slowest})", middle[slowest] * 1e3, keys[slowest][0] * 1e3, KEY_GOAL)
        row(what, "memory", found.weighed.peak / 1e6, found.weighed.peak / 1e6, MEMORY_GOAL, "MB")
    return table(["image: what is waited for", "median", "best", "goal", ""], rows)
