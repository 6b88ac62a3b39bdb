"""Collection: what nothing needs goes, whatever else is going on in the store.

Mark: SQL, from images, names and live leases, in the transaction that also drops the rows of what is not marked
and notes their files in `trash`.  Sweep: under SQLite's write lock again, what nobody brought back meanwhile is
renamed into trash/; unlinking, which may take long, holds no lock.  Files that no row and no live lease knows are
swept the same way, so whatever a killed process left behind goes too.
"""

from __future__ import annotations

import contextlib
import enum
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.drivers.driver import DRIVERS, SnapshotID
from veneer.oci.digest import Digest
from veneer.store.durability import crashpoint
from veneer.store.leases import INGEST_KEY, is_alive
from veneer.store.locks import LockBusy, hold_file, locked
from veneer.store.mounts import holds, let_go
from veneer.store.reserve import making_room
from veneer.values import Value

if TYPE_CHECKING:
    import apsw

    from veneer.store.store import Store

# Nothing here is cyclic (names are hashes of what they name), so what nobody needs is found from the outside in:
# drop what nothing refers to, look again at what that referred to, until nothing more falls.  Indexes answer each
# question, so the cost is one look per row and no more.
_UNNEEDED_LAYER = """
    NOT EXISTS (SELECT 1 FROM layer AS above WHERE above.parent = layer.chain_id)
    AND NOT EXISTS (SELECT 1 FROM image WHERE top = layer.chain_id)
    AND NOT EXISTS (SELECT 1 FROM container WHERE container.top = layer.chain_id)
    AND NOT EXISTS (SELECT 1 FROM lease_layer WHERE lease_layer.chain_id = layer.chain_id)"""
_UNNEEDED_SNAPSHOT = """
    NOT EXISTS (SELECT 1 FROM layer WHERE snapshot = snapshot.id)
    AND NOT EXISTS (SELECT 1 FROM layer_copy WHERE layer_copy.snapshot = snapshot.id)
    AND NOT EXISTS (SELECT 1 FROM lease_snapshot WHERE lease_snapshot.snapshot = snapshot.id)"""
# Of a driver that serves the layers no more: needed by what was made when it did, and by what stands on it.
_UNNEEDED_COPY = """
    kept = 0
    AND NOT EXISTS (SELECT 1 FROM container WHERE top = layer_copy.chain_id AND container.driver = layer_copy.driver)
    AND NOT EXISTS (SELECT 1 FROM lease_layer WHERE lease_layer.chain_id = layer_copy.chain_id)
    AND NOT EXISTS (
        SELECT 1 FROM layer AS above JOIN layer_copy AS other ON other.chain_id = above.chain_id
        WHERE above.parent = layer_copy.chain_id AND other.driver = layer_copy.driver)"""
# Kept for the next container while the layers it stands on are there, with its driver.
_UNNEEDED_INIT = """
    NOT EXISTS (SELECT 1 FROM container WHERE init = init_layer.snapshot)
    AND NOT EXISTS (
        SELECT 1 FROM layer JOIN snapshot ON snapshot.id = layer.snapshot
        WHERE chain_id = init_layer.top AND snapshot.driver = init_layer.driver)
    AND NOT EXISTS (
        SELECT 1 FROM layer_copy WHERE chain_id = init_layer.top AND layer_copy.driver = init_layer.driver)"""
_UNNAMED_BLOB = """
    NOT EXISTS (SELECT 1 FROM blob_ref WHERE child = {0})
    AND NOT EXISTS (SELECT 1 FROM image WHERE manifest = {0})
    AND NOT EXISTS (SELECT 1 FROM image WHERE id = {0})
    AND NOT EXISTS (SELECT 1 FROM tag WHERE target = {0})
    AND NOT EXISTS (SELECT 1 FROM digest_ref WHERE target = {0})
    AND NOT EXISTS (SELECT 1 FROM lease_blob WHERE blob = {0})"""
# Of the blobs with a needed layer's content that nobody names, those compressed here stay, for they cost time to
# make, and the rest only where the layer would have none.
_UNNEEDED_BLOB = (
    _UNNAMED_BLOB.format("blob.digest")
    + """
    AND NOT EXISTS (
        SELECT 1 FROM blob_diff JOIN layer ON layer.diff_id = blob_diff.diff_id
        WHERE blob_diff.blob = blob.digest AND (compressor != '' OR NOT EXISTS (
            SELECT 1 FROM blob_diff AS other WHERE other.diff_id = blob_diff.diff_id
            AND other.blob != blob.digest AND NOT ("""
    + _UNNAMED_BLOB.format("other.blob")
    + "))))"
)

