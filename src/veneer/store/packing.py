"""Tars and blobs of layers that were made here: packed from their files when somebody wants them; blobs are kept.

Such a layer's tar is canonical (changeset/pack.py), so its index and its files give it back byte for byte, and its
diff ID proves it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from veneer.errors import Corrupt
from veneer.progress import Progress, Report, silent
from veneer.store import indexes
from veneer.store.layers import LayerLost, LayerStore, lowers

if TYPE_CHECKING:
    from pathlib import Path

    from veneer.changeset.compression import Compression, Sink
    from veneer.oci.digest import DiffID
    from veneer.oci.manifest import Descriptor
    from veneer.store.blob_writer import BlobWriter
    from veneer.store.images import Image
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_CHUNK = 1 << 20
_F_SETPIPE_SZ = 1031


class LayerChanged(Corrupt):
    """A layer's files are not what they were when the layer was made: somebody wrote to the store's directories."""


class IndexLost(Corrupt):
    """A layer's index is gone, it has no blob, and its files alone do not say what the layer held."""


# ---- plain tars


class LayerTar:
    """A layer's plain tar, `size` bytes, that need not lie anywhere; made by LayerStore.tar."""

    def __init__(self, layers: LayerStore, layer: Layer, size: int) -> None:
        self._layers = layers
        self.layer = layer
        self.diff_id: DiffID = layer.diff_id
        self.size = size

    def write_to(self, out: Sink) -> None:
        """Write it, from a blob if there is one, else from the layer's files.

        Compared with the diff ID while it is written; raises LayerChanged (or Corrupt for a blob) at its end, when
        all is written.
        """
        with self._layers.store.lease("tar") as lease:
            write_plain(self._layers.store, lease, self.layer, out)

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """It as a stream to read; a damaged layer is told when the `with` ends, if all was read."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a limit of this user's: the pipe stays small
            import fcntl

            fcntl.fcntl(reading, _F_SETPIPE_SZ, _CHUNK)
        failure: list[BaseException] = []

        def write() -> None:
            try:
                try:
                    self.write_to(_Whole(writing))
                finally:
                    os.close(writing)
            except BaseException as error:  # noqa: BLE001 - carried to the reader's thread
                failure.append(error)

        thread = threading.Thread(target=write, name="veneer-tar", daemon=True)
        with open(reading, "rb", buffering=0) as source:
            thread.start()
            try:
                yield cast(BinaryIO, source)
            except BaseException:
                failure.append(BrokenPipeError())  # what the reader met comes first
                raise
            finally:
                source.close()
                thread.join()
        if failure and not isinstance(failure[0], BrokenPipeError):
            raise failure[0]


class _Whole:
    """A raw stream that takes all it is given."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        return len(data)


def tar_of(layers: LayerStore, layer: Layer) -> LayerTar:
    """See LayerStore.tar."""
    size = layers.catalog.value("SELECT tar_size FROM snapshot WHERE id = ?", (layer.snapshot,))
    return LayerTar(layers, layer, size)


def layer_of(layers: LayerStore, diff_id: DiffID) -> Layer:
    """A layer with that content whose files are whole.  Raises LayerLost."""
    doubtful = layers.untrusted()
    for layer in layers.by_diff_id(diff_id):
        if layer.snapshot not in doubtful:
            return layer
    from veneer.store.copies import copies_of

    for layer in copies_of(layers, diff_id):
        if layer.snapshot not in doubtful:
            return layer
    raise LayerLost(f"layer {diff_id} has neither a blob nor files that can be trusted",
                    hint="build, pull or load the image again")  # fmt: skip


