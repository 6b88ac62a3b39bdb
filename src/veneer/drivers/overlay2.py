"""The kernel's overlay: each layer is a directory, a mount stacks them.

On disk: ROOT/overlay2/<snapshot>/diff is the layer's own tree, with a character device 0:0 for each path it deletes
and an opaque attribute on each directory that hides the one below; work is the kernel's scratch room.
Source of the layout and of graph_data: moby daemon/graphdriver/overlay2/overlay.go.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence

from veneer.drivers.driver import MAX_LOWERS, STACKS_NOTHING, SnapshotID, Support, Usage, snapshot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from veneer.changeset.entry import Entry
    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.mount import Mount
    from veneer.drivers.overlay_probe import Abilities

# Mounting, probing and copying are imported by what does them: `inspect` asks a driver only for paths.


class Overlay2:
    """A union by the kernel's overlay.  `root` is ROOT/overlay2."""

    name = "overlay2"
    renames_dirs = False
    max_lowers = MAX_LOWERS
    any_order = True
    shared_inodes = False

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._abilities: Abilities | None = None

    @functools.cached_property
    def root(self) -> Path:
        from pathlib import Path

        return Path(self._root)

    @property
    def abilities(self) -> Abilities:
        """What the kernel's overlay can do at this root; tried out once, then remembered."""
        if self._abilities is None:
            from veneer.drivers import overlay_probe

            self._abilities = overlay_probe.abilities(self.root)
        return self._abilities

    @property
    def status(self) -> list[tuple[str, str]]:
        """What docker's driver tells of itself, in its words, and what else was found."""
        from veneer.drivers.mount import filesystem_of

        found = self.abilities
        said = {
            # Said outright in each mount, so that the module's own defaults do not matter: see overlay_probe.
            "Supports d_type": True, "Using metacopy": False, "Native Overlay Diff": found.native_diff,
            "userxattr": found.userxattr, "Volatile mounts": found.volatile, "Id-mapped layers": found.idmapped,
        }  # fmt: skip
        return [
            ("Backing Filesystem", filesystem_of(self.root)),
            *((name, "true" if yes else "false") for name, yes in said.items()),
        ]

    @property
    def whiteouts(self) -> WhiteoutStyle:
        from veneer.changeset.whiteout import WhiteoutStyle
        from veneer.drivers.userns import privileged

        # Not probed: how layers are written on disk must not depend on whether this process may mount.
        return WhiteoutStyle.OVERLAY if privileged() else WhiteoutStyle.OVERLAY_USER

    def probe(self) -> Support:
        return Support(self.abilities.usable, self.abilities.reason)

    def create(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Path:
        self._limit(lowers)
        folder = self._folder(snapshot)
        folder.mkdir(mode=0o710, parents=True)
        for name, mode in (("work", 0o700), ("diff", 0o755)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)  # whatever the umask: it is the mode of the image's root directory
        return folder / "diff"

    def directory(self, snapshot: SnapshotID) -> Path:
        return self._folder(snapshot) / "diff"

    def attributes(self, snapshot: SnapshotID, path: bytes) -> Entry | None:
        return None

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        from veneer.drivers import treecopy
        from veneer.drivers.mount import Mount

        below = self._directories(lowers)
        if snapshot is None:
            return [self._view(below) if below else Mount.bind(treecopy.empty(self.root), readonly=True)]
        folder = self._folder(snapshot)
        if not below and not readonly:
            return [Mount.bind(folder / "diff")]
        if readonly and len(below) < self.max_lowers:
            # As one more lower it needs no work directory, and may be looked at by several at once.
            return [self._view([str(folder / "diff"), *below])]
        upper, work = folder / "diff", folder / "work"
        made = Mount.overlay(below, upper=upper, work=work, options=self.abilities.options, readonly=readonly)
        return [made.replaced(volatile=self.abilities.volatile and not readonly)]

    def diff(
        self,
        snapshot: SnapshotID,
        lowers: Sequence[SnapshotID],
        out: BinaryIO,
        *,
        index: BinaryIO | None = None,
    ) -> Packed:
        from veneer.changeset.pack import pack, pack_difference
        from veneer.drivers import treecopy
        from veneer.drivers.mount import opened

        if not lowers:
            # Compared with nothing, so that what a first layer deletes does not count.
            with (
                treecopy.directory(self.directory(snapshot)) as upper,
                treecopy.directory(treecopy.empty(self.root)) as below,
            ):
                return pack(upper, self.whiteouts, out, index=index, below=below)
        with opened(self.mounts(None, lowers)) as below:
            if self.abilities.native_diff:
                with treecopy.directory(self.directory(snapshot)) as upper:
                    return pack(upper, self.whiteouts, out, index=index, below=below)
            # The folder is finished before the first mount: what the upper layer has came into it later.
            untouched = range(os.stat(self._folder(snapshot)).st_ctime_ns)
            with opened(self.mounts(snapshot, lowers, readonly=True)) as merged:
                return pack_difference(below, merged, out, index=index, untouched=untouched)

    def commit(self, snapshot: SnapshotID) -> None:
        """A directory that nobody writes to is all a lower is."""

    def usage(self, snapshot: SnapshotID) -> Usage:
        from veneer.drivers import treecopy

        return treecopy.usage(self.directory(snapshot))

    def remove(self, snapshot: SnapshotID) -> None:
        from veneer.drivers import treecopy

        treecopy.remove_folder(self._folder(snapshot))

    def snapshots(self) -> Iterator[SnapshotID]:
        from veneer.drivers import treecopy

        return treecopy.snapshot_folders(self.root)

    def graph_data(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> dict[str, str] | None:
        folder = f"{self._root}/{snapshot_id(snapshot)}"
        data = {"LowerDir": ":".join(self._directories(lowers))} if lowers else {}
        return data | {"MergedDir": f"{folder}/merged", "UpperDir": f"{folder}/diff", "WorkDir": f"{folder}/work"}

    def _directories(self, snapshots: Sequence[SnapshotID]) -> list[str]:
        return [f"{self._root}/{snapshot_id(snapshot)}/diff" for snapshot in snapshots]

    def _view(self, layers: Sequence[str]) -> Mount:
        """A read-only union of `layers`.

        A single layer goes on an empty directory: bound as it is, it would show its own whiteouts as devices, and
        first layers with whiteouts in them exist.
        """
        from veneer.drivers import treecopy
        from veneer.drivers.mount import Mount

        unique = list(dict.fromkeys(layers))
        return Mount.overlay(
            unique if len(unique) > 1 else [*unique, str(treecopy.empty(self.root))], options=self.abilities.options
        )

    def _limit(self, lowers: Sequence[str]) -> None:
        if len(lowers) > self.max_lowers:
            from veneer.drivers.mount import TooManyLayers

            raise TooManyLayers(
                f"{self.name} can stand on {self.max_lowers} layers, not on {len(lowers)}",
                hint=STACKS_NOTHING,
            )

    def _folder(self, snapshot: SnapshotID) -> Path:
        return self.root / snapshot_id(snapshot)
