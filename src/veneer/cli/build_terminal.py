"""A build on a terminal: finished steps stay as lines, running ones renew themselves with the last of their output."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import TextIO

from veneer.build.events import (
    Event,
    Finished,
    Missed,
    Output,
    OutputProgress,
    Repeated,
    Step,
    StepDone,
    StepFailed,
    StepStarted,
    Transfer,
    Verified,
    Warned,
)
from veneer.cli.build_view import Findings, Splitter, calm, heading
from veneer.cli.progress import bar
from veneer.cli.tables import harmless, shorten
from veneer.cli.units import human_size
from veneer.progress import Report

REDRAW_SECONDS = 0.1
TAIL = 6
"""How many lines of a running step's output are seen."""
KEPT_LINES = 200
"""How many of them are shown when it fails."""
Key = tuple[str, int]
_PLAIN = "\x1b[0m"


class _Running:
    def __init__(self, step: Step) -> None:
        self.step = step
        self.since = time.monotonic()
        self.splitter = Splitter()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)


class Terminal:
    """The live view.  `columns` and `rows` are the terminal's size, until it says itself; what is redrawn fits in."""

    def __init__(self, out: TextIO, *, explain: bool, columns: int, rows: int) -> None:
        self._out = out
        self._explain = explain
        self._columns, self._rows = columns, max(rows - 2, 1)
        self._lock = threading.Lock()
        self._running: dict[Key, _Running] = {}
        self._transfers: dict[str, Report] = {}
        self._findings = Findings()
        self._drawn: list[int] = []
        self._since = time.monotonic()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, name="veneer-build-view", daemon=True)
        self._clock.start()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._take(event)

    def close(self, *, failed: bool) -> None:
        self._over.set()
        self._clock.join()
        with self._lock:
            self._wipe()
            for line in self._findings.lines():
                self._out.write(line + "\n")
            self._out.flush()

    def _tick(self) -> None:
        while not self._over.wait(REDRAW_SECONDS):
            with self._lock:
                self._draw()

    def _take(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._running[self._key(event.step)] = _Running(event.step)
        elif isinstance(event, Output):
            running = self._running.get(self._key(event.step))
            if running is not None:
                running.lines.extend(running.splitter.lines(event.stream, event.data))
        elif isinstance(event, Missed):
            if self._explain:
                self._say(f"    not in the cache: {harmless(event.miss.summary)}", event.step)
                for detail in event.miss.details:
                    self._say(f"        {harmless(detail)}", event.step)
        elif isinstance(event, StepDone):
            self._done(event)
        elif isinstance(event, StepFailed):
            self._failed(event)
        elif isinstance(event, Transfer | OutputProgress):
            self._transfers[event.report.id] = event.report
        elif isinstance(event, Warned):
            if not self._findings.take(event):
                self._say(f"\x1b[33mwarning\x1b[0m {harmless(event.message)}")
        elif isinstance(event, Repeated):
            self._say("Building a second time, to compare")
        elif isinstance(event, Verified):
            self._say(f"Verified: the second build is the same image, {event.image.short}")
        elif isinstance(event, Finished):
            self._finished(event)

    @staticmethod
    def _key(step: Step) -> Key:
        return step.stage, step.number

    def _done(self, event: StepDone) -> None:
        self._running.pop(self._key(event.step), None)
        self._transfers.clear()
        if event.cached:
            mark, note = "\x1b[34m=\x1b[0m", "cached" if not event.predicted else "would be cached"
        elif event.predicted:
            mark, note = "\x1b[33m?\x1b[0m", "would run"
        else:
            size = f"  {human_size(event.size)}" if event.size else ""
            mark, note = "\x1b[32m✓\x1b[0m", f"{event.seconds:.1f}s{size}"
        self._say(f"{mark} {self._fit(heading(event.step), len(note) + 4)}  {note}")

    def _failed(self, event: StepFailed) -> None:
        running = self._running.pop(self._key(event.step), None)
        self._say(f"\x1b[31m✗\x1b[0m {self._fit(heading(event.step), 4)}")
        if running is not None:
            for line in [*running.lines, *running.splitter.end()]:
                self._say("  " + calm(line, colours=True) + "\x1b[0m")

    def _finished(self, event: Finished) -> None:
        for warning in event.warnings:
            self._say(f"\x1b[33mwarning\x1b[0m {harmless(warning)}")
        if event.image is not None:
            self._say(f"Successfully built {event.image.short} in {time.monotonic() - self._since:.1f}s")
        for tag in event.tags:
            self._say(f"Successfully tagged {tag}")

    def _fit(self, text: str, beside: int = 0) -> str:
        return shorten(text.replace("\t", " "), max(self._columns - beside, 1))

    def _measure(self) -> None:
        """See how large the terminal is now; it stays what it was where that cannot be asked."""
        try:
            size = os.get_terminal_size(self._out.fileno())
        except (OSError, ValueError):
            return
        if size.columns and size.lines:
            self._columns, self._rows = size.columns, max(size.lines - 2, 1)

    def _say(self, text: str, step: Step | None = None) -> None:
        """A line that stays."""
        self._wipe()
        stage = f"[{step.stage}] " if step is not None and step.of != step.total else ""
        self._out.write(f"{stage}{text}\n")
        self._draw()

    def _wipe(self) -> None:
        if self._drawn:
            # Where the terminal became narrower meanwhile, it broke the lines.
            self._measure()
            height = sum(max(1, -(-width // self._columns)) for width in self._drawn)
            self._out.write(f"\x1b[{height}A\r\x1b[J")
            self._drawn = []

    def _draw(self) -> None:
        self._wipe()
        self._measure()
        lines: list[tuple[str, str]] = []
        now = time.monotonic()
        each = max(1, min(TAIL, self._rows // max(len(self._running), 1) - 1))
        for running in self._running.values():
            spent = f"  {now - running.since:.1f}s"
            lines.append(("", self._fit(f"• {heading(running.step)}", len(spent)) + spent))
            for text in list(running.lines)[-each:]:
                lines.append(("\x1b[2m", self._fit("  " + calm(text, colours=False).expandtabs())))
        for report in list(self._transfers.values())[-each:]:
            counts = bar(report.current or 0, report.total, self._columns)
            lines.append(("", self._fit(f"  {harmless(report.id)}: {harmless(report.status)} {counts}".rstrip())))
        shown = lines[: self._rows]
        self._out.write("".join(f"{style}{line}{_PLAIN if style else ''}\n" for style, line in shown))
        self._drawn = [len(line) for _, line in shown]
        self._out.flush()
