"""What the storage drivers share, and how one is chosen; what each promises is in protocol.py.

A driver is a folder of folders: `create` gives a directory to fill, `mounts` describes how that directory looks on
top of its lowers, `diff` writes what it changes as a layer.  It remembers nothing; which snapshot stands on which is
the store's business, and every call that needs the lowers is told them, nearest first.
"""

from __future__ import annotations

import os

from veneer.errors import InvalidRequest, Unsupported
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import NewType

    from veneer.config import Config
    from veneer.drivers.protocol import DriverClass, StorageDriver

    SnapshotID = NewType("SnapshotID", str)
    """The name of one layer's folder: 32 lower-case hex digits, random."""
else:
    SnapshotID = str

_HEX = frozenset("0123456789abcdef")

MAX_LOWERS = 500
"""The kernel's limit of lower directories in one overlay (OVL_MAX_STACK)."""

STACKS_NOTHING = "veneer system migrate --to vfs, which stacks nothing; or squash the image"
"""The way out where there are more layers than a driver can stack."""


class NoSuchDriver(InvalidRequest):
    """No storage driver has that name."""


class NoUsableDriver(Unsupported):
    """The driver asked for, or every driver there is, cannot work here."""


class NotASnapshot(InvalidRequest):
    """A text that is no snapshot ID."""


def too_deep(driver: StorageDriver, layers: int) -> str:
    """What is to be said of an image with so many layers and its driver; empty if the driver can do all with it."""
    if layers < driver.max_lowers:
        return ""
    fact = f"more than the {driver.max_lowers} that {driver.name} can stack: to run the image, or build on it"
    if layers == driver.max_lowers:  # a container stands on one more, which has what it mounts over
        fact = f"all that {driver.name} can stack, one less than a container needs: to run the image"
    return f"{layers} layers are {fact}: {STACKS_NOTHING}"


class Support(Value):
    """Whether a driver works at its root; `reason` says in words why not (or how: what was found), never empty."""

    __slots__ = ()
    usable: bool
    reason: str


class Usage(Value):
    """What a snapshot's own directory takes: `size` is the sum of the lstat sizes of all that is no directory, in
    bytes, each inode once; `inodes` counts every inode once, directories and the root included."""

    __slots__ = ()
    size: int
    inodes: int


DRIVERS: dict[str, str] = {
    "overlay2": "veneer.drivers.overlay2:Overlay2",
    "fuse-overlayfs": "veneer.drivers.fuse_overlayfs.driver:FuseOverlayfs",
    "vfs": "veneer.drivers.vfs:Vfs",
    "erofs": "veneer.drivers.erofs.driver:Erofs",
    "aufs": "veneer.drivers.aufs.driver:Aufs",
}
"""The built-in drivers, best first: name -> "module:Class".  Nothing is imported before it is asked for.

What stands behind LAST_TRIED is used when it is named and not otherwise.
"""

LAST_TRIED = "vfs"
"""The last one that is tried where none is named: it works everywhere."""

ENTRY_POINTS = "veneer.drivers"
"""The entry-point group by which other packages add drivers.  They are used when named, never chosen by probing."""


def new_snapshot_id() -> SnapshotID:
    return SnapshotID(os.urandom(16).hex())


def snapshot_id(text: str) -> SnapshotID:
    """Read a snapshot ID, strictly: it becomes a path.  Raises NotASnapshot."""
    if len(text) == 32 and _HEX.issuperset(text):
        return SnapshotID(text)
    raise NotASnapshot(f"not a snapshot ID: {text[:80]!r}: want 32 lower-case hex digits")


def load(name: str, root: str | os.PathLike[str], config: Config | None = None) -> StorageDriver:
    """The driver called `name`, on its folder ROOT/<name> of the data root `root`, unprobed.

    A built-in one is told what `config` has for it.  Raises NoSuchDriver.
    """
    target = DRIVERS.get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        # __import__ and not importlib: a short command has no other use for that module.
        builtin: Callable[..., StorageDriver] = getattr(__import__(module, fromlist=(attribute,)), attribute)
        return builtin(f"{os.fspath(root)}/{name}", **(config.of_driver(name) if config is not None else {}))
    from importlib.metadata import entry_points
    from pathlib import Path

    found = entry_points(group=ENTRY_POINTS)
    for entry_point in found:
        if entry_point.name == name:
            factory: DriverClass = entry_point.load()
            return factory(Path(root) / name)
    known = ", ".join([*DRIVERS, *sorted(found.names)])
    raise NoSuchDriver(f"unknown storage driver {name!r}", hint=f"known drivers: {known}")


def require_known(name: str, root: str | os.PathLike[str]) -> None:
    """Raise unless a driver is called `name`, whether or not it works at the data root `root`.  Raises NoSuchDriver."""
    if name not in DRIVERS:
        load(name, root)


def choose(root: Path, name: str = "", config: Config | None = None) -> StorageDriver:
    """The driver called `name` if it works at the data root `root`; with no name, the best built-in one that does.

    Raises NoSuchDriver, and NoUsableDriver with every reason.
    """
    reasons: list[str] = []
    for candidate in [name] if name else DRIVERS:
        driver = load(candidate, root, config)
        support = driver.probe()
        if support.usable:
            return driver
        reasons.append(f"{candidate}: {support.reason}")
    if name:
        reasons.append(f"usable drivers here: {usable_elsewise(root, name)}")
    raise NoUsableDriver(f"no usable storage driver at {root}: " + "; ".join(reasons))


def usable_elsewise(root: Path, besides: str) -> str:
    """The other built-in drivers that work at the data root `root`, in words for a reason: "vfs" or "none"."""
    others = [name for name in DRIVERS if name != besides and load(name, root).probe().usable]
    return ", ".join(others) or "none"
