"""Containers as rows: what each was made from, how it is to run, and the snapshot that it writes to.

What happens to a container is not here but in its folder, `containers/<id>`, where its monitor writes it.
"""

from __future__ import annotations

import json
import os
import time

from veneer.errors import Conflict, InvalidRequest, NotFound
from veneer.oci.digest import ChainID, Digest, ImageID
from veneer.store.durability import crashpoint, file_errors
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from veneer.drivers.driver import SnapshotID
    from veneer.drivers.mount import Mount
    from veneer.drivers.protocol import StorageDriver
    from veneer.store.leases import Lease
    from veneer.store.removal_plan import User
    from veneer.store.store import Store
    from veneer.store.volumes import Volume

FOLDER = "containers"
_COLUMNS = "id, name, image, image_name, top, driver, rw, init, created, document"
_HEX = frozenset("0123456789abcdef")
_LONGEST = 1024
"""Characters of what somebody may call a container; for errors, too."""


class NoSuchContainer(NotFound):
    """No container has that name or id."""


class AmbiguousContainer(InvalidRequest):
    """An id prefix that several containers share."""


class NameInUse(Conflict):
    """Another container has the name."""


class Container(Value):
    """A container as it was made.

    `name` is without docker's leading slash, `image_name` what was asked for, `created` Unix seconds.  `rw` is the
    snapshot it writes to, `init` the one right below ("" for none), both of the storage driver `driver`.
    `document` is as docker's API has it: {"Config", "HostConfig", "NetworkingConfig", "Mounts"}; treat it as frozen.
    """

    id: str
    name: str
    image: ImageID
    image_name: str
    top: ChainID | None
    driver: str
    rw: SnapshotID
    init: SnapshotID | str
    created: float
    document: dict[str, Any]


def _container(row: Sequence[Any]) -> Container:
    id, name, image, image_name, top, driver, rw, init, created, document = row
    return Container(
        id, name, ImageID(Digest(image)), image_name, ChainID(Digest(top)) if top else None, driver, rw, init, created,
        json.loads(document),
    )  # fmt: skip


def new_id() -> str:
    """An id for a container: 64 hexadecimal digits, not all of its first twelve decimal, lest it be a host name."""
    while True:
        made = os.urandom(32).hex()
        if not made[:12].isdigit():
            return made


