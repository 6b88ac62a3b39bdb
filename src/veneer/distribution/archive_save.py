"""Images out of the store and into an archive: `veneer save`.

The stored bytes go out as they are, compressed layers compressed, so nothing is recomputed and every digest
stays.  Layers that were built here and have no blob yet go out as plain tars, straight from their files.
`docker` archives hold both layouts at once, OCI's and Docker's, over the same files: every docker and podman, and every
OCI tool, reads them.  The same images always give the same archive.
Source: moby image/tarexport/save.go (Engine 25 and later); OCI image-spec image-layout.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from veneer.distribution.archive_plan import blob_name
from veneer.distribution.archive_sink import DirectorySink, Sink, TarSink, written_whole
from veneer.errors import InvalidRequest
from veneer.oci import manifest as manifests
from veneer.oci import strictjson
from veneer.oci.digest import BlobDigest, DiffID, ImageID
from veneer.oci.image import ImageConfig
from veneer.oci.manifest import Descriptor, Index, Manifest
from veneer.oci.reference import InvalidReference, Reference
from veneer.progress import Progress, Report, silent
from veneer.store.durability import is_read_only

if TYPE_CHECKING:
    from veneer.store.images import Image
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

FORMATS = ("docker", "docker-legacy", "oci", "oci-dir")


class UnknownFormat(InvalidRequest):
    """An archive format there is not."""


@dataclass
class Selection:
    """What goes into an archive: images in order, each with the names it goes under."""

    names: dict[ImageID, list[Reference]] = field(default_factory=dict)
    images: dict[ImageID, Image] = field(default_factory=dict)

    def add(self, image: Image, reference: Reference | None) -> None:
        self.images[image.id] = image
        names = self.names.setdefault(image.id, [])
        if reference is not None and reference not in names:
            names.append(reference)


def select(store: Store, names: Sequence[str]) -> Selection:
    """The images that `names` mean: a name with a tag is that one, a bare repository all its tags, an ID no name.

    Raises NoSuchImage, AmbiguousID, InvalidReference.
    """
    from veneer.store.images import NoSuchImage

    found = Selection()
    for name in names:
        try:
            reference: Reference | None = Reference.parse(name)
        except InvalidReference:
            reference = None  # a full ID looks like no name
        if reference is not None and reference.digest is None:
            wanted = [reference] if reference.tag else store.images.tags_of(reference.name)
            tagged = [(each, image_id) for each in wanted if (image_id := store.images.named(each)) is not None]
            for each, image_id in tagged:
                found.add(store.images.get(image_id), each)
            if tagged:
                continue
        try:
            found.add(store.images.find(name), None)
        except NoSuchImage:
            # A name without a tag means a repository here, so the answer does not add `:latest` to it.
            raise NoSuchImage(name) from None
    return found


def save(
    store: Store,
    names: Sequence[str],
    out: Path | BinaryIO,
    *,
    format: str = "docker",
    progress: Progress = silent,
) -> Selection:
    """Write the images called `names` to one archive; which those are.

    `out` is a path, written whole or not at all, or a stream; for `oci-dir` a directory that is made.
    Raises UnknownFormat, NoSuchImage, Corrupt for a damaged blob.
    """
    if format not in FORMATS:
        raise UnknownFormat(f"unknown archive format {format!r}", hint=f"one of {', '.join(FORMATS)}")
    # Of a read-only data root nothing can be held, and nothing collected.
    unheld = is_read_only(store.root) and format != "docker-legacy"  # which needs room for what it unpacks
    with contextlib.nullcontext() if unheld else store.lease("save") as lease:
        selection = select(store, names)
        writer = _Writer(store, selection, progress, in_oci_words=format in ("oci", "oci-dir"))
        if lease is not None:
            writer.hold(lease)
        if format == "oci-dir":
            if not isinstance(out, Path):
                raise UnknownFormat("oci-dir needs a directory to write to", hint="give one with -o")
            with DirectorySink(out) as directory:
                writer.oci(directory)
            return selection
        with written_whole(out) as stream:
            sink = TarSink(stream)
            if format == "docker-legacy" and lease is not None:
                from veneer.distribution.archive_legacy import write_legacy

                write_legacy(store, lease, selection, sink, progress)
            else:
                writer.oci(sink)
                if format == "docker":
                    writer.docker(sink)
            sink.finish()
    return selection


class _Writer:
    def __init__(self, store: Store, selection: Selection, progress: Progress, *, in_oci_words: bool) -> None:
        self._in_oci_words = in_oci_words
        self._store = store
        self._selection = selection
        self._progress = progress
        self._written: set[BlobDigest] = set()

    def hold(self, lease: Lease) -> None:
        """Keep every blob and layer that will be written: nobody may collect one half-way through."""
        for image in self._selection.images.values():
            if image.top is not None:
                with self._store.catalog.transaction(durable=False) as transaction:
                    lease.hold_layer(transaction, image.top)
            for top in self._tops(image):
                for digest in self._closure(top.digest):
                    self._store.blobs.acquire(lease, digest)

    def _tops(self, image: Image) -> list[Descriptor]:
        """What stands for an image in index.json: once per name, or once without."""
        names = self._selection.names[image.id]
        if not names:
            return [self._descriptor(image.manifest, image, None)]
        return [self._descriptor(self._store.images.target(name) or image.manifest, image, name) for name in names]

    def _document(self, digest: BlobDigest) -> Manifest | Index:
        from veneer.store.manifests import read

        return read(self._store.catalog, self._store.blobs, digest)

    def _descriptor(self, digest: BlobDigest, image: Image, name: Reference | None) -> Descriptor:
        document = self._document(digest)
        if self._in_oci_words and isinstance(document, Manifest):
            from veneer.store.manifests import twin

            # OCI's readers skip a manifest in Docker's words; an archive for docker keeps it as it came.
            same = twin(document)
            if same is not None and same.digest in self._store.blobs:
                document, digest = same, same.digest
        annotations = {}
        if name is not None:
            annotations = {
                manifests.ANNOTATION_IMAGE_NAME: str(name),
                manifests.ANNOTATION_REF_NAME: name.familiar,
            }
        platform = image.platform if isinstance(document, Manifest) else None
        return Descriptor(document.media_type, digest, len(document.raw), platform, annotations)

    def _closure(self, digest: BlobDigest, seen: set[BlobDigest] | None = None) -> Iterator[BlobDigest]:
        """A manifest or index and all it needs, what is needed first, each document once however often it is named."""
        seen = set() if seen is None else seen
        if digest in seen:
            return
        seen.add(digest)
        document = self._document(digest)
        if isinstance(document, Index):
            for child in document.manifests:
                yield from self._closure(child.digest, seen)
        else:
            yield from (
                layer.digest for layer in document.layers if not layer.is_foreign or layer.digest in self._store.blobs
            )
            yield document.config.digest
        yield digest

    def oci(self, sink: Sink) -> None:
        """`oci-layout`, `index.json` and every blob."""
        tops = [top for image in self._selection.images.values() for top in self._tops(image)]
        index = Index.build(manifests.OCI_INDEX, tuple(tops))
        sink.document("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        sink.document("index.json", index.raw)
        for top in tops:
            for digest in self._closure(top.digest):
                self._blob(sink, digest)

    def _blob(self, sink: Sink, digest: BlobDigest) -> None:
        if digest in self._written:
            return
        self._written.add(digest)
        if (layer := self._unpacked(digest)) is not None:
            tar = self._store.layers.tar(layer)
            sink.written(blob_name(digest), tar.size, tar.write_to)
            self._progress(Report(digest.short, "Saved", tar.size, tar.size))
            return
        with self._store.blobs.open(digest) as file:
            size = os.fstat(file.fileno()).st_size
            sink.file(blob_name(digest), file.fileno(), size)
            self._progress(Report(digest.short, "Saved", size, size))

    def _unpacked(self, digest: BlobDigest) -> Layer | None:
        """The layer whose plain tar that is, if it is nothing that is stored."""
        if digest in self._store.blobs:
            return None
        found = self._store.layers.by_diff_id(DiffID(digest))
        return found[0] if found else None

    def docker(self, sink: Sink) -> None:
        """`manifest.json` and `repositories` over the blobs that are written already."""
        entries = []
        for image_id, image in self._selection.images.items():
            document = self._document(image.manifest)
            assert isinstance(document, Manifest)  # an image's own manifest is never an index
            layers = [blob_name(layer.digest) for layer in document.layers]
            for layer in document.layers:
                if not layer.is_foreign or layer.digest in self._store.blobs:
                    self._blob(sink, layer.digest)
            self._blob(sink, document.config.digest)
            entry: dict[str, object] = {
                "Config": blob_name(image_id),
                "RepoTags": [name.familiar for name in self._selection.names[image_id]] or None,
                "Layers": layers,
            }
            if image.parent in self._selection.images:
                entry["Parent"] = str(image.parent)
            entries.append(entry)
        sink.document("manifest.json", strictjson.dumps(entries))
        if repositories := repositories_of(self._selection, top_layer):
            sink.document("repositories", strictjson.dumps(repositories))


def top_layer(config: ImageConfig) -> str:
    """What `repositories` of a newer archive points at: the hex of the top layer's diff ID."""
    return config.diff_ids[-1].hex if config.diff_ids else ""


def repositories_of(selection: Selection, top: Callable[[ImageConfig], str]) -> dict[str, dict[str, str]]:
    """The oldest of Docker's documents: repository -> tag -> top layer."""
    found: dict[str, dict[str, str]] = {}
    for image_id, names in selection.names.items():
        for name in names:
            found.setdefault(name.familiar_name, {})[name.tag or ""] = top(selection.images[image_id].config)
    return found
