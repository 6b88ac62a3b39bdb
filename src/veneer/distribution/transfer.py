"""Root file systems in and out: a tar that becomes one layer, an image that becomes one tar."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from veneer.changeset.bounds import BoundedPlain
from veneer.changeset.compression import Compression, sniff
from veneer.oci.digest import BlobDigest, DiffID, Digest
from veneer.oci.manifest import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from veneer.progress import Progress, Report, silent

if TYPE_CHECKING:
    from veneer.changeset.compression import Source
    from veneer.store.images import Image
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_CHUNK = 1 << 20
_KEPT = {Compression.NONE: OCI_LAYER, Compression.GZIP: OCI_LAYER_GZIP, Compression.ZSTD: OCI_LAYER_ZSTD}
"""How a tar may be stored as it came; others are stored unpacked."""

_WHAT = "root file system"
"""What errors call the stream, which has no name of its own."""


def import_layer(store: Store, lease: Lease, source: BinaryIO, *, progress: Progress = silent) -> Layer:
    """Store a root file system tar, plain or compressed, as a base layer; its bytes are kept as they came.

    Raises BadArchive for what is no tar, BadCompression.
    """
    blob, media_type, diff_id = _keep(store, lease, source, progress)
    with store.layers.intake(lease, [diff_id], progress=progress) as intake:
        if intake.missing:
            intake.feed(0, blob, media_type)
        else:
            from veneer.oci.manifest import Descriptor

            store.layers.record_blob(lease, diff_id, Descriptor(media_type, blob, store.blobs.size(blob)))
        [layer] = intake.commit()
    return layer


def _keep(store: Store, lease: Lease, source: BinaryIO, progress: Progress) -> tuple[BlobDigest, str, DiffID]:
    """(blob, media type, diff ID) of what `source` gives."""
    head = _first_bytes(source)
    kind = sniff(head)
    stream: Source = _Rejoined(head, source)
    if kind not in _KEPT:
        stream, kind = BoundedPlain(stream, _WHAT), Compression.NONE
    buffer = memoryview(bytearray(_CHUNK))
    with store.blobs.writer(lease) as writer:
        while count := stream.readinto(buffer):
            writer.write(buffer[:count])
            progress(Report("", "Importing", writer.offset))
        blob = writer.commit()
    if kind is Compression.NONE:
        return blob, _KEPT[kind], DiffID(Digest(blob))
    with store.blobs.open(blob) as file:
        return blob, _KEPT[kind], _plain_digest(file)


def _plain_digest(file: BinaryIO) -> DiffID:
    from veneer.changeset.growing import GrowingSource

    plain = BoundedPlain(GrowingSource(file.fileno(), None), _WHAT)
    buffer = memoryview(bytearray(_CHUNK))
    seen = hashlib.sha256()
    while count := plain.readinto(buffer):
        seen.update(buffer[:count])
    return DiffID(Digest.sha256(seen.hexdigest()))


def _first_bytes(source: BinaryIO) -> bytes:
    head = b""
    while len(head) < 16 and (more := source.read(16 - len(head))):
        head += more
    return head


class _Rejoined:
    """A stream with its first bytes put back, as a Source."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        self._head = head
        self._stream = stream

    def readinto(self, buffer: memoryview | bytearray, /) -> int:
        data = self._head or self._stream.read(len(buffer))
        self._head = data[len(buffer) :]
        count = min(len(data), len(buffer))
        buffer[:count] = data[:count]
        return count


def export(store: Store, image: Image, out: BinaryIO) -> None:
    """Write the image's merged file system as one tar, sorted; the same image gives the same bytes.

    Read through a mount that is attached nowhere, so nothing can be left behind.
    """
    from veneer.changeset.pack import pack_tree
    from veneer.drivers.mount import opened
    from veneer.store.unkept import unkept

    if image.top is None:
        out.write(bytes(1024))  # an image from scratch: the empty tar
        return
    with opened(store.layers.mounts(image.top)) as root:
        pack_tree(root, out, true=unkept(store.layers, store.layers.stack(image.top)))
