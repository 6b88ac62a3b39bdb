"""A stack's layers with another storage driver than the one that serves them.

One driver serves a stack (`layer.snapshot`), for a union cannot mix two.  Beside that, other drivers may have the same
layers: while `system migrate` moves them, for a container that was made before they moved, and where somebody wants to
keep both.  Those are the rows of `layer_copy`.  Copies are taken in as an image's layers are: from a blob, or from the
tar that the layer's index and files give, and what arrives has the layer's diff ID or does not become visible.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from veneer.drivers.driver import SnapshotID
from veneer.errors import Corrupt
from veneer.oci.digest import BlobDigest, Digest
from veneer.progress import Progress, Report, silent
from veneer.store import damage, indexes
from veneer.store.durability import crashpoint, file_errors
from veneer.store.intake import LayerIntake
from veneer.store.layers import Layer, LayerLost

if TYPE_CHECKING:
    import apsw

    from veneer.changeset.unpack import Unpacked
    from veneer.drivers.protocol import StorageDriver
    from veneer.oci.digest import ChainID, DiffID
    from veneer.store.intake_slot import Slot
    from veneer.store.layers import LayerStore
    from veneer.store.leases import Lease

BATCH = 256 << 20
"""Bytes of tars that are brought over at a time: what is lost when somebody is killed, and at most the room that tars
take which have to be written down first."""

_TELL_SECONDS = 0.25
_BRINGING = "Bringing over"
_COPY = """SELECT snapshot.id, snapshot.size, snapshot.durable, snapshot.boot_id, snapshot.mount_id
           FROM layer_copy JOIN snapshot ON snapshot.id = layer_copy.snapshot
           WHERE layer_copy.chain_id = ? AND layer_copy.driver = ?"""


def copied(layers: LayerStore, chain_id: ChainID, driver: str) -> list[Layer] | None:
    """The stack of `chain_id`, base first, with the files that `driver` has of it, all of them whole; None if it has
    not all.  Raises NoSuchLayer."""
    found = known(layers, chain_id, driver)
    complete = bool(found) and found[-1].chain_id == chain_id
    return found if complete and layers.untrusted().isdisjoint(each.snapshot for each in found) else None


def known(layers: LayerStore, chain_id: ChainID, driver: str) -> list[Layer]:
    """Those of the layers up to `chain_id`, base first, that `driver` has, whole or not, up to the first it has not.

    Raises NoSuchLayer.
    """
    stack = layers.stack(chain_id)
    if stack[-1].driver == driver:
        return stack
    found: list[Layer] = []
    for layer in stack:
        row = layers.catalog.row(_COPY, (layer.chain_id, driver))
        if row is None:
            break
        found.append(layer.replaced(snapshot=SnapshotID(row[0]), driver=driver, size=row[1], durable=bool(row[2])))
    return found


def copies_of(layers: LayerStore, diff_id: DiffID) -> list[Layer]:
    """The copies of layers with that content, whole or not, each as the layer that it is one of."""
    return [
        layer.replaced(snapshot=SnapshotID(row[0]), driver=row[1], size=row[2], durable=bool(row[3]))
        for layer in layers.by_diff_id(diff_id)
        for row in layers.catalog.rows(
            "SELECT snapshot.id, layer_copy.driver, size, durable FROM layer_copy"
            " JOIN snapshot ON snapshot.id = layer_copy.snapshot WHERE chain_id = ?",
            (layer.chain_id,),
        )
    ]


def ensure(layers: LayerStore, chain_id: ChainID, driver: str) -> list[Layer]:
    """As LayerStore.ensure, with the files of `driver`, which does not serve the stack.  Raises LayerLost."""
    found = copied(layers, chain_id, driver)
    if found is None:
        with layers.store.lease("recover") as lease:
            bring(layers, lease, chain_id, layers.store.working(driver), kept=False)
        found = copied(layers, chain_id, driver)
    if found is None:
        raise LayerLost(f"the layers up to {chain_id} cannot be had with {driver}",
                        hint="veneer system check tells what is damaged")  # fmt: skip
    return found


def bring(
    layers: LayerStore,
    lease: Lease,
    chain_id: ChainID,
    driver: StorageDriver,
    *,
    kept: bool,
    progress: Progress = silent,
) -> None:
    """Have `driver` hold every layer of a stack that another one serves; what it has is left as it is.

    Visible in batches, base first, so that whoever is killed has lost the last one only.
    Raises LayerLost where neither a blob nor whole files are left of a layer, LayerChanged, Corrupt.
    """
    stack = layers.stack(chain_id)
    with layers.catalog.transaction(durable=False) as transaction:
        lease.hold_layer(transaction, chain_id)
    for end in _batches(layers, stack, driver.name):
        diff_ids = [layer.diff_id for layer in stack[:end]]
        with CopyIntake(layers, lease, diff_ids, progress, kept=kept, _driver=driver) as intake:
            intake.take(stack)
            crashpoint("copies-unpacked")
            brought = [stack[position] for position in intake.missing]
            intake.commit()
        for layer in brought:
            progress(Report(layer.diff_id.short, "Brought over"))
        crashpoint("copies-committed")


def _batches(layers: LayerStore, stack: Sequence[Layer], driver: str) -> Iterator[int]:
    """How many layers from the base up are to be there after each step."""
    gathered = 0
    for number, layer in enumerate(stack):
        row = layers.catalog.row(_COPY, (layer.chain_id, driver))
        if row is not None and layers.trusted(*row[2:]):
            continue
        size = tar_size(layers, layer)
        if gathered and gathered + size > BATCH:
            yield number
            gathered = 0
        gathered += size or 1
    if gathered:
        yield len(stack)


def tar_size(layers: LayerStore, layer: Layer) -> int:
    """Bytes of a layer's tar, uncompressed; 0 where that is not known."""
    size: int | None = layers.catalog.value("SELECT tar_size FROM snapshot WHERE id = ?", (layer.snapshot,))
    return size or 0