_LOST_IMAGE = """
    built = 1
    AND top IN (
        WITH RECURSIVE above (chain_id) AS (
            SELECT chain_id FROM layer JOIN lost USING (snapshot)
            UNION SELECT layer.chain_id FROM above JOIN layer ON layer.parent = above.chain_id)
        SELECT chain_id FROM above)
    AND NOT EXISTS (SELECT 1 FROM tag WHERE tag.image = image.id)
    AND NOT EXISTS (SELECT 1 FROM digest_ref WHERE digest_ref.image = image.id)
    AND NOT EXISTS (SELECT 1 FROM image AS child WHERE child.parent = image.id)
    AND NOT EXISTS (SELECT 1 FROM lease_blob WHERE lease_blob.blob = image.id)"""


class Item(Value):
    """One thing that goes: kind is blob, snapshot, index, cache-mount, container, volume,
    partial, scratch or trash; bytes is what it
    frees."""

    __slots__ = ()
    kind: str
    name: str
    bytes: int


class Collected(Value):
    """What a collection removed, or would remove."""

    __slots__ = ()
    items: list[Item]

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)


FOLDERS = {"container": "containers", "volume": "volumes"}
"""Where the folders of those kinds lie, each named by its row's key."""
Suspect = tuple[str, str, str, Path]
"""(kind, driver, key, path) of a file or directory."""


class _Notes:
    """What goes, each thing once, with the size it was first seen with."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}

    def __call__(self, kind: str, name: str, size: int) -> None:
        self.items.setdefault((kind, name), Item(kind, name, size))


class _Rollback(Exception):
    """The end of a dry run's transaction."""


class Extent(enum.Enum):
    """How far a collection goes: ROWS removes what lost its last user, ALIENS also what no row knows of (a killed
    process leaves such), ALL also downloads that could be gone on with."""

    ROWS = 1
    ALIENS = 2
    ALL = 3


def collect(store: Store, *, dry_run: bool = False, extent: Extent = Extent.ALL) -> Collected:
    """Remove what nothing needs; with `dry_run` only tell.  Safe beside anything other processes do."""
    import fcntl

    with making_room(store.root), _trash_folder(store) as folder:
        fcntl.flock(folder, fcntl.LOCK_SH)  # says that somebody is at it; any number may be
        found = _collect(store, dry_run=dry_run, extent=extent)
    if not dry_run and extent is not Extent.ROWS:
        store.images.layout.refresh()  # a process killed between commit and refresh left it behind
    return found


def tidy(store: Store) -> None:
    """Remove what killed processes left, if any did.  Every operation that writes begins with this."""
    if dead_scratch(store):
        collect(store, extent=Extent.ALIENS)
    elif _unfinished(store):
        collect(store, extent=Extent.ROWS)
    from veneer.drivers.protocol import Recovering

    for name in store.drivers_in_use():
        driver: object = store.driver_named(name) if name in DRIVERS else None
        if isinstance(driver, Recovering):
            driver.recover()


def _unfinished(store: Store) -> bool:
    """Whether a collection was killed before its end: something is left to be removed, and nobody is at it."""
    import fcntl

    with _trash_folder(store) as folder:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return bool(os.listdir(folder)) or store.catalog.row("SELECT 1 FROM trash LIMIT 1") is not None


