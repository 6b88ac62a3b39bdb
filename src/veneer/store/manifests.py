"""Manifests and indexes in the store: written for images that came without, and recorded for what they need.

What a manifest or index names is kept in `blob_ref`, so that garbage collection needs no JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.errors import NotFound
from veneer.oci import manifest as oci
from veneer.oci.digest import BlobDigest, DiffID, Digest
from veneer.oci.manifest import Descriptor, Index, InvalidManifest, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from veneer.oci.image import ImageConfig
    from veneer.store.blobs import BlobStore
    from veneer.store.catalog import Catalog


class NoLayerBlob(NotFound):
    """A layer is here but no blob of it that a manifest could name."""


def generate(catalog: Catalog, blobs: BlobStore, config: ImageConfig) -> Manifest:
    """Write the OCI manifest of `config` over the stored blobs of its layers.

    The same blobs give the same bytes.  Of several blobs of one layer the gzip one is named (every reader takes
    it), else zstd, else plain.  A layer that was made here and has no blob yet is named by its plain tar, which can be
    packed from its files at any time (packing.py).  Raises NoLayerBlob.
    """
    layers: list[Descriptor] = []
    known: dict[DiffID, Descriptor] = {}
    for position, diff_id in enumerate(config.diff_ids):
        if diff_id not in known:
            known[diff_id] = _layer(catalog, blobs, diff_id, f"image {config.image_id.short}: layer {position + 1}")
        layers.append(known[diff_id])
    descriptor = Descriptor(oci.OCI_CONFIG, BlobDigest(config.image_id), len(config.raw))
    return Manifest.build(oci.OCI_MANIFEST, descriptor, tuple(layers))


def _layer(catalog: Catalog, blobs: BlobStore, diff_id: DiffID, what: str) -> Descriptor:
    from veneer.changeset.compression import Compression, sniff

    # The magic decides, not what the sender called it: a manifest of ours must not repeat a false media type.
    types = {
        Compression.GZIP: (0, oci.OCI_LAYER_GZIP),
        Compression.ZSTD: (1, oci.OCI_LAYER_ZSTD),
        Compression.NONE: (2, oci.OCI_LAYER),
    }
    stored = catalog.rows(
        "SELECT d.blob, b.size FROM blob_diff d JOIN blob b ON b.digest = d.blob"
        " WHERE d.diff_id = ? ORDER BY d.compressor <> '', d.blob",
        (str(diff_id),),
    )
    best: tuple[int, Descriptor] | None = None
    for digest, size in stored:
        with blobs.open(BlobDigest(Digest(digest))) as stream:
            kind = sniff(stream.read(16))
        if kind in types:
            rank, media_type = types[kind]
            if best is None or rank < best[0]:
                best = (rank, Descriptor(media_type, BlobDigest(Digest(digest)), size))
    if best is None and not stored:
        tar_size = catalog.value("SELECT tar_size FROM snapshot WHERE diff_id = ?", (str(diff_id),))
        if tar_size is not None:
            return Descriptor(oci.OCI_LAYER, BlobDigest(Digest(diff_id)), tar_size)
    if best is None:
        raise NoLayerBlob(
            f"{what}: no blob of diff ID {diff_id} that a manifest can name ({len(stored)} stored)",
            hint="layers must be stored as gzip, zstd or plain tars",
        )
    return best[1]


_TWINS = {
    oci.DOCKER_CONFIG: oci.OCI_CONFIG,
    oci.DOCKER_LAYER: oci.OCI_LAYER,
    oci.DOCKER_LAYER_GZIP: oci.OCI_LAYER_GZIP,
    oci.DOCKER_LAYER + ".zstd": oci.OCI_LAYER_ZSTD,
}


def twin(manifest: Manifest) -> Manifest | None:
    """The same image in OCI's words, for a manifest in Docker's; None where it is OCI's already or has no such words.

    The readers of OCI layouts skip Docker's manifests, so the layout names this one; everything else uses the
    manifest that came.
    """
    descriptors = (manifest.config, *manifest.layers)
    if manifest.media_type != oci.DOCKER_MANIFEST or any(each.media_type not in _TWINS for each in descriptors):
        return None
    config, *layers = (each.replaced(media_type=_TWINS[each.media_type]) for each in descriptors)
    return Manifest.build(oci.OCI_MANIFEST, config, tuple(layers))


def check(manifest: Manifest, config: ImageConfig) -> None:
    """Refuse a manifest that is not about `config`.  Raises InvalidManifest."""
    what = f"manifest {manifest.digest}"
    if manifest.config.digest != BlobDigest(config.image_id):
        raise InvalidManifest(f"{what}: its config is {manifest.config.digest}, not {config.image_id}")
    if len(manifest.layers) != len(config.diff_ids):
        raise InvalidManifest(
            f"{what}: {len(manifest.layers)} layers, but its config {config.image_id} has "
            f"{len(config.diff_ids)} diff IDs"
        )


def check_blobs(connection: apsw.Connection, manifest: Manifest, config: ImageConfig) -> None:
    """Refuse a manifest with another size than a stored blob has, or with another layer's blob in a layer's place.

    What comes in is measured and unpacked; this is for blobs and layers that were here before.  Nobody could take
    such an image from us.  Raises InvalidManifest.
    """
    for position, (layer, diff_id) in enumerate(zip(manifest.layers, config.diff_ids, strict=True)):
        known = [row[0] for row in connection.execute("SELECT diff_id FROM blob_diff WHERE blob = ?", (layer.digest,))]
        if known and diff_id not in known:
            raise InvalidManifest(
                f"manifest {manifest.digest}: invalid diffID for layer {position}: blob {layer.digest} unpacks to "
                f"{known[0]}, but its config says {diff_id}"
            )
    for part in (manifest.config, *manifest.layers):
        row = connection.execute("SELECT size FROM blob WHERE digest = ?", (str(part.digest),)).fetchone()
        if row is not None and row[0] != part.size:
            raise InvalidManifest(
                f"manifest {manifest.digest}: it gives blob {part.digest} {part.size} bytes, but that has {row[0]}",
                hint="the manifest is damaged or was put together wrongly; ask whoever made it",
            )


def needs(document: Manifest | Index) -> Iterable[BlobDigest]:
    """The blobs a manifest or index names, each once, in its order."""
    if isinstance(document, Index):
        return dict.fromkeys(child.digest for child in document.manifests)
    return dict.fromkeys([document.config.digest, *(layer.digest for layer in document.layers)])


def record(connection: apsw.Connection, document: Manifest | Index) -> None:
    """Note what a stored manifest or index needs, in the caller's transaction; repeating it changes nothing."""
    digest = str(document.digest)
    connection.execute("UPDATE blob SET media_type = ? WHERE digest = ? AND media_type = ''",
                       (document.media_type, digest))  # fmt: skip
    connection.executemany("INSERT OR IGNORE INTO blob_ref (blob, child) VALUES (?, ?)",
                           [(digest, str(child)) for child in needs(document)])  # fmt: skip


def record_twin(connection: apsw.Connection, document: Manifest, same: Manifest) -> None:
    """Note the twin of a stored manifest, kept as long as that one is."""
    record(connection, same)
    connection.execute("INSERT OR IGNORE INTO blob_ref (blob, child) VALUES (?, ?)",
                       (str(document.digest), str(same.digest)))  # fmt: skip


def read(catalog: Catalog, blobs: BlobStore, digest: BlobDigest) -> Manifest | Index:
    """The stored manifest or index `digest`, verified.  Raises NotFound, Corrupt, InvalidManifest."""
    media_type = catalog.value("SELECT media_type FROM blob WHERE digest = ?", (str(digest),))
    return oci.parse(blobs.read(digest), media_type or "", f"manifest {digest}")
