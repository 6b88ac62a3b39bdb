"""Does the store have what its rows say, and nothing else?

Quick: every row has its file with the right length, every file its row.  Deep: every blob is read and hashed, and
every layer's files are compared with its index, content included.  Checking changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.errors import Corrupt, VeneerError
from veneer.oci.digest import BlobDigest, ChainID, DiffID, Digest
from veneer.store import indexes, lasting
from veneer.store.catalog import CatalogDamaged
from veneer.store.moving_plan import cut_off
from veneer.store.strays import dead_scratch, strays

if TYPE_CHECKING:
    from veneer.changeset.entry import Entry
    from veneer.changeset.index import LayerIndex
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.protocol import StorageDriver
    from veneer.drivers.userns import Standing
    from veneer.store.store import Store

CODES = {
    "catalog-damaged": "the database is damaged",
    "row-dangling": "a row names another that is not there",
    "blob-missing": "a blob's file is not there",
    "blob-size": "a blob's file has another length than its row says",
    "blob-digest": "a blob's bytes are not those its digest names",
    "snapshot-missing": "a layer's directory is not there",
    "snapshot-untrusted": "a layer was not on the disk when the machine stopped, or is known to be damaged; it is"
    " unpacked anew before it is used",
    "layer-lost": "a layer that was built here was not on the disk when the machine stopped, and it has no blob",
    "snapshot-differs": "a layer's files are not those its index tells of",
    "migration-cut-off": "a migration to another storage driver did not come to its end; it can be gone on with",
    "layer-mixed": "a layer is served by another driver than the one below it",
    "container-missing": "a container's folder is not there",
    "volume-missing": "a volume's directory is not there",
    "index-missing": "a layer's index is not there; it is made anew when it is needed",
    "index-damaged": "a layer's index cannot be read; it is made anew when it is needed",
    "index-json": "index.json, which other tools read, is not what the catalogue says",
    "stray-blob": "a blob without a row; collection removes it",
    "stray-snapshot": "a layer's directory without a row; collection removes it",
    "stray-index": "a layer's index without a row; collection removes it",
    "stray-cache-mount": "a cache mount's directory without a row; collection removes it",
    "stray-container": "a container's folder without a row; collection removes it",
    "stray-volume": "a volume's directory without a row; collection removes it",
    "stray-scratch": "what an operation that was killed left behind; collection removes it",
}
"""Every code a Finding may have, and what it means.  They are stable."""
HARMLESS = frozenset({"index-missing", "index-damaged", "index-json", "migration-cut-off", "snapshot-untrusted"})
_DIFFERENCES = 20
# Not those that others are in the place of, and that stay only as long as somebody still uses them.
_IN_USE = """
    SELECT id, driver, diff_id FROM snapshot
    WHERE EXISTS (SELECT 1 FROM layer WHERE layer.snapshot = snapshot.id)
    OR EXISTS (SELECT 1 FROM layer_copy WHERE layer_copy.snapshot = snapshot.id) ORDER BY id"""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is not as it should be: `code` is a key of CODES, `subject` what it is about, `fact` in words."""

    code: str
    subject: str
    fact: str

    @property
    def damage(self) -> bool:
        """False for litter, and for what repairs itself when it is used."""
        return not self.code.startswith("stray-") and self.code not in HARMLESS


def check(store: Store, *, deep: bool = False) -> list[Finding]:
    """Everything that is wrong with the store, most of it named by the thing and the fact; [] if nothing is."""
    findings = list(_database(store, deep=deep))
    if any(finding.code == "catalog-damaged" for finding in findings):
        return findings
    findings += _blobs(store, deep=deep)
    findings += _snapshots(store)
    findings += _mixed(store)
    findings += _containers(store)
    findings += _indexes(store)
    if deep:
        findings += _trees(store)
    if not store.images.layout.is_current():
        findings.append(Finding("index-json", "index.json", "differs from the catalogue"))
    if found := cut_off(store):
        findings.append(Finding("migration-cut-off", found.to, found.left))
    findings += _litter(store)
    return sorted(findings)


def _database(store: Store, *, deep: bool) -> Iterator[Finding]:
    try:
        lines = store.catalog.rows("PRAGMA integrity_check" if deep else "PRAGMA quick_check")
        dangling = store.catalog.rows("PRAGMA foreign_key_check")
    except CatalogDamaged as error:
        yield Finding("catalog-damaged", str(store.catalog.path), error.message)
        return
    for (line,) in lines:
        if line != "ok":
            yield Finding("catalog-damaged", str(store.catalog.path), str(line))
    for table, _, other, _ in dangling:
        yield Finding("row-dangling", str(table), f"names a row of {other} that is not there")


