"""What `veneer peel` asks of the rest of the house: other images, what an image stands on, news of long work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from veneer.progress import Cancelled, Report
from veneer.values import Value
from veneer.view.amounts import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.looking.origins import SharedWith, StandsOn
    from veneer.engine.looking.subject import Subject

BROWSER = "http://127.0.0.1:8363"
"""Where `veneer serve` is unless told otherwise."""


def no_platforms(subject: Subject) -> Mapping[str, str]:
    """Where nothing tells of others."""
    return {}


class Around(Value):
    """`open`: another image by its name, as the looking commands take names.  `names`: the images of the store.
    `stands_on` and `shared_with` as of `engine.looking`.  `platforms`: those the same name can be looked at for, each
    with the name that image has, "" for the same.  `browser`: where `veneer serve` answers.
    """

    __slots__ = ()
    open: Callable[[str], AbstractContextManager[Subject]]
    names: Callable[[], Sequence[str]]
    stands_on: Callable[[Subject], StandsOn | None]
    shared_with: Callable[[Subject], Sequence[SharedWith]]
    platforms: Callable[[Subject], Mapping[str, str]] = no_platforms
    browser: str = BROWSER


class News:
    """The progress of downloads, as one line: a `Progress` that may be called from any thread.

    Once it is `over`, it has the work stop that reports to it.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._started = time.monotonic()
        self._parts: dict[str, tuple[int, int]] = {}
        self.over = False

    def __call__(self, report: Report) -> None:
        if self.over:
            raise Cancelled("the image was not looked at to its end")
        if report.current is not None:
            with self._guard:
                self._parts[report.id] = (report.current, report.total or report.current)

    def line(self, layers: int, size_of_all: int) -> str:
        """How far it is, with a bar, a rate and the time that is left; "" before anything is heard."""
        with self._guard:
            have, total = (sum(part[at] for part in self._parts.values()) for at in (0, 1))
            total = max(total, size_of_all) if total else 0
            done = sum(part[0] >= part[1] for part in self._parts.values())
        if not total:
            return ""
        share = have / total
        rate = have / max(time.monotonic() - self._started, 0.001)
        left = f" {(total - have) / rate:.0f} s" if rate and have < total else ""
        full = round(8 * share)
        return f"indexing layer {done}/{layers} {'▓' * full}{'░' * (8 - full)} {size(rate)}/s{left}"
