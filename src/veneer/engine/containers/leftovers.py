"""Containers that were to be removed at their end and are there: who should have done it was killed, or failed."""

from __future__ import annotations

from veneer.errors import VeneerError
from veneer.run.monitor import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.engine import Engine
    from veneer.store.containers import Container


def sweep(engine: Engine) -> bool:
    """Remove those of them that nobody is about to remove; whether there were any.

    What cannot be removed now either is tried again by the next; its state says why its monitor could not.
    """
    some = False
    for container in engine.store.containers.removed_at_end():
        if _is_left(engine, container):
            from veneer.engine.containers.lifecycle import remove

            try:
                remove(engine, container, volumes=True)
                some = True
            except VeneerError:
                continue  # who looks for other things is not stopped by it, and sees it among the others
    return some


def _is_left(engine: Engine, container: Container) -> bool:
    folder = engine.store.containers.folder(container.id)
    if states.read(folder).status != states.EXITED:
        return False
    if states.is_held(folder, states.ALIVE) or states.is_held(folder, states.CARETAKER):
        return False
    from veneer.store.locks import is_locked

    # Its monitor holds neither any more while it removes: whoever does has this one, and nobody waits for him here.
    return not is_locked(f"{engine.store.config.root_name}/locks", f"container-{container.id}")
