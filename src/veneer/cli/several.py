"""One verb for several containers, as docker does it: whoever cannot be served stops nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from veneer.cli.app import App
from veneer.errors import VeneerError

AT_ONCE = 16
"""Threads, for verbs that wait."""


def for_each(
    app: App, names: Sequence[str], verb: Callable[[str], str | None], *, at_once: bool = False, ending: str = ""
) -> int:
    """Do `verb` for each name and print what it gives, or the name; errors at the end.  The exit status.

    `at_once`: do not wait for one before the next; what is printed keeps the names' order.  `ending` is said after the
    errors, with the names that had one.
    """
    failed: list[str] = []
    errors: list[VeneerError] = []
    for name, outcome in _outcomes(names, verb, at_once=at_once and len(names) > 1):
        if isinstance(outcome, VeneerError):
            failed.append(name)
            errors.append(outcome)
        else:
            app.line(name if outcome is None else outcome)
            app.out.flush()
    if not errors:
        return 0
    from veneer.cli.main import say

    for error in errors:
        say(app, error)
    if ending:
        app.warn(ending + ", ".join(failed))
    return 1


def _outcomes(
    names: Sequence[str], verb: Callable[[str], str | None], *, at_once: bool
) -> Iterable[tuple[str, str | VeneerError | None]]:
    def outcome(name: str) -> tuple[str, str | VeneerError | None]:
        try:
            return name, verb(name)
        except VeneerError as error:
            return name, error

    if not at_once:
        return map(outcome, names)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(AT_ONCE, len(names))) as pool:
        return list(pool.map(outcome, names))
