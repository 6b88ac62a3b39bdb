"""Containers that do not run, and volumes that nobody uses, removed.

Source: moby daemon/prune.go, volume/service/service.go.
"""

from __future__ import annotations

from veneer.engine.containers.leftovers import sweep
from veneer.engine.containers.listing_filters import PRUNE, parsed
from veneer.errors import Conflict, NotFound
from veneer.run.monitor import state as states
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from veneer.engine.engine import Engine


class PrunedThings(Value):
    """What went, or would: ids of containers, names of volumes; and the bytes that freed."""

    names: tuple[str, ...] = ()
    bytes: int = 0


def containers(engine: Engine, filters: Mapping[str, Sequence[str]], *, dry_run: bool = False) -> PrunedThings:
    """Remove containers that do not run.  Raises InvalidFilter."""
    from veneer.engine.containers.layering import size
    from veneer.engine.containers.lifecycle import remove

    wanted = parsed(engine, filters, PRUNE)
    if not dry_run:
        sweep(engine)
    names, freed = [], 0
    for container in engine.store.containers.list():
        state = states.read(engine.store.containers.folder(container.id))
        if state.is_live or not wanted.keeps(container, state):
            continue
        try:
            own = size(engine.store, container)
            if not dry_run:
                remove(engine, container)
        except (Conflict, NotFound, FileNotFoundError):
            continue  # started, or removed, meanwhile
        names.append(container.id)
        freed += own
    return PrunedThings(tuple(names), freed)
