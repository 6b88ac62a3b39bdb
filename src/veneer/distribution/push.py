"""An image goes out to a registry.

What came from a registry goes back byte for byte: the stored manifest and blobs are sent as they are, so no digest
changes.  A layer that was made here has no blob at first, or one that is not compressed: it is compressed once by all
cores, sent meanwhile, and the result kept.
Source: OCI distribution-spec, Pushing; moby distribution/push_v2.go for order and words.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from veneer.distribution.ahead import Ahead
from veneer.distribution.client import Registries
from veneer.distribution.crew import Crew
from veneer.distribution.naming import naming
from veneer.distribution.retry import check
from veneer.distribution.upload import MissingBlobs, push_manifest, upload
from veneer.errors import InvalidRequest, NotFound
from veneer.oci import manifest as oci
from veneer.oci.digest import BlobDigest, DiffID
from veneer.oci.manifest import Descriptor, Index, Manifest
from veneer.oci.reference import Reference
from veneer.progress import Progress, Report, silent

if TYPE_CHECKING:
    from veneer.store.images import Image
    from veneer.store.leases import Lease
    from veneer.store.store import Store


COMPRESSIONS = ("gzip", "zstd")
MOST_PACKED = 2
"""Layers compressed side by side.  One keeps two cores busy: a thread reads its files, and all compress them."""


class NothingToPush(NotFound):
    """No image of that name, or not all of it, is here."""


class UnknownCompression(InvalidRequest):
    """A compression that layers are not sent with."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the name stands for at the registry now: the digest of a manifest or index and its size in bytes."""

    digest: BlobDigest
    size: int


@dataclass(frozen=True, slots=True)
class _Part:
    """One blob to send, and what progress calls it (docker: the diff ID); "" for what is not shown."""

    descriptor: Descriptor
    label: str


def push(
    store: Store,
    registries: Registries,
    reference: Reference,
    *,
    compression: str = "",
    progress: Progress = silent,
    image: Image | None = None,
    index: BlobDigest | None = None,
) -> Pushed:
    """Send the image that `reference` names to the registry it names, under that tag.

    `image`, or a stored `index` with it, is sent instead of what has that name here; no name is noted then.

    `compression` is what layers made here are compressed with, "gzip" or "zstd"; "" sends what there is, and gzip
    where there is nothing.  Layers that came compressed are never compressed anew.
    A name that stands for a whole index (pulled with all platforms) sends all of it.  The registry's digest is noted
    as a name of the image afterwards.  Reports are docker's; the last line is `TAG: digest: ... size: ...`.
    Raises NothingToPush, UnknownCompression, AccessDenied, AuthenticationRequired, WrongDigest, Unavailable, and
    LayerLost, LayerChanged for a layer made here.
    """
    if compression and compression not in COMPRESSIONS:
        raise UnknownCompression(f"unknown compression {compression!r}", hint=f"one of {', '.join(COMPRESSIONS)}")
    registries.effort.notice = lambda seconds, reason: (
        progress(Report("", f"Retrying in {seconds:.0f} seconds: {reason}")) if seconds >= 1 else None
    )
    try:
        with naming(reference.tagged(), "pushed"), store.lease("push") as lease:
            instead = None if image is None else (image, index)
            return _Push(store, registries, lease, reference.tagged(), compression, progress, instead).run()
    except BaseException:
        registries.stop()
        raise