def write_tar(layers: LayerStore, layer: Layer, out: Sink) -> None:
    """Write the layer's tar from its index and files.

    Raises LayerChanged, at the end, if it is not the tar the layer was made as.
    """
    from veneer.changeset.index import IndexCorrupt
    from veneer.changeset.repack import FileGone, repack

    with contextlib.ExitStack() as stack:
        index = stack.enter_context(layers.index(layer.diff_id))
        try:
            index.verify()
        except IndexCorrupt:
            indexes.rebuild(layers, layer.diff_id)
            index = stack.enter_context(layers.index(layer.diff_id))
        try:
            root = os.open(layers.directory(layer), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _changed(layers, layer, "the directory is gone") from error
        stack.callback(os.close, root)
        try:
            packed = repack(index, root, out)
        except FileGone as error:
            raise _changed(layers, layer, error.message) from error
    if packed.diff_id != layer.diff_id:
        raise _changed(layers, layer, f"they pack to {packed.diff_id}")


def index_again(layers: LayerStore, layer: Layer, file: BinaryIO) -> None:
    """Write a layer's index to `file` by looking at its files anew, names and attributes too.

    A layer was made in one of three ways, and its diff ID tells in which: it is what differs from the layers below
    (RUN); all that was put into its directory, be it equal to what is below (COPY, ADD); or that without the
    directories that lead there (COPY --link).  Raises IndexLost where it is none of them: somebody wrote to the files,
    or the driver keeps whole trees, in which what was copied and what was there before look the same.
    """
    from veneer.changeset.pack import pack
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.store.drafts import Nowhere

    driver = layers.store.driver_named(layer.driver)
    nowhere = cast(BinaryIO, Nowhere())
    packed = driver.diff(layer.snapshot, lowers(layers.stack(layer.chain_id))[1:], nowhere, index=file)
    if packed.diff_id == layer.diff_id:
        return
    directory = driver.directory(layer.snapshot)
    for path in _beginnings(directory) if driver.whiteouts is not WhiteoutStyle.ERASE else ():
        file.seek(0)
        file.truncate()
        fd = os.open(os.path.join(directory, os.fsdecode(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if pack(fd, driver.whiteouts, nowhere, index=file, prefix=path).diff_id == layer.diff_id:
                return
        finally:
            os.close(fd)
    raise IndexLost(
        f"the index of layer {layer.diff_id} is lost, and its files in {directory} do not give it again",
        hint="build the image again with --no-cache, then remove the old one",
    )


def _beginnings(directory: Path) -> Iterator[bytes]:
    """The root, b"", and below it every directory that is all there is in the one above."""
    path, here = b"", os.fsencode(directory)
    while True:
        yield path
        with os.scandir(here) as entries:
            found = list(itertools.islice(entries, 2))
        if len(found) != 1 or not found[0].is_dir(follow_symlinks=False):
            return
        path, here = os.path.join(path, found[0].name), found[0].path


def _changed(layers: LayerStore, layer: Layer, fact: str) -> LayerChanged:
    return LayerChanged(
        f"layer {layer.diff_id}: its files in {layers.directory(layer)} were changed: {fact}",
        hint="veneer system check --deep tells what is damaged; build, pull or load the image again",
    )


def write_plain(store: Store, lease: Lease, layer: Layer, out: Sink) -> None:
    """Write a layer's plain tar from what is the least work: a plain blob, files made here, a compressed blob."""
    from veneer.changeset.compression import Compression, sniff

    stored = [blob for blob in store.layers.blobs(layer.diff_id) if store.blobs.acquire(lease, blob.digest)]
    came: Descriptor | None = None
    for blob in stored:
        with store.blobs.open(blob.digest) as file:
            if sniff(os.pread(file.fileno(), 16, 0)) is Compression.NONE:
                _copy(store, blob, layer.diff_id, out)
                return
        if _maker(store, layer.diff_id, blob) == "":
            came = came or blob
    if came is not None:
        _copy(store, came, layer.diff_id, out)
    else:
        write_tar(store.layers, layer_of(store.layers, layer.diff_id), out)


def _maker(store: Store, diff_id: DiffID, blob: Descriptor) -> str:
    """What made the blob here; "" for one that came so."""
    found: str | None = store.catalog.value(
        "SELECT compressor FROM blob_diff WHERE diff_id = ? AND blob = ?", (diff_id, blob.digest)
    )
    return found or ""


def _copy(store: Store, blob: Descriptor, diff_id: DiffID, out: Sink) -> None:
    """Write a blob's plain bytes.  Raises Corrupt, at the end, if they are not the layer's."""
    import hashlib

    from veneer.changeset.compression import decompressed
    from veneer.changeset.growing import GrowingSource

    seen = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    with store.blobs.open(blob.digest) as file:
        plain = decompressed(GrowingSource(file.fileno(), None))
        while count := plain.readinto(buffer):
            seen.update(buffer[:count])
            out.write(buffer[:count])
    if seen.hexdigest() != diff_id.hex:
        raise Corrupt(f"blob {blob.digest} unpacks to sha256:{seen.hexdigest()}, not to layer {diff_id}",
                      hint="veneer system check --deep")  # fmt: skip


# ---- blobs


def compressed(
    store: Store,
    lease: Lease,
    diff_id: DiffID,
    kind: Compression | None = None,
    level: int | None = None,
    *,
    progress: Progress = silent,
    growing: Callable[[BlobWriter], None] | None = None,
    read: Callable[[], None] = lambda: None,
) -> Descriptor:
    """A stored blob of the layer, compressed as `kind`, in OCI's words; made by all cores where there is none.

    `kind` None: whatever it is compressed with, and gzip where it is not.  A blob that came compressed is taken as it
    is, whatever its kind: nothing is ever compressed twice.  What is made is kept.  `growing` is told of the blob when
    one is begun, so that it can be read while it grows; it may still come to nothing.  `read` is called when all of
    the layer was read: what is left is little to compress, and the blob's way to the disk.
    Raises LayerLost, LayerChanged, Corrupt.
    """
    from veneer.changeset.compression import Compression
    from veneer.changeset.parallel import maker, parallel_compressor
    from veneer.oci.manifest import OCI_LAYER, Descriptor

    if (found := _present(store, lease, diff_id, kind)) is not None:
        return found
    # Another process may be at it; one of them finds the other's blob.
    with store.locked(f"compress {diff_id}"):
        if (found := _present(store, lease, diff_id, kind)) is not None:
            return found
        progress(Report(diff_id.short, "Preparing"))
        layer, chosen = _any_layer(store.layers, diff_id), kind or Compression.GZIP
        with store.blobs.writer(lease) as writer:
            if growing is not None:
                growing(writer)
            with parallel_compressor(writer, chosen, len(os.sched_getaffinity(0)), level=level) as out:
                write_plain(store, lease, layer, out)
                read()
            digest = writer.commit()
        made = Descriptor(OCI_LAYER + chosen.suffix, digest, writer.offset)
        store.layers.record_blob(lease, diff_id, made, maker(chosen, level))
        return made


def plain(store: Store, lease: Lease, diff_id: DiffID) -> Descriptor:
    """A stored blob that is the layer's tar as it is; written where there is none, and kept.

    Raises LayerLost, LayerChanged, Corrupt.
    """
    from veneer.oci.digest import BlobDigest, Digest
    from veneer.oci.manifest import OCI_LAYER, Descriptor

    digest = BlobDigest(Digest(diff_id))
    if not store.blobs.acquire(lease, digest):
        layer = _any_layer(store.layers, diff_id)
        with store.blobs.writer(lease) as writer:
            write_plain(store, lease, layer, writer)  # which proves that it is the layer's
            writer.commit()
    made = Descriptor(OCI_LAYER, digest, store.blobs.size(digest))
    store.layers.record_blob(lease, diff_id, made, "tar")
    return made


def _any_layer(layers: LayerStore, diff_id: DiffID) -> Layer:
    """A layer with that content; one whose files are whole, unless there is a blob."""
    found = layers.by_diff_id(diff_id)
    return found[0] if found and layers.blobs(diff_id) else layer_of(layers, diff_id)


def _present(store: Store, lease: Lease, diff_id: DiffID, kind: Compression | None) -> Descriptor | None:
    """A stored blob that will do; by its magic, not by what its sender called it."""
    from veneer.changeset.compression import Compression, sniff
    from veneer.oci.manifest import OCI_LAYER, Descriptor

    other: Descriptor | None = None
    for blob in store.layers.blobs(diff_id):
        if not store.blobs.acquire(lease, blob.digest):
            continue
        with store.blobs.open(blob.digest) as file:
            found = sniff(os.pread(file.fileno(), 16, 0))
        if found not in (Compression.GZIP, Compression.ZSTD):
            continue  # no manifest can name it
        named = Descriptor(OCI_LAYER + found.suffix, blob.digest, blob.size)
        if kind in (None, found):
            return named
        if not _maker(store, diff_id, blob):
            other = named
    return other


def complete(
    store: Store, lease: Lease, image: Image, kind: Compression | None = None, *, progress: Progress = silent
) -> Image:
    """The image with a blob for each of its layers and a manifest that names them; its ID stays.

    Only an image made here over plain tars is changed; one whose blobs are all here is returned as it is.  For an
    index of several platforms complete the images first.  `kind` as for `compressed`.  Raises LayerLost, LayerChanged.
    """
    from veneer.oci import manifest as oci
    from veneer.store import manifests

    document = manifests.read(store.catalog, store.blobs, image.manifest)
    assert isinstance(document, oci.Manifest), "an image's own manifest is never an index"
    if all(layer.is_foreign or store.blobs.acquire(lease, layer.digest) for layer in document.layers):
        return image
    made = {
        diff_id: compressed(store, lease, diff_id, kind, progress=progress)
        for diff_id in dict.fromkeys(image.config.diff_ids)
    }
    layers = tuple(made[diff_id] for diff_id in image.config.diff_ids)
    store.images.replace_manifest(lease, image.id, oci.Manifest.build(oci.OCI_MANIFEST, document.config, layers))
    return store.images.get(image.id)