@contextlib.contextmanager
def _trash_folder(store: Store) -> Iterator[int]:
    folder = os.open(store.root / "trash", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _collect(store: Store, *, dry_run: bool, extent: Extent) -> Collected:
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
        _sweep(store, note, suspects(store) if extent is not Extent.ROWS else [])
    if extent is Extent.ALL:
        for path in (store.root / "partial").iterdir():
            _partial(path, note, remove=not dry_run)
    for path in (store.root / "trash").iterdir():
        if not path.name.startswith(("blob-", "index-", "scratch-", "cache-mount-", "container-", "volume-")):
            note("trash", path.name, _usage(path))
        if not dry_run:
            _remove(path)
    return Collected(sorted(note.items.values()))


def _drop_rows(store: Store, transaction: apsw.Connection) -> None:
    """Drop every row nothing needs, noting its file in `trash`."""
    leases: list[Any] = transaction.execute("SELECT id FROM lease").fetchall()
    for (lease_id,) in leases:
        if not is_alive(store.root, lease_id) and not holds(store, transaction, lease_id):
            let_go(transaction, lease_id)
    _drop_lost(store, transaction)
    gone = _peel(
        transaction,
        f"SELECT chain_id, diff_id, '', 0 FROM layer WHERE {_UNNEEDED_LAYER}",
        "chain_id",
        "SELECT parent FROM layer WHERE chain_id = ? AND parent IS NOT NULL",
        "DELETE FROM layer WHERE chain_id = ?",
    )
    while transaction.execute(f"DELETE FROM layer_copy WHERE {_UNNEEDED_COPY} RETURNING 1").fetchall():
        pass
    snapshots: list[Any] = transaction.execute(
        f"SELECT id, diff_id, driver, size FROM snapshot WHERE {_UNNEEDED_SNAPSHOT}"
    ).fetchall()
    for snapshot, _, driver, size in snapshots:
        _note_trash(transaction, "snapshot", snapshot, driver, size)
        transaction.execute("DELETE FROM snapshot WHERE id = ?", (snapshot,))
    inits: list[Any] = transaction.execute(f"SELECT snapshot, driver FROM init_layer WHERE {_UNNEEDED_INIT}").fetchall()
    for snapshot, driver in inits:
        _note_trash(transaction, "snapshot", snapshot, driver, 0)
        transaction.execute("DELETE FROM init_layer WHERE snapshot = ?", (snapshot,))
    for diff_id in {row[1] for row in (*gone, *snapshots)}:
        if not _is_known(transaction, "index", diff_id):
            _note_trash(transaction, "index", diff_id, "", 0)
    blobs = _peel(
        transaction,
        f"SELECT digest, '', '', size FROM blob WHERE {_UNNEEDED_BLOB}",
        "digest",
        "SELECT child FROM blob_ref WHERE blob = ?",
        "DELETE FROM blob WHERE digest = ?",
    )
    for digest, _, _, size in blobs:
        _note_trash(transaction, "blob", digest, "", size)


def _drop_lost(store: Store, transaction: apsw.Connection) -> None:
    """Drop what a power cut took from the build cache: nameless images built here on a layer that is not to be had
    again, unless an image that stays was built on them."""
    lost = store.layers.lost()
    if not lost:
        return
    transaction.execute("CREATE TEMP TABLE lost (snapshot TEXT PRIMARY KEY)")
    try:
        transaction.executemany("INSERT INTO lost VALUES (?)", [(snapshot,) for snapshot in lost])
        _peel(
            transaction,
            f"SELECT id, '', '', 0 FROM image WHERE {_LOST_IMAGE}",
            "id",
            "SELECT parent FROM image WHERE id = ? AND parent IS NOT NULL",
            "DELETE FROM image WHERE id = ?",
        )
    finally:
        transaction.execute("DROP TABLE lost")


def _peel(transaction: apsw.Connection, unneeded: str, key: str, below: str, drop: str) -> list[Any]:
    """Drop the rows that `unneeded` finds, then those of what they referred to that it finds now, and so on."""
    dropped: list[Any] = []
    falling: list[Any] = transaction.execute(unneeded).fetchall()
    while falling:
        dropped += falling
        loosened: dict[Any, None] = {}
        for row in falling:
            loosened.update((each[0], None) for each in transaction.execute(below, row[:1]))
        transaction.executemany(drop, [row[:1] for row in falling])
        falling = []
        for each in loosened:
            falling += transaction.execute(f"{unneeded} AND {key} = ?", (each,))
    return dropped


def _note_trash(transaction: apsw.Connection, kind: str, key: str, driver: str, size: int) -> None:
    transaction.execute("INSERT OR REPLACE INTO trash VALUES (?, ?, ?, ?, ?)", (kind, key, driver, size, time.time()))


def _sweep(store: Store, note: _Notes, doubtful: Sequence[Suspect]) -> None:
    """Move the files of dropped rows, and those of `doubtful` that no row names, away; then empty `trash`."""
    snapshots: list[tuple[str, str]] = []
    with store.catalog.transaction() as transaction:
        trash: list[Any] = transaction.execute("SELECT kind, key, driver FROM trash").fetchall()
        for kind, key, driver in trash:
            # Only what came back between the two transactions has a row now; a snapshot never does.
            if kind == "snapshot":
                snapshots.append((driver, key))
            elif kind in FOLDERS:
                _to_trash(store, kind, store.root / FOLDERS[kind] / key)
            elif not _is_known(transaction, kind, key):
                digest = Digest.parse(key)
                folder = "blobs" if kind == "blob" else "indexes"
                _to_trash(store, kind, store.root / folder / digest.algorithm / digest.hex)
        crashpoint("gc-renamed")
        for kind, driver, key, path in doubtful:
            if _is_known(transaction, kind, key):
                continue
            if kind == "snapshot":
                snapshots.append((driver, key))
                _note_trash(transaction, kind, key, driver, 0)
            else:
                note(kind, key, _usage(path))
                _to_trash(store, kind, path)
        # A snapshot stays noted until its directory is gone: whoever is killed meanwhile has it removed by the next.
        transaction.execute("DELETE FROM trash WHERE kind <> 'snapshot'")
    crashpoint("gc-swept")
    # A snapshot's name is random and never comes back, so its removal needs no lock.
    for name, key in dict.fromkeys(snapshots):
        driver = store.driver_named(name)
        if ("snapshot", key) not in note.items:
            note("snapshot", key, _usage(driver.directory(SnapshotID(key))))
        driver.remove(SnapshotID(key))
    if snapshots:
        with store.catalog.transaction(durable=False) as transaction:
            transaction.executemany("DELETE FROM trash WHERE kind = 'snapshot' AND key = ?",
                                    [(key,) for _, key in snapshots])  # fmt: skip


def _is_known(transaction: apsw.Connection, kind: str, key: str) -> bool:
    if kind == "blob":
        sql = "SELECT 1 FROM blob WHERE digest = ?"
    elif kind == "index":
        sql = "SELECT 1 FROM snapshot WHERE diff_id = ?"
    elif kind == "cache-mount":
        sql = "SELECT 1 FROM cache_mount WHERE folder = ?"
    elif kind == "container":
        sql = "SELECT 1 FROM container WHERE id = ?"
    elif kind == "volume":
        sql = "SELECT 1 FROM volume WHERE name = ?"
    else:
        sql = (
            "SELECT 1 FROM snapshot WHERE id = ?1 UNION ALL SELECT 1 FROM lease_snapshot WHERE snapshot = ?1"
            " UNION ALL SELECT 1 FROM container WHERE rw = ?1 UNION ALL SELECT 1 FROM init_layer WHERE snapshot = ?1"
        )
    return transaction.execute(sql, (key,)).fetchone() is not None


def strays(store: Store, transaction: apsw.Connection) -> list[Suspect]:
    """Files and directories without a row.  Certain only under the write lock."""
    return [each for each in suspects(store) if not _is_known(transaction, each[0], each[2])]


def suspects(store: Store) -> list[Suspect]:
    """Files and directories that had no row just now."""
    found: list[Suspect] = []
    names = {"blob": ("blobs", "SELECT digest FROM blob"), "index": ("indexes", "SELECT diff_id FROM snapshot")}
    for kind, (folder, sql) in names.items():
        # Listed first: what comes meanwhile is then not even suspected.
        present = [
            (f"{algorithm.name}:{path.name}", path)
            for algorithm in _entries(store.root / folder)
            for path in _entries(algorithm)
        ]
        known = {row[0] for row in store.catalog.rows(sql)}
        found += [(kind, "", key, path) for key, path in present if key not in known]
    mounts = _entries(store.root / "cache-mounts")
    known = {row[0] for row in store.catalog.rows("SELECT folder FROM cache_mount")} if mounts else set()
    found += [("cache-mount", "", path.name, path) for path in mounts if path.name not in known]
    for kind, folder, sql in (
        ("container", FOLDERS["container"], "SELECT id FROM container"),
        ("volume", FOLDERS["volume"], "SELECT name FROM volume"),
    ):
        folders = _entries(store.root / folder)
        known = {row[0] for row in store.catalog.rows(sql)} if folders else set()
        found += [(kind, "", path.name, path) for path in folders if path.name not in known]
    for name in {*DRIVERS, *store.drivers_in_use()}:
        if (store.root / name).is_dir():
            driver = store.driver_named(name)
            snapshots = list(driver.snapshots())
            known = {row[0] for row in store.catalog.rows(
                "SELECT id FROM snapshot UNION ALL SELECT rw FROM container UNION ALL SELECT snapshot FROM init_layer"
            )}  # fmt: skip
            found += [("snapshot", name, each, driver.directory(each)) for each in snapshots if each not in known]
    return found


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
    """Unlink a file or a whole folder, whatever its permissions; another collection may be at it too."""
    from veneer.drivers.treecopy import delete_tree

    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            delete_tree(path)
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