class _Push:
    def __init__(
        self,
        store: Store,
        registries: Registries,
        lease: Lease,
        reference: Reference,
        compression: str,
        progress: Progress,
        instead: tuple[Image, BlobDigest | None] | None,
    ) -> None:
        self._instead = instead
        self._store, self._registries, self._lease = store, registries, lease
        self._reference, self._compression, self._progress = reference, compression, progress
        self._registry = registries.registry(reference.registry)
        self._sent: set[BlobDigest] = set()

    def run(self) -> Pushed:
        image = self._image()
        self._progress(Report("", f"The push refers to repository [{self._reference.name}]"))
        self._registry.ping()
        documents = self._documents(image)
        top = documents[-1]
        parts = self._parts(documents)
        self._send(parts, force=False)
        for document in documents[:-1]:
            self._put(document, str(document.digest), parts)
        target = self._reference.tag or str(self._reference.digest)
        self._put(top, target, parts)
        self._note(image, top, parts)
        pushed = Pushed(top.digest, len(top.raw))
        self._progress(Report("", f"{target}: digest: {pushed.digest} size: {pushed.size}"))
        return pushed

    # -- what -------------------------------------------------------------------------------------------------

    def _image(self) -> Image:
        if self._instead is not None:
            return self._instead[0]
        image_id = self._store.images.named(self._reference)
        if image_id is None:
            raise NothingToPush(
                f"An image does not exist locally with the tag: {self._reference.familiar_name}",
                hint=f"veneer images, then veneer tag IMAGE {self._reference.familiar}",
            )
        return self._store.images.get(image_id)

    def _documents(self, image: Image) -> list[Manifest | Index]:
        """What the name is to stand for, last, after every document below it, children before parents."""
        target = self._instead[1] if self._instead else self._store.images.target(self._reference)
        top = self._read(target or image.manifest)
        if isinstance(top, Index):
            return [*self._below(top), top]
        return [self._pushable(top, image)]

    def _read(self, digest: BlobDigest) -> Manifest | Index:
        from veneer.store import manifests

        return manifests.read(self._store.catalog, self._store.blobs, digest)

    def _below(self, index: Index, seen: set[BlobDigest] | None = None) -> Iterator[Manifest | Index]:
        """Every document an index leads to, what is needed first, each once however often it is named."""
        seen = set() if seen is None else seen
        for child in index.manifests:
            if child.digest in seen:
                continue
            seen.add(child.digest)
            document = self._read(child.digest)
            if isinstance(document, Index):
                yield from self._below(document, seen)
            yield document

    def _pushable(self, manifest: Manifest, image: Image) -> Manifest:
        """The image's manifest as it is, or, where it names blobs that are not here or not compressed, a new one.

        Only a manifest that veneer wrote itself over uncompressed layers is replaced for being uncompressed, and only
        one it wrote itself for another compression.
        """
        whole = all(
            layer.is_foreign or self._store.blobs.acquire(self._lease, layer.digest) for layer in manifest.layers
        )
        plain = any(layer.media_type in (oci.OCI_LAYER, oci.DOCKER_LAYER) for layer in manifest.layers)
        ours = Manifest.build(oci.OCI_MANIFEST, manifest.config, manifest.layers).raw == manifest.raw
        known = any(name.digest == manifest.digest for name in image.digests)
        if whole and (not ours or not (self._compression or (plain and not known))):
            return manifest
        made = Manifest.build(oci.OCI_MANIFEST, manifest.config, self._packed(image))
        if made.raw == manifest.raw:
            return manifest
        self._store.blobs.put(self._lease, made.raw, made.media_type)
        if not whole:
            # It could not be read by anybody so far; from now on `save` and the layout have it too.
            self._store.images.replace_manifest(self._lease, image.id, made)
        return made

    def _packed(self, image: Image) -> tuple[Descriptor, ...]:
        """Compressed blobs of all the image's layers, each sent while it is made."""
        from veneer.changeset.compression import Compression

        kind = Compression[self._compression.upper()] if self._compression else None
        made: dict[DiffID, Descriptor] = {}
        turn = threading.Semaphore(max(1, min(MOST_PACKED, len(os.sched_getaffinity(0)) // 2)))

        def pack(diff_id: DiffID) -> None:
            def report(sent: int) -> None:
                self._progress(Report(diff_id.short, "Pushing", sent))

            ahead = Ahead(self._registry, self._reference.repository, report)
            try:
                with contextlib.ExitStack() as mine:
                    mine.enter_context(turn)
                    check(self._registries.effort.stop)
                    made[diff_id] = self._store.layers.compressed(
                        self._lease, diff_id, kind, growing=ahead.follow, read=mine.close
                    )  # fmt: skip
            except BaseException:
                ahead.abandon()
                raise
            self._one(_Part(made[diff_id], diff_id.short), False, ahead)
            self._sent.add(made[diff_id].digest)

        wanted = list(dict.fromkeys(image.config.diff_ids))
        for diff_id in wanted:
            self._progress(Report(diff_id.short, "Preparing"))
        # The largest first: what both sides do when a blob is whole, to have it on their disks, is done meanwhile, and
        # little is left to wait for after the last one.
        crew = Crew(self._registries, self._registries.config.max_uploads, "upload")
        wanted.sort(key=self._size, reverse=True)
        crew.run({position: partial(pack, diff_id) for position, diff_id in enumerate(wanted)})
        return tuple(made[diff_id] for diff_id in image.config.diff_ids)

    def _size(self, diff_id: DiffID) -> int:
        """The bytes of a layer's files; 0 where only a blob is here."""
        return max((layer.size for layer in self._store.layers.by_diff_id(diff_id)), default=0)

    def _parts(self, documents: Sequence[Manifest | Index]) -> list[_Part]:
        """Every blob the documents name, each once, layers with the diff ID that docker shows."""
        found: dict[BlobDigest, _Part] = {}
        for document in documents:
            if isinstance(document, Index):
                continue
            labels = self._labels(document)
            for layer, label in zip(document.layers, labels, strict=True):
                if not layer.is_foreign:
                    found.setdefault(layer.digest, _Part(layer, label))
            found.setdefault(document.config.digest, _Part(document.config, ""))
        return list(found.values())

    def _labels(self, manifest: Manifest) -> list[str]:
        from veneer.oci.image import ImageConfig

        if not manifest.is_artifact:
            config = ImageConfig.parse(self._store.blobs.read(manifest.config.digest))
            if len(config.diff_ids) == len(manifest.layers):
                return [diff_id.short for diff_id in config.diff_ids]
        return [layer.digest.short for layer in manifest.layers]

    # -- sending ----------------------------------------------------------------------------------------------

    def _send(self, parts: Sequence[_Part], *, force: bool) -> None:
        """Make the registry hold every part, several at a time, configs after layers as docker does."""
        most = self._registries.config.max_uploads
        parts = [part for part in parts if force or part.descriptor.digest not in self._sent]
        layers = [part for part in parts if part.label]
        for part in layers:
            self._tell(part, "Preparing")
        for part in layers[most:]:
            self._tell(part, "Waiting")
        crew = Crew(self._registries, most, "upload")
        for batch in (layers, [part for part in parts if not part.label]):
            crew.run({position: partial(self._one, part, force) for position, part in enumerate(batch)})

    def _one(self, part: _Part, force: bool, ahead: Ahead | None = None) -> None:
        from veneer.store import sources

        descriptor = part.descriptor
        if not self._store.blobs.acquire(self._lease, descriptor.digest):
            raise NothingToPush(f"{self._reference.familiar}: blob {descriptor.digest} is not in the store",
                                hint="veneer pull, or load, the image again")  # fmt: skip

        def report(sent: int) -> None:
            if part.label:
                self._progress(Report(part.label, "Pushing", sent, descriptor.size))

        done = upload(
            self._registry, self._reference.repository, descriptor,
            lambda: self._store.blobs.open(descriptor.digest),
            mount_from=sources.known(self._store.catalog, descriptor.digest, self._reference.registry),
            trust_head=not force, report=report, ahead=ahead,
        )  # fmt: skip
        if done.existed:
            self._tell(part, "Layer already exists")
        elif done.mounted_from:
            self._tell(part, f"Mounted from {done.mounted_from}")
        else:
            self._tell(part, "Pushed")

    def _tell(self, part: _Part, status: str) -> None:
        if part.label:
            self._progress(Report(part.label, status))

    def _put(self, document: Manifest | Index, target: str, parts: Sequence[_Part]) -> None:
        repository = self._reference.repository
        try:
            push_manifest(self._registry, repository, target, document.raw, document.media_type)
        except MissingBlobs as error:
            # It said of a blob that it has it, and has not: send those again, whatever it says.
            lacking = [part for part in parts if not error.digests or part.descriptor.digest in error.digests]
            self._send(lacking or parts, force=True)
            push_manifest(self._registry, repository, target, document.raw, document.media_type)

    def _note(self, image: Image, top: Manifest | Index, parts: Sequence[_Part]) -> None:
        """Remember the name by digest, and where the blobs are now."""
        from veneer.store import sources

        digests = [part.descriptor.digest for part in parts]
        sources.note(self._store.catalog, digests, self._reference.registry, self._reference.repository)
        if self._instead is None:
            self._store.images.add_digest(image.id, self._reference.with_digest(top.digest))
