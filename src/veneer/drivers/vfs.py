"""The union without a union: each layer is a full copy of the one below it, changed.

Needs nothing of the kernel and is always right, so it is what remains where no overlay works, and what the others are
compared with.  On disk: ROOT/vfs/<snapshot> is the whole tree; ROOT/vfs/.copied/<snapshot> is an empty file that says
when it was copied, by the file system's own clock: its atime is the beginning, its mtime the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from veneer.drivers import treecopy
from veneer.drivers.driver import SnapshotID, Support, Usage, snapshot_id
from veneer.drivers.mount import Mount

if TYPE_CHECKING:
    from veneer.changeset.entry import Entry
    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle


class Vfs:
    """Layers as full copies.  `root` is ROOT/vfs."""

    name = "vfs"
    renames_dirs = True
    max_lowers = 1_000_000
    any_order = False
    shared_inodes = False

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    @property
    def whiteouts(self) -> WhiteoutStyle:
        from veneer.changeset.whiteout import WhiteoutStyle

        return WhiteoutStyle.ERASE

    def probe(self) -> Support:
        try:
            self.root.mkdir(mode=0o710, parents=True, exist_ok=True)
        except OSError as error:
            return Support(False, f"cannot make {self.root}: {error.strerror}")
        return Support(True, "every layer is a full copy")

    def create(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Path:
        folder = self.directory(snapshot)
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        if lowers:
            copied = self._copied(snapshot)
            copied.parent.mkdir(exist_ok=True)
            copied.touch()
            began = copied.stat().st_mtime_ns
            treecopy.copy_tree(self.directory(lowers[0]), folder)
            os.utime(copied)
            os.utime(copied, ns=(began, copied.stat().st_mtime_ns))
        return folder

    def directory(self, snapshot: SnapshotID) -> Path:
        return self.root / snapshot_id(snapshot)

    def attributes(self, snapshot: SnapshotID, path: bytes) -> Entry | None:
        return None

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        if snapshot is not None:
            return [Mount.bind(self.directory(snapshot), readonly=readonly)]
        return [Mount.bind(self.directory(lowers[0]) if lowers else treecopy.empty(self.root), readonly=True)]

    def diff(
        self,
        snapshot: SnapshotID,
        lowers: Sequence[SnapshotID],
        out: BinaryIO,
        *,
        index: BinaryIO | None = None,
    ) -> Packed:
        from veneer.changeset.pack import pack_difference

        with treecopy.directory(self.directory(snapshot)) as new:
            if not lowers:
                return pack_difference(None, new, out, index=index)
            try:
                copied = self._copied(snapshot).stat()
                untouched = range(copied.st_atime_ns, copied.st_mtime_ns)
            except FileNotFoundError:
                untouched = range(0)  # made before there was such a file: contents tell
            with treecopy.directory(self.directory(lowers[0])) as old:
                return pack_difference(old, new, out, index=index, untouched=untouched)

    def commit(self, snapshot: SnapshotID) -> None:
        """A directory that nobody writes to is all a copy stands on."""

    def usage(self, snapshot: SnapshotID) -> Usage:
        return treecopy.usage(self.directory(snapshot))

    def remove(self, snapshot: SnapshotID) -> None:
        treecopy.remove_folder(self.directory(snapshot))
        self._copied(snapshot).unlink(missing_ok=True)

    def snapshots(self) -> Iterator[SnapshotID]:
        yield from {*treecopy.snapshot_folders(self.root), *treecopy.snapshot_folders(self.root / ".copied")}

    def graph_data(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> dict[str, str] | None:
        return None

    def _copied(self, snapshot: SnapshotID) -> Path:
        return self.root / ".copied" / snapshot_id(snapshot)
