"""Layers whose files are damaged, or gone: what is known of them, and what must not be done because of it.

A row says that its files are whole; somebody else may have taken or changed them since.  Of files that are found
damaged the row says so, in place of the boot they were written in.  If they can be had again the row is distrusted as
after a power cut, and whoever wants the layer next makes it anew, elsewhere.  If not, they go on being served, for they
may be all there is of somebody's work; but whoever brings the layer makes it anew.
"""

from __future__ import annotations

import os

from veneer.drivers.driver import SnapshotID
from veneer.store.locks import is_locked_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    import apsw

    from veneer.drivers.protocol import StorageDriver
    from veneer.oci.digest import ChainID, DiffID
    from veneer.store.layers import LayerStore
    from veneer.store.store import Store

DAMAGED = "damaged"
"""What a snapshot's row has for its boot, once its files are known to be damaged."""

_LAYER = """SELECT snapshot.id, driver, durable, boot_id, mount_id
            FROM layer JOIN snapshot ON snapshot.id = layer.snapshot WHERE chain_id = ?"""


def whole(layers: LayerStore, row: Sequence[Any] | None) -> SnapshotID | None:
    """The snapshot of a row (id, driver, durable, boot_id, mount_id), if its files are there and nothing is known
    against them.  One stat."""
    if row is None:
        return None
    snapshot, driver, durable, boot_id, mount_id = row
    if boot_id == DAMAGED or not layers.trusted(durable, boot_id, mount_id):
        return None
    there = os.path.isdir(layers.store.driver_named(driver).directory(SnapshotID(snapshot)))
    return SnapshotID(snapshot) if there else None


def layer_here(layers: LayerStore, connection: apsw.Connection, chain_id: ChainID) -> SnapshotID | None:
    """The files of a layer that is here, if they are whole."""
    return whole(layers, connection.execute(_LAYER, (chain_id,)).fetchone())


def all_here(layers: LayerStore, chain_ids: Iterable[ChainID]) -> bool:
    """Whether all of these layers are here, with whole files."""
    with layers.catalog.reading() as connection:
        return all(layer_here(layers, connection, chain_id) for chain_id in chain_ids)


def mark(transaction: apsw.Connection, snapshot: str, *, served: bool) -> None:
    """Note that the files of a snapshot are damaged; `served`: they are all there is, and go on being used."""
    transaction.execute(
        "UPDATE snapshot SET durable = ?, boot_id = ?, mount_id = 0 WHERE id = ?", (int(served), DAMAGED, snapshot)
    )


def supersede(transaction: apsw.Connection, old: Sequence[Any] | None, new: SnapshotID) -> None:
    """Note of the snapshot in the row `old` that `new` is in its place."""
    if old is not None and old[0] not in (None, new):
        mark(transaction, old[0], served=False)


def distrust_missing(layers: LayerStore, chain_id: ChainID, driver: str) -> None:
    """Have those of the layers up to `chain_id` be made anew whose directories with `driver` are gone."""
    from veneer.store.copies import known

    at = layers.store.driver_named(driver)
    gone = [each.snapshot for each in known(layers, chain_id, driver) if not os.path.isdir(at.directory(each.snapshot))]
    if gone:
        with layers.catalog.transaction() as transaction:
            for snapshot in gone:
                mark(transaction, snapshot, served=False)


def tell_driver(layers: LayerStore, driver: StorageDriver, diff_ids: Iterable[DiffID]) -> None:
    """Have a driver that shares contents between layers not take any from damaged files of these layers."""
    from veneer.drivers.protocol import Sharing

    if not isinstance(driver, Sharing):
        return
    for diff_id in diff_ids:
        for (snapshot,) in layers.catalog.rows(
            "SELECT id FROM snapshot WHERE diff_id = ? AND driver = ? AND boot_id = ?", (diff_id, driver.name, DAMAGED)
        ):
            driver.doubt(SnapshotID(snapshot))


def still_used(store: Store, transaction: apsw.Connection, snapshot: str, driver: str) -> bool:
    """Whether somebody may have files under his feet whose place others have taken, and that no row leads to from him:
    a container that runs, a mount, a build.  Who among them is not known, so as long as there is any.

    The rows of dead leases must be gone by now.
    """
    damaged = transaction.execute("SELECT 1 FROM snapshot WHERE id = ? AND boot_id = ?", (snapshot, DAMAGED)).fetchone()
    if damaged is None or not os.path.isdir(store.driver_named(driver).directory(SnapshotID(snapshot))):
        return False
    if transaction.execute("SELECT 1 FROM lease LIMIT 1").fetchone() is not None:
        return True
    containers: list[Any] = transaction.execute("SELECT id FROM container").fetchall()
    return any(is_locked_at(store.containers.folder(id) / "alive", 0) for (id,) in containers)
