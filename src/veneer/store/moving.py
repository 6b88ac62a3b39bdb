"""Everything moves to another storage driver: `system migrate`.

Layers that share a base are moved together, for one driver serves a stack: their copies are made beside what serves
them (copies.py) and put on the disk, then one transaction has the copies serve and makes the old files the copies, and
a collection takes away what nobody stands on any more.  Containers follow, each by itself.  Whoever is killed, or whose
machine stops, has every layer with the one driver or the other; doing it again goes on from there.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.changeset.pack_walk import Unpackable
from veneer.errors import Conflict, Corrupt, NotFound, Unavailable, Unsupported
from veneer.oci.digest import ChainID, Digest
from veneer.progress import Progress, Report, silent
from veneer.store.copies import bring
from veneer.store.durability import crashpoint
from veneer.store.gc import Extent
from veneer.store.leases import is_alive
from veneer.store.locks import hold_key
from veneer.store.moving_container import left_of, move_container
from veneer.store.moving_plan import MOVING, Left, Stack, on_disk, room_of, stacks_to_move
from veneer.store.moving_progress import Whole
from veneer.values import Value

if TYPE_CHECKING:
    import apsw

    from veneer.drivers.protocol import StorageDriver
    from veneer.store.containers import Container
    from veneer.store.store import Store

PATIENCE = 30.0
"""Seconds to wait for operations that work on the layers that are to be moved."""
_ASK_AGAIN = 0.2

_TREE = """
    WITH RECURSIVE tree (chain_id) AS (
        SELECT chain_id FROM layer WHERE chain_id = :base
        UNION ALL SELECT layer.chain_id FROM tree JOIN layer ON layer.parent = tree.chain_id)"""
_TOPS = (
    _TREE
    + """
    SELECT chain_id FROM tree WHERE NOT EXISTS (SELECT 1 FROM layer WHERE layer.parent = tree.chain_id)"""
)
_SERVED = (
    _TREE
    + """
    SELECT layer.chain_id, old.id, old.driver, copy.id, copy.durable, copy.boot_id, copy.mount_id
    FROM tree JOIN layer ON layer.chain_id = tree.chain_id JOIN snapshot AS old ON old.id = layer.snapshot
    LEFT JOIN layer_copy ON layer_copy.chain_id = tree.chain_id AND layer_copy.driver = :to
    LEFT JOIN snapshot AS copy ON copy.id = layer_copy.snapshot WHERE old.driver != :to"""
)
# What only shows layers makes none on top of them, and keeps what it shows.
_AT_WORK = (
    _TREE
    + """
    SELECT DISTINCT lease.id, purpose, pid FROM tree JOIN lease_layer USING (chain_id)
    JOIN lease ON lease.id = lease_layer.lease WHERE lease.id NOT IN (SELECT lease FROM mount)"""
)


class AlreadyMoving(Conflict):
    """Another process migrates the store."""


class NotEnoughRoom(Unavailable):
    """The layers do not fit beside those that they are made from."""


class Moved(Value):
    """What a migration did, or would do: `layers` and `containers` moved; `before` and `after` are the bytes that all
    drivers take on the disk (`after` of a dry run is -1), `needed` and `free` what it takes at most and what there is.
    """

    __slots__ = ()
    to: str
    layers: int
    containers: Sequence[str]
    left: Sequence[Left]
    before: int
    after: int
    needed: int
    free: int


def migrate(
    store: Store,
    to: str,
    *,
    is_running: Callable[[Path], bool],
    keep: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    patience: float = PATIENCE,
) -> Moved:
    """Have the driver `to` serve every layer and hold every container that does not run; new ones go to it too.

    `is_running` is asked with a container's folder.  `keep`: the old files of layers stay as well, so that moving back
    costs nothing.  `patience`: how many seconds to wait for others that work on layers.
    Raises NoSuchDriver, NoUsableDriver, AlreadyMoving, NotEnoughRoom, StoreFull.
    """
    from veneer.drivers.driver import choose

    store.require_ids()
    driver = choose(store.root, to, store.config)
    fd = hold_key(store.root / "locks", "migrate")
    if fd is None:
        raise AlreadyMoving(f"{store.root} is being migrated by another process", hint="wait until it is done")
    try:
        return _Migration(store, driver, is_running, keep, progress, patience).run(dry_run=dry_run)
    finally:
        os.close(fd)


def _megabytes(count: int) -> str:
    """Bytes for people, as docker writes them; whole megabytes will do where disks are full."""
    return f"{count / 1e6:,.0f}MB" if count >= 10_000_000 else f"{count / 1e6:.2f}MB"


class _Migration:
    def __init__(
        self,
        store: Store,
        driver: StorageDriver,
        is_running: Callable[[Path], bool],
        keep: bool,
        progress: Progress,
        patience: float,
    ) -> None:
        self._store = store
        self._driver = driver
        self._is_running = is_running
        self._keep = keep
        self._progress = progress
        self._patience = patience
        self._left: dict[tuple[str, str], Left] = {}
        self._containers: list[str] = []

    def run(self, *, dry_run: bool) -> Moved:
        store, to = self._store, self._driver.name
        stacks = list(stacks_to_move(store, self._driver))
        before = self._on_disk()
        found = os.statvfs(store.root)
        free = found.f_bavail * found.f_frsize
        needed = self._room(stacks)
        self._told(Moved(to, sum(stack.missing for stack in stacks), (), (), before, -1, needed, free))
        if dry_run:
            return self._dry(stacks, before, needed, free)
        if needed > free or (found.f_files and max((each.inodes for each in stacks), default=0) > found.f_favail):
            raise NotEnoughRoom(
                f"moving to {to} takes up to {_megabytes(needed)} for a while, and {store.root} has "
                f"{_megabytes(free)} free",
                hint="make room: veneer system prune; or remove images",
            )
        with store.catalog.transaction() as transaction:
            transaction.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", [("driver", to), (MOVING, to)])
        crashpoint("migrate-begun")
        store.__dict__.pop("driver", None)  # chosen when another one was the store's
        self._progress = Whole(self._progress, sum(stack.tars for stack in stacks))
        moved = sum(self._stack(stack) for stack in stacks)
        self._all_containers(store.containers.list())
        self._mounts()
        if not self._keep:
            with store.catalog.transaction() as transaction:
                transaction.execute("UPDATE layer_copy SET kept = 0 WHERE driver != ?", (to,))
            store.collect(extent=Extent.ROWS)
        with store.catalog.transaction(durable=False) as transaction:
            transaction.execute("DELETE FROM setting WHERE key = ?", (MOVING,))
        return Moved(to, moved, self._containers, list(self._left.values()), before, self._on_disk(), needed, free)

    def _dry(self, stacks: Sequence[Stack], before: int, needed: int, free: int) -> Moved:
        names = []
        for container in self._store.containers.list():
            if container.driver == self._driver.name:
                continue
            left = left_of(self._store, container, self._is_running)
            if left is None:
                names.append(container.name)
            else:
                self._stays("container", container.name, *left)
        self._mounts()
        layers = sum(stack.layers for stack in stacks)
        return Moved(self._driver.name, layers, names, list(self._left.values()), before, -1, needed, free)

    def _told(self, plan: Moved) -> None:
        """Say what is about to be done."""
        self._progress(Report("", f"Moving to {plan.to}: {plan.layers} layer{'s' * (plan.layers != 1)} to be made"))

    def _stays(self, kind: str, name: str, reason: str, hint: str) -> None:
        self._left[kind, name] = Left(kind, name, reason, hint)

    # ---- room

    def _room(self, stacks: Iterable[Stack]) -> int:
        """The most bytes that are taken at a time beside what is here now."""
        taken = 0
        most = max(
            (
                room_of(self._store.containers.driver(each), each.rw)
                for each in self._store.containers.list()
                if each.driver != self._driver.name
            ),
            default=0,
        )
        for stack in stacks:
            taken += stack.needed
            most = max(most, taken + stack.beside)
            taken -= 0 if self._keep else min(stack.frees, stack.needed)
        return most

    def _on_disk(self) -> int:
        names = {*self._store.drivers_in_use(), self._driver.name}
        return sum(on_disk(self._store.root / name) for name in names)

    # ---- layers

    def _stack(self, stack: Stack) -> int:
        """Move the layers on one base; how many."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._bring(stack.base)
            except (Corrupt, Unsupported) as error:
                self._stays("layers", stack.base, error.message, error.hint)
                return 0
            crashpoint("migrate-brought")
            busy = self._serve(stack.base)
            if busy == "":
                break
            if busy is not None and time.monotonic() > deadline:
                self._stays("layers", stack.base, f"in use by {busy}", "do it again when that is done")
                return 0
            if busy is not None:
                self._progress(Report(ChainID(stack.base).short, f"Waiting for {busy}"))
                time.sleep(_ASK_AGAIN)
        crashpoint("migrate-served")
        self._progress(Report(ChainID(stack.base).short, "Moved"))
        chain_ids = {row[0] for row in self._store.catalog.rows(f"{_TREE} SELECT * FROM tree", {"base": stack.base})}
        self._all_containers(each for each in self._store.containers.list() if each.top in chain_ids)
        if not self._keep:
            self._store.collect(extent=Extent.ROWS)
        return stack.layers

    def _bring(self, base: ChainID) -> None:
        """Have copies of all layers on a base, on the disk."""
        layers = self._store.layers
        with self._store.lease("migrate") as lease:
            with self._store.catalog.transaction(durable=False) as transaction:
                rows: list[Any] = transaction.execute(_TOPS, {"base": base}).fetchall()
                tops = [ChainID(Digest(row[0])) for row in rows]
                for top in tops:
                    lease.hold_layer(transaction, top)
            for top in tops:
                if layers.serving(top) != self._driver.name:
                    bring(layers, lease, top, self._driver, kept=True, progress=self._progress)
            layers.prove_durable(all=True)

    def _serve(self, base: ChainID) -> str | None:
        """Have the copies serve, and what served be the copies.

        "" if that is done; who works on the layers, where somebody does; None if there are layers without a copy.
        """
        to, store = self._driver.name, self._store
        with store.catalog.transaction() as transaction:
            rows: list[Any] = transaction.execute(_SERVED, {"base": base, "to": to}).fetchall()
            if not all(row[3] and store.layers.trusted(*row[4:]) for row in rows):
                return None
            leases: list[Any] = transaction.execute(_AT_WORK, {"base": base}).fetchall()
            busy = next((f"{purpose} (process {pid})" for lease, purpose, pid in leases if is_alive(store.root, lease)),
                        "")  # fmt: skip
            if not busy:
                self._swap(transaction, rows)
            return busy

    def _swap(self, transaction: apsw.Connection, rows: Sequence[Any]) -> None:
        doubtful = self._store.layers.untrusted()
        for chain_id, old, driver, copy, *_ in rows:
            transaction.execute("UPDATE layer SET snapshot = ? WHERE chain_id = ?", (copy, chain_id))
            transaction.execute(
                "DELETE FROM layer_copy WHERE chain_id = ? AND driver = ?", (chain_id, self._driver.name)
            )
            if old not in doubtful:
                transaction.execute(
                    "INSERT OR REPLACE INTO layer_copy (chain_id, driver, snapshot, kept) VALUES (?, ?, ?, ?)",
                    (chain_id, driver, old, int(self._keep)),
                )

    # ---- containers and mounts

    def _all_containers(self, containers: Iterable[Container]) -> None:
        for container in containers:
            if container.driver == self._driver.name or ("container", container.name) in self._left:
                continue
            try:
                left = move_container(self._store, container.id, self._driver, self._is_running)
            except (Corrupt, NotFound, Unsupported, Unpackable) as error:
                left = (error.message, error.hint)
            if left is None:
                self._containers.append(container.name)
                self._progress(Report(container.name, "Moved"))
            else:
                self._stays("container", container.name, *left)

    def _mounts(self) -> None:
        for mount in self._store.mounts.list():
            if mount.driver != self._driver.name and mount.kind == "image":
                self._stays("mount", mount.target, f"shows {mount.shown} with {mount.driver}, whose files stay so long",
                            f"veneer unmount {mount.target}; then veneer system prune")  # fmt: skip
