"""fuse-overlayfs: overlay2's layers, stacked where the kernel's overlay cannot be had.

On disk as overlay2, in ROOT/fuse-overlayfs; where the file system takes no whiteouts of overlay's (an overlay itself
does not), layers spell as aufs does, and ROOT/fuse-overlayfs/.as-aufs says so.  What is stacked is served by veneer's
own union (union.py), or by the program fuse-overlayfs (program.py) where that is asked for: both read either spelling.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
from collections.abc import Iterator, Sequence

from veneer.drivers.driver import SnapshotID, Support
from veneer.drivers.overlay2 import Overlay2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.mount import Mount
    from veneer.drivers.mounters import Finding

_AS_AUFS = ".as-aufs"


class FuseOverlayfs(Overlay2):
    """A union by FUSE.  `root` is ROOT/fuse-overlayfs; `mounter` forces one of those in mounters.py."""

    name = "fuse-overlayfs"

    def __init__(self, root: str | os.PathLike[str], mounter: str = "") -> None:
        super().__init__(root)
        self._wanted = mounter

    @functools.cached_property
    def mounter(self) -> Finding:
        """What stacks the layers here; tried out once.  Raises NoSuchMounter."""
        from veneer.drivers.fuse_overlayfs import mounters

        return mounters.find_mounter(self.root, self._wanted)

    @functools.cached_property
    def whiteouts(self) -> WhiteoutStyle:
        from veneer.changeset.whiteout import WhiteoutStyle

        return WhiteoutStyle.AUFS if os.path.lexists(f"{self._root}/{_AS_AUFS}") else super().whiteouts

    @property
    def _by_program(self) -> bool:
        from veneer.drivers.fuse_overlayfs import mounters

        return self.mounter.name == mounters.PROGRAM

    @property
    def status(self) -> list[tuple[str, str]]:
        """What holds the layers and what mounts them; nothing of the kernel's overlay, which is not asked."""
        from veneer.drivers.mount import filesystem_of

        return [
            ("Backing Filesystem", filesystem_of(self.root)), ("Native Overlay Diff", "false"),
            ("Backing Mount", self.mounter.reason),
        ]  # fmt: skip

    def probe(self) -> Support:
        """Whether something serves the layers, and the file system holds them."""
        from veneer.drivers.fuse_overlayfs import mounters

        if not self.mounter.usable:
            return Support(False, self.mounter.reason)
        try:
            self.root.mkdir(mode=0o710, parents=True, exist_ok=True)
            if not mounters.holds_marks(self.root, self.whiteouts):
                if any(self.snapshots()):
                    return Support(False, f"{self.root} has layers whose whiteouts its file system does not take")
                (self.root / _AS_AUFS).touch()
                del self.whiteouts  # it is another one now
        except OSError as error:
            # What lies on a read-only disk can be looked at all the same.
            if error.errno != errno.EROFS or not self.root.is_dir():
                return Support(False, f"{self.root} cannot hold layers: {(error.strerror or '').lower()}")
        return Support(True, self.mounter.reason)

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        from veneer.drivers import treecopy
        from veneer.drivers.mount import Mount

        below = list(dict.fromkeys(self._directories(lowers)))
        self._limit(below)
        if snapshot is None and not below:
            return [Mount.bind(treecopy.empty(self.root), readonly=True)]
        if snapshot is None or readonly:
            return [self._stack([*self._directories([snapshot] if snapshot is not None else []), *below])]
        if not below:
            return [Mount.bind(self.directory(snapshot))]
        return [self._stack(below, self._folder(snapshot))]

    def diff(
        self,
        snapshot: SnapshotID,
        lowers: Sequence[SnapshotID],
        out: BinaryIO,
        *,
        index: BinaryIO | None = None,
    ) -> Packed:
        """From what the union wrote, else by looking at both trees: the program spells what it deletes and hides in
        ways of its own."""
        from veneer.changeset.pack import pack, pack_difference
        from veneer.changeset.whiteout import WhiteoutStyle
        from veneer.drivers import treecopy
        from veneer.drivers.fuse_overlayfs import copy_up, union
        from veneer.drivers.mount import opened

        if not lowers:
            return super().diff(snapshot, lowers, out, index=index)
        folder = self._folder(snapshot)
        if union.spells(folder):
            with opened(self.mounts(None, lowers)) as below, treecopy.directory(folder / "diff") as branch:
                return pack(branch, WhiteoutStyle.AUFS, out, index=index, below=below)
        with _unless_readonly():
            copy_up.settle(folder / "diff", folder / "work", self._directories(lowers), ended=False)
        untouched = range(os.stat(folder).st_ctime_ns)
        with opened(self.mounts(None, lowers)) as below, opened(self.mounts(snapshot, lowers, readonly=True)) as merged:
            return pack_difference(below, merged, out, index=index, untouched=untouched)

    def commit(self, snapshot: SnapshotID) -> None:
        """A lower is a directory that nobody writes to, spelt as all layers here are, whoever wrote to it."""
        from veneer.drivers.fuse_overlayfs import copy_up, union

        folder = self._folder(snapshot)
        copy_up.settle(folder / "diff", folder / "work")
        union.settle(folder, self.whiteouts)
        if self._by_program:
            copy_up.note(folder / "diff")

    def _stack(self, lowers: Sequence[str], folder: Path | None = None) -> Mount:
        """`lowers`, nearest first, below what the snapshot in `folder` has, if one is to be written to."""
        from veneer.drivers.fuse_overlayfs import program, union

        if self._by_program:
            return program.stack(self.root, lowers, folder)
        return union.stack(lowers, self.whiteouts, folder)


@contextlib.contextmanager
def _unless_readonly() -> Iterator[None]:
    """A data root that cannot be written to is looked at as it is."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
