"""Taking in the layers of one image: each unpacked once, by one process, and all of them visible at once.

A layer is unpacked as soon as its bytes begin to come.  With a driver that can take layers in any order they are
unpacked side by side, and what one needs from those below it (attributes of directories it never mentions, targets
of hard links) is settled at the end, base first; else they are unpacked one after the other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from veneer.drivers.driver import SnapshotID, new_snapshot_id
from veneer.errors import InvalidRequest
from veneer.oci.digest import BlobDigest, ChainID, DiffID, chain_ids
from veneer.progress import Progress, Report
from veneer.store import damage, indexes
from veneer.store.blob_writer import BlobWriter
from veneer.store.drafts import place, shareable
from veneer.store.durability import crashpoint, file_errors
from veneer.store.intake_slot import Slot, allow_files, is_settled, media_type_of

if TYPE_CHECKING:
    import apsw

    from veneer.changeset.entry import Entry
    from veneer.changeset.unpack import Unpacked
    from veneer.drivers.protocol import StorageDriver
    from veneer.store.layers import Layer, LayerStore
    from veneer.store.leases import Lease


class NotWanted(InvalidRequest):
    """A layer is given to an intake that has it already."""


class NotFed(InvalidRequest):
    """A layer is waited for that nobody has given to the intake, or whose blob was never committed."""


@dataclass
class LayerIntake:
    """The layers of one image on their way in; made by LayerStore.intake.

    Feed every position in `missing`, in any order and from any thread, then `commit()`.  Leaving without commit
    leaves nothing.
    """

    layers: LayerStore
    lease: Lease
    diff_ids: Sequence[DiffID]
    progress: Progress
    _slots: list[Slot] = field(default_factory=list)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _made: list[SnapshotID] = field(default_factory=list)
    _committed: bool = False
    _driver: StorageDriver | None = None

    @property
    def driver(self) -> StorageDriver:
        """What unpacks here: the driver that has the layers that are here already, else the store's."""
        if self._driver is None:
            self._driver = self._chosen()
        return self._driver

    @property
    def missing(self) -> list[int]:
        """The positions (base first) that must be fed; the others are here, or come with one of these."""
        return [slot.position for slot in self._slots if not slot.here and not slot.shared and slot.twin is None]

    # ---- who unpacks what

    def __enter__(self) -> Self:
        with self._stack:
            self._plan()
            wanted = [slot.diff_id for slot in self._slots if not slot.here]
            if wanted:
                store = self.layers.store
                self._stack.enter_context(
                    # The loser of a race waits here and then finds the winner's layers.
                    _locked(store.root, [f"diff {diff_id}" for diff_id in wanted], self.progress)
                )
                self._plan()
                self._claim()
            self._stack = self._stack.pop_all()
        return self

    def _plan(self) -> None:
        """Find out what is here, and keep it in the same step."""
        while True:
            # Probing a driver mounts things: not for an image whose layers are all here, and not in a transaction.
            self._driver = None if self._all_here() else self._chosen()
            with self.layers.catalog.transaction(durable=False) as transaction:
                if self._planned(transaction):
                    return

    def _chosen(self) -> StorageDriver:
        return self.layers.driver_of(chain_ids(list(self.diff_ids[:1]))[0])

    def _fits(self) -> bool:
        """Whether the driver is still the one to unpack with; what is here is kept from now on."""
        assert self._driver is not None
        return self.layers.serving(self._slots[0].chain_id) in (None, self._driver.name)

    def _planned(self, transaction: apsw.Connection) -> bool:
        """Plan by what is here now; False if that calls for another driver than a moment ago."""
        self._slots = []
        first: dict[DiffID, int] = {}
        here = True
        for position, (diff_id, chain_id) in enumerate(zip(self.diff_ids, chain_ids(list(self.diff_ids)), strict=True)):
            slot = Slot(position, diff_id, chain_id, new_snapshot_id())
            self._slots.append(slot)
            if position == 0:  # be it whole or not: as long as it is kept, its stacks stay with their driver
                self.lease.hold_layer(transaction, chain_id)
            # Of whole trees one that stands on damaged files may have them, too; other layers are what they are.
            if (here or (self._driver and self._driver.any_order)) and (
                snapshot := self._layer_here(transaction, chain_id)
            ):
                slot.here, slot.snapshot = True, snapshot
                self.lease.hold_layer(transaction, chain_id)
                continue
            here = False
            if self._driver is None or not self._fits():
                return False
            if snapshot := shareable(self.layers, transaction, self._driver, diff_id):
                slot.shared, slot.snapshot = True, snapshot
                self.lease.hold_snapshot(transaction, snapshot, self._driver.name, diff_id)
            elif diff_id in first:
                slot.twin = first[diff_id]
            else:
                first[diff_id] = position
        return True

    def _all_here(self) -> bool:
        return damage.all_here(self.layers, chain_ids(list(self.diff_ids)))

    def _layer_here(self, connection: apsw.Connection, chain_id: ChainID) -> SnapshotID | None:
        """The files of a layer that is here, if they are whole."""
        return damage.layer_here(self.layers, connection, chain_id)

    def _claim(self) -> None:
        """Say which snapshots are about to be made, so that a collection does not take them for rubbish."""
        name = self.driver.name
        with self.layers.catalog.transaction(durable=False) as transaction:
            for slot in self._slots:
                if not slot.here:
                    self.lease.hold_snapshot(transaction, slot.snapshot, name, slot.diff_id)

    # ---- unpacking

    def feed(self, position: int, blob: BlobWriter | BlobDigest, descriptor_media_type: str = "") -> None:
        """Give the layer's bytes: a stored blob, or one that is just being written.

        Unpacking begins at once where the driver allows it.  Feeding a position again, after its unpacking
        failed, begins it anew.
        """
        slot = self._slots[position]
        if position not in self.missing:
            raise NotWanted(f"layer {slot.diff_id} is here already")
        with self._guard:
            if slot.blob is not None:
                self._reset(slot)
            if isinstance(blob, BlobWriter):
                slot.blob_fd, slot.wake_fd = os.dup(blob.fileno()), os.dup(blob.feeder().wake_fd)
            else:
                with self.layers.store.blobs.open(blob) as file:
                    slot.blob_fd = os.dup(file.fileno())
            slot.blob, slot.media_type = blob, descriptor_media_type
            if self.driver.any_order:
                self._start(slot)

    def _reset(self, slot: Slot) -> None:
        if slot.future is not None:
            wait([slot.future])
            slot.future = slot.unpacked = None
            self.driver.remove(slot.snapshot)
            slot.snapshot = new_snapshot_id()
            self._claim()
        slot.close()

    def _start(self, slot: Slot) -> None:
        """Hand the layer to an unpacking process."""
        driver = self.driver
        slot.index = self.lease.file("index")
        with file_errors(self.layers.store.root), contextlib.ExitStack() as opened:
            self._made.append(slot.snapshot)
            directory = driver.create(slot.snapshot, self._lowers(slot.position))
            crashpoint("snapshot-created")
            root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, root)
            index = os.open(slot.index, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            opened.callback(os.close, index)
            slot.future = self.layers.pool.unpack(
                slot.blob_fd,
                slot.wake_fd if slot.wake_fd >= 0 else None,
                root,
                index,
                driver.whiteouts,
                expect=slot.diff_id,
                what=self._what(slot),
                # A blob that is written now must prove to be what is expected, or its layer never becomes visible.
                digest=slot.blob.expect if isinstance(slot.blob, BlobWriter) and not slot.blob.complete else None,
                weight=self._weight(slot),
            )
        if slot.wake_fd >= 0:
            os.close(slot.wake_fd)
            slot.wake_fd = -1

    @staticmethod
    def _weight(slot: Slot) -> int:
        """How much there is to unpack: what takes longest is begun first, so that all processes end together."""
        if isinstance(slot.blob, BlobWriter) and slot.blob.size is not None:
            return slot.blob.size
        return os.fstat(slot.blob_fd).st_size

    def _what(self, slot: Slot) -> str:
        """What errors call a layer."""
        return f"layer {slot.position + 1} of {len(self._slots)} ({slot.diff_id.short})"

    def _lowers(self, position: int) -> list[SnapshotID]:
        """The snapshots below a position, nearest first, each once."""
        return list(dict.fromkeys(slot.snapshot for slot in reversed(self._slots[:position])))

    def wait(self, position: int) -> None:
        """Return when that layer is unpacked and verified; raises what went wrong with it, NotFed before `feed`.

        A driver that goes in order unpacks it now, after those below it, which must have been fed.
        """
        if not self._needs(self._slots[position]):
            return
        slot = self._slots[position]
        if not self.driver.any_order:
            with self._turn:
                for each in self._slots[: position + 1]:
                    self._finish(each)
        else:
            # Whether a twin must be unpacked at all is known at commit.
            self._finish(slot if slot.twin is None else self._slots[slot.twin])

    def _needs(self, slot: Slot) -> bool:
        return not slot.here and not slot.shared and slot.unpacked is None

    def _finish(self, slot: Slot) -> None:
        if not self._needs(slot):
            return
        if slot.future is None:
            if slot.twin is not None:
                self._start_twin(slot, self._slots[slot.twin])
            elif slot.blob is None:
                raise NotFed(f"layer {slot.diff_id} (position {slot.position}) was not fed")
            else:
                self._start(slot)
        assert slot.future is not None
        slot.unpacked = slot.future.result()

    def _start_twin(self, slot: Slot, first: Slot) -> None:
        self._finish(first)
        slot.blob_fd, slot.blob, slot.media_type = os.dup(first.blob_fd), first.blob, first.media_type
        self._start(slot)

    # ---- becoming visible

    def commit(self) -> list[Layer]:
        """Make every layer visible, in one step; returns all layers of the image, base first.

        Raises what went wrong with unpacking any of them.  Blobs fed as writers must be committed by now.
        """
        new = [slot for slot in self._slots if not slot.here]
        if new:
            driver = self.driver
            for slot in self._slots:
                if slot.twin is not None and driver.any_order and is_settled(self._unpacked(slot.twin)):
                    slot.shared, slot.snapshot = True, self._slots[slot.twin].snapshot
                self._finish(slot)
            with file_errors(self.layers.store.root):
                if driver.any_order:
                    self._settle()
                damage.tell_driver(self.layers, driver, [slot.diff_id for slot in new])
                for slot in new:
                    if not slot.shared:
                        driver.commit(slot.snapshot)
                crashpoint("layers-unpacked")
                if self.layers.store.config.durability == "sync":
                    self.layers.flush()
            # Nobody was promised a layer: whoever adds the image over it waits for the disk, once for all rows.
            with self.layers.catalog.transaction(durable=False) as transaction:
                self._insert(transaction, new)
            crashpoint("layers-committed")
            self.layers.store.note_depth(driver, len(dict.fromkeys(slot.snapshot for slot in self._slots)))
            self.layers.store.note(slot.unpacked.warnings for slot in new if slot.unpacked is not None)
        self._committed = True
        return self.layers.stack(self._slots[-1].chain_id) if self._slots else []

    def _unpacked(self, position: int) -> Unpacked:
        slot = self._slots[position]
        self._finish(slot)
        assert slot.unpacked is not None
        return slot.unpacked

    def _settle(self) -> None:
        """Give each layer what it needs from those below, base first."""
        from veneer.changeset.unpack import settle

        driver = self.driver
        allow_files(len(self._slots))
        with contextlib.ExitStack() as opened:
            below: dict[SnapshotID, int] = {}
            for slot in self._slots:
                fd = below.pop(slot.snapshot, -1)
                if fd < 0:
                    fd = os.open(driver.directory(slot.snapshot), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                    opened.callback(os.close, fd)
                if slot.unpacked is not None and not is_settled(slot.unpacked):
                    lowers, names = list(reversed(below.values())), list(reversed(below))
                    settle(fd, slot.unpacked, lowers, driver.whiteouts, what=self._what(slot),
                           true=_truth(driver, names))  # fmt: skip
                below[slot.snapshot] = fd

    def _insert(self, transaction: apsw.Connection, new: Sequence[Slot]) -> None:
        store = self.layers.store
        store.remember_driver(transaction, self.driver.name)
        for slot in new:
            if not slot.shared and slot.unpacked is not None:
                self._insert_snapshot(transaction, slot, slot.unpacked)
            self._place(transaction, slot)
            transaction.execute("DELETE FROM trash WHERE kind = 'index' AND key = ?", (slot.diff_id,))
            transaction.execute(
                "DELETE FROM lease_snapshot WHERE lease = ? AND snapshot = ?", (self.lease.id, slot.snapshot)
            )
        self.lease.hold_layer(transaction, self._slots[-1].chain_id)

    def _insert_snapshot(self, transaction: apsw.Connection, slot: Slot, unpacked: Unpacked) -> None:
        assert slot.index is not None
        slot.index.replace(indexes.path(self.layers.store, slot.diff_id))
        self._snapshot_row(transaction, slot, unpacked)
        self._record_blob(transaction, slot)

    def _snapshot_row(self, transaction: apsw.Connection, slot: Slot, unpacked: Unpacked) -> None:
        store, session = self.layers.store, self.layers.session
        transaction.execute(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (slot.snapshot, self.driver.name, slot.diff_id, unpacked.size, unpacked.tar_size, unpacked.entries,
             int(self.driver.any_order and is_settled(unpacked)), int(store.config.durability == "sync"),
             session.boot_id, session.mount_id, time.time()),
        )  # fmt: skip

    def _place(self, transaction: apsw.Connection, slot: Slot) -> None:
        parent = self._slots[slot.position - 1].chain_id if slot.position else None
        place(self.layers, transaction, slot.chain_id, slot.diff_id, parent, slot.snapshot, self.driver.name)

    def _record_blob(self, transaction: apsw.Connection, slot: Slot) -> None:
        digest = slot.blob.digest if isinstance(slot.blob, BlobWriter) else slot.blob
        if digest is None:
            raise NotFed(f"the blob of layer {slot.diff_id} was unpacked but not committed")
        transaction.execute(
            "INSERT INTO blob_diff (diff_id, blob, media_type) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (slot.diff_id, digest, slot.media_type or media_type_of(slot.blob_fd)),
        )

    def __exit__(self, *_: object) -> None:
        with self._stack:
            try:
                running = [slot.future for slot in self._slots if slot.future is not None]
                for future in running:
                    future.cancel()
                # Nobody may still be writing into a directory that is about to go.
                wait(running)
            finally:
                for slot in self._slots:
                    slot.close()
            if not self._committed:
                for snapshot in self._made:
                    self.driver.remove(snapshot)


def _truth(driver: StorageDriver, lowers: Sequence[SnapshotID]) -> Callable[[int, bytes], Entry | None]:
    """What regular files of the lowers really are, see `settle`."""
    return lambda number, path: driver.attributes(lowers[number], path)


def _locked(root: Path, keys: Sequence[str], progress: Progress) -> contextlib.AbstractContextManager[object]:
    from veneer.store.locks import locked

    def waiting(key: str) -> None:
        progress(Report(key.partition(":")[2][:12], "Waiting"))

    return locked(root / "locks", keys, waiting=waiting)
