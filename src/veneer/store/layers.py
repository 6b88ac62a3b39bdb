"""Layers: which file system each chain ID names, where its files are, what they were unpacked from.

A layer's files are one snapshot.  A snapshot that took nothing from the layers below serves every chain ID that
has its diff ID, so such a layer is on the disk once however many images stand it on something else.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from veneer.errors import Corrupt, NotFound
from veneer.oci.digest import BlobDigest, ChainID, DiffID, Digest, ImageID
from veneer.progress import Progress, silent
from veneer.store.durability import Session
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from pathlib import Path
    from typing import Any

    from veneer.changeset.compression import Compression
    from veneer.changeset.index import LayerIndex
    from veneer.changeset.pool import UnpackPool
    from veneer.drivers.driver import SnapshotID
    from veneer.drivers.mount import Mount
    from veneer.drivers.protocol import StorageDriver
    from veneer.oci.manifest import Descriptor
    from veneer.store.blob_writer import BlobWriter
    from veneer.store.drafts import Draft
    from veneer.store.flushing import Flusher
    from veneer.store.intake import LayerIntake
    from veneer.store.leases import Lease
    from veneer.store.packing import LayerTar
    from veneer.store.store import Store

_LAYER = """SELECT layer.chain_id, layer.diff_id, layer.parent, layer.snapshot,
                   snapshot.driver, snapshot.size, snapshot.durable
            FROM layer JOIN snapshot ON snapshot.id = layer.snapshot """
_STACK = """WITH RECURSIVE stack (chain_id, parent, depth) AS (
                SELECT chain_id, parent, 0 FROM layer WHERE chain_id = ?
                UNION ALL SELECT layer.chain_id, layer.parent, depth + 1
                FROM stack JOIN layer ON layer.chain_id = stack.parent)
            SELECT layer.chain_id, layer.diff_id, layer.parent, layer.snapshot,
                   snapshot.driver, snapshot.size, snapshot.durable
            FROM stack JOIN layer USING (chain_id) JOIN snapshot ON snapshot.id = layer.snapshot ORDER BY depth DESC"""


class NoSuchLayer(NotFound):
    """The store does not have that layer."""


class LayerLost(Corrupt):
    """A layer's files cannot be trusted and no intact blob is there to unpack them from again."""


class Layer(Value):
    """One layer in its place.  `size` is docker's: the bytes of its files, each inode once.

    `durable`: known to be on the disk; if not, it is trusted until the next reboot and then unpacked anew.
    """

    __slots__ = ()
    chain_id: ChainID
    diff_id: DiffID
    parent: ChainID | None
    snapshot: SnapshotID
    driver: str
    size: int
    durable: bool


def _layer(row: Sequence[Any]) -> Layer:
    chain_id, diff_id, parent, snapshot, driver, size, durable = row
    return Layer(
        ChainID(Digest(chain_id)), DiffID(Digest(diff_id)), ChainID(Digest(parent)) if parent else None,
        snapshot, driver, size, bool(durable),
    )  # fmt: skip


