"""A build on a terminal: finished steps stay as lines, running ones renew themselves with the last of their output."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TextIO

from veneer.build.events import (
    ContextRead,
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
from veneer.cli.build_view import Splitter, calm, heading
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


class _Running:
    def __init__(self, step: Step) -> None:
        self.step = step
        self.since = time.monotonic()
        self.splitter = Splitter()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)


class Terminal:
    """The live view.  `columns` is the terminal's width; the part that is redrawn never is higher than `rows`."""

    def __init__(self, out: TextIO, *, explain: bool, columns: int, rows: int) -> None:
        self._out = out
        self._explain = explain
        self._columns = columns
        self._rows = max(rows - 2, 4)
        self._lock = threading.Lock()
        self._running: dict[Key, _Running] = {}
        self._transfers: dict[str, Report] = {}
        self._drawn = 0
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
        elif isinstance(event, ContextRead):
            self._say(f"context {harmless(event.name)}: {event.files} files, {human_size(event.bytes)}, "
                      f"{human_size(event.read)} read")  # fmt: skip
        elif isinstance(event, Warned):
            self._say(f"\x1b[33mwarning\x1b[0m {event.rule}{': ' if event.rule else ''}{harmless(event.message)}")
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
        return shorten(text, max(self._columns - beside, 20))

    def _say(self, text: str, step: Step | None = None) -> None:
        """A line that stays."""
        self._wipe()
        stage = f"[{step.stage}] " if step is not None and step.of != step.total else ""
        self._out.write(f"{stage}{text}\n")
        self._draw()

    def _wipe(self) -> None:
        if self._drawn:
            self._out.write(f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        lines: list[str] = []
        now = time.monotonic()
        each = max(1, min(TAIL, self._rows // max(len(self._running), 1) - 1))
        for running in self._running.values():
            lines.append(self._fit(f"• {heading(running.step)}  {now - running.since:.1f}s"))
            for text in list(running.lines)[-each:]:
                lines.append("\x1b[2m" + self._fit("  " + calm(text, colours=False).expandtabs()) + "\x1b[0m")
        for report in list(self._transfers.values())[-each:]:
            counts = bar(report.current or 0, report.total, self._columns)
            lines.append(self._fit(f"  {harmless(report.id)}: {harmless(report.status)} {counts}".rstrip()))
        self._wipe()
        shown = lines[: self._rows]
        self._out.write("".join(line + "\n" for line in shown))
        self._drawn = len(shown)
        self._out.flush()
