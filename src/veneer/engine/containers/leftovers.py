"""Containers that were to be removed at their end and are there: who should have done it was killed, or failed."""

from __future__ import annotations

import contextlib

from veneer.errors import VeneerError
from veneer.run.monitor import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.engine.containers.creating import ContainerRequest
    from veneer.engine.engine import Engine
    from veneer.store.containers import Container
    from veneer.store.store import Store

OF_RUN = "OfRun"
"""Says in a container's document that whoever made it was to start it, too, and to have it removed at its end."""


@contextlib.contextmanager
def being_run(store: Store, request: ContainerRequest) -> Iterator[ContainerRequest]:
    """The request to create with, for whoever starts the container, too, and has it removed at its end: were we killed
    in this `with` before the start, the kernel would let go, and it would be left."""
    from veneer.store.containers import new_id

    id = new_id()
    with store.locked(_run_key(id)):
        yield request.replaced(run_as=id)


def _run_key(id: str) -> str:
    return f"run-{id}"


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
    status = states.read(folder).status
    if status != states.EXITED and not (status == states.CREATED and container.document.get(OF_RUN)):
        return False
    if states.is_held(folder, states.ALIVE) or states.is_held(folder, states.CARETAKER):
        return False
    from veneer.store.locks import is_locked

    locks = f"{engine.store.config.root_name}/locks"
    if status == states.CREATED and is_locked(locks, _run_key(container.id)):
        return False
    # Its monitor holds neither any more while it removes: whoever does has this one, and nobody waits for him here.
    keys = (f"container-{container.id}", engine.store.containers.tree_key(container.id))
    return not any(is_locked(locks, key) for key in keys)
