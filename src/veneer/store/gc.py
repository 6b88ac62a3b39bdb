"""Collection: what nothing needs goes, whatever else is going on in the store.

Mark: SQL, from images, names and live leases, in the transaction that also drops the rows of what is not marked
and notes their files in `trash`.  Sweep: under SQLite's write lock again, what nobody brought back meanwhile is
renamed into trash/; unlinking, which may take long, holds no lock.  Files that no row and no live lease knows are
swept the same way, so whatever a killed process left behind goes too.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.drivers.driver import DRIVERS, SnapshotID
from veneer.oci.digest import Digest
from veneer.store.durability import crashpoint
from veneer.store.leases import INGEST_KEY, is_alive
from veneer.store.locks import LockBusy, hold_file, locked
from veneer.store.reserve import making_room

if TYPE_CHECKING:
    import apsw

    from veneer.store.store import Store

# What is needed, as temporary tables of one column.  A layer's blob is needed if a manifest or a lease names it.
# Of the other blobs with the content of a needed layer, those compressed here stay, for they cost time to make,
# and the rest only where the layer would have none.
_MARK = """
CREATE TEMP TABLE live_layer (chain_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE live_snapshot (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE live_blob (digest TEXT PRIMARY KEY) WITHOUT ROWID;

INSERT INTO live_layer
WITH RECURSIVE needed (chain_id) AS (
    SELECT top FROM image WHERE top IS NOT NULL
    UNION SELECT chain_id FROM lease_layer
    UNION SELECT layer.parent FROM needed JOIN layer USING (chain_id) WHERE layer.parent IS NOT NULL)
SELECT chain_id FROM needed;

INSERT INTO live_snapshot
SELECT snapshot FROM layer WHERE chain_id IN live_layer UNION SELECT snapshot FROM lease_snapshot;

INSERT INTO live_blob
WITH RECURSIVE needed (digest) AS (
    SELECT id FROM image UNION SELECT manifest FROM image
    UNION SELECT target FROM tag WHERE target IS NOT NULL
    UNION SELECT target FROM digest_ref WHERE target IS NOT NULL
    UNION SELECT blob FROM lease_blob
    UNION SELECT blob_ref.child FROM needed JOIN blob_ref ON blob_ref.blob = needed.digest)
SELECT digest FROM needed WHERE digest IN (SELECT digest FROM blob);

INSERT OR IGNORE INTO live_blob
SELECT blob FROM blob_diff WHERE diff_id IN (SELECT diff_id FROM layer WHERE chain_id IN live_layer)
AND (compressor != '' OR diff_id NOT IN (SELECT diff_id FROM blob_diff WHERE blob IN live_blob));
"""
_UNMARK = "DROP TABLE temp.live_layer; DROP TABLE temp.live_snapshot; DROP TABLE temp.live_blob"
_DOOMED = """
INSERT OR REPLACE INTO trash
    SELECT 'blob', digest, '', size, :now FROM blob WHERE digest NOT IN live_blob
    UNION ALL SELECT 'snapshot', id, driver, size, :now FROM snapshot WHERE id NOT IN live_snapshot
    UNION ALL SELECT DISTINCT 'index', diff_id, '', 0, :now FROM layer WHERE diff_id NOT IN (
        SELECT diff_id FROM layer WHERE chain_id IN live_layer
        UNION SELECT diff_id FROM snapshot WHERE id IN live_snapshot);
DELETE FROM layer WHERE chain_id NOT IN live_layer;
DELETE FROM snapshot WHERE id NOT IN live_snapshot;
DELETE FROM blob WHERE digest NOT IN live_blob;
"""


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One thing that goes: kind is blob, snapshot, index, partial, scratch or trash; bytes is what it frees."""

    kind: str
    name: str
    bytes: int


@dataclass(frozen=True)
class Collected:
    """What a collection removed, or would remove."""

    items: list[Item] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)


class _Notes:
    """What goes, each thing once, with the size it was first seen with."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}

    def __call__(self, kind: str, name: str, size: int) -> None:
        self.items.setdefault((kind, name), Item(kind, name, size))


class _Rollback(Exception):
    """The end of a dry run's transaction."""


def collect(store: Store, *, dry_run: bool = False) -> Collected:
    """Remove what nothing needs; with `dry_run` only tell.  Safe beside anything other processes do."""
    with making_room(store.root):
        return _collect(store, dry_run=dry_run)


def _collect(store: Store, *, dry_run: bool) -> Collected:
    note = _Notes()
    for folder in dead_scratch(store):
        note("scratch", folder.name, _usage(folder))
        if not dry_run:
            _to_trash(store, "scratch", folder)
    crashpoint("gc-reaped")
    with contextlib.suppress(_Rollback), store.catalog.transaction() as transaction:
        _drop_rows(store, transaction)
        doomed: list[Any] = transaction.execute("SELECT kind, key, size FROM trash").fetchall()
        for kind, key, size in doomed:
            note(kind, key, size)
        if dry_run:
            # Strays are told apart from what the rows just stopped naming while those rows are still gone.
            for kind, _, key, path in strays(store, transaction):
                note(kind, key, _usage(path))
            raise _Rollback
    if not dry_run:
        crashpoint("gc-rows-gone")
        store.layers.prove_durable()
        _sweep(store, note)
    for path in (store.root / "partial").iterdir():
        _partial(path, note, remove=not dry_run)
    for path in (store.root / "trash").iterdir():
        if not path.name.startswith(("blob-", "index-", "scratch-")):
            note("trash", path.name, _usage(path))
        if not dry_run:
            _remove(path)
    return Collected(sorted(note.items.values()))


def _drop_rows(store: Store, transaction: apsw.Connection) -> None:
    """Drop every row nothing needs, noting its file in `trash`."""
    leases: list[Any] = transaction.execute("SELECT id FROM lease").fetchall()
    for (lease_id,) in leases:
        if not is_alive(store.root, lease_id):
            transaction.execute("DELETE FROM lease WHERE id = ?", (lease_id,))
    transaction.execute(_MARK)
    transaction.execute(_DOOMED, {"now": time.time()})
    transaction.execute(_UNMARK)


def _sweep(store: Store, note: _Notes) -> None:
    """Move the files of dropped rows, and those no row ever named, out of the way; then empty `trash`."""
    snapshots: list[tuple[str, str]] = []
    with store.catalog.transaction() as transaction:
        trash: list[Any] = transaction.execute("SELECT kind, key, driver FROM trash").fetchall()
        for kind, key, driver in trash:
            # Only what came back between the two transactions has a row now; a snapshot never does.
            if kind == "snapshot":
                snapshots.append((driver, key))
            elif not _is_known(transaction, kind, key):
                digest = Digest.parse(key)
                folder = "blobs" if kind == "blob" else "indexes"
                _to_trash(store, kind, store.root / folder / digest.algorithm / digest.hex)
        crashpoint("gc-renamed")
        for kind, driver, key, path in strays(store, transaction):
            if kind == "snapshot":
                snapshots.append((driver, key))
            else:
                note(kind, key, _usage(path))
                _to_trash(store, kind, path)
        transaction.execute("DELETE FROM trash")
    crashpoint("gc-swept")
    # A snapshot's name is random and never comes back, so its removal needs no lock.
    for name, key in dict.fromkeys(snapshots):
        driver = store.driver_named(name)
        if ("snapshot", key) not in note.items:
            note("snapshot", key, _usage(driver.directory(SnapshotID(key))))
        driver.remove(SnapshotID(key))


def _is_known(transaction: apsw.Connection, kind: str, key: str) -> bool:
    if kind == "blob":
        sql = "SELECT 1 FROM blob WHERE digest = ?"
    elif kind == "index":
        sql = "SELECT 1 FROM snapshot WHERE diff_id = ?"
    else:
        sql = "SELECT 1 FROM snapshot WHERE id = ?1 UNION ALL SELECT 1 FROM lease_snapshot WHERE snapshot = ?1"
    return transaction.execute(sql, (key,)).fetchone() is not None


def strays(store: Store, transaction: apsw.Connection) -> Iterator[tuple[str, str, str, Path]]:
    """Files and directories without a row: (kind, driver, key, path).  Call it under the write lock."""
    for kind, folder in (("blob", "blobs"), ("index", "indexes")):
        for algorithm in _entries(store.root / folder):
            for path in _entries(algorithm):
                key = f"{algorithm.name}:{path.name}"
                if not _is_known(transaction, kind, key):
                    yield kind, "", key, path
    named: list[Any] = transaction.execute("SELECT DISTINCT driver FROM snapshot").fetchall()
    for driver in {*DRIVERS, *(row[0] for row in named)}:
        if (store.root / driver).is_dir():
            loaded = store.driver_named(driver)
            for snapshot in loaded.snapshots():
                if not _is_known(transaction, "snapshot", snapshot):
                    yield "snapshot", driver, snapshot, loaded.directory(snapshot)


def _entries(folder: Path) -> list[Path]:
    return [Path(entry) for entry in os.scandir(folder)] if folder.is_dir() else []


def dead_scratch(store: Store) -> list[Path]:
    """The scratch folders of leases whose process is gone."""
    # Under the lock of those who make leases, a folder without a held lock is dead, not just being born.
    with locked(store.root / "locks", [INGEST_KEY]):
        return [folder for folder in _entries(store.root / "ingest") if not is_alive(store.root, folder.name)]


def _partial(path: Path, note: _Notes, *, remove: bool) -> None:
    """Drop a download that nobody is writing."""
    try:
        held = hold_file(path, create=False)
    except (LockBusy, FileNotFoundError):
        return
    try:
        note("partial", path.name, os.fstat(held).st_size)
        if remove:
            # A writer that opened it before this waits for the lock and then sees that the name is gone.
            path.unlink(missing_ok=True)
    finally:
        os.close(held)


def _to_trash(store: Store, kind: str, path: Path) -> None:
    # Dead leases may leave a folder of the same name twice only if ours was killed: never rename over one.
    with contextlib.suppress(FileNotFoundError):
        path.rename(store.root / "trash" / f"{kind}-{path.name}-{os.urandom(3).hex()}")


def _remove(path: Path) -> None:
    """Unlink a file or a whole folder; another collection may be at it too."""
    import shutil

    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _usage(path: Path) -> int:
    """The bytes of a file, or of all files below a directory, each inode once."""
    try:
        if not path.is_dir() or path.is_symlink():
            return path.lstat().st_size
        seen: dict[tuple[int, int], int] = {}
        for folder, _, names in os.walk(path):
            for name in names:
                found = os.lstat(os.path.join(folder, name))
                seen[found.st_dev, found.st_ino] = found.st_size
        return sum(seen.values())
    except FileNotFoundError:
        return 0
