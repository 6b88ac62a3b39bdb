"""How long work is shown: docker's lines into a file or pipe, and lines that renew themselves on a terminal.

Source: moby pkg/jsonmessage (DisplayJSONMessagesStream, JSONProgress.String).
"""

from __future__ import annotations

import threading
import time

from veneer.cli.tables import harmless
from veneer.cli.units import human_size
from veneer.progress import Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

BAR_WIDTH = 50
WIDE_ENOUGH_FOR_BAR = 110
REDRAW_SECONDS = 0.1
HEADING = "Pulling from "
"""Begins the report, and a block of lines, of each image that a pull fetches."""


def bar(current: int, total: int | None, columns: int) -> str:
    """`[====>   ]  1.2MB/3.4MB`, without the bar on a narrow terminal; "" where there is nothing to count."""
    if current <= 0 and not total:
        return ""
    if not total or current > total:
        return f"{human_size(current, 4):>8}"
    filled = min(BAR_WIDTH, int(current / total * 100) // 2)
    box = f"[{'=' * filled}>{' ' * (BAR_WIDTH - filled)}] " if columns > WIDE_ENOUGH_FOR_BAR else ""
    return f"{box}{human_size(current, 4):>8}/{human_size(total, 4)}"


class Lines:
    """A Progress that prints.  Reports may come from any thread; one without an id is a line of its own.

    Off a terminal only news is printed: a report that counts bytes, and one that repeats its id's status, is not.
    """

    def __init__(self, out: TextIO, *, live: bool, columns: int) -> None:
        self._out = out
        self._live = live
        self._columns = columns
        self._lock = threading.Lock()
        self._rows: dict[str, int] = {}
        self._status: dict[str, str] = {}
        self._drawn: dict[str, float] = {}

    def __call__(self, report: Report) -> None:
        with self._lock:
            if not report.id:
                self._plain(report.status)
            elif report.status.startswith(HEADING):
                self._plain(f"{report.id}: {report.status}")
            elif self._live:
                self._redraw(report)
            else:
                self._news(report)

    def _plain(self, text: str) -> None:
        self._rows.clear()
        self._status.clear()
        self._out.write(harmless(text) + "\n")
        self._out.flush()

    def _news(self, report: Report) -> None:
        counts = bar(report.current or 0, report.total, self._columns)
        if counts or self._status.get(report.id) == report.status:
            return
        self._status[report.id] = report.status
        self._out.write(harmless(f"{report.id}: {report.status}") + "\n")
        self._out.flush()

    def _redraw(self, report: Report) -> None:
        now = time.monotonic()
        same = self._status.get(report.id) == report.status
        if same and now - self._drawn.get(report.id, 0.0) < REDRAW_SECONDS:
            return
        self._status[report.id] = report.status
        self._drawn[report.id] = now
        if report.id not in self._rows:
            self._rows[report.id] = len(self._rows)
            self._out.write("\n")
        up = len(self._rows) - self._rows[report.id]
        counts = bar(report.current or 0, report.total, self._columns)
        if report.rate is not None:
            counts += f" {human_size(report.rate, 3)}/s"
        text = harmless(f"{report.id}: {report.status} {counts}".rstrip())[: self._columns - 1]
        # Up to the id's own line, wipe it, write, and back down to the line after the last.
        self._out.write(f"\x1b[{up}A\x1b[2K\r{text}\r\x1b[{up}B")
        self._out.flush()
