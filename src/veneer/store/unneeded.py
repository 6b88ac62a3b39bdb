"""What nothing needs, told by rows alone: they are dropped in one transaction, and their files noted in `trash`."""

from __future__ import annotations

import time

from veneer.store import damage, lasting
from veneer.store.leases import is_alive
from veneer.store.mounts import holds, let_go
from veneer.store.strays import is_known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

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


def drop_rows(store: Store, transaction: apsw.Connection) -> None:
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
    snapshots = [row for row in snapshots if not damage.still_used(store, transaction, row[0], row[2])]
    for snapshot, _, driver, size in snapshots:
        note_trash(transaction, "snapshot", snapshot, driver, size)
        transaction.execute("DELETE FROM snapshot WHERE id = ?", (snapshot,))
    inits: list[Any] = transaction.execute(f"SELECT snapshot, driver FROM init_layer WHERE {_UNNEEDED_INIT}").fetchall()
    for snapshot, driver in inits:
        note_trash(transaction, "snapshot", snapshot, driver, 0)
        transaction.execute("DELETE FROM init_layer WHERE snapshot = ?", (snapshot,))
    for diff_id in {row[1] for row in (*gone, *snapshots)}:
        if not is_known(transaction, "index", diff_id):
            note_trash(transaction, "index", diff_id, "", 0)
    blobs = _peel(
        transaction,
        f"SELECT digest, '', '', size FROM blob WHERE {_UNNEEDED_BLOB}",
        "digest",
        "SELECT child FROM blob_ref WHERE blob = ?",
        "DELETE FROM blob WHERE digest = ?",
    )
    for digest, _, _, size in blobs:
        note_trash(transaction, "blob", digest, "", size)


def _drop_lost(store: Store, transaction: apsw.Connection) -> None:
    """Drop what a power cut took from the build cache: nameless images built here on a layer that is not to be had
    again, unless an image that stays was built on them."""
    lost = lasting.lost(store.layers)
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


def delete_noted(folder: Path) -> None:
    """Delete the files of a row that went and was noted in `trash`, unless a collection comes and takes them away:
    then it deletes them.  Raises TreeChanged if something is mounted inside."""
    from veneer.drivers.treecopy import delete_tree
    from veneer.drivers.treewalk import TreeChanged

    try:
        delete_tree(folder)
    except TreeChanged:
        if folder.exists():
            raise


def note_trash(transaction: apsw.Connection, kind: str, key: str, driver: str, size: int) -> None:
    transaction.execute("INSERT OR REPLACE INTO trash VALUES (?, ?, ?, ?, ?)", (kind, key, driver, size, time.time()))
