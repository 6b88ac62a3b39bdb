"""Which layers are known to be on the disk; those that may not be are unpacked anew.

Decision: docs/decisions/0004-durability-modes.md.
"""

from __future__ import annotations

import contextlib
import time

from veneer.store import damage
from veneer.store.durability import SETTLED_AFTER
from veneer.store.layers import LayerLost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.drivers.driver import SnapshotID
    from veneer.oci.digest import DiffID
    from veneer.store.layers import Layer, LayerStore

_WITHOUT_BLOB = "NOT EXISTS (SELECT 1 FROM blob_diff WHERE blob_diff.diff_id = snapshot.diff_id)"


def made_whole(layers: LayerStore, stack: Sequence[Layer]) -> list[Layer]:
    """The stack after unpacking anew what of it cannot be trusted.  Raises LayerLost."""
    doubtful = layers.untrusted()
    if not any(layer.snapshot in doubtful for layer in stack):
        return list(stack)
    with layers.store.lease("recover") as lease:
        diff_ids = [layer.diff_id for layer in stack]
        with layers.intake(lease, diff_ids) as intake:
            for position in intake.missing:
                intake.feed(position, layers.source(lease, diff_ids[position]))
            return intake.commit()


def lost_layer(layers: LayerStore, diff_id: DiffID) -> LayerLost:
    """What is told of a layer that cannot be trusted and has no blob here."""
    users = {image for layer in layers.by_diff_id(diff_id) for image in layers.users(layer.chain_id)}
    tags = sorted(tag.familiar for image in users for tag in layers.store.images.get(image).tags)
    named = f"; needed by {', '.join(tags[:5])}" + (", ..." if len(tags) > 5 else "") if tags else ""
    broken = layers.catalog.row("SELECT 1 FROM snapshot WHERE diff_id = ? AND boot_id = ?", (diff_id, damage.DAMAGED))
    why = "is damaged" if broken else "was not yet on the disk when the machine stopped"
    return LayerLost(
        f"layer {diff_id} {why}, and its blob is not here{named}",
        hint="build, pull or load the image again",
    )


def recover(layers: LayerStore) -> int:
    """Unpack anew every layer that cannot be trusted and has a blob; returns how many."""
    doubtful = layers.untrusted() - lost(layers)
    done = 0
    for layer in reversed([layer for layer in layers.list() if layer.snapshot in doubtful]):
        with contextlib.suppress(LayerLost):  # it stands on one without a blob; `check` tells
            layers.ensure(layer.chain_id)
            done += 1
    return done


def lost(layers: LayerStore) -> set[SnapshotID]:
    """The snapshots that serve layers, that a power cut may have damaged and that no blob can be unpacked into
    again."""
    rows = layers.catalog.rows(
        f"SELECT id, durable, boot_id, mount_id FROM snapshot WHERE durable = 0 AND {_WITHOUT_BLOB}"
        " AND EXISTS (SELECT 1 FROM layer WHERE layer.snapshot = snapshot.id)"
    )
    return {row[0] for row in rows if not layers.trusted(*row[1:])}


def settle_built(layers: LayerStore) -> None:
    """See LayerStore.settle_built."""
    if layers.catalog.row(f"SELECT 1 FROM snapshot WHERE durable = 0 AND {_WITHOUT_BLOB} LIMIT 1"):
        prove(layers, all=True)


def prove(layers: LayerStore, *, all: bool) -> None:
    """See LayerStore.prove_durable."""
    if layers.store.config.durability == "none":
        return
    before = time.time() - (0 if all else SETTLED_AFTER)
    if not layers.catalog.row("SELECT 1 FROM snapshot WHERE durable = 0 AND created <= ?", (before,)):
        return
    session = (layers.session.boot_id, layers.session.mount_id)
    rows = layers.catalog.rows(
        "SELECT id FROM snapshot WHERE durable = 0 AND boot_id = ? AND mount_id = ? AND created <= ?",
        (*session, before),
    )
    if rows:
        layers.flush()
        with layers.catalog.transaction() as transaction:
            transaction.executemany("UPDATE snapshot SET durable = 1 WHERE id = ?", rows)
