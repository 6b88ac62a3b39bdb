"""The store: a data root, opened."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from veneer.errors import Conflict, Denied, InvalidRequest
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
    from veneer.store.volumes import VolumeStore

FOLDERS = ("blobs/sha256", "indexes/sha256", "ingest", "partial", "trash")
LAYOUT_FILE = "oci-layout"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
EMPTY_INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
_OURS = frozenset(
    {"blobs", "indexes", "ingest", "partial", "trash", "locks", "index.json", ".index.json.new", LAYOUT_FILE,
     ".oci-layout.new", "state.db", "state.db-wal", "state.db-shm", "reserve", "overlay2", "vfs", "cache-mounts",
     "contexts", "containers", "volumes", "networks", "events.jsonl", "events.jsonl.1", "aufs", "erofs",
     "fuse-overlayfs", "lost+found"}
)  # fmt: skip


class RootRefused(Denied):
    """The data root belongs to somebody else, or others may write to it."""


class NotAStore(InvalidRequest):
    """The data root is a directory with something else in it."""


class OtherDriver(Conflict):
    """The store's layers were unpacked for another storage driver than the one asked for."""


class Store:
    """Blobs, layers and images under one data root.  Cheap to open: nothing is scanned, nothing is written."""

    def __init__(self, config: Config) -> None:
        self.config = config
        root = config.root_name
        _check_root(root)
        self.catalog = Catalog(f"{root}/state.db", f"{root}/locks")
        self.blobs = BlobStore(root, self.catalog, sync=config.durability != "none")
        self.notes: list[str] = []
        """What layers unpacked by a plain user could not keep, in words, each fact once."""

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
        """The driver that unpacks and mounts layers here, probed.

        The one the store was begun with, for a stack cannot mix two.  Raises OtherDriver, NoUsableDriver.
        """
        from veneer.drivers.driver import choose

        self.require_ids()
        begun = self.catalog.setting("driver")
        wanted = self.config.storage_driver
        if begun and wanted and begun != wanted and self.catalog.row("SELECT 1 FROM snapshot LIMIT 1"):
            raise OtherDriver(
                f"{self.root} holds layers unpacked for {begun}, not {wanted}",
                hint=f"use --storage-driver {begun}, or another --root for {wanted}",
            )
        return choose(self.root, wanted or begun or "", self.config)

    @property
    def mapping(self) -> str:
        """Whose ids the files of the layers here have (userns.Standing.recorded); "" while there are none."""
        recorded: str | None = self.catalog.value(
            "SELECT value FROM setting WHERE key = 'mapping' AND EXISTS (SELECT 1 FROM snapshot)"
        )
        return recorded or ""

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

    def remember_driver(self, transaction: apsw.Connection) -> None:
        """Note, with a layer's rows, what unpacked it: the driver, and with whose ids."""
        from veneer.drivers.userns import standing

        rows = [("driver", self.driver.name), ("mapping", standing().recorded())]
        transaction.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?)", rows)

    def driver_named(self, name: str) -> StorageDriver:
        """A driver to look at or remove what it made, unprobed."""
        from veneer.drivers.driver import load

        chosen: StorageDriver | None = self.__dict__.get("driver")
        return chosen if chosen is not None and chosen.name == name else load(name, self.config.root_name, self.config)

    def lease(self, purpose: str) -> contextlib.AbstractContextManager[Lease]:
        """A claim on what an operation needs, with a scratch folder; ends with the `with`.

        What killed processes left behind is removed first.  Raises NotEntered, OtherMapping.
        """
        self.require_ids()
        from veneer.store.gc import tidy

        with file_errors(self.root):
            tidy(self)
        from veneer.store.leases import leased

        return leased(self.root, self.catalog, purpose)

    @contextlib.contextmanager
    def locked(self, *keys: str) -> Iterator[None]:
        """Hold locks that all processes on this store share; waits."""
        from veneer.store.locks import locked

        with locked(self.root / "locks", keys):
            yield

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

    def recover(self) -> int:
        """Unpack again every layer that a power cut may have damaged; returns how many."""
        return self.layers.recover()


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
            hint="run as its owner, or choose another with --root",
        )
    if found.st_mode & 0o022:
        raise RootRefused(
            f"{root} can be written by others (mode {stat.S_IMODE(found.st_mode):04o})", hint=f"chmod 700 {root}"
        )
    if not os.path.exists(f"{root}/{LAYOUT_FILE}"):
        _make_root(root)


def _not_allowed(root: str) -> RootRefused:
    return RootRefused(f"{root} is not accessible to uid {os.geteuid()}",
                       hint="run as its owner, or choose another with --root")  # fmt: skip


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
                    hint="choose an empty or new directory with --root",
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
