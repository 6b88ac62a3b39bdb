"""Whether a container that has ended is started again, and after how long.

Source: moby restartmanager/restartmanager.go.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FIRST_SECONDS, MOST_SECONDS = 0.1, 60.0
RAN_WELL_SECONDS = 10.0
"""Whoever ran for so long waits as short as the first time."""


class Restarts:
    """A policy, {"name": "no" | "always" | "unless-stopped" | "on-failure", "count"}, and what has happened so far."""

    def __init__(self, policy: Mapping[str, Any] | None) -> None:
        self._wait = 0.0
        self.count = 0
        self.set(policy)

    def set(self, policy: Mapping[str, Any] | None) -> None:
        """Another policy from now on."""
        given = policy or {}
        self._name, self._most = str(given.get("name") or "no"), int(given.get("count") or 0)

    def after(self, code: int, ran_seconds: float) -> float | None:
        """Seconds to wait before it is started again; None if it is not."""
        if self._name == "on-failure":
            again = code != 0 and (not self._most or self.count < self._most)
        else:
            again = self._name in ("always", "unless-stopped")
        if not again:
            return None
        fresh = ran_seconds >= RAN_WELL_SECONDS or not self._wait
        self._wait = FIRST_SECONDS if fresh else min(self._wait * 2, MOST_SECONDS)
        self.count += 1
        return self._wait
