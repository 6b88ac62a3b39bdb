"""A container's processes made to stand still: by who has paused it, and by who looks at its files for a moment.

Source: moby daemon/pause.go, unpause.go.
"""

from __future__ import annotations

from veneer.run.failures import ContainerFailed
from veneer.run.monitor import standstill, state
from veneer.run.monitor.loop import Future

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.monitor.life import Life

_REAPED_SECONDS = 2.0
"""In which it is known here that a process has ended which the runtime found no more."""


class Stillness:
    """Whether one container's processes stand still."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.let_go: Future[None] = Future()
        """Until this is known it neither goes on nor is started again: somebody looks at its files."""
        self.let_go.set(None)
        self.goes_on: Future[None] = Future()
        """Known when the pause that is, or was last, is over."""
        self.steady: Future[None] = Future()
        """Known unless it is just being started again, or has just ended."""
        self.steady.set(None)
        self._stood: list[int] | None = None

    async def released(self) -> None:
        """Wait until nobody looks at its files, who is to see one moment of them."""
        while not self.let_go.is_set:
            await self.let_go

    async def pause(self) -> None:
        """Have it stand still; where there are no control groups it must not be for long."""
        life = self._life
        if life.assembly.cgroup:
            await life.calls.do("pause", life.name)
        else:
            self._stood = standstill.begin()
        if life.state.status == state.RUNNING:
            self.goes_on = Future()
            life.note(status=state.PAUSED)
            life.tell("pause")

    async def unpause(self) -> None:
        """Have it go on if it is paused."""
        life = self._life
        if life.state.status != state.PAUSED:
            return
        try:
            if self._stood is None:
                await life.calls.do("resume", life.name)
        except ContainerFailed:
            if not life.has_ended:  # else it was killed, and that let it go
                raise
        if self._stood is not None:
            standstill.end(self._stood)
            self._stood = None
        if life.state.status == state.PAUSED:
            life.note(status=state.RUNNING)
            self.goes_on.set(None)
            life.tell("unpause")

    async def begin(self) -> bool:
        """Have nothing of it run, while `let_go` holds off its next start; whether it was paused for that.  A start or
        an end under way is waited for.  Raises NotRunning, ContainerFailed."""
        life = self._life
        await self._settled()
        if life.state.status in (state.PAUSED, state.RESTARTING):
            return False
        life.require_running()
        try:
            await self.pause()
        except ContainerFailed:
            if not await life.ends_within(_REAPED_SECONDS):
                raise
        # It may have ended meanwhile, and then its other processes are being ended.
        await self._settled()
        return life.state.status == state.PAUSED

    async def _settled(self) -> None:
        while not self.steady.is_set:
            await self.steady
