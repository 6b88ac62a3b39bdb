"""A union whose start costs the same on one layer and on a hundred, and whose layers share equal contents.

On disk: ROOT/erofs/<snapshot>/diff is written to as overlay2's; once the snapshot is committed its regular files are
links into ROOT/erofs/objects, and `index` beside it says what each of them really is.  ROOT/erofs/stacks/<hash>.erofs
describes a whole stack of committed snapshots as one tree; a mount is an overlay of that image over `objects`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from veneer.drivers.driver import MAX_LOWERS, STACKS_NOTHING, SnapshotID, Support, Usage, snapshot_id
from veneer.drivers.erofs.objects import Objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from veneer.changeset.entry import Entry
    from veneer.changeset.index import LayerIndex
    from veneer.changeset.pack import Packed
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers.mount import Mount
    from veneer.errors import VeneerError

_OPTIONS = ("index=off", "metacopy=on", "redirect_dir=on", "xino=auto")
"""Files whose contents lie elsewhere are what `metacopy` is, and it needs `redirect_dir`; with `xino` the files of two
file systems, the image and what is written, have one device number and numbers of their own, in listings as well."""


class Erofs:
    """A union by metadata images.  `root` is ROOT/erofs."""

    name = "erofs"
    renames_dirs = True
    max_lowers = MAX_LOWERS - 2  # the contents are a lower, too, and so is the snapshot in a view
    any_order = True
    shared_inodes = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)

    @functools.cached_property
    def root(self) -> Path:
        return Path(self._root)

    @functools.cached_property
    def objects(self) -> Objects:
        return Objects(self.root / "objects")

    @property
    def whiteouts(self) -> WhiteoutStyle:
        from veneer.changeset.whiteout import WhiteoutStyle

        return WhiteoutStyle.OVERLAY

    def probe(self) -> Support:
        from veneer.drivers.erofs import probing

        return probing.probe(self)

    # ---- snapshots

    def create(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Path:
        if len(lowers) > self.max_lowers:
            raise self._too_many(len(lowers))
        folder = self._folder(snapshot)
        folder.mkdir(mode=0o710, parents=True)
        for name, mode in (("work", 0o700), ("diff", 0o755)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
        (folder / "lowers").write_text("".join(f"{lower}\n" for lower in lowers))
        return folder / "diff"

    def directory(self, snapshot: SnapshotID) -> Path:
        return self._folder(snapshot) / "diff"

    def attributes(self, snapshot: SnapshotID, path: bytes) -> Entry | None:
        """What a regular file of a committed snapshot really is; None where its directory itself says it."""
        from veneer.changeset.index import LayerIndex

        try:
            with LayerIndex.open(self._index(snapshot)) as index:
                number = index.find(path)
                return None if number is None else index.entry(number)
        except FileNotFoundError:
            return None

    def commit(self, snapshot: SnapshotID) -> None:
        from veneer.drivers.erofs import freezing

        folder = self._folder(snapshot)
        if not self._index(snapshot).exists():
            lowers = [snapshot_id(line) for line in (folder / "lowers").read_text().split()]
            freezing.freeze(folder / "diff", folder / "index", self.objects, lambda: self._looked_at(snapshot, lowers))

    def doubt(self, snapshot: SnapshotID) -> None:
        from veneer.changeset.index import LayerIndex

        with contextlib.suppress(FileNotFoundError), LayerIndex.open(self._index(snapshot)) as index:
            self.objects.doubt(_contents(index))

    def usage(self, snapshot: SnapshotID) -> Usage:
        from veneer.changeset.index import LayerIndex
        from veneer.drivers import treecopy

        if not self._index(snapshot).exists():
            return treecopy.usage(self.directory(snapshot))
        with LayerIndex.open(self._index(snapshot)) as index:
            return _usage(index)

    def remove(self, snapshot: SnapshotID) -> None:
        from veneer.drivers import treecopy

        folder = self._folder(snapshot)
        doomed = folder.with_name(folder.name + "-removing")
        self._drop_stacks(snapshot)
        if not doomed.exists():
            with contextlib.suppress(FileNotFoundError):
                folder.rename(doomed)
        treecopy.delete_tree(doomed / "diff")
        # The contents go after the directory that links to them, and the index that names them goes last.
        self._sweep(doomed / "index")
        treecopy.delete_tree(doomed)
        if folder.exists():
            self.remove(snapshot)

    def snapshots(self) -> Iterator[SnapshotID]:
        from veneer.drivers import treecopy

        return treecopy.snapshot_folders(self.root)

    def graph_data(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> dict[str, str] | None:
        folder = f"{self._root}/{snapshot_id(snapshot)}"
        data = {"LowerDir": ":".join(f"{self._root}/{snapshot_id(lower)}/diff" for lower in lowers)} if lowers else {}
        return data | {"MergedDir": f"{folder}/merged", "UpperDir": f"{folder}/diff", "WorkDir": f"{folder}/work"}

    # ---- the union

    def mounts(
        self, snapshot: SnapshotID | None, lowers: Sequence[SnapshotID], *, readonly: bool = False
    ) -> Sequence[Mount]:
        from veneer.drivers import treecopy
        from veneer.drivers.erofs import verity
        from veneer.drivers.mount import Mount

        if snapshot is not None and self._index(snapshot).exists():
            # Committed: nobody writes to it any more.
            lowers, readonly, snapshot = [snapshot, *lowers], True, None
        below = self._lowers(lowers)
        if len(below) > self.max_lowers:
            raise self._too_many(len(below))
        data = (self.objects.prepare(),)
        options = (*_OPTIONS, *(verity.OPTIONS if self.objects.seals else ()))
        if snapshot is None:
            return [Mount.overlay(below or [treecopy.empty(self.root)], options=options, data=data)]
        folder = self._folder(snapshot)
        if not below and not readonly:
            return [Mount.bind(folder / "diff")]
        if readonly:
            return [Mount.overlay([folder / "diff", *below], options=options, data=data)]
        return [Mount.overlay(below, upper=folder / "diff", work=folder / "work", options=options, data=data)]

    @contextlib.contextmanager
    def _looked_at(self, snapshot: SnapshotID, lowers: Sequence[SnapshotID]) -> Iterator[Path]:
        from veneer.drivers.mount import mounted

        with (
            tempfile.TemporaryDirectory(prefix="veneer-view-") as folder,
            mounted(self.mounts(snapshot, lowers, readonly=True), Path(folder), lazy=True) as target,
        ):
            yield target

    def _lowers(self, lowers: Sequence[SnapshotID]) -> list[Path]:
        """What to stack, nearest first: an image for each run of committed snapshots, else a directory."""
        distinct = list(dict.fromkeys(lowers))
        if distinct and os.path.exists(whole := self._stack_path(distinct)):
            return [Path(whole)]  # asked once for all of them: a start costs the same on a hundred layers as on one
        found: list[Path] = []
        run: list[SnapshotID] = []
        for lower in distinct:
            if self._index(lower).exists():
                run.append(lower)
                continue
            if run:
                found.append(self._stack(run))
                run = []
            found.append(self.directory(lower))
        return [*found, self._stack(run)] if run else found

    def _stack(self, lowers: Sequence[SnapshotID]) -> Path:
        """The image of a run of committed snapshots, nearest first; made when first asked for."""
        path = Path(self._stack_path(lowers))
        if not path.exists():
            from veneer.drivers.erofs.stacks import make

            sealed = self.objects.sealed if self.objects.seals else None
            names = "".join(f"{lower}\n" for lower in lowers)
            make(path, names, [(self._index(lower), self.directory(lower)) for lower in reversed(lowers)], sealed)
        return path

    def _stack_path(self, lowers: Sequence[SnapshotID]) -> str:
        """Where the image of these snapshots is, if it was made."""
        import hashlib

        names = "".join(f"{lower}\n" for lower in lowers)
        # Another image where it has to say the contents' digests, too.
        named = hashlib.sha256((names + ("sealed\n" if self.objects.seals else "")).encode()).hexdigest()
        return f"{self._root}/stacks/{named}.erofs"

    def _too_many(self, count: int) -> VeneerError:
        from veneer.drivers.mount import TooManyLayers

        return TooManyLayers(f"erofs can stand on {self.max_lowers} layers, not on {count}",
                             hint=STACKS_NOTHING)  # fmt: skip

    def _drop_stacks(self, snapshot: SnapshotID) -> None:
        """Forget the images that have the snapshot in them."""
        folder = self.root / "stacks"
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if name.endswith(".of") and f"{snapshot}\n" in (folder / name).read_text():
                    (folder / name).with_suffix(".erofs").unlink(missing_ok=True)
                    (folder / name).unlink(missing_ok=True)

    # ---- what a snapshot changes

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
        from veneer.drivers.erofs.freezing import is_plain
        from veneer.drivers.mount import opened

        committed = self._index(snapshot).exists()
        with opened(self.mounts(None, lowers)) as below:
            if not committed and is_plain(self.directory(snapshot)):
                with treecopy.directory(self.directory(snapshot)) as upper:
                    return pack(upper, self.whiteouts, out, index=index, below=below)
            made = os.stat(self._folder(snapshot) / "lowers").st_ctime_ns
            with opened(self.mounts(snapshot, lowers, readonly=True)) as merged:
                untouched = range(0) if committed else range(made)
                return pack_difference(below, merged, out, index=index, untouched=untouched)

    def _sweep(self, path: Path) -> None:
        from veneer.changeset.index import LayerIndex

        with contextlib.suppress(FileNotFoundError), LayerIndex.open(path) as index:
            self.objects.sweep(_contents(index))

    def _index(self, snapshot: SnapshotID) -> Path:
        return self._folder(snapshot) / "index"

    def _folder(self, snapshot: SnapshotID) -> Path:
        return self.root / snapshot_id(snapshot)


def _contents(index: LayerIndex) -> set[bytes]:
    """The digests of what lies in the store of contents for a layer."""
    from veneer.changeset.entry import Kind

    numbers = (number for number in range(len(index)) if index.kind(number) is Kind.REGULAR)
    return {index.digest(number) for number in numbers if index.sizes[number]}


def _usage(index: object) -> Usage:
    from veneer.changeset.entry import Kind
    from veneer.changeset.index import LayerIndex

    assert isinstance(index, LayerIndex)
    links = sum(len(index.link(number)) for number in range(len(index)) if index.kind(number) is Kind.SYMLINK)
    own_root = 0 if len(index) and not index.name(0) else 1
    inodes = len(index) - index.count(Kind.HARDLINK) + own_root
    return Usage(index.bytes_total + links, inodes)
