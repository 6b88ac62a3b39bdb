"""Volumes: directories that outlive containers, `volumes/<name>/_data`, and which containers use them.

Source: moby volume/local/local.go, volume/service.
"""

from __future__ import annotations

import json
import os
import re
import time

from veneer.errors import Conflict, InvalidRequest, NotFound
from veneer.store.durability import crashpoint, file_errors
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    import apsw

    from veneer.store.store import Store

FOLDER = "volumes"
DATA = "_data"
LOCAL = "local"
ANONYMOUS = "com.docker.volume.anonymous"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_COLUMNS = "name, driver, options, labels, created, anonymous"


class NoSuchVolume(NotFound):
    """No volume has that name."""


class VolumeInUse(Conflict):
    """A container uses the volume that was to be removed."""


class VolumeConflict(Conflict):
    """There is a volume of that name, made otherwise."""


class InvalidVolumeName(InvalidRequest):
    """A volume's name becomes that of a directory."""


class Volume(Value):
    """A volume as it was made; `created` Unix seconds, `anonymous`: nobody chose its name."""

    name: str
    driver: str
    options: dict[str, str]
    labels: dict[str, str]
    created: float
    anonymous: bool


def _volume(row: Sequence[Any]) -> Volume:
    name, driver, options, labels, created, anonymous = row
    return Volume(name, driver, json.loads(options), json.loads(labels), created, bool(anonymous))


def check_name(name: str) -> None:
    """Raise InvalidVolumeName, in docker's words."""
    if len(name) == 1:
        raise InvalidVolumeName(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name) or len(name) > 255:
        raise InvalidVolumeName(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def nameless(*, options: Mapping[str, str] | None = None, labels: Mapping[str, str] | None = None) -> Volume:
    """A volume that nobody has named, which is not there yet: see VolumeStore.enter."""
    name = os.urandom(32).hex()
    return Volume(name, LOCAL, dict(options or {}), dict(labels or {}) | {ANONYMOUS: ""}, time.time(), anonymous=True)


class VolumeStore:
    """The volumes of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    def directory(self, name: str) -> Path:
        """Where a volume's files are."""
        return self._store.root / FOLDER / name / DATA

    def list(self) -> builtins.list[Volume]:
        """Every volume, by name."""
        return [_volume(row) for row in self._catalog.rows(f"SELECT {_COLUMNS} FROM volume ORDER BY name")]

    def find(self, name: str) -> Volume | None:
        """The volume of that name, or None."""
        if not name.isascii():
            return None  # none is called that
        row = self._catalog.row(f"SELECT {_COLUMNS} FROM volume WHERE name = ?", (name,))
        return None if row is None else _volume(row)

    def get(self, name: str) -> Volume:
        """The volume of that name.  Raises NoSuchVolume."""
        found = self.find(name)
        if found is None:
            raise NoSuchVolume(f"No such volume: {name}", hint="veneer volume ls shows all of them")
        return found

    def users(self, name: str) -> builtins.list[str]:
        """The ids of the containers that use it."""
        rows = self._catalog.rows("SELECT container FROM volume_use WHERE volume = ? ORDER BY container", (name,))
        return [row[0] for row in rows]

    def create(
        self,
        name: str = "",
        *,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Volume:
        """A volume, made unless it is there; without a name an anonymous one.

        Raises InvalidVolumeName; VolumeConflict where there is one with other options.
        """
        if not name:
            made = nameless(options=options, labels=labels)
            with self._catalog.transaction(durable=False) as transaction:
                self.enter(transaction, made)
            return made
        check_name(name)
        wanted = dict(options or {})
        with self._store.locked(f"volume {name}"):
            found = self.find(name)
            if found is not None:
                if options is not None and found.options != wanted:
                    raise VolumeConflict(f'create {name}: conflict: there is a volume "{name}" with other options',
                                         hint=f"veneer volume rm {name}, or take another name")  # fmt: skip
                return found
            made = Volume(name, LOCAL, wanted, dict(labels or {}), time.time(), anonymous=False)
            with self._catalog.transaction(durable=False) as transaction:
                self.enter(transaction, made)
            return made

    def enter(self, transaction: apsw.Connection, made: Volume) -> None:
        """Have a volume be there when the transaction is over."""
        # In one step with its row, so that nobody takes it for a folder without one.
        with file_errors(self._store.root):
            folder = self._store.root / FOLDER / made.name
            folder.parent.mkdir(mode=0o711, exist_ok=True)
            folder.mkdir(mode=0o711, exist_ok=True)
            (folder / DATA).mkdir(mode=0o755, exist_ok=True)
            (folder / DATA).chmod(0o755)
        transaction.execute(
            f"INSERT INTO volume ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",
            (made.name, made.driver, json.dumps(made.options), json.dumps(made.labels), made.created, made.anonymous),
        )

    def use(self, transaction: apsw.Connection, container: str, names: Iterable[str]) -> None:
        """Note which volumes a container uses.  Raises NoSuchVolume."""
        for name in dict.fromkeys(names):
            self.get(name)
            transaction.execute("INSERT OR IGNORE INTO volume_use VALUES (?, ?)", (name, container))

    def used_by(self, container: str) -> builtins.list[Volume]:
        """The volumes a container uses."""
        rows = self._catalog.rows(
            f"SELECT {_COLUMNS} FROM volume JOIN volume_use ON volume = name WHERE container = ? ORDER BY name",
            (container,),
        )
        return [_volume(row) for row in rows]

    def remove(self, name: str) -> None:
        """Delete a volume and what is in it.  Raises NoSuchVolume, VolumeInUse."""
        with self._store.locked(f"volume {name}"):
            self.get(name)
            with self._catalog.transaction(durable=False) as transaction:
                if users := self.users(name):
                    raise VolumeInUse(f"remove {name}: volume is in use - [{', '.join(users)}]",
                                      hint=f"veneer rm {users[0][:12]} first")  # fmt: skip
                transaction.execute("DELETE FROM volume WHERE name = ?", (name,))
                transaction.execute("INSERT OR REPLACE INTO trash VALUES ('volume', ?, '', 0, ?)", (name, time.time()))
            crashpoint("volume-row-gone")
            self.sweep(name)

    def sweep(self, name: str) -> None:
        """Delete the files of a volume that was noted as trash.  Whoever is killed here has it done by the next."""
        from veneer.store.unneeded import delete_noted

        with file_errors(self._store.root):
            delete_noted(self._store.root / FOLDER / name)
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute("DELETE FROM trash WHERE kind = 'volume' AND key = ?", (name,))
