"""What every storage driver promises, and how one is chosen.

A driver is a folder of folders: `create` gives a directory to fill, `mounts` describes how that directory looks on
top of its lowers, `diff` writes what it changes as a layer.  It remembers nothing; which snapshot stands on which is
the store's business, and every call that needs the lowers is told them, nearest first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NewType, Protocol, cast, runtime_checkable

from veneer.errors import InvalidRequest, Unsupported
from veneer.values import Value

if TYPE_CHECKING:
    from pathlib import Path

    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.mount import Mount

SnapshotID = NewType("SnapshotID", str)
"""The name of one layer's folder: 32 lower-case hex digits, random."""

_HEX = frozenset("0123456789abcdef")

MAX_LOWERS = 500
"""The kernel's limit of lower directories in one overlay (OVL_MAX_STACK)."""


class NoSuchDriver(InvalidRequest):
    """No storage driver has that name."""


class NoUsableDriver(Unsupported):
    """The driver asked for, or every driver there is, cannot work here."""


class NotASnapshot(InvalidRequest):
    """A text that is no snapshot ID."""


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


@runtime_checkable
class StorageDriver(Protocol):
    """A union of layers, as an object.  Built as `Driver(root)`, where `root` is the driver's own folder.

    The attributes are capabilities; code asks for them and never for `name`.
    """

    name: str
    renames_dirs: bool
    """A directory that comes from a lower layer can be renamed (kernel overlay answers EXDEV)."""
    max_lowers: int
    """How many lowers a snapshot may stand on."""
    any_order: bool
    """Layers may be unpacked before those below them; False: `create` copies the parent, which must be whole."""

    @property
    def whiteouts(self) -> WhiteoutStyle:
        """How a layer unpacked into `create`'s directory must spell deletions."""

    def probe(self) -> Support:
        """Whether this driver works at its root, tried out.  Cheap from the second time on."""

    def create(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Path:
        """Make a snapshot on `lowers` (nearest first); the directory to write its own files into."""

    def directory(self, snapshot: SnapshotID) -> Path:
        """The directory with the snapshot's own files, as `create` gave it."""

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        """What to mount to see `snapshot` on top of `lowers`; None: a read-only view of `lowers` alone, which may be
        none at all.  Always one mount.

        One writable mount of a snapshot at a time, and none while another snapshot stands on it: the caller locks.
        Raises TooManyLayers.
        """

    def diff(
        self,
        snapshot: SnapshotID,
        lowers: Sequence[SnapshotID],
        out: BinaryIO,
        *,
        index: BinaryIO | None = None,
    ) -> Packed:
        """Write what `snapshot` changes of `lowers` as a layer tar, the same bytes whatever the driver."""

    def commit(self, snapshot: SnapshotID) -> None:
        """Freeze the snapshot: it is not written again, only read and stood upon."""

    def usage(self, snapshot: SnapshotID) -> Usage:
        """What the snapshot's own directory takes; looks at every file."""

    def remove(self, snapshot: SnapshotID) -> None:
        """Delete the snapshot.  No error if it is not there; a removal that was interrupted is finished."""

    def snapshots(self) -> Iterator[SnapshotID]:
        """Every snapshot that takes room, half-removed ones included, in no order."""

    def graph_data(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> dict[str, str] | None:
        """What docker's inspect shows as GraphDriver.Data; None where docker shows null."""


class DriverClass(Protocol):
    """What DRIVERS and the entry points name."""

    def __call__(self, root: Path) -> StorageDriver: ...


DRIVERS: dict[str, str] = {
    "overlay2": "veneer.drivers.overlay2:Overlay2",
    "vfs": "veneer.drivers.vfs:Vfs",
}
"""The built-in drivers, best first: name -> "module:Class".  Nothing is imported before it is asked for."""

ENTRY_POINTS = "veneer.drivers"
"""The entry-point group by which other packages add drivers.  They are used when named, never chosen by probing."""


def new_snapshot_id() -> SnapshotID:
    return SnapshotID(os.urandom(16).hex())


def snapshot_id(text: str) -> SnapshotID:
    """Read a snapshot ID, strictly: it becomes a path.  Raises NotASnapshot."""
    if len(text) == 32 and _HEX.issuperset(text):
        return SnapshotID(text)
    raise NotASnapshot(f"not a snapshot ID: {text[:80]!r}: want 32 lower-case hex digits")


def load(name: str, root: Path) -> StorageDriver:
    """The driver called `name`, on its folder ROOT/<name> of the data root `root`, unprobed.  Raises NoSuchDriver."""
    import importlib

    target = DRIVERS.get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        factory = cast(DriverClass, getattr(importlib.import_module(module), attribute))
        return factory(root / name)
    from importlib.metadata import entry_points

    found = entry_points(group=ENTRY_POINTS)
    for entry_point in found:
        if entry_point.name == name:
            return cast(DriverClass, entry_point.load())(root / name)
    known = ", ".join([*DRIVERS, *sorted(found.names)])
    raise NoSuchDriver(f"unknown storage driver {name!r}", hint=f"known drivers: {known}")


def choose(root: Path, name: str = "") -> StorageDriver:
    """The driver called `name` if it works at the data root `root`; with no name, the best built-in one that does.

    Raises NoSuchDriver, and NoUsableDriver with every reason.
    """
    reasons: list[str] = []
    for candidate in [name] if name else DRIVERS:
        driver = load(candidate, root)
        support = driver.probe()
        if support.usable:
            return driver
        reasons.append(f"{candidate}: {support.reason}")
    raise NoUsableDriver(f"no usable storage driver at {root}: " + "; ".join(reasons))


def usable_elsewise(root: Path, besides: str) -> str:
    """The other built-in drivers that work at the data root `root`, in words for a reason: "vfs" or "none"."""
    others = [name for name in DRIVERS if name != besides and load(name, root).probe().usable]
    return ", ".join(others) or "none"
