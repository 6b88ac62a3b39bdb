"""aufs: branches that spell deletions as files, stacked by the kernel's aufs, by overlay or by a FUSE server.

On disk, as docker's driver has it: ROOT/aufs/diff/<snapshot> is the branch, layers/<snapshot> the snapshots it was
made on, nearest first, a line each, mnt/<snapshot> a place for a mount.  Ours beside those: shadow/ (shadow.py),
state/ (live.py).
Source of the layout: moby daemon/graphdriver/aufs/aufs.go and dirs.go.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence

from veneer.drivers.driver import STACKS_NOTHING, SnapshotID, Support, Usage, snapshot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from veneer.changeset.entry import Entry
    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.aufs.live import Places
    from veneer.drivers.mount import Mount
    from veneer.drivers.mounters import Finding

# Mounting, probing and copying are imported by what does them: `inspect` asks a driver only for paths.


_FOLDERS = ("diff", "state", "shadow", "mnt", "layers")


class Aufs:
    """A union of branches in aufs's format.  `root` is ROOT/aufs; `mounter` forces one of those in mounters.py."""

    name = "aufs"
    renames_dirs = False
    max_lowers = 160
    """Overlay takes 500 directories, and a layer with deletions is three of them."""
    any_order = True
    shared_inodes = False

    def __init__(self, root: str | os.PathLike[str], mounter: str = "") -> None:
        self._root = os.fspath(root)
        self._wanted = mounter

    @functools.cached_property
    def root(self) -> Path:
        from pathlib import Path

        return Path(self._root)

    @functools.cached_property
    def mounter(self) -> Finding:
        """What stacks the layers here; tried out once.  Raises NoSuchMounter."""
        from veneer.drivers.aufs import mounters

        return mounters.find_mounter(self.root, self._wanted)

    @functools.cached_property
    def places(self) -> Places:
        from veneer.drivers.aufs.live import Places
        from veneer.drivers.userns import privileged

        return Places(
            self._root, "trusted.overlay." if privileged() else "user.overlay.", self.mounter.options
        )  # fmt: skip

    @property
    def status(self) -> list[tuple[str, str]]:
        """What docker's driver tells of itself, and what mounts its layers here."""
        from veneer.drivers.mount import filesystem_of

        count = len(os.listdir(self.root / "layers"))
        return [
            ("Root Dir", self._root), ("Backing Filesystem", filesystem_of(self.root)), ("Dirs", str(count)),
            ("Backing Mount", self.mounter.reason),
        ]  # fmt: skip

    @property
    def whiteouts(self) -> WhiteoutStyle:
        from veneer.changeset.whiteout import WhiteoutStyle

        return WhiteoutStyle.AUFS

    def probe(self) -> Support:
        found = self.mounter
        if found.usable:
            try:
                self._furnish()
            except OSError as error:  # of a read-only disk, mostly
                return Support(False, f"{self.root}: {(error.strerror or '').lower()}")
        return Support(found.usable, found.reason)

    def create(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Path:
        self._limit(lowers)
        branch = self.directory(snapshot)
        self._furnish()
        branch.mkdir()
        branch.chmod(0o755)  # whatever the umask: it is the mode of the image's root directory
        (self.root / "layers" / snapshot).write_text("".join(f"{lower}\n" for lower in lowers))
        with contextlib.suppress(FileExistsError):
            (self.root / "mnt" / snapshot).mkdir(mode=0o755)
        return branch

    def directory(self, snapshot: SnapshotID) -> Path:
        return self.root / "diff" / snapshot_id(snapshot)

    def attributes(self, snapshot: SnapshotID, path: bytes) -> Entry | None:
        return None

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        from veneer.drivers import treecopy
        from veneer.drivers.aufs import live, stacks
        from veneer.drivers.mount import Mount

        self._limit(lowers)
        if snapshot is not None and not lowers and not readonly:
            live.plain(self.places, snapshot)
            return [Mount.bind(self.directory(snapshot))]
        if snapshot is not None and not readonly:
            return [stacks.writable(self.mounter, self.places, snapshot, lowers)]
        if snapshot is not None and lowers and (at_work := live.view(self.places, snapshot, lowers)):
            return [at_work]
        layers = [*([snapshot] if snapshot is not None else []), *lowers]
        for layer in layers[:1]:
            live.plain(self.places, layer)
        if not layers:
            return [Mount.bind(treecopy.empty(self.root), readonly=True)]
        return [stacks.view(self.mounter, self.places, layers)]

    def diff(
        self,
        snapshot: SnapshotID,
        lowers: Sequence[SnapshotID],
        out: BinaryIO,
        *,
        index: BinaryIO | None = None,
    ) -> Packed:
        from veneer.changeset.pack import pack
        from veneer.drivers import treecopy
        from veneer.drivers.aufs import live
        from veneer.drivers.mount import opened

        with (
            live.spelt(self.places, snapshot) as style,
            opened(self.mounts(None, lowers)) as below,
            treecopy.directory(self.directory(snapshot)) as branch,
        ):
            return pack(branch, style, out, index=index, below=below)

    def commit(self, snapshot: SnapshotID) -> None:
        """A branch that nobody writes to is all a lower is; what overlay wants beside it is made now, once."""
        from veneer.drivers.aufs import live, mounters, shadow

        live.plain(self.places, snapshot)
        shadow.forget(self.places.shadow(snapshot))
        if self.mounter.name == mounters.SHIM:
            shadow.make(self.directory(snapshot), self.places.shadow(snapshot), self.places.xattrs + "opaque")

    def usage(self, snapshot: SnapshotID) -> Usage:
        from veneer.drivers import treecopy

        return treecopy.usage(self.directory(snapshot))

    def remove(self, snapshot: SnapshotID) -> None:
        from veneer.drivers import treecopy

        snapshot_id(snapshot)
        # The branch first: what is left without one is never taken for a snapshot that is whole.
        for folder in _FOLDERS[:-1]:
            treecopy.remove_folder(self.root / folder / snapshot)
        (self.root / "layers" / snapshot).unlink(missing_ok=True)

    def snapshots(self) -> Iterator[SnapshotID]:
        from veneer.drivers import treecopy

        yield from {each for folder in _FOLDERS for each in treecopy.snapshot_folders(self.root / folder)}

    def recover(self) -> None:
        """Turn branches back that killed processes left in another spelling; those in use stay as they are."""
        from veneer.drivers import treecopy
        from veneer.drivers.aufs import live

        for snapshot in treecopy.snapshot_folders(self.root / "state"):
            if self.directory(snapshot).exists():
                live.finished(self.places, snapshot)

    def graph_data(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> dict[str, str] | None:
        """docker's driver tells nothing."""
        return None

    def _furnish(self) -> None:
        for folder in _FOLDERS:
            (self.root / folder).mkdir(mode=0o710, parents=True, exist_ok=True)

    def _limit(self, lowers: Sequence[SnapshotID]) -> None:
        if len(lowers) > self.max_lowers:
            from veneer.drivers.mount import TooManyLayers

            raise TooManyLayers(
                f"aufs can stand on {self.max_lowers} layers, not on {len(lowers)}",
                hint=STACKS_NOTHING,
            )
