"""Volumes: made, listed, looked at, removed.

Sources: moby volume/local/local_unix.go, volume/service; docker's API reference, VolumeInspect.
"""

from __future__ import annotations

import builtins
import os

from veneer.errors import Conflict, InvalidRequest, NotFound, Unsupported
from veneer.run.monitor.state import rfc3339
from veneer.store.volumes import LOCAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from veneer.engine.containers.pruning import PrunedThings
    from veneer.engine.engine import Engine
    from veneer.store.store import Store
    from veneer.store.volumes import Volume

_OPTIONS = ("device", "o", "size", "type")
_NEEDED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_LIST = ("dangling", "driver", "label", "name")
_PRUNE = ("all", "label", "label!")
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


class NoSuchVolumeDriver(NotFound):
    """Volumes are made by the driver local alone."""


class InvalidVolumeOption(InvalidRequest):
    """An option of a volume that nobody knows, or that lacks another."""


class NoSuchVolumeType(Unsupported):
    """A volume of a file system that veneer does not mount."""


class Volumes:
    """The volumes of one data root."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    def create(
        self,
        name: str = "",
        *,
        driver: str = LOCAL,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """A volume; the one there is, if it was made alike.  Without a name one is chosen.

        `options` {"type": "none", "o": "bind", "device": DIRECTORY} make a directory of the host the volume.
        Raises InvalidVolumeName, NoSuchVolumeDriver, InvalidVolumeOption, NoSuchVolumeType, VolumeConflict.
        """
        if driver not in ("", LOCAL):
            raise NoSuchVolumeDriver(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found',
                hint="veneer has the driver local",
            )
        check_options(name, options or {})
        known = self._store.volumes.find(name) is not None if name else False
        made = self._store.volumes.create(name, labels=labels, options=options)
        if not known:
            tell(self._store, "create", made)
        return made

    def get(self, name: str) -> Volume:
        """The volume of that name.  Raises NoSuchVolume."""
        return self._store.volumes.get(name)

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> builtins.list[Volume]:
        """Volumes by name, those that docker's filters keep.  Raises InvalidFilter."""
        keeps = self._filter(filters or {}, _LIST)
        return [volume for volume in self._store.volumes.list() if keeps(volume)]

    def inspect(self, name: str) -> dict[str, Any]:
        """docker's document of a volume.  Raises NoSuchVolume."""
        volume = self.get(name)
        return {
            "CreatedAt": rfc3339(int(volume.created) * 10**9),
            "Driver": volume.driver,
            "Labels": volume.labels,
            "Mountpoint": os.fspath(self._store.volumes.directory(volume.name)),
            "Name": volume.name,
            "Options": volume.options,
            "Scope": "local",
        }

    def directory(self, name: str) -> str:
        """Where a volume's files are on this host."""
        return os.fspath(self._store.volumes.directory(self.get(name).name))

    def size(self, name: str) -> int:
        """What a volume's files take, in bytes; what vanishes meanwhile is not counted."""
        from veneer.drivers.treecopy import usage

        return usage(self._store.volumes.directory(name)).size

    def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume and what is in it; with `force` one that is not there is no failure.

        Raises NoSuchVolume, VolumeInUse.
        """
        volume = self._store.volumes.find(name)
        if volume is None and force:
            return
        self._store.volumes.remove(name)
        if volume is not None:
            tell(self._store, "destroy", volume)

    def prune(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None, dry_run: bool = False
    ) -> PrunedThings:
        """Remove volumes that no container uses: those that nobody named, or `all`.  Raises InvalidFilter."""
        from veneer.engine.containers.pruning import PrunedThings

        wanted = dict(filters or {})
        for value in wanted.pop("all", ()):
            all = all or _truth("all", value)
        keeps = self._filter(wanted, _PRUNE)
        names: builtins.list[str] = []
        freed = 0
        for volume in self._store.volumes.list():
            if not (all or volume.anonymous) or self._store.volumes.users(volume.name) or not keeps(volume):
                continue
            size = self.size(volume.name)
            try:
                if not dry_run:
                    self.remove(volume.name)
            except (Conflict, NotFound):
                continue  # used, or removed, meanwhile
            names.append(volume.name)
            freed += size
        return PrunedThings(tuple(names), freed)

    def _filter(self, filters: Mapping[str, Sequence[str]], accepted: Sequence[str]) -> Callable[[Volume], bool]:
        if not filters:
            return lambda volume: True
        from veneer.engine.containers.listing_filters import has_label, matches
        from veneer.store.filters import InvalidFilter

        for name in filters:
            if name not in accepted:
                raise InvalidFilter(f"Invalid filter '{name[:200]}'", hint="known filters: " + ", ".join(accepted))
        dangling = {_truth("dangling", value) for value in filters.get("dangling", ())}
        drivers, names = filters.get("driver", ()), filters.get("name", ())
        labels, without = filters.get("label", ()), filters.get("label!", ())

        def keeps(volume: Volume) -> bool:
            return (
                (not drivers or volume.driver in drivers)
                and (not names or any(matches(value, volume.name) for value in names))
                and all(has_label(volume.labels, value) for value in labels)
                and not (without and all(has_label(volume.labels, value) for value in without))
                and (not dangling or (not self._store.volumes.users(volume.name)) in dangling)
            )

        return keeps


def tell(store: Store, action: str, volume: Volume) -> None:
    """Write down that a volume was made ("create") or removed ("destroy")."""
    from veneer.store import events

    events.append(store.root, type="volume", action=action, id=volume.name, attributes={"driver": volume.driver})


def _truth(name: str, value: str) -> bool:
    from veneer.store.filters import InvalidFilter

    if value not in _BOOLEANS:
        raise InvalidFilter(f"Invalid filter '{name}=[{value[:200]}]'", hint="use true or false")
    return _BOOLEANS[value]


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raise what docker says of options that cannot be, and NoSuchVolumeType for file systems we do not mount."""
    for option in options:
        if option not in _OPTIONS:
            raise InvalidVolumeOption(f'create {name}: invalid option: "{option}"',
                                      hint=f"one of {', '.join(_OPTIONS)}")  # fmt: skip
    for option in options:
        for needed in _NEEDED.get(option, ()):
            if needed not in options:
                raise InvalidVolumeOption(f'create {name}: missing required option: "{needed}"')
    if "size" in options:
        raise NoSuchVolumeType(f"create {name}: quota size requested but no quota support",
                               hint="a volume has the size of the file system that the data root is on")  # fmt: skip
    if not options:
        return
    words = options.get("o", "").split(",")
    if not {"bind", "rbind"} & set(words):
        raise NoSuchVolumeType(
            f"create {name}: veneer mounts no {options['type']} for a volume",
            hint="mount it yourself, and make that directory the volume: "
            "--opt type=none --opt o=bind --opt device=/DIRECTORY; for memory use --tmpfs",
        )
    if not options["device"].startswith("/"):
        raise InvalidVolumeOption(f"create {name}: a volume's device must be an absolute path: {options['device']}")