@dataclass
class CopyIntake(LayerIntake):
    """The layers of one stack on their way to another driver than the one that serves them."""

    kept: bool = False

    def take(self, stack: Sequence[Layer]) -> None:
        """Feed all that is missing, and wait for it."""
        blobs: dict[int, BlobDigest] = {}
        with self._watched({position: tar_size(self.layers, stack[position]) for position in self.missing}):
            for position in self.missing:
                layer = stack[position]
                self.progress(Report(layer.diff_id.short, _BRINGING))
                blob = self._blob(layer)
                if blob is not None:
                    blobs[position] = blob
                    self.feed(position, blob)
                else:
                    self._feed_tar(position, layer)
            for position in self.missing:
                try:
                    self.wait(position)
                except Corrupt:
                    if position not in blobs:
                        raise
                    # The blob is damaged; the files may be whole.
                    self._feed_tar(position, stack[position])
                    self.wait(position)

    @contextlib.contextmanager
    def _watched(self, sizes: Mapping[int, int]) -> Iterator[None]:
        """Report, as long as the `with` lasts, how much of each tar is unpacked.  What that raises comes last."""
        if self.progress is silent:
            yield
            return
        from concurrent.futures import ThreadPoolExecutor

        over = threading.Event()

        def watch() -> None:
            while not over.wait(_TELL_SECONDS):
                self._tell(sizes)

        with ThreadPoolExecutor(1, "copies") as pool:
            watching = pool.submit(watch)
            try:
                yield
            finally:
                over.set()
            watching.result()
        self._tell(sizes)

    def _tell(self, sizes: Mapping[int, int]) -> None:
        for position, size in sizes.items():
            with self._guard:
                slot = self._slots[position]
                length = os.fstat(slot.blob_fd).st_size if slot.blob_fd >= 0 and slot.future else 0
                # Whoever unpacks it has the same open file, and moves its offset along.
                read = os.lseek(slot.blob_fd, 0, os.SEEK_CUR) if length else 0
            if read:
                self.progress(Report(slot.diff_id.short, _BRINGING, min(size * read // length, size), size))

    def _blob(self, layer: Layer) -> BlobDigest | None:
        for descriptor in self.layers.blobs(layer.diff_id):
            if self.layers.store.blobs.acquire(self.lease, descriptor.digest):
                return descriptor.digest
        return None

    def _feed_tar(self, position: int, layer: Layer) -> None:
        """Feed the layer's tar, packed from its files.  Raises LayerLost, LayerChanged."""
        from veneer.store.packing import layer_of, write_tar

        path = self.lease.file("tar")
        with open(path, "xb+") as file:
            path.unlink()
            with file_errors(self.layers.store.root):
                write_tar(self.layers, layer_of(self.layers, layer.diff_id), file)
                file.flush()
            self._feed_file(position, file)

    def _feed_file(self, position: int, file: BinaryIO) -> None:
        slot = self._slots[position]
        with self._guard:
            if slot.blob is not None:
                self._reset(slot)
            # A plain tar is a blob that its diff ID names; this one is nowhere.
            slot.blob, slot.blob_fd = BlobDigest(Digest(slot.diff_id)), os.dup(file.fileno())
            if self.driver.any_order:
                self._start(slot)

    # ---- what is here, and where it goes

    def _all_here(self) -> bool:
        return False

    def _chosen(self) -> StorageDriver:
        assert self._driver is not None
        return self._driver

    def _fits(self) -> bool:
        return True

    def _layer_here(self, connection: apsw.Connection, chain_id: ChainID) -> SnapshotID | None:
        row = connection.execute(_COPY, (chain_id, self.driver.name)).fetchone()
        return damage.whole(self.layers, row and (row[0], self.driver.name, *row[2:]))

    def _insert_snapshot(self, transaction: apsw.Connection, slot: Slot, unpacked: Unpacked) -> None:
        from pathlib import Path

        place = Path(indexes.path(self.layers.store, slot.diff_id))
        assert slot.index is not None
        if place.exists():
            slot.index.unlink()
        else:
            slot.index.replace(place)
        self._snapshot_row(transaction, slot, unpacked)

    def _place(self, transaction: apsw.Connection, slot: Slot) -> None:
        if self.layers.serving(slot.chain_id) != self.driver.name:  # which it may do since a moment ago
            old = transaction.execute(_COPY, (slot.chain_id, self.driver.name)).fetchone()
            transaction.execute(
                "INSERT OR REPLACE INTO layer_copy (chain_id, driver, snapshot, kept) VALUES (?, ?, ?, ?)",
                (slot.chain_id, self.driver.name, slot.snapshot, int(self.kept)),
            )
            damage.supersede(transaction, old, slot.snapshot)
