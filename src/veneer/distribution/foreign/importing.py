"""Images out of another engine's data root and into the store; every layer's bytes are checked against its diff ID."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from veneer.changeset.whiteout import WhiteoutStyle
from veneer.distribution.archive_load import Loaded, take_in
from veneer.distribution.archive_plan import PlannedImage
from veneer.distribution.foreign.reading import Reading
from veneer.distribution.foreign.root import ForeignDamaged, ForeignLayer, ForeignRoot
from veneer.distribution.foreign.tarsplit import Replay
from veneer.oci.digest import BlobDigest, ChainID, Digest
from veneer.progress import Progress, silent

if TYPE_CHECKING:
    from veneer.changeset.compression import Source
    from veneer.store.leases import Lease
    from veneer.store.store import Store


def import_images(
    store: Store, root: ForeignRoot, names: Sequence[str] = (), *, progress: Progress = silent
) -> list[Loaded]:
    """Take in the images with these names or IDs; without any, all that have a name.

    An image is known as built on another where both are taken in.
    Raises NoSuchForeignImage, ForeignDamaged, LayerMismatch.  Images before a broken one stay.
    """
    wanted = [root.image(name) for name in names] or [image for image in root.images if image.references]
    chosen = {image.config.image_id: image for image in wanted}
    planned = [
        PlannedImage(
            image.config, tuple(image.config.chain_ids), references=list(image.references),
            parent=image.parent if image.parent in chosen else None,
        )
        for image in chosen.values()
    ]  # fmt: skip
    with store.lease("import") as lease, Reading(root.path) as reading:
        return take_in(store, lease, _Layers(root, reading, lease), planned, progress)


class _Layers:
    """A data root's layers as an archive's members, each under its chain ID."""

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
        layer = self._root.layer(ChainID(Digest(name)))
        with contextlib.ExitStack() as held:
            try:
                found = held.enter_context(self._packed(layer) if layer.tar_split is None else self._replayed(layer))
            except FileNotFoundError as error:
                raise ForeignDamaged(f"{error.filename} is missing", hint="pull the image again there") from error
            yield found

    @contextlib.contextmanager
    def _replayed(self, layer: ForeignLayer) -> Iterator[tuple[Source, int]]:
        assert layer.tar_split is not None
        replay = Replay(self._reading, layer.directory, layer.tar_split)
        try:
            yield replay, replay.size
        finally:
            replay.close()

    @contextlib.contextmanager
    def _packed(self, layer: ForeignLayer) -> Iterator[tuple[Source, int]]:
        from veneer.changeset.pack import pack, pack_difference

        file = self._lease.file("packed")
        with contextlib.ExitStack() as opened, open(file, "wb+", buffering=0) as out:
            sink: Any = out
            directory = self._opened(layer, opened)
            if layer.driver == "vfs":
                below = self._opened(self._root.layer(layer.parent), opened) if layer.parent else None
                pack_difference(below, directory, sink)
            else:
                pack(directory, _style(layer), sink)
            size = out.tell()
            out.seek(0)
            yield sink, size
        file.unlink()

    def _opened(self, layer: ForeignLayer, held: contextlib.ExitStack) -> int:
        fd = self._reading.directory(self._reading.below(layer.directory))
        held.callback(os.close, fd)
        return fd


def _style(layer: ForeignLayer) -> WhiteoutStyle:
    if layer.driver == "aufs":
        return WhiteoutStyle.AUFS
    return WhiteoutStyle.OVERLAY if os.geteuid() == 0 else WhiteoutStyle.OVERLAY_USER
