"""What a build leaves behind its images: the manifest or index that their names stand for, and the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from veneer.build.annotations import Annotation, chosen
from veneer.oci import manifest as oci
from veneer.oci.digest import BlobDigest, DiffID
from veneer.oci.manifest import Descriptor, Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.oci.digest import ImageID
    from veneer.oci.platform import Platform
    from veneer.oci.reference import Reference
    from veneer.store.image import Image
    from veneer.store.leases import Lease
    from veneer.store.store import Store


def document(
    store: Store, lease: Lease, images: Mapping[Platform, Image], compression: str, annotations: Sequence[Annotation]
) -> Manifest | Index | None:
    """The manifest or index over images by platform, stored; None where an image's own manifest will do.

    Its layers have blobs, compressed as asked for, so that it can be kept, sent and saved as it is.
    """
    if len(images) == 1 and not annotations and not compression:
        return None
    made = {
        platform: manifest_over(store, lease, image, compression, chosen(annotations, "manifest", platform))
        for platform, image in images.items()
    }
    if len(made) == 1:
        [only] = made.values()
        return only
    entries = []
    for platform, each in made.items():
        image = images[platform]
        if not image.is_named:
            # The name holds the other platforms' images by their own manifests.
            store.images.replace_manifest(lease, image.id, each)
        entries.append(
            each.descriptor.replaced(
                platform=image.platform, annotations=chosen(annotations, "manifest-descriptor", platform)
            )
        )
    return index_over(store, lease, entries, chosen(annotations, "index"))


def manifest_over(
    store: Store, lease: Lease, image: Image, compression: str = "", annotations: Mapping[str, str] | None = None
) -> Manifest:
    """An OCI manifest of the image over blobs that are here, made where they are not; stored."""
    blobs: dict[DiffID, Descriptor] = {}
    for diff_id in image.config.diff_ids:
        if diff_id not in blobs:
            blobs[diff_id] = _blob(store, lease, diff_id, compression)
    config = Descriptor(oci.OCI_CONFIG, BlobDigest(image.id), len(image.config.raw))
    layers = tuple(blobs[diff_id] for diff_id in image.config.diff_ids)
    made = Manifest.build(oci.OCI_MANIFEST, config, layers, dict(annotations or {}))
    _keep(store, lease, made)
    return made


def index_over(
    store: Store, lease: Lease, entries: Sequence[Descriptor], annotations: Mapping[str, str] | None = None
) -> Index:
    """An OCI index over stored manifests; stored."""
    made = Index.build(oci.OCI_INDEX, tuple(entries), dict(annotations or {}))
    _keep(store, lease, made)
    return made


def _keep(store: Store, lease: Lease, made: Manifest | Index) -> None:
    from veneer.store import manifests

    store.blobs.put(lease, made.raw, made.media_type)
    with store.catalog.transaction(durable=False) as transaction:
        manifests.record(transaction, made)


def _blob(store: Store, lease: Lease, diff_id: DiffID, compression: str) -> Descriptor:
    from veneer.changeset.compression import Compression

    if compression != "uncompressed":
        kind = Compression[compression.upper()] if compression else None
        return store.layers.compressed(lease, diff_id, kind)
    from veneer.store.packing import plain

    return plain(store, lease, diff_id)


def name(store: Store, image: ImageID, references: Sequence[Reference], top: Manifest | Index | None) -> None:
    """Give the image its names; they stand for `top` where there is one."""
    for reference in references:
        store.images.tag(image, reference, index=top.digest if top else None)


def own(store: Store, image: Image) -> Manifest | Index:
    """The manifest an image has of its own."""
    from veneer.store import manifests

    return manifests.read(store.catalog, store.blobs, image.manifest)
