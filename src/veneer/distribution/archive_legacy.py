"""Docker's first archive layout: one folder a layer, each with an uncompressed `layer.tar`.

Engines up to 24 write it and everything still reads it.  A folder's name is an ID of the time before content
addressing; like Docker's it is made from the layer's chain ID, so it is the same wherever it is written.
Source: moby 20.10 image/tarexport/save.go, image/v1/imagev1.go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from veneer.changeset.compression import Compression, decompressed, sniff
from veneer.distribution.archive_save import Selection, repositories_of
from veneer.distribution.archive_sink import TarSink
from veneer.errors import Corrupt, NotFound
from veneer.oci import strictjson
from veneer.oci.digest import ChainID, DiffID, Digest
from veneer.oci.image import ImageConfig
from veneer.progress import Progress, Report

if TYPE_CHECKING:
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_CHUNK = 1 << 20
_EPOCH = "1970-01-01T00:00:00Z"


class NoLayerContent(NotFound):
    """A layer none of whose blobs is stored."""


def write_legacy(store: Store, lease: Lease, selection: Selection, sink: TarSink, progress: Progress) -> None:
    """Write the selected images in the old layout.  Raises NoLayerContent, Corrupt."""
    written: dict[DiffID, str] = {}
    done: set[str] = set()
    entries = []
    for image_id, image in selection.images.items():
        if image.top is not None:
            with store.catalog.transaction(durable=False) as transaction:
                lease.hold_layer(transaction, image.top)
        config = image.config
        folders = folder_names(config)
        for position, folder in enumerate(folders):
            if folder in done:
                continue
            done.add(folder)
            diff_id = config.diff_ids[position]
            sink.document(f"{folder}/VERSION", b"1.0")
            sink.document(f"{folder}/json", _v1_json(config, folders, position))
            if diff_id in written:
                sink.link(f"{folder}/layer.tar", f"../{written[diff_id]}/layer.tar")
                continue
            written[diff_id] = folder
            if not store.layers.blobs(diff_id) and (layers := store.layers.by_diff_id(diff_id)):
                tar = store.layers.tar(layers[0])
                sink.written(f"{folder}/layer.tar", tar.size, tar.write_to)
                progress(Report(diff_id.short, "Saved", tar.size, tar.size))
                continue
            with plain_layer(store, lease, diff_id) as (fd, size):
                sink.file(f"{folder}/layer.tar", fd, size)
                progress(Report(diff_id.short, "Saved", size, size))
        sink.document(f"{image_id.hex}.json", config.raw)
        names = [name.familiar for name in selection.names[image_id]]
        entry: dict[str, Any] = {
            "Config": f"{image_id.hex}.json",
            "RepoTags": names or None,
            "Layers": [f"{folder}/layer.tar" for folder in folders],
        }
        if image.parent in selection.images:
            entry["Parent"] = str(image.parent)
        entries.append(entry)
    sink.document("manifest.json", strictjson.dumps(entries))
    if repositories := repositories_of(selection, lambda config: (folder_names(config) or [""])[-1]):
        sink.document("repositories", strictjson.dumps(repositories))


def folder_names(config: ImageConfig) -> list[str]:
    """One name per layer, base first: 64 hex digits that depend on the chain and, for the top, on the config."""
    names: list[str] = []
    for chain_id in config.chain_ids:
        seed: dict[str, Any] = {"layer_id": str(ChainID(chain_id)), "parent": names[-1] if names else ""}
        if chain_id == config.top:
            seed["config"] = str(config.image_id)
        names.append(Digest.of(strictjson.dumps(seed)).hex)
    return names


def _v1_json(config: ImageConfig, folders: list[str], position: int) -> bytes:
    document: dict[str, Any] = {"id": folders[position]}
    if position:
        document["parent"] = folders[position - 1]
    if position < len(folders) - 1:
        return strictjson.dumps(document | {"created": _EPOCH, "container_config": {}, "os": config.platform.os})
    rest = {key: value for key, value in config.document.items() if key not in ("rootfs", "history")}
    return strictjson.dumps(document | rest)


@contextlib.contextmanager
def plain_layer(store: Store, lease: Lease, diff_id: DiffID) -> Iterator[tuple[int, int]]:
    """The uncompressed tar of a layer as (descriptor, length); from scratch space where it is stored compressed."""
    stored = [blob for blob in store.layers.blobs(diff_id) if store.blobs.acquire(lease, blob.digest)]
    if not stored:
        raise NoLayerContent(f"no blob of layer {diff_id} is stored", hint="pull the image again")
    for blob in stored:
        with store.blobs.open(blob.digest) as file:
            if sniff(os.pread(file.fileno(), 16, 0)) is Compression.NONE:
                yield file.fileno(), os.fstat(file.fileno()).st_size
                return
    with store.blobs.open(stored[0].digest) as file:
        scratch = lease.file("layer")
        fd = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            scratch.unlink()
            size = _decompress(file.fileno(), fd, diff_id)
            yield fd, size
        finally:
            os.close(fd)


def _decompress(source: int, target: int, diff_id: DiffID) -> int:
    """Write the plain bytes of one file to another; their number.  Raises Corrupt if they are not the layer's."""
    import hashlib

    from veneer.changeset.growing import GrowingSource

    plain = decompressed(GrowingSource(source, None))
    buffer = memoryview(bytearray(_CHUNK))
    seen = hashlib.sha256()
    size = 0
    while count := plain.readinto(buffer):
        seen.update(buffer[:count])
        piece = buffer[:count]
        while piece:
            piece = piece[os.write(target, piece) :]
        size += count
    if seen.hexdigest() != diff_id.hex:
        raise Corrupt(f"layer {diff_id} unpacks to sha256:{seen.hexdigest()}", hint="veneer system check")
    return size
