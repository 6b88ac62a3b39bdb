"""Layers put on top of other layers than they came on, and the files of layers read where they lie."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from veneer.changeset.safepath import open_beneath
from veneer.errors import Corrupt
from veneer.progress import Progress, silent

if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex
    from veneer.oci.digest import DiffID, ImageID
    from veneer.oci.image import ImageConfig
    from veneer.oci.manifest import Descriptor
    from veneer.oci.reference import Reference
    from veneer.store.images import Image
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileLost(Corrupt):
    """A file that a layer has by its index is not in the layer's directory, or is another one there."""


def stand(store: Store, lease: Lease, diff_ids: Sequence[DiffID], *, progress: Progress = silent) -> None:
    """Have these layers, base first, as one stack, whatever stacks they are in now.

    Blobs stay as they are.  A layer that took nothing from what was below it keeps its directory too; others are
    unpacked once more.  Raises LayerLost for one that is nowhere, MissingTarget for hard links to what is not below.
    """
    if not diff_ids:
        return
    with store.layers.intake(lease, diff_ids, progress=progress) as intake:
        for position in intake.missing:
            blob = blob_of(store, lease, diff_ids[position])
            intake.feed(position, blob.digest, blob.media_type)
        intake.commit()


def add_image(
    store: Store, lease: Lease, config: bytes, tag: Reference | None, *, parent: ImageID | None = None
) -> Image:
    """A new image whose layers stand; named `tag`, unless None."""
    image = store.images.add(lease, config, parent=parent)
    if tag is not None:
        store.images.tag(image.id, tag)
    return store.images.get(image.id)


def blob_of(store: Store, lease: Lease, diff_id: DiffID) -> Descriptor:
    """A stored blob of the layer, kept by the lease; made from its files if there is none.  Raises LayerLost."""
    for blob in store.layers.blobs(diff_id):
        if store.blobs.acquire(lease, blob.digest):
            return blob
    from veneer.changeset.compression import Compression
    from veneer.store.packing import compressed

    return compressed(store, lease, diff_id, Compression.GZIP)


@contextlib.contextmanager
def opened_indexes(store: Store, config: ImageConfig) -> Iterator[list[LayerIndex]]:
    """The tables of contents of an image's layers, base first, as long as the `with` lasts."""
    known: dict[DiffID, LayerIndex] = {}
    with contextlib.ExitStack() as stack:
        for diff_id in config.diff_ids:
            if diff_id not in known:
                known[diff_id] = stack.enter_context(store.layers.index(diff_id))
        yield [known[diff_id] for diff_id in config.diff_ids]


class Files:
    """Contents of a stack's files, by layer and path in it.  Use it in a `with`."""

    def __init__(self, store: Store, config: ImageConfig) -> None:
        self._store = store
        self._stack: list[Layer] = store.layers.ensure(config.top) if config.top else []
        self._roots: dict[int, int] = {}

    @contextlib.contextmanager
    def open(self, layer: int, path: bytes) -> Iterator[int]:
        """A descriptor of a regular file of that layer (the base is 0).  Raises FileLost."""
        if layer not in self._roots:
            directory = self._store.layers.directory(self._stack[layer])
            self._roots[layer] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_beneath(self._roots[layer], path, _FILE)
        except OSError as error:
            raise self.lost(layer, path, error.strerror or "it cannot be read") from error
        try:
            yield fd
        finally:
            os.close(fd)

    def read(self, layer: int, path: bytes, limit: int) -> bytes:
        """The first `limit` bytes of a file at most.  Raises FileLost."""
        with self.open(layer, path) as fd, open(fd, "rb", closefd=False) as file:
            return file.read(limit)

    def lost(self, layer: int, path: bytes, fact: str) -> FileLost:
        """The error that says `fact` about a file."""
        shown = path.decode(errors="backslashreplace")
        return FileLost(
            f"/{shown} of layer {self._stack[layer].diff_id.short}: {fact}",
            hint="veneer system check --deep says what is damaged; pull or load the image again",
        )

    def close(self) -> None:
        while self._roots:
            os.close(self._roots.popitem()[1])

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def stacked(store: Store, below: Image | None, above: Sequence[Image]) -> Image:
    """The image `below` (None: from scratch, as the first of `above` is configured) with all layers of others on top.

    Their history comes along with them.  It is a child of `below`.
    """
    from veneer.engine.rework.rows import history_of, rewritten, whole_history
    from veneer.oci import timestamp

    config = (below or above[0]).config
    images = [*([below] if below else []), *above]
    diff_ids = [diff_id for image in images for diff_id in image.config.diff_ids]
    history = whole_history(*(history_of(image.config) for image in images))
    raw = rewritten(config, diff_ids=diff_ids, history=history, created=timestamp.now())
    with store.lease("stack") as lease:
        stand(store, lease, diff_ids)
        return add_image(store, lease, raw, None, parent=below.id if below else None)
