"""How long Textual waits where nothing is to be waited for, made shorter: its own way to say so is the environment."""

from __future__ import annotations

import selectors
from types import SimpleNamespace
from typing import Any

import textual.constants
import textual.drivers.linux_driver
import textual.screen

PERIOD = 1 / 500
"""Seconds between two drawings.  What a key sets off is drawn in two or three: with Textual's own period, eight times
as long, one would wait longer for these than for the work."""
ESCAPE = 0.015
"""Seconds after which an Escape that nothing followed is the key, and not the beginning of another one's sequence."""
_ENVIRONMENTS_OWN = 0.1
"""What Textual takes where the environment says nothing of it."""


class _Lookout(selectors.SelectSelector):
    """Waits for keys; after one it looks up soon, for who counts how long nothing has come sees it only then."""

    _soon = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[Any] = super().select(min(timeout, ESCAPE * 1.1) if self._soon and timeout is not None else timeout)
        self._soon = bool(found)
        return found


def shorten() -> None:
    """For all applications of this process that start from now on."""
    vars(textual.screen)["UPDATE_PERIOD"] = PERIOD
    if textual.constants.ESCAPE_DELAY == _ENVIRONMENTS_OWN:
        vars(textual.constants)["ESCAPE_DELAY"] = ESCAPE
    vars(textual.drivers.linux_driver)["selectors"] = SimpleNamespace(
        SelectSelector=_Lookout, EVENT_READ=selectors.EVENT_READ
    )
