"""How a build is shown: docker's lines (plain), the ID alone (quiet); build_terminal and build_raw have the others.

A view is fed every event of the build, from any thread, and closed at its end.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Protocol, TextIO

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
from veneer.cli.progress import Lines
from veneer.cli.tables import harmless

if TYPE_CHECKING:
    from veneer.build.caching.explain import Miss

KEPT_ON_FAILURE = 1 << 20
"""How many bytes of a step's output a quiet build keeps, to show them if the step fails."""
LONGEST = 1 << 16
"""How many bytes of a line without an end are waited for."""
MAX_FINDINGS = 20
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class View(Protocol):
    """What shows a build."""

    def __call__(self, event: Event) -> None:
        """Show one event; called from any thread, one call at a time."""

    def close(self, *, failed: bool) -> None:
        """The build is over; nothing will follow."""


def calm(text: str, *, colours: bool) -> str:
    """A line that a step printed, without what would redraw a terminal; colours stay if they are wanted."""
    text = text.rpartition("\r")[2] if "\r" in text.rstrip("\r") else text.rstrip("\r")
    if text.isprintable():
        return text
    if not colours:
        return harmless(_COLOUR.sub("", text), keep="\t")
    parts, end = [], 0
    for found in _COLOUR.finditer(text):
        parts += [harmless(text[end : found.start()], keep="\t"), found[0]]
        end = found.end()
    return "".join([*parts, harmless(text[end:], keep="\t")])


