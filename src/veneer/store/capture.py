"""A tree or a tar made here becomes a layer: packed into a blob, which is then unpacked as if it had been pulled."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any, BinaryIO

    from veneer.changeset.compression import Compression
    from veneer.changeset.pack import Packed
    from veneer.oci.digest import ChainID
    from veneer.store.layers import Layer, LayerStore
    from veneer.store.leases import Lease


def tree(
    layers: LayerStore, lease: Lease, root: Path, parent: ChainID | None, *, compression: Compression | None = None
) -> Layer:
    """Make a directory tree the layer on top of `parent` (None: a base layer); its blob is kept.

    The same tree gives the same diff ID and the same blob.  `compression` None: gzip.
    """
    from veneer.changeset.pack import pack_tree

    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return packed(layers, lease, lambda out: pack_tree(fd, out), parent, compression=compression)
    finally:
        os.close(fd)


def packed(
    layers: LayerStore,
    lease: Lease,
    pack: Callable[[BinaryIO], Packed],
    parent: ChainID | None,
    *,
    compression: Compression | None = None,
) -> Layer:
    """Make the tar that `pack` writes (a driver's diff, a packed tree) the layer on top of `parent`."""
    from veneer.changeset.compression import Compression, compressor
    from veneer.oci.manifest import OCI_LAYER, Descriptor

    kind = Compression.GZIP if compression is None else compression
    blobs = layers.store.blobs
    with blobs.writer(lease) as writer:
        out: Any = writer  # the part of a BinaryIO that is needed
        with compressor(out, kind) as compressed:
            sink: Any = compressed
            made = pack(sink)
        blob = writer.commit()
    below = [layer.diff_id for layer in layers.ensure(parent)] if parent else []
    made_by = f"veneer {kind.name.lower()}" if kind is not Compression.NONE else ""
    with layers.intake(lease, [*below, made.diff_id]) as intake:
        for position in intake.missing:
            if position == len(below):
                intake.feed(position, blob, OCI_LAYER + kind.suffix)
            else:
                intake.feed(position, layers.source(lease, below[position]))
        layer = intake.commit()[-1]
    descriptor = Descriptor(OCI_LAYER + kind.suffix, blob, blobs.size(blob))
    layers.record_blob(lease, layer.diff_id, descriptor, made_by)
    return layer
