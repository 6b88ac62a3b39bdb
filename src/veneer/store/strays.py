"""Files and directories of a store that no row names: what killed processes left behind."""

from __future__ import annotations

import os
from pathlib import Path

from veneer.drivers.driver import DRIVERS
from veneer.store.leases import INGEST_KEY, is_alive
from veneer.store.locks import locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    import apsw

    from veneer.store.store import Store

FOLDERS = {"container": "containers", "volume": "volumes"}
"""Where the folders of those kinds lie, each named by its row's key."""
Suspect = tuple[str, str, str, Path]
"""(kind, driver, key, path) of a file or directory."""


def is_known(transaction: apsw.Connection, kind: str, key: str) -> bool:
    """Whether a row, or a live lease, names a file."""
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
    return [each for each in suspects(store) if not is_known(transaction, each[0], each[2])]


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