def _blobs(store: Store, *, deep: bool) -> Iterator[Finding]:
    for text, size in store.catalog.rows("SELECT digest, size FROM blob ORDER BY digest"):
        digest = BlobDigest(Digest(text))
        try:
            found = os.lstat(store.blobs.path(digest))
        except FileNotFoundError:
            if digest in store.blobs:  # else collected since
                yield Finding("blob-missing", digest, f"{size} bytes")
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            yield Finding("blob-size", digest, f"{found.st_size} bytes instead of {size}")
        elif deep and not store.blobs.is_intact(digest, size) and digest in store.blobs:
            yield Finding("blob-digest", digest, f"{size} bytes with another digest")


def _snapshots(store: Store) -> Iterator[Finding]:
    doubtful, lost = store.layers.untrusted(), lasting.lost(store.layers)
    for snapshot, driver, diff_id in store.catalog.rows(_IN_USE):
        directory = store.driver_named(driver).directory(snapshot)
        if not directory.is_dir():
            if store.catalog.row("SELECT 1 FROM snapshot WHERE id = ?", (snapshot,)):
                yield Finding("snapshot-missing", snapshot, f"{directory} of layer {diff_id}")
        elif snapshot in lost:
            yield Finding("layer-lost", snapshot, f"layer {diff_id}{_needed_by(store, snapshot)}")
        elif snapshot in doubtful:
            yield Finding("snapshot-untrusted", snapshot, f"layer {diff_id}")


def _mixed(store: Store) -> Iterator[Finding]:
    """Stacks that no driver can mount, for a union cannot mix two."""
    for chain_id, name, below in store.catalog.rows(
        "SELECT layer.chain_id, snapshot.driver, other.driver FROM layer JOIN snapshot ON snapshot.id = layer.snapshot"
        " JOIN layer AS parent ON parent.chain_id = layer.parent JOIN snapshot AS other ON other.id = parent.snapshot"
        " WHERE snapshot.driver != other.driver ORDER BY layer.chain_id"
    ):
        yield Finding("layer-mixed", chain_id, f"{name} serves it, {below} what is below it")
    for chain_id, name in store.catalog.rows(
        "SELECT layer.chain_id, layer_copy.driver FROM layer_copy JOIN layer ON layer.chain_id = layer_copy.chain_id"
        " JOIN layer AS parent ON parent.chain_id = layer.parent"
        " WHERE NOT EXISTS (SELECT 1 FROM layer_copy AS other WHERE other.chain_id = parent.chain_id"
        " AND other.driver = layer_copy.driver) ORDER BY layer.chain_id"
    ):
        yield Finding("layer-mixed", chain_id, f"{name} has a copy of it, and none of what is below it")


def _containers(store: Store) -> Iterator[Finding]:
    """What the rows of containers and volumes name; a row that has gone meanwhile names nothing."""
    for id, driver_name, rw, init in store.catalog.rows("SELECT id, driver, rw, init FROM container ORDER BY id"):
        driver = store.driver_named(driver_name)
        gone = [
            (snapshot, path)
            for snapshot in (rw, init)
            if snapshot and not (path := driver.directory(snapshot)).is_dir()
        ]
        folder = store.containers.folder(id)
        if not gone and folder.is_dir():
            continue
        if store.catalog.row("SELECT 1 FROM container WHERE id = ? AND rw = ?", (id, rw)):
            yield from (Finding("snapshot-missing", snapshot, f"{path} of container {id}") for snapshot, path in gone)
            if not folder.is_dir():
                yield Finding("container-missing", id, str(folder))
    for (name,) in store.catalog.rows("SELECT name FROM volume ORDER BY name"):
        directory = store.volumes.directory(name)
        if not directory.is_dir() and store.volumes.find(name) is not None:
            yield Finding("volume-missing", name, str(directory))


def _needed_by(store: Store, snapshot: str) -> str:
    chains = store.catalog.rows("SELECT chain_id FROM layer WHERE snapshot = ?", (snapshot,))
    users = {image for (chain_id,) in chains for image in store.layers.users(ChainID(Digest(chain_id)))}
    tags = sorted(tag.familiar for image in users for tag in store.images.get(image).tags)
    return f", needed by {', '.join(tags)}" if tags else ""


