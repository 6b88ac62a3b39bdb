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
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.drivers.driver import DRIVERS, SnapshotID
from veneer.oci.digest import Digest
from veneer.store.durability import crashpoint
from veneer.store.locks import LockBusy, hold_file
from veneer.store.reserve import making_room
from veneer.store.strays import FOLDERS, Suspect, dead_scratch, is_known, strays, suspects
from veneer.store.unneeded import drop_rows, note_trash
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.store.store import Store


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
    for name in store.drivers_in_use():
        # As drivers.protocol.Recovering has it, which is not asked here because a Protocol needs `typing`.
        recover = getattr(store.driver_named(name), "recover", None) if name in DRIVERS else None
        if recover is not None:
            recover()


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
        drop_rows(store, transaction)
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
            elif not is_known(transaction, kind, key):
                digest = Digest.parse(key)
                folder = "blobs" if kind == "blob" else "indexes"
                _to_trash(store, kind, store.root / folder / digest.algorithm / digest.hex)
        crashpoint("gc-renamed")
        for kind, driver, key, path in doubtful:
            if is_known(transaction, kind, key):
                continue
            if kind == "snapshot":
                snapshots.append((driver, key))
                note_trash(transaction, kind, key, driver, 0)
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
