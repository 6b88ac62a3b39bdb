"""Images out of an archive and into the store: `veneer load`.

The archive's layers are kept as they came, compressed or not, so that saving or pushing them later gives the
same bytes.  Each is unpacked in a worker process while it is being copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING, BinaryIO

from veneer.changeset.bounds import BoundedPlain
from veneer.changeset.compression import Compression, Source, sniff
from veneer.distribution.archive_plan import InvalidArchive, PlannedImage, PlannedIndex, plan
from veneer.distribution.archive_source import Archive, open_archive
from veneer.errors import Conflict, Corrupt, Unsupported, VeneerError
from veneer.oci import manifest as manifests
from veneer.oci.digest import BlobDigest, DiffID, ImageID
from veneer.oci.manifest import Descriptor
from veneer.oci.platform import Platform
from veneer.oci.reference import Reference
from veneer.progress import Progress, Report, silent
from veneer.store.blob_writer import BlobMismatch

if TYPE_CHECKING:
    from veneer.store.intake import LayerIntake
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_CHUNK = 1 << 20
_MEDIA_TYPES = {
    Compression.NONE: manifests.OCI_LAYER,
    Compression.GZIP: manifests.OCI_LAYER_GZIP,
    Compression.ZSTD: manifests.OCI_LAYER_ZSTD,
}
"""What may be stored as it came.  bzip2 and xz have no media type, so their layers are stored unpacked."""


class LayerMismatch(Corrupt):
    """A layer file with other bytes than the archive's own documents say."""


class NotAParent(Conflict):
    """An archive calls an image another one's Parent that cannot be."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """One image that was loaded, with one of its names; `replaced` had that name until now."""

    image_id: ImageID
    reference: Reference | None
    replaced: ImageID | None = None


def load(
    store: Store, source: Path | BinaryIO, *, platform: Platform | None = None, progress: Progress = silent
) -> list[Loaded]:
    """Load every image of an archive (only those for `platform`, if given), in the archive's order.

    `source` is a docker archive, an OCI layout as a tar (either compressed or not) or as a directory.
    Raises InvalidArchive, NotInArchive, Corrupt.  Images before a broken one stay loaded.
    """
    with store.lease("load") as lease, open_archive(store, lease, source) as archive:
        found = plan(archive, platform)
        return take_in(store, lease, archive, found.images, progress, found.indexes)


def take_in(
    store: Store,
    lease: Lease,
    archive: Archive,
    images: Sequence[PlannedImage],
    progress: Progress = silent,
    indexes: Sequence[PlannedIndex] = (),
    *,
    broken: Callable[[PlannedImage, VeneerError], None] | None = None,
) -> list[Loaded]:
    """Take in `images`, whose layers are members of `archive`, in their order, then what stands for several of them.

    An image that is damaged is told to `broken`, and the others are taken in; without it, images before that one stay
    loaded.  Raises LayerMismatch, NotAParent.
    """
    loaded: list[Loaded] = []
    left_out: set[ImageID] = set()
    with store.images.layout.held():
        for image in images:
            try:
                _take_in(store, lease, archive, image, progress)
            except (Corrupt, Unsupported) as error:
                if broken is None:
                    raise
                left_out.add(image.config.image_id)
                broken(image, error)
                continue
            loaded += _name(store, image)
        for image in images:
            if image.config.image_id not in left_out and image.parent not in left_out:
                _set_parent(store, image)
        for index in indexes:
            _keep_index(store, lease, index)
    return loaded


def _take_in(store: Store, lease: Lease, archive: Archive, image: PlannedImage, progress: Progress) -> None:
    with store.layers.intake(lease, image.config.diff_ids, progress=progress) as intake:
        missing = set(intake.missing)
        turns = Semaphore(store.config.max_downloads)

        def feed(position: int) -> None:
            if position in missing or not _has_blob(store, lease, image, position):
                layer = _Layer(archive, image, position, turns)
                _feed(store, lease, layer, intake if position in missing else None, progress)

        # As many are copied at a time as turns; as many again may wait for theirs to be on the disk.
        _side_by_side(feed, len(image.layers), 2 * store.config.max_downloads)
        for position in sorted(missing):
            intake.wait(position)
            progress(Report(image.config.diff_ids[position].short, "Loaded layer"))
        intake.commit()
        store.images.add(
            lease,
            image.config.raw,
            manifest=image.manifest.raw if image.manifest else None,
            manifest_type=image.manifest.media_type if image.manifest else "",
        )


def _side_by_side(work: Callable[[int], None], count: int, threads: int) -> None:
    """Do `work(0)` to `work(count - 1)`, several at a time; raises what the first one to fail raised.

    While one layer is waited for to be on the disk, the next is copied.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads, "load") as pool:
        tasks = [pool.submit(work, position) for position in range(count)]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            for task in tasks:
                task.cancel()
            raise