def _indexes(store: Store) -> Iterator[Finding]:
    from veneer.changeset.index import LayerIndex

    for (text,) in store.catalog.rows("SELECT DISTINCT diff_id FROM layer ORDER BY diff_id"):
        path = indexes.path(store, DiffID(Digest(text)))
        try:
            LayerIndex.open(path).close()
        except FileNotFoundError:
            if store.catalog.row("SELECT 1 FROM layer WHERE diff_id = ?", (text,)):
                yield Finding("index-missing", text, str(path))
        except Corrupt as error:
            yield Finding("index-damaged", text, error.message)


def _litter(store: Store) -> Iterator[Finding]:
    with store.catalog.reading() as connection:
        # Without the write lock something may be just arriving; so what is found is looked at twice.
        first = {(kind, key): path for kind, _, key, path in strays(store, connection)}
    with store.catalog.reading() as connection:
        for kind, _, key, path in strays(store, connection):
            if (kind, key) in first:
                yield Finding(f"stray-{kind}", key, str(path))
    for folder in dead_scratch(store):
        yield Finding("stray-scratch", folder.name, str(folder))


# ---- files against the index


def _trees(store: Store) -> Iterator[Finding]:
    from veneer.changeset.whiteout import WhiteoutStyle

    rows: list[Any] = store.catalog.rows(_IN_USE)
    doubtful = store.layers.untrusted()
    for snapshot, driver_name, diff_id in rows:
        driver = store.driver_named(driver_name)
        directory = driver.directory(snapshot)
        if snapshot in doubtful or not directory.is_dir():
            continue
        try:
            index = store.layers.index(DiffID(Digest(diff_id)))
        except VeneerError as error:
            yield Finding("snapshot-differs", snapshot, f"no index to compare with: {error.message}")
            continue
        with index:
            union = driver.whiteouts is not WhiteoutStyle.ERASE
            below = _below(store, snapshot) if union else []
            facts = list(_differences(directory, index, below, driver))
            facts += _extras(directory, index, below, driver.whiteouts) if union else []
        if facts and not store.catalog.row("SELECT 1 FROM snapshot WHERE id = ?", (snapshot,)):
            continue  # collected meanwhile
        for fact in facts[:_DIFFERENCES]:
            yield Finding("snapshot-differs", snapshot, fact)
        if len(facts) > _DIFFERENCES:
            yield Finding("snapshot-differs", snapshot, f"{len(facts)} differences in all")


def _below(store: Store, snapshot: str) -> list[Path]:
    """The directories under a snapshot in one of its stacks."""
    from veneer.store.copies import copied

    row = store.catalog.row(
        "SELECT chain_id, driver FROM snapshot JOIN layer ON layer.snapshot = snapshot.id WHERE snapshot.id = ?1"
        " UNION ALL SELECT chain_id, driver FROM layer_copy WHERE snapshot = ?1 LIMIT 1", (snapshot,)
    )  # fmt: skip
    if row is None:
        return []
    chain_id = ChainID(Digest(row[0]))
    serves = store.layers.serving(chain_id) == row[1]
    stack = store.layers.stack(chain_id) if serves else copied(store.layers, chain_id, row[1]) or []
    return [store.layers.directory(layer) for layer in stack[:-1]]


def _differences(directory: Path, index: LayerIndex, below: Sequence[Path], driver: StorageDriver) -> Iterator[str]:
    from veneer.changeset.entry import Kind
    from veneer.drivers.userns import standing

    root, here = os.fsencode(directory), standing()
    for entry in index:
        path = os.path.join(root, entry.path) if entry.path else root
        if entry.kind is Kind.WHITEOUT and _is_marked(path, driver.whiteouts):
            continue
        fact = _difference(path, entry, below, here, own=not driver.shared_inodes)
        if fact and not (entry.kind is Kind.WHITEOUT and _hidden_at_once(root, entry.path, driver.whiteouts)):
            yield f"/{os.fsdecode(entry.path)}: {fact}"


def _is_marked(path: bytes, style: WhiteoutStyle) -> bool:
    """Whether nothing is at `path` but, beside it, a file that says so."""
    from veneer.changeset.whiteout import PREFIX, WhiteoutStyle

    folder, _, name = path.rpartition(b"/")
    marker = folder + b"/" + PREFIX + name
    return style is WhiteoutStyle.AUFS and os.path.lexists(marker) and not os.path.lexists(path)