class LayerStore:
    """The layers of one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.catalog = store.catalog
        self._pool: UnpackPool | None = None
        self._flushing: Flusher | None = None
        self._guard = threading.Lock()

    # ---- looking

    def find(self, chain_id: ChainID) -> Layer | None:
        """The layer that makes the file system `chain_id`, or None."""
        row = self.catalog.row(_LAYER + "WHERE chain_id = ?", (chain_id,))
        return None if row is None else _layer(row)

    def get(self, chain_id: ChainID) -> Layer:
        """The layer that makes the file system `chain_id`.  Raises NoSuchLayer."""
        found = self.find(chain_id)
        if found is None:
            raise NoSuchLayer(f"No such layer: {chain_id}", hint="veneer layer ls shows all of them")
        return found

    def stack(self, chain_id: ChainID) -> builtins.list[Layer]:
        """The layers that make the file system `chain_id`, base first.  Raises NoSuchLayer."""
        rows = self.catalog.rows(_STACK, (chain_id,))
        if not rows:
            raise NoSuchLayer(f"No such layer: {chain_id}", hint="veneer layer ls shows all of them")
        return [_layer(row) for row in rows]

    def by_diff_id(self, diff_id: DiffID) -> builtins.list[Layer]:
        """The layers with that content, wherever they stand."""
        return [_layer(row) for row in self.catalog.rows(_LAYER + "WHERE layer.diff_id = ?", (diff_id,))]

    def list(self) -> builtins.list[Layer]:
        """Every layer, parents before children."""
        known = {row[0]: row for row in self.catalog.rows(_LAYER + "ORDER BY layer.created, chain_id")}
        ordered: dict[str, None] = {}
        for chain_id in known:
            path: builtins.list[str] = []
            each: str | None = chain_id
            while each is not None and each not in ordered:
                path.append(each)
                each = known[each][2]
            ordered.update(dict.fromkeys(reversed(path)))
        return [_layer(known[chain_id]) for chain_id in ordered]

    def users(self, chain_id: ChainID) -> builtins.list[ImageID]:
        """Every image that has the layer somewhere in its stack."""
        rows = self.catalog.rows(
            """WITH RECURSIVE above (chain_id) AS (
                   SELECT ? UNION SELECT layer.chain_id FROM above JOIN layer ON layer.parent = above.chain_id)
               SELECT image.id FROM above JOIN image ON image.top = above.chain_id ORDER BY image.id""",
            (chain_id,),
        )
        return [ImageID(Digest(row[0])) for row in rows]

    def blobs(self, diff_id: DiffID) -> builtins.list[Descriptor]:
        """The stored blobs that unpack to `diff_id`, compressed ones first."""
        from veneer.oci.manifest import Descriptor

        rows = self.catalog.rows(
            "SELECT blob_diff.media_type, blob.digest, blob.size"
            " FROM blob_diff JOIN blob ON blob.digest = blob_diff.blob"
            " WHERE diff_id = ? ORDER BY blob.digest = diff_id, compressor != '', blob.size, blob.digest",
            (diff_id,),
        )
        return [Descriptor(media_type, BlobDigest(Digest(digest)), size) for media_type, digest, size in rows]

    def diff_ids_of_blobs(self, prefix: str) -> builtins.list[DiffID]:
        """The diff IDs of the stored layer blobs whose digest begins with `prefix`."""
        rows = self.catalog.rows(
            "SELECT DISTINCT diff_id FROM blob_diff WHERE blob >= ? AND blob < ?", (prefix, prefix + "g")
        )
        return [DiffID(Digest(row[0])) for row in rows]

    def directory(self, layer: Layer) -> Path:
        """Where the layer's own files are.  Before reading them, `ensure` that they are whole."""
        return self.store.driver_named(layer.driver).directory(layer.snapshot)

    # ---- which driver

    def serving(self, chain_id: ChainID) -> str | None:
        """The name of the driver that serves a layer, and with it all layers that share its base; None if it is not
        here."""
        name: str | None = self.catalog.value(
            "SELECT driver FROM layer JOIN snapshot ON snapshot.id = layer.snapshot WHERE chain_id = ?", (chain_id,)
        )
        return name

    def driver_of(self, chain_id: ChainID | None) -> StorageDriver:
        """The driver that serves a layer, probed; the store's for one that is not here, and for None.

        Raises DriverGone, NoUsableDriver.
        """
        name = self.serving(chain_id) if chain_id else None
        return self.store.working(name) if name else self.store.driver

    def driver_on(self, lease: Lease, parent: ChainID | None) -> StorageDriver:
        """The driver for what is to stand on `parent`, which the lease keeps from now on, and with it its driver."""
        if parent:
            with self.catalog.transaction(durable=False) as transaction:
                lease.hold_layer(transaction, parent)
        return self.driver_of(parent)

    def owner_of(self, path: str | os.PathLike[str]) -> Layer | None:
        """The layer that a path on this machine belongs to, or None; the oldest where several share it."""
        root, real = os.path.realpath(self.store.root), os.path.realpath(path)
        parts = real.removeprefix(root + "/").split("/")
        if not real.startswith(root + "/") or len(parts) < 2:
            return None
        row = self.catalog.row(
            _LAYER + "WHERE layer.snapshot = ?1 AND snapshot.driver = ?2 OR chain_id IN"
            " (SELECT chain_id FROM layer_copy WHERE layer_copy.snapshot = ?1 AND layer_copy.driver = ?2)"
            " ORDER BY layer.created LIMIT 1",
            (parts[1], parts[0]),
        )
        return None if row is None else _layer(row)

    def graph_data(self, chain_id: ChainID | None) -> tuple[str, dict[str, str] | None]:
        """The driver's name and what docker's inspect shows as GraphDriver.Data."""
        if chain_id is None:
            return self.catalog.setting("driver") or self.store.config.storage_driver, None
        stack = self.stack(chain_id)
        snapshots = lowers(stack)
        driver = self.store.driver_named(stack[-1].driver)
        return driver.name, driver.graph_data(snapshots[0], snapshots[1:])

    # ---- what is only served whole

    @functools.cached_property
    def session(self) -> Session:
        """This boot and mounting of the data root."""
        return Session.current(self.store.root)

    def trusted(self, durable: int, boot_id: str, mount_id: int) -> bool:
        """Whether a snapshot with these columns holds what was written to it."""
        return bool(durable) or (boot_id == self.session.boot_id and mount_id == self.session.mount_id)

    def untrusted(self) -> set[SnapshotID]:
        """The snapshots that a power cut may have damaged."""
        rows = self.catalog.rows("SELECT id, durable, boot_id, mount_id FROM snapshot WHERE durable = 0")
        return {row[0] for row in rows if not self.trusted(*row[1:])}

    def ensure(self, chain_id: ChainID, driver: str = "") -> builtins.list[Layer]:
        """The stack of `chain_id`, base first, after unpacking anew what cannot be trusted.

        `driver`: with that one's files, though another serves the layers (copies.py).  Raises LayerLost.
        """
        stack = self.stack(chain_id)
        if driver and stack[-1].driver != driver:
            from veneer.store.copies import ensure

            return ensure(self, chain_id, driver)
        if all(layer.durable for layer in stack):
            return stack
        from veneer.store.lasting import made_whole

        return made_whole(self, stack)

    def source(self, lease: Lease, diff_id: DiffID) -> BlobDigest:
        """A blob of ours to unpack the layer from, held by the lease.  Raises LayerLost."""
        for descriptor in self.blobs(diff_id):
            if self.store.blobs.acquire(lease, descriptor.digest):
                return descriptor.digest
        from veneer.store.lasting import lost_layer

        raise lost_layer(self, diff_id)

    def index(self, diff_id: DiffID) -> LayerIndex:
        """The table of contents of a layer, made anew if lost.  Close it, or use it in a `with`.

        Raises NoSuchLayer, LayerLost, IndexLost.
        """
        from veneer.store.indexes import opened

        return opened(self, diff_id)

    def mounts(self, chain_id: ChainID | None) -> Sequence[Mount]:
        """What to mount for a read-only view of a file system, whole; None: of nothing."""
        if chain_id is None:
            return self.store.driver.mounts(None, ())
        stack = self.ensure(chain_id)
        return self.store.working(stack[-1].driver).mounts(None, lowers(stack))

    # ---- taking in

    @property
    def pool(self) -> UnpackPool:
        """The processes that unpack."""
        with self._guard:
            if self._pool is None:
                from veneer.changeset.pool import UnpackPool

                self._pool = UnpackPool(self.store.config.unpack_workers)
            return self._pool

    def close(self) -> None:
        """End the unpacking processes and what is begun; idempotent."""
        if self._flushing is not None:
            self._flushing.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def record_blob(self, lease: Lease, diff_id: DiffID, descriptor: Descriptor, compressor: str = "") -> None:
        """Remember that a stored blob unpacks to `diff_id`; `compressor` names what made it here ("": it came so)."""
        with self.catalog.transaction(durable=False) as transaction:
            lease.hold_blob(transaction, descriptor.digest)
            transaction.execute(
                "INSERT INTO blob_diff VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET media_type = excluded.media_type,"
                " compressor = CASE excluded.compressor WHEN '' THEN compressor ELSE excluded.compressor END",
                (diff_id, descriptor.digest, descriptor.media_type, compressor),
            )

    @contextlib.contextmanager
    def intake(self, lease: Lease, diff_ids: Sequence[DiffID], *, progress: Progress = silent) -> Iterator[LayerIntake]:
        """One image's layers coming in, base first.  Begin it before any `blobs.writer` of those layers.

        Waits while another process takes in one of them, and then finds it here.
        """
        from veneer.store.intake import LayerIntake

        self.prove_durable()
        with LayerIntake(self, lease, diff_ids, progress) as intake:
            yield intake

    def tar(self, layer: Layer) -> LayerTar:
        """The layer's plain tar: from its blob if it has one, else packed from its files."""
        from veneer.store.packing import tar_of

        return tar_of(self, layer)

    def compressed(
        self,
        lease: Lease,
        diff_id: DiffID,
        kind: Compression | None = None,
        level: int | None = None,
        *,
        progress: Progress = silent,
        growing: Callable[[BlobWriter], None] | None = None,
        read: Callable[[], None] = lambda: None,
    ) -> Descriptor:
        """A stored, compressed blob of the layer; made by all cores where there is none, and kept (packing.py)."""
        from veneer.store.packing import compressed

        return compressed(
            self.store, lease, diff_id, kind, level, progress=progress, growing=growing, read=read
        )  # fmt: skip

    @contextlib.contextmanager
    def draft(self, lease: Lease, parent: ChainID | None) -> Iterator[Draft]:
        """A layer to be made by writing files, on top of `parent` (None: a base layer)."""
        from veneer.store.drafts import Draft

        made = Draft(self, lease, parent)
        try:
            yield made
        finally:
            made.close()

    def share(self, lease: Lease, diff_id: DiffID, parent: ChainID | None) -> Layer | None:
        """Have a layer on top of `parent` (held by the caller) without writing its files again: they serve other
        chains and took nothing from those.  None if they are not here, or the driver writes each layer anew."""
        from veneer.store.drafts import share

        return share(self, lease, diff_id, parent)

    def settle_built(self) -> None:
        """Return when every layer made here so far would survive a power cut; one without a blob could not be made
        again.  Nothing is promised with durability "none"."""
        from veneer.store.lasting import settle_built

        settle_built(self)

    def prove_durable(self, *, all: bool = False) -> None:
        """Flush the file system and mark the snapshots written in this session as being on the disk.

        Without `all` only when some are so old that the kernel has written most of them back by itself.
        """
        from veneer.store.lasting import prove

        prove(self, all=all)

    def flush(self) -> None:
        """Write everything of the store's file system to its disk."""
        self._flusher().flush()

    def begin_flush(self, written: int) -> None:
        """Have the disk begin with `written` bytes of new files: whoever needs them to last will wait less."""
        from veneer.store.flushing import WORTHWHILE

        if written >= WORTHWHILE and self.store.config.durability != "none":
            self._flusher().begin()

    def _flusher(self) -> Flusher:
        from veneer.store.flushing import Flusher

        with self._guard:
            if self._flushing is None:
                self._flushing = Flusher(self.store.root)
            return self._flushing


def lowers(stack: Sequence[Layer]) -> builtins.list[SnapshotID]:
    """The snapshots of a stack, nearest first, each once.

    A layer that comes twice needs its nearer place only: there it hides everything its farther place shows.
    (The kernel refuses the same directory twice in one overlay.)
    """
    return list(dict.fromkeys(layer.snapshot for layer in reversed(stack)))
