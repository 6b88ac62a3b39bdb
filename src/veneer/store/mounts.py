"""Mounts that outlive the command that made them, and hold what they show.

Such a mount is a lease without a process: it lives as long as the kernel has the mount, in whichever mount namespace.
A plain user's namespace cannot be looked into from his other ones; there a lock tells that it lives, which the
program that was started in it has from its first moment on (`anchor`) and leaves to its children.
"""

from __future__ import annotations

import contextlib
import os
import time

from veneer.drivers.driver import SnapshotID
from veneer.drivers.mount_table import Place, is_there
from veneer.oci.digest import ChainID, Digest
from veneer.store.durability import boot_id, file_errors
from veneer.store.locks import hold_key, is_locked
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Sequence
    from typing import Any

    import apsw

    from veneer.store.leases import Lease
    from veneer.store.store import Store

_COLUMNS = "lease, target, shown, kind, top, driver, snapshot, scratch, namespace, mount, anchored, boot_id, created"
_INHERITED_FROM = 200
"""Shells have numbers below this for themselves."""


class HeldMount(Value):
    """A mount that holds what it shows.

    Nothing holds what one of a read-only data root shows, and `lease` is "".
    `target` is the directory, `shown` what was asked for, `kind` "image" or "container".  The stack is `snapshot` (a
    container's own, "" for none) on the layers up to `top`; `scratch` is the snapshot that is written to, "" for none.
    """

    __slots__ = ()
    lease: str
    target: str
    shown: str
    kind: str
    top: ChainID | None
    driver: str
    snapshot: str
    scratch: str
    place: Place
    anchored: bool
    boot_id: str
    created: float

    @property
    def writable(self) -> bool:
        return bool(self.scratch)


def _held(row: Sequence[Any]) -> HeldMount:
    lease, target, shown, kind, top, driver, snapshot, scratch, namespace, mount, anchored, boot, created = row
    return HeldMount(
        lease, target, shown, kind, ChainID(Digest(top)) if top else None, driver, snapshot, scratch,
        Place(namespace, mount), bool(anchored), boot, created,
    )  # fmt: skip


class MountStore:
    """The mounts of one store that hold what they show."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    def list(self) -> builtins.list[HeldMount]:
        """Those that are still there, the oldest first."""
        rows = self._catalog.rows(f"SELECT {_COLUMNS} FROM mount ORDER BY created, lease")
        return [each for each in map(_held, rows) if is_alive(self._store, each)]

    def at(self, target: str, namespace: int) -> HeldMount | None:
        """The newest one made at a directory in a mount namespace, still there or not."""
        row = self._catalog.row(
            f"SELECT {_COLUMNS} FROM mount WHERE target = ? AND namespace = ? AND boot_id = ?"
            " ORDER BY created DESC LIMIT 1",
            (target, namespace, boot_id()),
        )
        return None if row is None else _held(row)

    def of_container(self, rw: str) -> builtins.list[HeldMount]:
        """Those that show a container, by the snapshot that it writes to."""
        return [each for each in self.list() if each.snapshot == rw]

    def add(
        self,
        lease: Lease,
        place: Place,
        *,
        target: str,
        shown: str,
        kind: str,
        top: ChainID | None,
        driver: str,
        snapshot: str = "",
        scratch: str = "",
    ) -> HeldMount:
        """Have a mount that was just made hold from now on what `lease` held for it so far."""
        anchored = is_locked(f"{self._store.config.root_name}/locks", _key(place.namespace))
        made = HeldMount(os.urandom(16).hex(), target, shown, kind, top, driver, snapshot, scratch, place, anchored,
                         boot_id(), time.time())  # fmt: skip
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute("INSERT INTO lease VALUES (?, 'mount', ?, ?, ?)",
                                (made.lease, os.getpid(), made.boot_id, made.created))  # fmt: skip
            if top:
                transaction.execute("INSERT INTO lease_layer VALUES (?, ?)", (made.lease, top))
            if scratch:
                transaction.execute("INSERT INTO lease_snapshot VALUES (?, ?, ?, '')", (made.lease, scratch, driver))
                transaction.execute("DELETE FROM lease_snapshot WHERE lease = ? AND snapshot = ?", (lease.id, scratch))
            transaction.execute(
                f"INSERT INTO mount ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (made.lease, target, shown, kind, top, driver, snapshot, scratch, place.namespace, place.mount,
                 int(anchored), made.boot_id, made.created),
            )  # fmt: skip
        return made

    def drop(self, held: HeldMount) -> None:
        """The mount is gone: let go of what it held, and remove what was written to it."""
        with self._catalog.transaction(durable=False) as transaction:
            let_go(transaction, held.lease)
        if held.scratch:
            with file_errors(self._store.root):
                self._store.driver_named(held.driver).remove(SnapshotID(held.scratch))
            with self._catalog.transaction(durable=False) as transaction:
                transaction.execute("DELETE FROM trash WHERE kind = 'snapshot' AND key = ?", (held.scratch,))


def is_alive(store: Store, held: HeldMount) -> bool:
    """Whether the kernel still has the mount; where that cannot be told, that it does."""

    def lives() -> bool:
        return not held.anchored or is_locked(f"{store.config.root_name}/locks", _key(held.place.namespace))

    return held.boot_id == boot_id() and is_there(held.place, lives)


def holds(store: Store, transaction: apsw.Connection, lease: str) -> bool:
    """Whether a lease is a mount's that is still there."""
    row = transaction.execute(f"SELECT {_COLUMNS} FROM mount WHERE lease = ?", (lease,)).fetchone()
    return row is not None and is_alive(store, _held(row))


def let_go(transaction: apsw.Connection, lease: str) -> None:
    """Drop a lease; what only a mount wrote to becomes trash."""
    transaction.execute(
        "INSERT OR REPLACE INTO trash SELECT 'snapshot', scratch, driver, 0, ? FROM mount"
        " WHERE lease = ? AND scratch != ''",
        (time.time(), lease),
    )
    transaction.execute("DELETE FROM lease WHERE id = ?", (lease,))


def anchor(root: str, namespace: int, *, inherited: bool) -> None:
    """Have others see that a mount namespace lives, as long as this process does or, with `inherited`, one that it
    started or became.  Somebody else may have seen to it already."""
    fd = hold_key(f"{root}/locks", _key(namespace))
    if fd is None or not inherited:
        return
    import fcntl

    with contextlib.suppress(OSError):  # a limit that low: it keeps the number that it has
        high = fcntl.fcntl(fd, fcntl.F_DUPFD, _INHERITED_FROM)
        os.close(fd)
        fd = high
    os.set_inheritable(fd, True)


def _key(namespace: int) -> str:
    return f"namespace {namespace}"