class Splitter:
    """Makes lines of the pieces a step prints; an unfinished line waits for its end, or until it is LONGEST."""

    def __init__(self) -> None:
        self._rest = {1: bytearray(), 2: bytearray()}

    def lines(self, stream: int, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        rest = self._rest[stream]
        first, newline, after = data.partition(b"\n")
        rest += first
        found: list[bytes] = []
        while len(rest) > LONGEST:
            cut = _between_characters(rest, LONGEST)
            found.append(bytes(rest[:cut]))
            del rest[:cut]
        if newline:
            *whole, last = after.split(b"\n")
            found += [bytes(rest), *whole]
            rest[:] = b""
            return [line.decode("utf-8", "replace") for line in found] + (self.lines(stream, last) if last else [])
        return [line.decode("utf-8", "replace") for line in found]

    def end(self) -> list[str]:
        """What was printed without a line's end."""
        rest = [line.decode("utf-8", "replace") for line in self._rest.values() if line]
        self._rest = {1: bytearray(), 2: bytearray()}
        return rest


def _between_characters(data: bytearray, place: int) -> int:
    """The last place up to `place` that is not within a character of UTF-8."""
    for cut in range(place, place - 4, -1):
        if data[cut] & 0xC0 != 0x80:
            return cut
    return place


class Findings:
    """The linter's warnings, which are told together when a build is over, as buildx does it."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def take(self, event: Warned) -> bool:
        """Keep a warning of a rule for later; False for any other."""
        if event.rule:
            where = f" (line {event.line})" if event.line else ""
            self._lines.append(f" - {event.rule}: {harmless(event.message)}{where}")
        return bool(event.rule)

    def lines(self) -> list[str]:
        """All of them and how many they are; [] if there are none."""
        lines, self._lines = self._lines, []
        if not lines:
            return []
        count = f"{len(lines)} warning{'s' if len(lines) > 1 else ''} found (use --check to see where):"
        more = [f" - and {len(lines) - MAX_FINDINGS} more"] if len(lines) > MAX_FINDINGS else []
        return ["", f" {count}", *lines[:MAX_FINDINGS], *more]


def heading(step: Step) -> str:
    """`Step 3/10 : RUN make`, with the stage where several are built; tabs stay."""
    stage = f"[{step.stage}] " if step.of != step.total else ""
    text = harmless(step.text, keep="\t")
    return f"{stage}Step {step.position}/{step.of} : {text}"


class Plain:
    """Classic docker's lines, one after the other; several stages at once each name theirs."""

    def __init__(self, out: TextIO, *, explain: bool, columns: int, live: bool = False) -> None:
        self._out = out
        self._explain = explain
        self._transfers = Lines(out, live=live, columns=columns)
        self._lock = threading.Lock()
        self._splitters: dict[tuple[str, int], tuple[Step, Splitter]] = {}
        self._findings = Findings()
        self._missed: dict[tuple[str, int], Miss] = {}
        self._colours = live

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._show(event)
            self._out.flush()

    def close(self, *, failed: bool) -> None:
        with self._lock:
            for step, _ in list(self._splitters.values()):
                self._rest(step)
            for line in self._findings.lines():
                self._line(line)
            self._out.flush()

    def _line(self, text: str, step: Step | None = None) -> None:
        stage = f"[{step.stage}] " if step is not None and step.of != step.total else ""
        self._out.write(f"{stage}{text}\n")

    def _show(self, event: Event) -> None:
        if isinstance(event, StepStarted):
            self._line(heading(event.step))
        elif isinstance(event, Missed):
            self._missed[event.step.stage, event.step.number] = event.miss
            if self._explain:
                self._told(event.step, event.miss)
        elif isinstance(event, Output):
            key = (event.step.stage, event.step.number)
            splitter = self._splitters.setdefault(key, (event.step, Splitter()))[1]
            for line in splitter.lines(event.stream, event.data):
                self._line(calm(line, colours=self._colours), event.step)
        elif isinstance(event, StepDone):
            self._done(event)
        elif isinstance(event, Transfer | OutputProgress):
            self._transfers(event.report)
        elif isinstance(event, Warned):
            if not self._findings.take(event):
                where = f" (line {event.line})" if event.line else ""
                self._line(f"[Warning] {harmless(event.message)}{where}")
        elif isinstance(event, StepFailed):
            self._rest(event.step)
        elif isinstance(event, Repeated):
            self._line("Building a second time, to compare")
        elif isinstance(event, Verified):
            self._line(f"Verified: the second build is the same image, {event.image.short}")
        elif isinstance(event, Finished):
            self._finished(event)

    def _told(self, step: Step, miss: Miss) -> None:
        self._line(f" ---> Not in the cache: {harmless(miss.summary)}", step)
        for detail in miss.details:
            self._line(f"        {harmless(detail)}", step)

    def _rest(self, step: Step) -> None:
        found = self._splitters.pop((step.stage, step.number), None)
        for line in found[1].end() if found else ():
            self._line(calm(line, colours=self._colours), step)

    def _done(self, event: StepDone) -> None:
        self._rest(event.step)
        if event.predicted and not event.cached:
            miss = self._missed.get((event.step.stage, event.step.number))
            if not self._explain:
                self._line(" ---> Would run" + (f": {harmless(miss.summary)}" if miss else ""), event.step)
            return
        if event.cached:
            self._line(" ---> Using cache", event.step)
        self._line(f" ---> {event.image.short if event.image else ''}", event.step)

    def _finished(self, event: Finished) -> None:
        for warning in event.warnings:
            self._line(f"[Warning] {harmless(warning)}")
        if event.image is not None:
            self._line(f"Successfully built {event.image.short}")
        for tag in event.tags:
            self._line(f"Successfully tagged {tag}")


class Quiet:
    """Nothing but the result; warnings, and what a failing step printed, go to standard error."""

    def __init__(self, err: TextIO) -> None:
        self._err = err
        self._kept: dict[tuple[str, int], bytearray] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Output):
                kept = self._kept.setdefault((event.step.stage, event.step.number), bytearray())
                kept += event.data
                del kept[:-KEPT_ON_FAILURE]
            elif isinstance(event, StepDone):
                self._kept.pop((event.step.stage, event.step.number), None)
            elif isinstance(event, StepFailed):
                kept = self._kept.pop((event.step.stage, event.step.number), bytearray())
                for line in bytes(kept).decode("utf-8", "replace").splitlines():
                    self._err.write(calm(line, colours=False) + "\n")
            elif isinstance(event, Finished):
                for warning in event.warnings:
                    self._err.write(f"[Warning] {harmless(warning)}\n")

    def close(self, *, failed: bool) -> None:
        self._err.flush()
