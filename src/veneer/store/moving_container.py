"""A container that does not run goes on to another storage driver: what it has written is packed as a layer, unpacked
on top of the other driver's files of its image, and compared by being packed again.

What no layer can hold (sockets, a change of the root directory's times) stays behind, as with commit; the root
directory's mode and owner are taken along.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING, BinaryIO, cast

from veneer.drivers.driver import SnapshotID, new_snapshot_id
from veneer.store import damage
from veneer.store.container_init import init_layer
from veneer.store.container_layer import CaptureFailed, poured
from veneer.store.drafts import Nowhere
from veneer.store.durability import crashpoint, file_errors
from veneer.store.layers import lowers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from veneer.drivers.protocol import StorageDriver
    from veneer.store.containers import Container
    from veneer.store.leases import Lease
    from veneer.store.store import Store


def left_of(store: Store, container: Container, is_running: Callable[[Path], bool]) -> tuple[str, str] | None:
    """Why a container cannot be moved now, and what to do about it; None if it can be."""
    again = "then veneer system migrate again"
    if is_running(store.containers.folder(container.id)):
        return "it is running", f"veneer stop {container.name}; {again}"
    mounts = store.mounts.of_container(container.rw)
    if mounts:
        return f"it is mounted at {mounts[0].target}", f"veneer unmount {mounts[0].target}; {again}"
    if container.top and store.layers.serving(container.top) is None:
        return "its image's layers are not here", "veneer system check"
    return None


def move_container(
    store: Store, id: str, driver: StorageDriver, is_running: Callable[[Path], bool]
) -> tuple[str, str] | None:
    """Have a container write to a snapshot of `driver`, with all that it has written; None if that is done, else why
    not and what to do.

    Raises CaptureFailed where what arrives is not what was there; the container then is as it was.
    """
    with store.locked(store.containers.tree_key(id)), store.locked(f"container-{id}"):  # nobody looks at or starts it
        container = store.containers.find(id)
        if container is None or container.driver == driver.name:
            return None
        left = left_of(store, container, is_running)
        if left is not None:
            return left
        if container.top and store.layers.serving(container.top) != driver.name:
            return "its image's layers could not be moved", "see there"
        with store.lease("migrate") as lease:
            _moved(store, lease, container, driver)
    return None


def _moved(store: Store, lease: Lease, container: Container, driver: StorageDriver) -> None:
    if container.top:
        damage.distrust_missing(store.layers, container.top, container.driver)
    old, old_below = store.working(container.driver), store.containers.lowers(container)
    below = lowers(store.layers.ensure(container.top)) if container.top else []
    if container.init:
        below = [init_layer(store, lease, driver, container.top, below), *below]
    rw = new_snapshot_id()
    with store.catalog.transaction(durable=False) as transaction:
        lease.hold_snapshot(transaction, rw, driver.name, "")
    try:
        with file_errors(store.root):
            directory = driver.create(rw, below)
            packed = poured(lambda out: old.diff(container.rw, old_below, out), directory, driver, below)
            _like(old.directory(container.rw), directory)
            there = driver.diff(rw, below, cast(BinaryIO, Nowhere()))
            if there.diff_id != packed.diff_id:
                raise CaptureFailed(
                    f"what container {container.name} has written was {packed.diff_id} with {container.driver} and "
                    f"arrived as {there.diff_id} with {driver.name}", hint="it is as it was; see veneer system check",
                )  # fmt: skip
            if store.config.durability != "none":
                store.layers.flush()
        crashpoint("migrate-container-made")
        _changed_over(store, lease, container, driver, rw, below)
    except BaseException:
        current = store.containers.find(container.id)
        if current is None or current.rw != rw:
            driver.remove(rw)
        raise


def _changed_over(
    store: Store, lease: Lease, container: Container, driver: StorageDriver, rw: SnapshotID, below: Sequence[SnapshotID]
) -> None:
    with store.catalog.transaction() as transaction:
        transaction.execute(
            "UPDATE container SET driver = ?, rw = ?, init = ? WHERE id = ?",
            (driver.name, rw, below[0] if container.init else "", container.id),
        )
        transaction.execute("DELETE FROM lease_snapshot WHERE lease = ? AND snapshot = ?", (lease.id, rw))
        transaction.execute(
            "INSERT OR REPLACE INTO trash VALUES ('snapshot', ?, ?, 0, ?)",
            (container.rw, container.driver, time.time()),
        )
    crashpoint("migrate-container-moved")
    with file_errors(store.root):
        store.driver_named(container.driver).remove(container.rw)
    with store.catalog.transaction(durable=False) as transaction:
        transaction.execute("DELETE FROM trash WHERE kind = 'snapshot' AND key = ?", (container.rw,))


def _like(old: Path, new: Path) -> None:
    """Give a root directory the owner and mode of another."""
    found = os.stat(old)
    os.chown(new, found.st_uid, found.st_gid)
    new.chmod(stat.S_IMODE(found.st_mode))
