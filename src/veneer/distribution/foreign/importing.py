"""Images out of another engine's data root and into the store; every layer's bytes are checked against its diff ID."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.changeset.whiteout import WhiteoutStyle
from veneer.distribution.archive_load import Loaded, take_in
from veneer.distribution.archive_plan import PlannedImage
from veneer.distribution.foreign.reading import Reading
from veneer.distribution.foreign.root import WHOLE_TREES, ForeignDamaged, ForeignLayer, ForeignRoot
from veneer.distribution.foreign.tarsplit import Replay
from veneer.errors import Corrupt, Unsupported
from veneer.oci.digest import BlobDigest, ChainID, Digest
from veneer.progress import Progress, silent

if TYPE_CHECKING:
    from veneer.changeset.compression import Source
    from veneer.errors import VeneerError
    from veneer.store.leases import Lease
    from veneer.store.store import Store


class ForeignUnrecorded(Corrupt):
    """A layer's files, without what says in which tar they came, do not give the bytes its diff ID was taken of."""


class ForeignInNoDirectory(Unsupported):
    """A layer that another engine keeps elsewhere than in a directory: in a dataset or on a volume of its own."""


def import_images(
    store: Store, root: ForeignRoot, names: Sequence[str] = (), *, progress: Progress = silent,
    broken: Callable[[str, VeneerError], None] | None = None,
) -> list[Loaded]:  # fmt: skip
    """Take in the images with these names or IDs; without any, all that have a name.

    An image is known as built on another where both are taken in.  One that is damaged is told to `broken`, by what it
    is called, and the others are taken in; without it, this raises ForeignDamaged, ForeignUnrecorded,
    ForeignInNoDirectory or LayerMismatch, and images before it stay.  Raises NoSuchForeignImage.
    """
    wanted = [root.image(name) for name in names] or [image for image in root.images if image.references]
    chosen = {image.config.image_id: image for image in wanted}
    planned = [
        PlannedImage(
            image.config, tuple(image.config.chain_ids) if image.manifest is None else tuple(map(str, image.blobs)),
            image.manifest, list(image.references), image.parent if image.parent in chosen else None,
        )
        for image in chosen.values()
    ]  # fmt: skip
    with store.lease("import") as lease, Reading(root.path) as reading:

        def told(image: PlannedImage, error: VeneerError) -> None:
            assert broken is not None
            names = ", ".join(reference.familiar for reference in image.references)
            broken(names or image.config.image_id.short, error)

        layers = _Layers(root, reading, lease)
        return take_in(store, lease, layers, planned, progress, broken=told if broken is not None else None)


class _Layers:
    """A data root's layers as an archive's members, each under its chain ID or the path of the blob it came as."""

    def __init__(self, root: ForeignRoot, reading: Reading, lease: Lease) -> None:
        self.what = str(root.path)
        self._root = root
        self._reading = reading
        self._lease = lease

    def __contains__(self, name: object) -> bool:
        return any(layer.chain_id == name for layer in self._root.layers)

    def read(self, name: str) -> bytes:
        """A layer's whole tar."""
        with self.open(name) as (source, size):
            buffer = memoryview(bytearray(size))
            done = 0
            while done < size and (count := source.readinto(buffer[done:])):
                done += count
            return bytes(buffer[:done])

    def blob(self, name: str) -> BlobDigest | None:
        """None of them is a blob."""
        return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[tuple[Source, int]]:
        """A layer's tar as it came, or packed from its directory where nothing says how it came."""
        with contextlib.ExitStack() as held:
            try:
                found = held.enter_context(self._blob(Path(name)) if name.startswith("/") else self._layer(name))
            except FileNotFoundError as error:
                raise ForeignDamaged(f"{error.filename} is missing", hint="pull the image again there") from error
            yield found

    def _layer(self, name: str) -> contextlib.AbstractContextManager[tuple[Source, int]]:
        layer = self._root.layer(ChainID(Digest(name)))
        if layer.blob is not None:
            return self._blob(layer.blob)
        if layer.directory is None:
            raise ForeignInNoDirectory(
                f"layer {layer.chain_id} of {self._root.path} is in no directory: {layer.driver} has its files",
                hint="have the engine itself write the image to an archive (docker save) and veneer load that",
            )
        if layer.tar_split is not None:
            return self._replayed(layer.directory, layer.tar_split)
        return self._packed(layer, layer.directory)

    @contextlib.contextmanager
    def _blob(self, path: Path) -> Iterator[tuple[Source, int]]:
        with open(self._reading.open(self._reading.below(path)), "rb", buffering=0) as file:
            source: Any = file
            yield source, os.fstat(file.fileno()).st_size

    @contextlib.contextmanager
    def _replayed(self, directory: Path, record: Path) -> Iterator[tuple[Source, int]]:
        replay = Replay(self._reading, directory, record)
        try:
            yield replay, replay.size
        finally:
            replay.close()

    @contextlib.contextmanager
    def _packed(self, layer: ForeignLayer, place: Path) -> Iterator[tuple[Source, int]]:
        from veneer.changeset.pack import pack, pack_difference

        file = self._lease.file("packed")
        with contextlib.ExitStack() as opened, open(file, "wb+", buffering=0) as out:
            sink: Any = out
            directory = self._opened(place, opened)
            if layer.driver in WHOLE_TREES:
                below = self._opened(self._beside(layer.parent, place), opened) if layer.parent else None
                packed = pack_difference(below, directory, sink)
            else:
                packed = pack(directory, _style(layer), sink)
            if packed.diff_id != layer.diff_id:
                raise ForeignUnrecorded(
                    f"the bytes of layer {layer.chain_id} cannot be made: {self._root.path} has neither the tar it "
                    f"came as nor a record of it, and {place} packed anew has {packed.diff_id}, not {layer.diff_id}",
                    hint="pull the image from its registry",
                )
            size = out.tell()
            out.seek(0)
            yield sink, size
        file.unlink()

    def _beside(self, parent: ChainID, place: Path) -> Path:
        """Where the same driver has the tree below a tree."""
        for directory in self._root.layer(parent).directories:
            if directory.parent == place.parent:
                return directory
        raise ForeignDamaged(f"{self._root.path} has no tree of {parent} beside {place}", hint="pull the image again")

    def _opened(self, place: Path, held: contextlib.ExitStack) -> int:
        fd = self._reading.directory(self._reading.below(place))
        held.callback(os.close, fd)
        return fd


def _style(layer: ForeignLayer) -> WhiteoutStyle:
    if layer.driver == "aufs":
        return WhiteoutStyle.AUFS
    return WhiteoutStyle.OVERLAY if os.geteuid() == 0 else WhiteoutStyle.OVERLAY_USER