class ContainerStore:
    """The containers of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    # ---- looking

    def list(self) -> builtins.list[Container]:
        """Every container, the newest first."""
        rows = self._catalog.rows(f"SELECT {_COLUMNS} FROM container ORDER BY created DESC, id")
        return [_container(row) for row in rows]

    def find(self, reference: str) -> Container | None:
        """As `get`, None where there is none.  Raises AmbiguousContainer."""
        name = reference.removeprefix("/")
        if not name.isascii() or len(name) > _LONGEST:
            return None  # no container is called that
        row = self._catalog.row(
            f"SELECT {_COLUMNS} FROM container WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1", (name,)
        )
        if row is None and name and len(name) < 64 and _HEX.issuperset(name):
            rows = self._catalog.rows(
                f"SELECT {_COLUMNS} FROM container WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2", (name,)
            )
            if len(rows) > 1:
                raise AmbiguousContainer(f"multiple IDs found with provided prefix: {name}",
                                         hint="give more digits of it; veneer ps -a --no-trunc shows all")  # fmt: skip
            row = rows[0] if rows else None
        return None if row is None else _container(row)

    def get(self, reference: str) -> Container:
        """The container with that id, name (with or without a leading slash) or unique beginning of an id.

        Raises NoSuchContainer, AmbiguousContainer.
        """
        found = self.find(reference)
        if found is None:
            raise NoSuchContainer(f"No such container: {reference[:_LONGEST]}", hint="veneer ps -a shows all of them")
        return found

    def removed_at_end(self) -> builtins.list[Container]:
        """Those that are to be removed at their end."""
        rows = self._catalog.rows(
            f"SELECT {_COLUMNS} FROM container WHERE json_extract(document, '$.HostConfig.AutoRemove')"
        )
        return [_container(row) for row in rows]

    def folder(self, id: str) -> Path:
        """Where a container's own files are."""
        return self._store.root / FOLDER / id

    def tree_key(self, id: str) -> str:
        """The lock of whoever removes what a container has written, shared by all who look at it; taken before the
        container's own."""
        return f"tree-{id}"

    def on(self, top: ChainID | None) -> builtins.list[Container]:
        """The containers that stand on exactly these layers."""
        rows = self._catalog.rows(f"SELECT {_COLUMNS} FROM container WHERE top IS ? ORDER BY created DESC", (top,))
        return [_container(row) for row in rows]

    def users_of(self, image: ImageID, is_running: Callable[[Path], bool]) -> builtins.list[User]:
        """Who uses an image, the newest first; `is_running` is asked with the container's folder."""
        from veneer.store.removal_plan import User

        rows = self._catalog.rows("SELECT id FROM container WHERE image = ? ORDER BY created DESC", (image,))
        return [User(id, is_running(self.folder(id))) for (id,) in rows]

    # ---- the tree

    def driver(self, container: Container) -> StorageDriver:
        """The storage driver that its layers are of; it need not be the one that serves its image."""
        return self._store.driver_named(container.driver)

    def lowers(self, container: Container, *, init: bool = True) -> builtins.list[SnapshotID]:
        """The snapshots it stands on, nearest first; without `init` those of the image alone.  Raises LayerLost."""
        from veneer.store.layers import lowers

        below = lowers(self._store.layers.ensure(container.top, container.driver)) if container.top else []
        return [container.init, *below] if init and container.init else below  # type: ignore[list-item]

    def mounts(self, container: Container, *, readonly: bool = False) -> Sequence[Mount]:
        """What to mount to have its tree.  One writable mount at a time: whoever starts it has its lock."""
        return self.driver(container).mounts(container.rw, self.lowers(container), readonly=readonly)

    def mounted_at(self, container: Container) -> builtins.list[str]:
        """The directories where people have it mounted."""
        if self._catalog.row("SELECT 1 FROM mount WHERE snapshot = ? LIMIT 1", (container.rw,)) is None:
            return []  # nothing more need be loaded to say so
        return [each.target for each in self._store.mounts.of_container(container.rw)]

    # ---- making and unmaking

    def create(
        self,
        lease: Lease,
        *,
        id: str,
        name: str,
        image: ImageID,
        image_name: str,
        top: ChainID | None,
        document: Mapping[str, Any],
        volumes: Sequence[str] = (),
        nameless: Sequence[Volume] = (),
    ) -> Container:
        """Make a container with an empty layer of its own on the layers up to `top`, which the lease holds.

        `volumes` are the names of those that it uses; `nameless` those of them that come to be, and go, with it.
        Raises NameInUse, LayerLost, TooManyLayers, NoSuchVolume.
        """
        from veneer.drivers.driver import new_snapshot_id
        from veneer.store.container_init import init_layer
        from veneer.store.layers import lowers

        self._check_name(name)
        driver = self._store.layers.driver_on(lease, top)
        below = lowers(self._store.layers.ensure(top)) if top else []
        init = init_layer(self._store, lease, driver, top, below)
        rw = new_snapshot_id()
        with self._catalog.transaction(durable=False) as transaction:
            lease.hold_snapshot(transaction, rw, driver.name, "")
        folder = lease.file("container")
        try:
            with file_errors(self._store.root):
                driver.create(rw, [init, *below])
                folder.mkdir(mode=0o700)
            crashpoint("container-made")
            made = Container(id, name, image, image_name, top, driver.name, rw, init, time.time(), dict(document))
            with self._catalog.transaction() as transaction:
                self._check_name(name)
                self._store.remember_driver(transaction, driver.name)
                # In one step with its row, so that nobody takes it for a folder without one.
                with file_errors(self._store.root):
                    self.folder(id).parent.mkdir(mode=0o700, exist_ok=True)
                    folder.rename(self.folder(id))
                crashpoint("container-in-place")
                transaction.execute(
                    f"INSERT INTO container ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (id, name, image, image_name, top, driver.name, rw, init, made.created,
                     json.dumps(made.document, separators=(",", ":"))),
                )  # fmt: skip
                for volume in nameless:
                    self._store.volumes.enter(transaction, volume)
                self._store.volumes.use(transaction, id, volumes)
                transaction.execute("DELETE FROM lease_snapshot WHERE lease = ? AND snapshot = ?", (lease.id, rw))
        except BaseException:
            driver.remove(rw)
            raise
        return made

    def rename(self, id: str, name: str) -> None:
        """Give a container another name.  Raises NameInUse."""
        with self._catalog.transaction(durable=False) as transaction:
            self._check_name(name, but=id)
            transaction.execute("UPDATE container SET name = ? WHERE id = ?", (name, id))

    def set_document(self, id: str, document: Mapping[str, Any]) -> None:
        """Change how a container is to run."""
        text = json.dumps(document, separators=(",", ":"))
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute("UPDATE container SET document = ? WHERE id = ?", (text, id))

    def replace_rw(self, id: str, old: SnapshotID, new: SnapshotID) -> None:
        """Have a container, which nobody runs, write to another snapshot of its driver; the old one goes.

        `new` is held by a lease of the caller's until then.
        """
        container = self.get(id)
        with self._catalog.transaction() as transaction:
            transaction.execute("UPDATE container SET rw = ? WHERE id = ? AND rw = ?", (new, id, old))
            transaction.execute("DELETE FROM lease_snapshot WHERE snapshot = ?", (new,))
            transaction.execute(
                "INSERT OR REPLACE INTO trash VALUES ('snapshot', ?, ?, 0, ?)", (old, container.driver, time.time())
            )
        self._sweep(container.driver, old)

    def remove(self, id: str, *, volumes: bool = False) -> builtins.list[Volume]:
        """Remove a container that nobody runs: its row, then its layer and its folder.  Idempotent.

        With `volumes` also those of its volumes that nobody named and nobody else uses; returns these.
        """
        row = self._catalog.row("SELECT driver, rw FROM container WHERE id = ?", (id,))
        if row is None:
            return []
        driver, rw = row
        now = time.time()
        with self._catalog.transaction(durable=False) as transaction:
            gone = [each for each in self._store.volumes.used_by(id)
                    if volumes and each.anonymous and self._store.volumes.users(each.name) == [id]]  # fmt: skip
            transaction.execute("DELETE FROM container WHERE id = ?", (id,))
            transaction.executemany("DELETE FROM volume WHERE name = ?", [(each.name,) for each in gone])
            transaction.executemany(
                "INSERT OR REPLACE INTO trash VALUES (?, ?, ?, 0, ?)",
                [("snapshot", rw, driver, now), ("container", id, "", now),
                 *(("volume", each.name, "", now) for each in gone)],
            )  # fmt: skip
        crashpoint("container-row-gone")
        self._sweep(driver, rw, id)
        for each in gone:
            self._store.volumes.sweep(each.name)
        return gone

    def empty(self, container: Container) -> None:
        """Delete what a container has written, which is about to be removed, on a disk so full that its row cannot go
        first."""
        from veneer.drivers import treecopy

        with treecopy.directory(self.driver(container).directory(container.rw)) as folder:
            for name in os.listdir(folder):
                treecopy.delete_entry(folder, name)

    def _sweep(self, driver: str, snapshot: str, folder: str = "") -> None:
        """Delete what was noted as trash, and strike it off.  Whoever is killed here has it done by the next."""
        from veneer.drivers.driver import SnapshotID
        from veneer.store.unneeded import delete_noted

        with file_errors(self._store.root):
            if folder:
                delete_noted(self.folder(folder))
            self._store.driver_named(driver).remove(SnapshotID(snapshot))
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute("DELETE FROM trash WHERE kind = 'snapshot' AND key = ?", (snapshot,))
            transaction.execute("DELETE FROM trash WHERE kind = 'container' AND key = ?", (folder,))

    def _check_name(self, name: str, but: str = "") -> None:
        row = self._catalog.row("SELECT id FROM container WHERE name = ? AND id != ?", (name, but))
        if row is not None:
            raise NameInUse(
                f'Conflict. The container name "/{name}" is already in use by container "{row[0]}". '
                "You have to remove (or rename) that container to be able to reuse that name.",
                hint=f"veneer rm {name}, or veneer rename {name} ANOTHER",
            )
