"""How far a migration is as a whole, beside how far each layer is."""

from __future__ import annotations

import threading
import time

from veneer.progress import Progress, Report


class Whole:
    """A Progress that passes on what it is told and, where that counts bytes, adds the sum of all of it.

    `total`: the bytes there are to count.  What it adds has the id `Total`, and the bytes per second since it was made.
    Thread-safe.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._done: dict[str, int] = {}

    def __call__(self, report: Report) -> None:
        self._progress(report)
        if report.current is None:
            return
        with self._lock:
            self._done[report.id] = report.current
            done = min(sum(self._done.values()), self._total)
            rate = done / max(time.monotonic() - self._began, 1e-3)
            self._progress(Report("Total", "Moving", done, self._total, rate))  # in order, whoever else tells something
