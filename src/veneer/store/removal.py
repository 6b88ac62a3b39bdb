"""Removing images: docker's `rmi` and `image prune`, decided before anything is done.

A plan is made from catalogue rows alone and says, in docker's order, what will be untagged and deleted; it is
carried out in the transaction in which it was made, and a dry run is the same plan not carried out.
Sources: moby daemon/images/image_delete.go and image_prune.go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from veneer.store.removal_plan import Plan, Removal, RemovalConflict, User, UsersOf, nobody
from veneer.store.reserve import making_room

if TYPE_CHECKING:
    from veneer.store.store import Store

__all__ = ["Pruned", "Removal", "RemovalConflict", "User", "UsersOf", "nobody", "prune", "remove"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, in order; `bytes` is the sum of its layers' sizes."""

    removals: tuple[Removal, ...]
    bytes: int


def remove(
    store: Store,
    name: str,
    *,
    force: bool = False,
    prune: bool = True,
    dry_run: bool = False,
    users_of: UsersOf = nobody,
) -> list[Removal]:
    """Untag or delete what `name` means and, with `prune`, the untagged parents nobody else needs.

    A name is taken away, and the image with it if that was its last; an ID deletes the image.  `force` takes all
    names of an image that has several, and images of stopped containers.
    Raises RemovalConflict, NoSuchImage, AmbiguousID, InvalidReference; nothing is removed then.
    """
    return _carry_out(store, lambda plan: plan.remove(name, force=force, prune=prune), users_of, dry_run=dry_run)


def prune(
    store: Store,
    *,
    all: bool = False,
    filters: Mapping[str, Sequence[str]] | None = None,
    dry_run: bool = False,
    users_of: UsersOf = nobody,
    now: float | None = None,
) -> Pruned:
    """Delete images without a tag that nothing needs; with `all` every image that no container uses.

    Left alone: images that a running pull, load or build holds, and the other platforms of a tagged image.
    `filters` are dangling=, label=, label!= and until= (see filters.py).  Raises InvalidFilter.
    """
    from veneer.store.filters import PRUNE_FILTERS, parse

    wanted = parse(filters or {}, accepted=PRUNE_FILTERS, find=store.images.find,
                   now=time.time() if now is None else now)  # fmt: skip
    everything = all or wanted.dangling is False

    def decide(plan: Plan) -> None:
        for image in plan.prunable(everything=everything):
            if wanted.keeps(image):
                plan.prune_image(image, everything=everything)

    removals = _carry_out(store, decide, users_of, dry_run=dry_run)
    return Pruned(tuple(removals), sum(removal.bytes for removal in removals))


def _carry_out(store: Store, decide: Callable[[Plan], None], users_of: UsersOf, *, dry_run: bool) -> list[Removal]:
    if dry_run:
        with store.catalog.reading():
            plan = Plan(store.images, users_of, busy(store))
            decide(plan)
        return plan.removals
    with making_room(store.root), store.catalog.transaction() as connection:
        plan = Plan(store.images, users_of, busy(store))
        decide(plan)
        plan.apply(connection)
    if plan.removals:
        store.images.layout.refresh()
    if any(removal.kind == "deleted" for removal in plan.removals):
        from veneer.store.gc import Extent

        store.collect(extent=Extent.ROWS)
    return plan.removals


def busy(store: Store) -> frozenset[str]:
    """Images that running work holds: pulled and not yet tagged, or the base of a step."""
    from veneer.store.leases import is_alive

    held = store.catalog.rows(
        "SELECT lease_blob.lease, image.id FROM lease_blob JOIN image ON image.id = lease_blob.blob"
    )
    alive = {lease: is_alive(store.root, lease) for lease in {row[0] for row in held}}
    return frozenset(image for lease, image in held if alive[lease])
