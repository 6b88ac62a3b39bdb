"""Drafts: layers made here, from a writable directory on top of a parent to a row that everybody sees.

Such a layer has no blob: its files are written once, into the driver's directory, and its tar can be packed from them
again at any time, byte for byte (packing.py).  A blob is made when somebody asks for one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from veneer.drivers.driver import SnapshotID, new_snapshot_id
from veneer.errors import Conflict
from veneer.oci.digest import ChainID, chain_id
from veneer.store import damage, indexes
from veneer.store.durability import crashpoint, file_errors
from veneer.store.layers import Layer, LayerStore, lowers

if TYPE_CHECKING:
    import apsw

    from veneer.changeset.entry import Entry
    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.mount import Mount
    from veneer.drivers.protocol import StorageDriver
    from veneer.oci.digest import DiffID
    from veneer.store.leases import Lease


class ServedByAnother(Conflict):
    """Two processes took in layers of one stack for two storage drivers at the same time."""


class Draft:
    """A snapshot that is still written to; made by LayerStore.draft.  Leaving without `publish` leaves nothing.

    `directory` is where its own files go, in the driver's spelling (`style`); or write through the union (`mounts`).
    `driver` is the one that serves its parent, `lowers` the snapshots below, nearest first.
    """

    def __init__(self, layers: LayerStore, lease: Lease, parent: ChainID | None) -> None:
        self._layers = layers
        self._lease = lease
        self.parent = parent
        self.driver = layers.driver_on(lease, parent)
        self.lowers = lowers(layers.ensure(parent)) if parent else []
        self.snapshot: SnapshotID = new_snapshot_id()
        self._published = False
        self._index = lease.file("index")
        with layers.catalog.transaction(durable=False) as transaction:
            # Said before it is made, so that a collection does not take it for rubbish.
            lease.hold_snapshot(transaction, self.snapshot, self.driver.name, "")
        try:
            with file_errors(layers.store.root):
                self.directory: Path = self.driver.create(self.snapshot, self.lowers)
        except BaseException:
            self.close()
            raise
        crashpoint("draft-created")

    @property
    def style(self) -> WhiteoutStyle:
        """How deletions are spelt in `directory`."""
        return self.driver.whiteouts

    def mounts(self) -> Sequence[Mount]:
        """What to mount to write to the draft through its union with the layers below."""
        return self.driver.mounts(self.snapshot, self.lowers)

    @contextlib.contextmanager
    def below(self) -> Iterator[list[int]]:
        """Descriptors of the directories below, see `directories`."""
        with directories(self.driver, self.lowers) as found:
            yield found

    def true(self, number: int, path: bytes) -> Entry | None:
        """What a regular file of one of `below` really is, where its directory does not tell; see `settle`."""
        return self.driver.attributes(self.lowers[number], path)

    @contextlib.contextmanager
    def merged(self) -> Iterator[int]:
        """A descriptor of the tree below the draft, read-only."""
        from veneer.drivers.mount import opened

        with opened(self.driver.mounts(None, self.lowers)) as root:
            yield root

    def index_file(self) -> BinaryIO:
        """The file for the layer's index; close it before `publish`.  Opening it again empties it."""
        return open(self._index, "wb+")

    def measure(self) -> Packed:
        """Pack what the draft changes into nothing: its diff ID, sizes, and its index."""
        with self.index_file() as index, file_errors(self._layers.store.root):
            return self.driver.diff(self.snapshot, self.lowers, Nowhere(), index=index)  # type: ignore[arg-type]

    def publish(self, packed: Packed, parent: ChainID | None = None, *, standalone: bool) -> Layer:
        """Make the draft the layer on top of its parent; `packed` is what `measure` said, or what filled it knows.

        `standalone`: its files depend on nothing below, so that they may serve other chains with its diff ID.
        `parent` (held by the caller's lease) replaces the draft's own, for a driver that takes layers in any order.
        A layer that is here already, whole, wins: the draft is thrown away (but for its index, if that one has lost
        its own), and that one returned; so do standalone files of its diff ID that serve other chains.  The layer is
        trusted until the next boot; `LayerStore.settle_built` makes it last.
        """
        layers = self._layers
        below = parent if parent is not None else self.parent
        named = chain_id(below, packed.diff_id)
        with file_errors(layers.store.root):
            self.driver.commit(self.snapshot)
        crashpoint("draft-filled")
        with layers.catalog.transaction(durable=False) as transaction:
            here = _is_here(layers, transaction, named)
            shared = shareable(layers, transaction, self.driver, packed.diff_id) if standalone and not here else None
            won = not here and shared is None
            if won:
                self._insert(transaction, packed, named, below, standalone=standalone)
            else:
                if shared is not None:
                    place(layers, transaction, named, packed.diff_id, below, shared, self.driver.name)
                if not indexes.is_whole(layers.store, packed.diff_id):
                    self._index.replace(indexes.path(layers.store, packed.diff_id))
            self._lease.hold_layer(transaction, named)
        self._published = won
        crashpoint("draft-published")
        return layers.get(named)

    def _insert(
        self, transaction: apsw.Connection, packed: Packed, named: ChainID, below: ChainID | None, *, standalone: bool
    ) -> None:
        layers, session = self._layers, self._layers.session
        # The file is there before its row; if the row fails, it is one more index with the same content, or a stray.
        with file_errors(layers.store.root):
            self._index.replace(indexes.path(layers.store, packed.diff_id))
        layers.store.remember_driver(transaction, self.driver.name)
        transaction.execute(
            "INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
            (self.snapshot, self.driver.name, packed.diff_id, packed.size, packed.tar_size, packed.entries,
             int(standalone and self.driver.any_order), session.boot_id, session.mount_id, time.time()),
        )  # fmt: skip
        place(layers, transaction, named, packed.diff_id, below, self.snapshot, self.driver.name)
        transaction.execute("DELETE FROM trash WHERE kind = 'index' AND key = ?", (packed.diff_id,))
        transaction.execute(
            "DELETE FROM lease_snapshot WHERE lease = ? AND snapshot = ?", (self._lease.id, self.snapshot)
        )

    def close(self) -> None:
        """Throw the draft away unless it was published; idempotent."""
        if not self._published:
            self.driver.remove(self.snapshot)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._index)


