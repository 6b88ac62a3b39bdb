"""A container that is to be gone when it has ended (`--rm`), and whose caller does not see to it.

Source: moby daemon/monitor.go (AutoRemove).
"""

from __future__ import annotations

import os

from veneer.run.failures import ContainerFailed
from veneer.run.monitor import state
from veneer.run.monitor.calls import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.monitor.life import Life


async def remove(life: Life) -> None:
    """Have the container removed by the job's words for it, unless somebody is there who has said that he will."""
    words = life.job.get("remove")
    if not words or state.is_held(life.folder, state.CARETAKER):
        return
    null, said = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), os.memfd_create("removal", os.MFD_CLOEXEC)
    try:
        if await life.loop.child(spawn([str(word) for word in words], (null, null, said))):
            _is_left(life, os.pread(said, 1 << 20, 0).decode(errors="replace"))
    finally:
        os.close(null)
        os.close(said)


def _is_left(life: Life, said: str) -> None:
    """It could not be removed at its end: who looks at it is told why, and who lists containers tries again."""
    life.loop.report(ContainerFailed(f"the container could not be removed at its end:\n{said}"))
    alive = state.hold(life.folder, state.ALIVE, wait=False)
    if alive is not None:
        why = (said.strip().splitlines() or ["it was killed"])[-1]
        life.state = life.state.replaced(error=f"could not be removed at its end: {why}")
        state.write(life.folder, life.state)
        os.close(alive)
