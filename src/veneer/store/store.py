"""The store: a data root, opened."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from veneer.errors import Denied, InvalidRequest, Unsupported
from veneer.store import reserve
from veneer.store.blobs import BlobStore
from veneer.store.catalog import Catalog
from veneer.store.durability import file_errors, make_directories, sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from veneer.config import Config
    from veneer.drivers.protocol import StorageDriver
    from veneer.store.builds import BuildStore
    from veneer.store.cache_mounts import CacheMounts
    from veneer.store.check import Finding
    from veneer.store.containers import ContainerStore
    from veneer.store.gc import Collected, Extent
    from veneer.store.images import ImageStore
    from veneer.store.layers import LayerStore
    from veneer.store.leases import Lease
    from veneer.store.mounts import MountStore
    from veneer.store.networks import NetworkStore
    from veneer.store.repair import Repaired
    from veneer.store.volumes import VolumeStore

FOLDERS = ("blobs/sha256", "indexes/sha256", "ingest", "partial", "trash")
LAYOUT_FILE = "oci-layout"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
EMPTY_INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
_OURS = frozenset(
    {"blobs", "indexes", "ingest", "partial", "trash", "locks", "index.json", ".index.json.new", LAYOUT_FILE,
     ".oci-layout.new", "state.db", "state.db-wal", "state.db-shm", "state.db-journal",
     "reserve", "overlay2", "vfs", "cache-mounts",
     "contexts", "containers", "volumes", "networks", "events.jsonl", "events.jsonl.1", "aufs", "erofs",
     "fuse-overlayfs", "filters", "watches", "lost+found"}
)  # fmt: skip


class RootRefused(Denied):
    """The data root belongs to somebody else, or others may write to it."""


class NotAStore(InvalidRequest):
    """The data root is a directory with something else in it."""


class DriverGone(Unsupported):
    """Layers are kept by a storage driver that cannot work here."""


class Store:
    """Blobs, layers and images under one data root.  Cheap to open: nothing is scanned, nothing is written."""

    def __init__(self, config: Config) -> None:
        self.config = config
        root = config.root_name
        _check_root(root)
        self.catalog = Catalog(f"{root}/state.db", f"{root}/locks")
        self.blobs = BlobStore(root, self.catalog, sync=config.durability != "none")
        self._drivers: dict[str, StorageDriver] = {}
        self.notes: list[str] = []
        """What whoever brought layers should know: what a plain user could not keep of them, and of images that are too
        deep; in words, each fact once."""

    @classmethod
    def open(cls, config: Config) -> Store:
        """The store at `config.root`, made on first use.

        Raises RootRefused, NotAStore, StoreReadOnly; NewerStore when the catalogue is first read.
        """
        return cls(config)

    @property
    def root(self) -> Path:
        """The data root."""
        return self.config.root

    def close(self) -> None:
        """End the unpacking processes and let go of the catalogue; idempotent."""
        layers: LayerStore | None = self.__dict__.get("layers")
        if layers is not None:
            layers.close()
        self.catalog.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @functools.cached_property
    def layers(self) -> LayerStore:
        from veneer.store.layers import LayerStore

        return LayerStore(self)

    @functools.cached_property
    def images(self) -> ImageStore:
        from veneer.store.images import ImageStore
        from veneer.store.layout import Layout

        root = self.config.root_name
        return ImageStore(self.catalog, self.blobs, Layout(root, self.catalog, f"{root}/locks"))

    @functools.cached_property
    def builds(self) -> BuildStore:
        """What the build cache has."""
        from veneer.store.builds import BuildStore

        return BuildStore(self)

    @functools.cached_property
    def containers(self) -> ContainerStore:
        """The containers there are, and the layers they write to."""
        from veneer.store.containers import ContainerStore

        return ContainerStore(self)

    @functools.cached_property
    def volumes(self) -> VolumeStore:
        """The directories that containers share and leave behind."""
        from veneer.store.volumes import VolumeStore

        return VolumeStore(self)

    @functools.cached_property
    def cache_mounts(self) -> CacheMounts:
        """The directories that RUN steps keep between builds."""
        from veneer.store.cache_mounts import CacheMounts

        return CacheMounts(self)

    @functools.cached_property
    def mounts(self) -> MountStore:
        """Mounts that outlive who made them, and hold what they show."""
        from veneer.store.mounts import MountStore

        return MountStore(self)

    @functools.cached_property
    def networks(self) -> NetworkStore:
        """The networks of containers, and who has which address on them."""
        from veneer.store.networks import NetworkStore

        return NetworkStore(self)

    @functools.cached_property
    def driver(self) -> StorageDriver:
        """The driver that new stacks of layers go to, probed: the one asked for, else the one the store was begun with
        or migrated to, else the best that works.  Layers there are stay with theirs (`working`).

        Raises NoUsableDriver.
        """
        from veneer.drivers.driver import choose

        self.require_ids()
        name = self.config.storage_driver or self.catalog.setting("driver") or ""
        chosen = choose(self.root, name, self.config)
        return self._drivers.setdefault(chosen.name, chosen)

    def working(self, name: str) -> StorageDriver:
        """The driver called `name`, probed, to unpack beside its layers and to mount them.

        Raises DriverGone, and NoSuchDriver where the one that was asked for is none, though layers go by their own.
        """
        chosen: StorageDriver | None = self.__dict__.get("driver")
        if chosen is not None and chosen.name == name:
            return chosen
        self.require_ids()
        self.require_known_driver()
        driver = self.driver_named(name)
        support = driver.probe()
        if not support.usable:
            from veneer.drivers.driver import usable_elsewise

            others = usable_elsewise(self.root, name)
            raise DriverGone(
                f"layers in {self.root} are kept by {name}, which does not work here: {support.reason}",
                hint=f"veneer system migrate --to DRIVER moves them; usable here: {others}",
            )
        return driver

    @property
    def mapping(self) -> str:
        """Whose ids the files of the layers here have (userns.Standing.recorded); "" while there are none."""
        recorded: str | None = self.catalog.value(
            "SELECT value FROM setting WHERE key = 'mapping' AND EXISTS (SELECT 1 FROM snapshot)"
        )
        return recorded or ""

    def require_known_driver(self) -> None:
        """Raise where the driver that was asked for is none, used or not.  Raises NoSuchDriver."""
        if self.config.storage_driver:
            from veneer.drivers.driver import require_known

            require_known(self.config.storage_driver, self.root)

    def require_ids(self) -> None:
        """Raise unless this process may work on layers' files here.  Raises NotEntered, OtherMapping."""
        from veneer.drivers import userns

        userns.require(
            self.mapping, self.config.root_name, plainly=self.config.storage_driver not in ("", "overlay2", "aufs")
        )

    def note(self, warnings: Iterable[Sequence[str]]) -> None:
        """Take down what unpacking had to leave out, if that is for want of privileges."""
        from veneer.drivers.userns import privileged

        facts = {each.rpartition(" (")[0] for layer in warnings for each in layer}
        if facts and not privileged():
            self.notes += sorted(facts.difference(self.notes))

    def note_depth(self, driver: StorageDriver, layers: int) -> None:
        """Take down that the driver that has an image's layers cannot stack them with a container's own, if so."""
        from veneer.drivers.driver import too_deep

        if (fact := too_deep(driver, layers)) and fact not in self.notes:
            self.notes.append(fact)

    def remember_driver(self, transaction: apsw.Connection, name: str) -> None:
        """Note, before a layer's rows, what unpacked it: the driver, as the store's if there is none or nothing here
        yet, and with whose ids."""
        from veneer.drivers.userns import standing

        transaction.execute("INSERT OR REPLACE INTO setting VALUES ('mapping', ?)", (standing().recorded(),))
        begun = self.catalog.setting("driver")
        if begun is None or (begun != name and not self._holds_something()):
            transaction.execute("INSERT OR REPLACE INTO setting VALUES ('driver', ?)", (name,))

    def _holds_something(self) -> bool:
        # Of whichever driver: what is migrated is all with another one than the store's, at first.
        return self.catalog.row("SELECT 1 FROM snapshot UNION ALL SELECT 1 FROM container LIMIT 1") is not None

    def drivers_in_use(self) -> list[str]:
        """The names of the drivers that have something here; nothing is imported or tried for it."""
        rows = self.catalog.rows(
            "SELECT driver FROM snapshot UNION SELECT driver FROM container UNION SELECT driver FROM lease_snapshot"
        )
        return [row[0] for row in rows]

    def driver_named(self, name: str) -> StorageDriver:
        """A driver to look at or remove what it made, unprobed."""
        known = self._drivers.get(name)
        if known is None:
            from veneer.drivers.driver import load

            known = self._drivers.setdefault(name, load(name, self.config.root_name, self.config))
        return known

    def lease(self, purpose: str) -> contextlib.AbstractContextManager[Lease]:
        """A claim on what an operation needs, with a scratch folder; ends with the `with`.

        What killed processes left behind is removed first.  Raises NotEntered, OtherMapping.
        """
        self.tidy()
        from veneer.store.leases import leased

        return leased(self.root, self.catalog, purpose)

    def tidy(self) -> None:
        """Remove what killed processes left behind: what makes or removes something begins with this.

        Raises NotEntered, OtherMapping.
        """
        self.require_ids()
        from veneer.store.gc import tidy

        with file_errors(self.root):
            tidy(self)

    @contextlib.contextmanager
    def locked(self, *keys: str) -> Iterator[int]:
        """Hold locks that all processes on this store share; waits.  Gives the descriptor that holds them."""
        from veneer.store.locks import locked

        with locked(self.root / "locks", keys) as fd:
            yield fd

    def collect(self, *, dry_run: bool = False, extent: Extent | None = None) -> Collected:
        """Remove what no image, tag and no live lease needs, all of it unless told otherwise.

        With `dry_run` only tell.
        """
        from veneer.store.gc import Extent, collect

        self.require_ids()
        return collect(self, dry_run=dry_run, extent=extent or Extent.ALL)

    def check(self, *, deep: bool = False) -> list[Finding]:
        """What is wrong with the store; `deep` reads every blob and file."""
        from veneer.store.check import check

        return check(self, deep=deep)

    def repair(self, findings: Sequence[Finding]) -> list[Repaired]:
        """Make whole what can be of what `check` found; what became of each finding, in their order."""
        from veneer.store.repair import repair

        self.require_ids()
        return repair(self, findings)

    def recover(self) -> int:
        """Unpack again every layer that a power cut may have damaged; returns how many."""
        from veneer.store.lasting import recover

        return recover(self.layers)