def _has_blob(store: Store, lease: Lease, image: PlannedImage, position: int) -> bool:
    """Whether what the image's manifest will name for this layer is stored, and known to be this layer."""
    known = [blob.digest for blob in store.layers.blobs(image.config.diff_ids[position])]
    if image.manifest is not None:
        known = [digest for digest in known if digest == image.manifest.layers[position].digest]
    return any(store.blobs.acquire(lease, digest) for digest in known)


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of a planned image on its way in."""

    archive: Archive
    image: PlannedImage
    position: int
    turns: Semaphore
    """One is taken for as long as the layer is copied."""

    @property
    def name(self) -> str:
        return self.image.layers[self.position]

    @property
    def diff_id(self) -> DiffID:
        return self.image.config.diff_ids[self.position]

    @property
    def descriptor(self) -> Descriptor | None:
        return self.image.descriptors[self.position] if self.image.descriptors else None

    def mismatch(self, actual: object) -> LayerMismatch:
        expected = self.descriptor.digest if self.descriptor else self.diff_id
        return LayerMismatch(
            f"{self.archive.what}: {self.name}: invalid diffID for layer {self.position}: "
            f"expected {expected!s}, got {actual!s}"
        )


def _feed(store: Store, lease: Lease, layer: _Layer, intake: LayerIntake | None, progress: Progress) -> None:
    """Store one layer's bytes and, with an intake, have them unpacked meanwhile."""
    with layer.archive.open(layer.name) as (source, size):
        head = _head(source)
        kind = sniff(head)
        stored = layer.archive.blob(layer.name)
        if stored is not None and kind in _MEDIA_TYPES:
            if layer.descriptor is not None and layer.descriptor.digest != stored:
                raise layer.mismatch(stored)
            blob = stored
            if intake:
                intake.feed(layer.position, blob, _MEDIA_TYPES[kind])
        else:
            blob = _copy_in(store, lease, layer, _Rejoined(head, source), kind, size, intake, progress)
    if intake is None:
        _check_unpacks(store, layer, blob)
        media_type = _MEDIA_TYPES.get(kind, manifests.OCI_LAYER)
        store.layers.record_blob(lease, layer.diff_id, Descriptor(media_type, blob, store.blobs.size(blob)))


def _check_unpacks(store: Store, layer: _Layer, blob: BlobDigest) -> None:
    """Raise LayerMismatch unless the stored blob is the layer: nobody unpacks it, for the layer is here already.

    Believed unread, it would go out with every other image that has the layer.
    """
    import hashlib

    from veneer.changeset.growing import GrowingSource

    seen = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with store.blobs.open(blob) as file:
        plain = BoundedPlain(GrowingSource(file.fileno(), None), f"{layer.archive.what}: {layer.name}")
        while count := plain.readinto(buffer):
            seen.update(buffer[:count])
    if seen.hexdigest() != layer.diff_id.hex:
        raise LayerMismatch(
            f"{layer.archive.what}: {layer.name}: invalid diffID for layer {layer.position}: "
            f"expected {layer.diff_id}, got sha256:{seen.hexdigest()}"
        )


def _copy_in(
    store: Store,
    lease: Lease,
    layer: _Layer,
    source: Source,
    kind: Compression,
    size: int,
    intake: LayerIntake | None,
    progress: Progress,
) -> BlobDigest:
    expect = layer.descriptor.digest if layer.descriptor else None
    exact: int | None = size
    if kind not in _MEDIA_TYPES:
        if expect is not None:
            raise InvalidArchive(f"{layer.archive.what}: {layer.name}: an OCI layer cannot be {kind.name.lower()}")
        what = f"{layer.archive.what}: {layer.name}"
        source, kind, exact = BoundedPlain(source, what), Compression.NONE, None
    if kind is Compression.NONE and expect is None:
        expect = BlobDigest(layer.diff_id)
    try:
        with store.blobs.writer(lease, expect=expect, size=exact) as writer:
            if writer.complete:
                blob = writer.commit()
                if intake:
                    intake.feed(layer.position, blob, _MEDIA_TYPES[kind])
                return blob
            with layer.turns:
                if writer.offset:
                    writer.restart()
                if intake:
                    intake.feed(layer.position, writer, _MEDIA_TYPES[kind])
                buffer = memoryview(bytearray(_CHUNK))
                while count := source.readinto(buffer):
                    writer.write(buffer[:count])
                    progress(Report(layer.diff_id.short, "Loading layer", writer.offset, size))
            return writer.commit()
    except BlobMismatch as error:
        raise layer.mismatch(error.actual) from error


def _head(source: Source) -> bytes:
    """The first bytes of a source, as many as compression is told by."""
    head = bytearray(16)
    have = 0
    while have < len(head) and (count := source.readinto(memoryview(head)[have:])):
        have += count
    return bytes(head[:have])


class _Rejoined:
    """A source with its first bytes put back."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        if not self._head:
            return self._source.readinto(buffer)
        count = min(len(self._head), len(buffer))
        buffer[:count] = self._head[:count]
        self._head = self._head[count:]
        return count


def _name(store: Store, image: PlannedImage) -> list[Loaded]:
    image_id = image.config.image_id
    loaded: list[Loaded] = []
    for reference in image.references:
        moved = store.images.tag(image_id, reference, stamp=False)
        loaded.append(Loaded(image_id, reference, moved.id if moved else None))
    return loaded or [Loaded(image_id, None)]


def _set_parent(store: Store, image: PlannedImage) -> None:
    """Restore a Parent link, if the archive gives one and it can be true."""
    if image.parent is None:
        return
    parent = store.images.get(image.parent).config
    if image.config.history[:-1] != parent.history or not image.config.history:
        raise NotAParent(
            f"image {image.parent} is not a valid parent for {image.config.image_id}",
            hint="a parent has the same history but for the last step",
        )
    store.images.set_parent(image.config.image_id, image.parent)


def _keep_index(store: Store, lease: Lease, planned: PlannedIndex) -> None:
    """Let a multi-platform name stand for its whole index."""
    digest = store.blobs.put(lease, planned.index.raw, planned.index.media_type)
    for reference in planned.references:
        image_id = store.images.named(reference)
        if image_id is not None:
            store.images.tag(image_id, reference, index=digest, stamp=False)
