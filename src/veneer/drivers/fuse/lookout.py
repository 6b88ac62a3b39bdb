"""How a server waits for the next request: awake for a moment, where that is worth it, before it sleeps.

Who asks one thing after the other asks the next soon after an answer; and where his core and the server's are two, to
wake the one that sleeps takes longer than the answer itself.  Where to stay awake gains nothing (both share a core,
requests wait already, who asks does other work in between) it is tried ever more rarely.  So an idle server never looks
out, and a core that others need is not kept from them.
"""

from __future__ import annotations

import select
from time import perf_counter

_MOMENT = 6e-5
"""Seconds: a core that slept has woken by then, and asked."""
_TURN = 6e-6
"""Seconds: between two looks somebody else had this core."""
_BURSTS = 3
"""How often in a row it may gain nothing: each burst of requests is over once."""
_RAREST = 12


class Lookout:
    """Looks out for requests at the open device `device`."""

    def __init__(self, device: int) -> None:
        ready = select.poll()
        ready.register(device, select.POLLIN)
        self._ready = ready.poll
        self._vain = 0

    def look(self) -> int:
        """Wait a moment for a request, or until there is one; before how many next ones it is not worth it."""
        ready = self._ready
        if not ready(0):
            begun = before = perf_counter()
            while True:
                found, now = ready(0), perf_counter()
                if now - before > _TURN or now - begun > _MOMENT:
                    break
                if found:
                    self._vain >>= 1
                    return 0
                before = now
        self._vain = min(self._vain + 1, _RAREST)
        return 1 << self._vain if self._vain > _BURSTS else 0