def _check_root(root: str) -> None:
    try:
        found = os.stat(root)
    except FileNotFoundError:
        _make_root(root)
        return
    except PermissionError as error:
        raise _not_allowed(root) from error
    if not stat.S_ISDIR(found.st_mode):
        raise NotAStore(f"{root} is not a directory", hint="choose another with --root")
    if found.st_uid != os.geteuid():
        raise RootRefused(
            f"{root} belongs to uid {found.st_uid}, not to uid {os.geteuid()}",
            hint=_as_owner(),
        )
    if found.st_mode & 0o022:
        raise RootRefused(
            f"{root} can be written by others (mode {stat.S_IMODE(found.st_mode):04o})", hint=f"chmod 700 {root}"
        )
    if not os.path.exists(f"{root}/{LAYOUT_FILE}"):
        _make_root(root)


def _not_allowed(root: str) -> RootRefused:
    return RootRefused(f"{root} is not accessible to uid {os.geteuid()}", hint=_as_owner())


def _as_owner() -> str:
    from veneer.drivers.userns import privileged

    if os.geteuid() == 0 and not privileged():
        return "in a user namespace that veneer did not make: run it outside, or choose another with --root"
    return "run as its owner, or choose another with --root"


def _make_root(name: str) -> None:
    """Lay out a new data root.  `oci-layout` comes last: a root that has it has everything."""
    from pathlib import Path

    from veneer.store.locks import locked

    root = Path(name)
    try:
        with file_errors(root):
            make_directories(root, last_mode=0o700)
            strangers = sorted(set(os.listdir(root)) - _OURS)
            if strangers:
                raise NotAStore(
                    f"{root} is no veneer store and not empty (it has {strangers[0]!r})",
                    hint="choose an empty or new directory with --root; other engines' are only looked at, "
                    "by images, history, layer; import-store takes their images into one of veneer's own",
                )
            with locked(root / "locks", ["layout"]):
                for folder in FOLDERS:
                    make_directories(root / folder)
                reserve.refill(root)
                _write_once(root / "index.json", EMPTY_INDEX)
                _write_once(root / LAYOUT_FILE, LAYOUT)
                sync_directory(root)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise _not_allowed(name) from error
        raise


def _write_once(path: Path, data: bytes) -> None:
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    draft.rename(path)
