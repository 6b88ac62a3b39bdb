"""The store as a whole: what it is, what it costs, what is wrong with it; and who we are at registries."""

from __future__ import annotations

import builtins
import os
import platform
import sys
from collections.abc import Sequence

from veneer import __version__
from veneer.errors import InvalidRequest, VeneerError
from veneer.progress import silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from veneer.drivers.driver import Support
    from veneer.engine.engine import Engine
    from veneer.progress import Progress
    from veneer.store.accounting import DiskUsage
    from veneer.store.check import Finding
    from veneer.store.gc import Collected
    from veneer.store.moving import Moved
    from veneer.store.moving_plan import Held
    from veneer.store.repair import Repaired

API_VERSION = "1.41"
"""The Engine API whose shapes `inspect` and `version` have."""


class NoUserName(InvalidRequest):
    """A login without somebody to log in."""


class System:
    """Facts and chores of one data root."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def version(self) -> dict[str, Any]:
        """Who we are: veneer, Python, SQLite, kernel; opens nothing."""
        return {
            "Version": __version__,
            "ApiVersion": API_VERSION,
            "PythonVersion": platform.python_version(),
            "Os": "linux",
            "Arch": _architecture(),
            "KernelVersion": os.uname().release,
        }

    def info(self) -> dict[str, Any]:
        """Docker's info object as far as it means something here, and ours beside it: settings with their origin."""
        config = self._engine.config
        store = self._engine.store
        counts = store.catalog.row("SELECT (SELECT count(*) FROM image), (SELECT count(*) FROM layer)")
        states = [self._engine.containers.state(each) for each in store.containers.list()]
        driver, status = self._driver()
        unfinished = self.migration_cut_off()
        return {
            "Containers": len(states),
            "ContainersRunning": sum(each.is_live and each.status != "paused" for each in states),
            "ContainersPaused": sum(each.status == "paused" for each in states),
            "ContainersStopped": sum(not each.is_live for each in states),
            **_runtime(),
            "Images": counts[0],
            "Layers": counts[1],
            "Driver": driver,
            "DriverStatus": status,
            "DockerRootDir": str(config.root),
            "Name": os.uname().nodename,
            "ServerVersion": __version__,
            "OperatingSystem": _operating_system(),
            "OSType": "linux",
            "Architecture": os.uname().machine,
            "KernelVersion": os.uname().release,
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "PythonVersion": platform.python_version(),
            "PythonExecutable": sys.executable,
            "SQLiteVersion": _sqlite_version(),
            **_rootless(),
            "RegistryConfig": {
                "InsecureRegistries": list(config.insecure_registries),
                "Mirrors": {host: list(urls) for host, urls in config.mirrors.items()},
            },
            "Settings": {
                name: {"Value": _shown(getattr(config, name)), "Origin": origin}
                for name, origin in config.origins.items()
            },
            "Warnings": [unfinished] if unfinished else [],
        }

    def migrate(self, to: str, *, keep: bool = False, dry_run: bool = False, progress: Progress = silent) -> Moved:
        """Move all layers, and the containers that do not run, to the storage driver `to`; new ones go to it too.

        What stays, and why, is in the answer's `left`.  May be cut off at any moment and done again.
        Raises NoSuchDriver, NoUsableDriver, AlreadyMoving, NotEnoughRoom, StoreFull.
        """
        from veneer.run.monitor import state
        from veneer.store.moving import migrate

        return migrate(
            self._engine.store, to, is_running=lambda folder: state.settled(folder).is_live, keep=keep, dry_run=dry_run,
            progress=progress,
        )  # fmt: skip

    def _driver(self) -> tuple[str, builtins.list[tuple[str, str]]]:
        """The driver in use, or why there is none, in words; and what each has."""
        from veneer.drivers.driver import DRIVERS
        from veneer.store.moving_plan import held

        support = {name: self._support(name) for name in DRIVERS}
        status = [
            (f"{name} usable" if found.usable else f"{name} not usable", found.reason)
            for name, found in support.items()
        ]
        store, config = self._engine.store, self._engine.config
        status = [(f"{each.driver} holds", _told(each, support)) for each in held(store)] + status
        if unfinished := self.migration_cut_off():
            status.insert(0, ("Migration", unfinished))
        asked = (
            f"it was asked for ({config.origins.get('storage_driver', 'by the program')})"
            if config.storage_driver
            else ""
        )
        begun = "it is this data root's: the first that took layers in, or the one they were migrated to"
        try:
            driver = store.driver
            why = _why(driver.name, asked or (begun if store.catalog.setting("driver") else ""), support)
            return driver.name, [("Chosen", why), *getattr(driver, "status", ()), *status]
        except VeneerError as error:
            return "", [("no driver", error.message), *status]

    def _support(self, driver: str) -> Support:
        """Whether it works here; a setting that cannot be is why not, where settings are told."""
        from veneer.drivers.driver import Support, load
        from veneer.errors import InvalidRequest

        try:
            return load(driver, self._engine.config.root, self._engine.config).probe()
        except InvalidRequest as error:
            return Support(False, f"{error.message} ({error.hint})")

    def migration_cut_off(self) -> str:
        """What a migration that did not come to its end has left, in words, with the way on; "" if there is none."""
        from veneer.store.moving_plan import cut_off

        found = cut_off(self._engine.store)
        if found is None:
            return ""
        return f"a migration to {found.to} was cut off ({found.left}): veneer system migrate --to {found.to}"

    def df(self) -> DiskUsage:
        """What images, layers and blobs take on disk, shared parts counted once."""
        from veneer.engine.images import users_of
        from veneer.store.accounting import disk_usage

        return disk_usage(self._engine.store, users_of=users_of(self._engine.store))

    def collect(self, *, dry_run: bool = False) -> Collected:
        """Remove what no image and no running operation needs; `dry_run` only tells."""
        return self._engine.store.collect(dry_run=dry_run)

    def check(self, *, deep: bool = False) -> Sequence[Finding]:
        """What is wrong with the store; `deep` reads every byte again."""
        return self._engine.store.check(deep=deep)

    def repair(self, findings: Sequence[Finding]) -> Sequence[Repaired]:
        """Make whole what can be of what `check` found; what became of each finding, in their order."""
        return self._engine.store.repair(findings)

    def login(self, registry: str, username: str, password: str) -> str:
        """Log in at a registry and keep the credentials; returns where they are kept.

        Raises Unauthorized where the registry refuses them.
        """
        from veneer.distribution.auth import Credentials
        from veneer.distribution.client import Registries

        if not username:
            raise NoUserName("username is required", hint="give one with -u")
        with Registries(self._engine.config) as registries:
            return registries.login(registry, Credentials(username, password))

    def logout(self, registry: str) -> bool:
        """Forget the credentials for a registry; whether there were any."""
        from veneer.distribution.client import Registries

        with Registries(self._engine.config) as registries:
            return registries.logout(registry)