def _hidden_at_once(root: bytes, path: bytes, style: WhiteoutStyle) -> bool:
    """Whether nothing is at `path`, and an opaque directory above it hides all that is below."""
    from veneer.changeset.whiteout import is_opaque
    from veneer.drivers import treecopy

    if os.path.lexists(os.path.join(root, path)):
        return False
    while path := os.path.dirname(path):
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            treecopy.directory(Path(os.fsdecode(os.path.join(root, path)))) as fd,
        ):
            if is_opaque(fd, style):
                return True
    return False


def _extras(directory: Path, index: LayerIndex, below: Sequence[Path], style: WhiteoutStyle) -> Iterator[str]:
    """What is in a union's directory and not in its layer.

    Whiteouts may stand for an opaque root, and a directory from below may have been copied up and then left as it was.
    """
    from veneer.changeset.whiteout import PREFIX, WhiteoutStyle

    root = os.fsencode(directory)
    for folder, folders, names in os.walk(root):
        if style is WhiteoutStyle.AUFS:
            folders[:] = [name for name in folders if not name.startswith(PREFIX)]
            names = [name for name in names if not name.startswith(PREFIX)]
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            inside = path[len(root) + 1 :]
            if (
                index.find(inside) is None
                and not _is_whiteout(os.lstat(path))
                and not (name in folders and any((each / os.fsdecode(inside)).is_dir() for each in below))
            ):
                yield f"/{os.fsdecode(inside)}: is not in the layer"


def _difference(path: bytes, entry: Entry, below: Sequence[Path], here: Standing, *, own: bool) -> str:
    """What is wrong with one path; "" if nothing, or if it is as much as this user can have.

    `own`: regular files have their own attributes here, not those of the first with their content.
    """
    from veneer.changeset.entry import Kind
    from veneer.drivers.userns import MACHINE
    from veneer.store.unkept import DEVICES

    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        # A whiteout that hides nothing is left out.
        hides = entry.kind is not Kind.WHITEOUT or any(
            os.path.lexists(each / os.fsdecode(entry.path)) for each in below
        )
        return "is missing" if hides else ""
    if entry.kind is Kind.WHITEOUT:
        return "" if _is_whiteout(found) else "is there instead of being deleted"
    kinds = {
        Kind.REGULAR: stat.S_ISREG, Kind.DIRECTORY: stat.S_ISDIR, Kind.SYMLINK: stat.S_ISLNK,
        Kind.HARDLINK: lambda mode: not stat.S_ISDIR(mode), Kind.CHARACTER: stat.S_ISCHR,
        Kind.BLOCK: stat.S_ISBLK, Kind.FIFO: stat.S_ISFIFO,
    }  # fmt: skip
    if entry.kind in DEVICES and here.kind != MACHINE and stat.S_ISREG(found.st_mode) and not found.st_size:
        return ""  # devices are for root of the machine
    if not kinds[entry.kind](found.st_mode):
        return f"is of another kind (mode {found.st_mode:o})"
    if entry.kind is Kind.HARDLINK or entry.implied:
        return ""  # a link's attributes are its target's, an implied directory's those of the layer below
    if entry.kind is Kind.REGULAR and not own:
        return _content_differs(path, entry, found)
    if entry.kind is not Kind.SYMLINK and stat.S_IMODE(found.st_mode) != entry.mode:
        return f"has mode {stat.S_IMODE(found.st_mode):04o} instead of {entry.mode:04o}"
    kept = here.keeps(entry.uid, entry.gid)
    if (found.st_uid, found.st_gid) != ((entry.uid, entry.gid) if kept else (os.geteuid(), os.getegid())):
        return f"belongs to {found.st_uid}:{found.st_gid} instead of {entry.uid}:{entry.gid}"
    if entry.kind is Kind.SYMLINK and os.readlink(path) != entry.link:
        return "points elsewhere"
    return _content_differs(path, entry, found) if entry.kind is Kind.REGULAR else ""


def _content_differs(path: bytes, entry: Entry, found: os.stat_result) -> str:
    if found.st_size != entry.size:
        return f"has {found.st_size} bytes instead of {entry.size}"
    return "has another content" if entry.digest and _sha256(path) != entry.digest else ""


def _is_whiteout(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == 0


def _sha256(path: bytes) -> bytes:
    import hashlib

    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()
