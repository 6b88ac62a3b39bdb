"""What every storage driver promises.

Apart from what the drivers share, because a Protocol needs `typing` when it is defined, and a command that asks a
driver only for paths does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from veneer.changeset.entry import Entry
    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.driver import SnapshotID, Support, Usage
    from veneer.drivers.mount import Mount


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

    shared_inodes: bool
    """Equal contents of committed snapshots are one inode: in `directory` the regular files' contents are theirs, their
    attributes those of whichever file came first; mounts show each file's own, and so does `attributes`."""

    @property
    def whiteouts(self) -> WhiteoutStyle:
        """How a layer unpacked into `create`'s directory must spell deletions."""

    def probe(self) -> Support:
        """Whether this driver works at its root, tried out.  Cheap from the second time on."""

    def create(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Path:
        """Make a snapshot on `lowers` (nearest first); the directory to write its own files into."""

    def directory(self, snapshot: SnapshotID) -> Path:
        """The directory with the snapshot's own files, as `create` gave it."""

    def attributes(self, snapshot: SnapshotID, path: bytes) -> Entry | None:
        """What a path of a snapshot is, where `shared_inodes` have its directory tell something else; None where the
        directory tells it."""

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
        """Write what `snapshot` changes of `lowers` as a layer tar, the same bytes whatever the driver.

        A file of which nothing but the content differs is a change.
        """

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


@runtime_checkable
class Recovering(Protocol):
    """A driver whose snapshots lie on the disk in another form while they are mounted for writing."""

    def recover(self) -> None:
        """Put right what processes left that were killed meanwhile; what is mounted stays as it is.  Cheap when there
        is nothing to do."""


@runtime_checkable
class Sharing(Protocol):
    """A driver of whose committed snapshots one may have files in common with another."""

    def doubt(self, snapshot: SnapshotID) -> None:
        """Files of the snapshot are damaged: what comes with the same contents takes the place of such, and not the
        other way round.  As long as this object is used."""


class DriverClass(Protocol):
    """What DRIVERS and the entry points name."""

    def __call__(self, root: Path) -> StorageDriver: ...
