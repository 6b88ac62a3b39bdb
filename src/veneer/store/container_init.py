"""The layer between an image and what a container writes: places for the files that every container is given.

Docker makes such a layer for each container; nothing in it is a container's own, so here all containers on the same
layers share one.  It shows in `export`, and in neither `diff` nor `commit`.
Source: moby daemon/initlayer/setup_unix.go.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Sequence

from veneer.changeset import syscalls
from veneer.drivers.driver import SnapshotID, new_snapshot_id
from veneer.store.durability import crashpoint, file_errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.drivers.protocol import StorageDriver
    from veneer.oci.digest import ChainID
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_DIRECTORIES = ("dev/pts", "dev/shm", "proc", "sys")
_FILES = ("etc/resolv.conf", "etc/hosts", "etc/hostname", "dev/console", ".dockerenv")
_LINKS = {"etc/mtab": "/proc/mounts"}
_MODE = 0o755
_PARENT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def init_layer(
    store: Store, lease: Lease, driver: StorageDriver, top: ChainID | None, below: Sequence[SnapshotID]
) -> SnapshotID:
    """The init layer on the layers up to `top`, whose snapshots are `below`; made if there is none."""
    key = top or ""

    def found() -> SnapshotID | None:
        row = store.catalog.row("SELECT snapshot FROM init_layer WHERE driver = ? AND top = ?", (driver.name, key))
        if row is None or not driver.directory(SnapshotID(row[0])).is_dir():
            return None
        return SnapshotID(row[0])

    if (known := found()) is not None:
        return known
    with store.locked(f"init-{driver.name}-{key}"):
        if (known := found()) is not None:
            return known
        made = new_snapshot_id()
        with store.catalog.transaction(durable=False) as transaction:
            lease.hold_snapshot(transaction, made, driver.name, "")
        with file_errors(store.root):
            driver.create(made, below)
            _fill(driver, made, below)
            driver.commit(made)
        crashpoint("init-layer-made")
        with store.catalog.transaction(durable=False) as transaction:
            transaction.execute(
                "INSERT INTO init_layer VALUES (?, ?, ?) ON CONFLICT (driver, top) DO UPDATE"
                " SET snapshot = excluded.snapshot",
                (made, driver.name, key),
            )
            store.remember_driver(transaction, driver.name)
            transaction.execute("DELETE FROM lease_snapshot WHERE lease = ? AND snapshot = ?", (lease.id, made))
        return made


def _fill(driver: StorageDriver, snapshot: SnapshotID, below: Sequence[SnapshotID]) -> None:
    """Make what the tree lacks, through the union: directories on the way are copied up with what they are.

    The union is mounted nowhere, so that whoever is killed leaves no mount.
    """
    from veneer.drivers.mount import opened

    with opened(driver.mounts(snapshot, below)) as root:
        for path in _DIRECTORIES:
            _place(root, path, _directory)
        for path in _FILES:
            _place(root, path, _file)
        for path, target in _LINKS.items():
            _place(root, path, functools.partial(_link, target))


def _place(root: int, path: str, make: Callable[[str, int], None]) -> None:
    """Have `make` put something at `path`, whose links lead nowhere but into the tree, unless something is there."""
    parent, _, name = path.rpartition("/")
    try:
        fd = _parent(root, parent)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            return  # the image has something else there: a start that needs the place says so
        raise
    try:
        with contextlib.suppress(FileExistsError):
            make(name, fd)
    finally:
        os.close(fd)


def _parent(root: int, path: str) -> int:
    """A descriptor of a directory of the tree, made if it is not there."""
    try:
        return syscalls.openat2(root, os.fsencode(path) or b".", _PARENT, syscalls.RESOLVE_IN_ROOT)
    except FileNotFoundError:
        _place(root, path, _directory)
        return syscalls.openat2(root, os.fsencode(path), _PARENT, syscalls.RESOLVE_IN_ROOT)


# ---- what is made: by name, in the directory of a descriptor; the modes whatever the umask


def _directory(name: str, fd: int) -> None:
    os.mkdir(name, dir_fd=fd)
    os.chmod(name, _MODE, dir_fd=fd)


def _file(name: str, fd: int) -> None:
    made = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.fchmod(made, _MODE)
    finally:
        os.close(made)


def _link(target: str, name: str, fd: int) -> None:
    os.symlink(target, name, dir_fd=fd)