def _why(chosen: str, given: str, support: Mapping[str, Support]) -> str:
    """In words, why this driver and none of the others; `given`: the reason to take no other, "" if it was tried out
    which one works."""
    from veneer.drivers.driver import DRIVERS, LAST_TRIED

    found = support.get(chosen)
    works = f": {found.reason}" if found else ""
    parts = [f"{chosen} because {given or 'it is the first that works'}{works}"]
    names = list(DRIVERS)
    for name, other in support.items():
        if name == chosen:
            continue
        if not other.usable:
            parts.append(f"not {name} because {other.reason}")
        elif not given and names.index(chosen) < names.index(name) <= names.index(LAST_TRIED):
            parts.append(f"not {name} because {chosen} comes before it")
        elif not given:
            parts.append(f"not {name} because it is taken only where it is asked for")
        else:
            parts.append(f"not {name} because it was not asked for")
    return "; ".join(parts)


def _told(each: Held, support: Mapping[str, Support]) -> str:
    """What a driver has, in words."""
    parts = [_several(each.layers, "layer", "layers")]
    if each.containers:
        parts.append(_several(each.containers, "container", "containers"))
    if each.copies:
        parts.append(_several(each.copies, "copy of a layer", "copies of layers") + " that another serves")
    found = support.get(each.driver)
    broken = "" if found is None or found.usable else "; it does not work here: veneer system migrate --to DRIVER"
    return ", ".join(parts) + broken


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _architecture() -> str:
    from veneer.oci.platform import host

    return host().architecture


def _sqlite_version() -> str:
    from veneer.store.catalog import sqlite_version

    return sqlite_version()


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _runtime() -> dict[str, Any]:
    """Which program runs containers here, and why that one."""
    from veneer.drivers.userns import privileged
    from veneer.run.runtime import NoRuntime, choose

    try:
        found = choose(hiding=privileged())
    except NoRuntime as error:
        return {"DefaultRuntime": "", "RuntimeReason": f"{error.message}: {error.hint}"}
    return {"DefaultRuntime": found.name, "RuntimeReason": found.reason}


def _rootless() -> dict[str, Any]:
    """Whether files belong to somebody else than root of the machine, and to whom; docker's word for it too."""
    from veneer.drivers.userns import MACHINE, standing

    here = standing()
    names = ("ContainerID", "HostID", "Size")
    return {
        "SecurityOptions": [] if here.kind == MACHINE else ["name=rootless"],
        "Rootless": here.kind != MACHINE,
        "RootlessReason": here.reason,
        "UidMap": [dict(zip(names, extent, strict=True)) for extent in here.uids],
        "GidMap": [dict(zip(names, extent, strict=True)) for extent in here.gids],
    }


def _shown(value: object) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, int | str | bool) else str(value)