def share(layers: LayerStore, lease: Lease, diff_id: DiffID, parent: ChainID | None) -> Layer | None:
    """See LayerStore.share."""
    named, driver = chain_id(parent, diff_id), layers.driver_on(lease, parent)
    with layers.catalog.transaction(durable=False) as transaction:
        if not _is_here(layers, transaction, named):
            snapshot = shareable(layers, transaction, driver, diff_id)
            if snapshot is None:
                return None
            place(layers, transaction, named, diff_id, parent, snapshot, driver.name)
        lease.hold_layer(transaction, named)
    return layers.get(named)


def shareable(
    layers: LayerStore, connection: apsw.Connection, driver: StorageDriver, diff_id: DiffID
) -> SnapshotID | None:
    """The files of a layer that took nothing from those below it, whole, or None."""
    if not driver.any_order:
        return None
    rows = connection.execute(
        "SELECT id, driver, durable, boot_id, mount_id FROM snapshot"
        " WHERE diff_id = ? AND driver = ? AND standalone = 1 ORDER BY created",
        (diff_id, driver.name),
    )
    return next(filter(None, (damage.whole(layers, row) for row in rows)), None)


def _is_here(layers: LayerStore, connection: apsw.Connection, named: ChainID) -> bool:
    """Whether a layer is there, and whole."""
    return damage.layer_here(layers, connection, named) is not None


def place(
    layers: LayerStore,
    connection: apsw.Connection,
    named: ChainID,
    diff_id: DiffID,
    below: ChainID | None,
    snapshot: SnapshotID,
    driver: str,
) -> None:
    """Have a layer, with these files of `driver`, on top of `below`, which the caller's lease keeps.

    A layer that was here but could not be trusted gets its new snapshot.  Raises ServedByAnother.
    """
    for other in (layers.serving(named), layers.serving(below) if below else None):
        if other not in (None, driver):
            raise ServedByAnother(
                f"layer {diff_id.short} was made for {driver}, and another process had it or what is below it with "
                f"{other} meanwhile", hint="do it again",
            )  # fmt: skip
    old = connection.execute("SELECT snapshot FROM layer WHERE chain_id = ?", (named,)).fetchone()
    connection.execute(
        "INSERT INTO layer VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET snapshot = excluded.snapshot",
        (named, diff_id, below, snapshot, time.time()),
    )
    damage.supersede(connection, old, snapshot)


@contextlib.contextmanager
def directories(driver: StorageDriver, lowers: Sequence[SnapshotID]) -> Iterator[list[int]]:
    """Descriptors of the directories of `lowers`, nearest first, in the driver's spelling; of a driver whose layers are
    whole trees the nearest one only."""
    from veneer.store.intake_slot import allow_files

    nearest = lowers if driver.any_order else lowers[:1]
    allow_files(len(nearest))
    with contextlib.ExitStack() as opened:
        found = []
        for lower in nearest:
            fd = os.open(driver.directory(lower), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, fd)
            found.append(fd)
        yield found


class Nowhere:
    """Takes a tar of which only the digest is wanted."""

    def write(self, data: memoryview | bytes | bytearray, /) -> int:
        return len(data)
