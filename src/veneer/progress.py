"""Where long work reports, and how it is told to stop.

Long operations take a `Progress`: a callable that gets a `Report` now and then, from whichever thread does
the work.  It may raise `Cancelled`; every `with` on the way out then undoes what is half done.
"""

from __future__ import annotations

from collections.abc import Callable

from veneer.errors import VeneerError
from veneer.values import Value


class Cancelled(VeneerError):
    """The caller asked for the work to stop."""

    http_status = 499
    exit_code = 130


class Report(Value):
    """One line of news: `id` is what it is about ("" for the whole), `current` and `total` are bytes, `rate` bytes per
    second."""

    __slots__ = ()
    id: str
    status: str
    current: int | None = None
    total: int | None = None
    rate: float | None = None


Progress = Callable[[Report], None]


def silent(report: Report) -> None:
    """The progress nobody watches."""
