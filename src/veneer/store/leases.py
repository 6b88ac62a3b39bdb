"""Leases: what a running operation needs is not swept, and what a dead one left behind is.

A lease is a scratch folder with a lock file.  It lives while the lock is held, so the kernel ends it with the
process, without timers; its rows say what it needs.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from veneer.errors import Unavailable
from veneer.oci.digest import BlobDigest, ChainID
from veneer.store.catalog import Catalog
from veneer.store.durability import boot_id, crashpoint, file_errors
from veneer.store.locks import hold_file, is_held, locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from veneer.drivers.driver import SnapshotID
    from veneer.oci.digest import DiffID

INGEST_KEY = "ingest"
"""The lock on making and reaping leases, so that a folder is never seen before its lock is held."""


class Lease:
    """A claim on blobs, layers and snapshots, and a scratch folder on the store's file system."""

    def __init__(self, catalog: Catalog, lease_id: str, purpose: str, scratch: Path) -> None:
        self.id = lease_id
        self.purpose = purpose
        self.scratch = scratch
        self._catalog = catalog
        self._files = 0
        self.used = False

    def file(self, kind: str) -> Path:
        """A name for a new file in the scratch folder."""
        self._files += 1
        return self.scratch / f"{kind}-{self._files}-{os.urandom(3).hex()}"

    # The holds take the open transaction, so that finding something and keeping it are one step.

    def hold_blob(self, transaction: apsw.Connection, digest: BlobDigest) -> None:
        """Keep a stored blob."""
        self._register(transaction)
        transaction.execute("INSERT OR IGNORE INTO lease_blob VALUES (?, ?)", (self.id, digest))

    def hold_layer(self, transaction: apsw.Connection, chain_id: ChainID) -> None:
        """Keep a layer and everything below it, if it is here."""
        self._register(transaction)
        transaction.execute(
            "INSERT OR IGNORE INTO lease_layer SELECT ?, chain_id FROM layer WHERE chain_id = ?", (self.id, chain_id)
        )

    def hold_snapshot(
        self, transaction: apsw.Connection, snapshot: SnapshotID, driver: str, diff_id: DiffID | str
    ) -> None:
        """Keep a snapshot, which need not exist yet; `diff_id` "" where nobody knows it."""
        self._register(transaction)
        transaction.execute(
            "INSERT OR IGNORE INTO lease_snapshot VALUES (?, ?, ?, ?)", (self.id, snapshot, driver, diff_id)
        )

    def _register(self, transaction: apsw.Connection) -> None:
        self.used = True
        transaction.execute(
            "INSERT OR IGNORE INTO lease VALUES (?, ?, ?, ?, ?)",
            (self.id, self.purpose, os.getpid(), boot_id(), time.time()),
        )


@contextlib.contextmanager
def leased(root: Path, catalog: Catalog, purpose: str) -> Iterator[Lease]:
    """A new lease on the store at `root`; ends with the `with`, and its scratch folder with it."""
    lease_id = os.urandom(16).hex()
    scratch = root / "ingest" / lease_id
    with file_errors(root), locked(root / "locks", [INGEST_KEY]):
        scratch.mkdir(mode=0o700)
        held = hold_file(scratch / "lock")
    lease = Lease(catalog, lease_id, purpose, scratch)
    try:
        crashpoint("lease-open")
        yield lease
    finally:
        try:
            if lease.used:
                # Where this cannot be written (disk full), letting go of the lock ends the lease all the same, and
                # the next collection drops the row; the error that brought us here matters more.
                with contextlib.suppress(Unavailable), catalog.transaction(durable=False) as transaction:
                    transaction.execute("DELETE FROM lease WHERE id = ?", (lease.id,))
            crashpoint("lease-dropped")
            remove_scratch(scratch)
        finally:
            os.close(held)


def remove_scratch(scratch: Path) -> None:
    """Remove a scratch folder and what is in it."""
    # The lock goes last: without it the folder counts as a dead process's, and others may take it away at any moment.
    for name in os.listdir(scratch):
        path = scratch / name
        if name == "lock":
            continue
        if path.is_dir() and not path.is_symlink():
            import shutil

            shutil.rmtree(path)
        else:
            path.unlink()
    with contextlib.suppress(FileNotFoundError):
        (scratch / "lock").unlink()
        scratch.rmdir()


def is_alive(root: Path, lease_id: str) -> bool:
    """Whether the process that took the lease still has it."""
    return is_held(root / "ingest" / lease_id / "lock")
