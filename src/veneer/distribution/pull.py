"""An image comes in from a registry.

The name is resolved once; from then on everything is asked for by digest, so a tag that moves meanwhile changes
nothing.  Layers are downloaded side by side into the content store, and other processes unpack them from the files
while they grow.  Names are given last: whoever is interrupted leaves no half image, only blobs to go on from.
Source: OCI distribution-spec, Pulling; moby distribution/pull_v2.go for order and words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from veneer.distribution.client import Registries, Registry, WrongDigest
from veneer.distribution.naming import naming
from veneer.distribution.pull_layers import LayerDownloads
from veneer.errors import Unsupported, VeneerError
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.image import ImageConfig
from veneer.oci.manifest import MANIFEST_TYPES, MAX_CHILDREN, Descriptor, Index, InvalidManifest, Manifest, parse
from veneer.oci.platform import Platform, host
from veneer.oci.reference import Reference
from veneer.progress import Progress, Report, silent

if TYPE_CHECKING:
    from veneer.store.images import Image
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MAX_DEPTH = 4
"""Indexes within indexes."""


class NotAnImage(Unsupported):
    """A manifest of something that is no image: nothing in it can be unpacked."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought: the image (of this machine's platform, where there are several), and what its name
    resolved to, the digest of a manifest or of an index.  `up_to_date`: the name had that image already."""

    image: Image
    digest: BlobDigest
    up_to_date: bool


@dataclass(frozen=True, slots=True)
class _Document:
    """A manifest or index as it came, and where it is to be had again."""

    parsed: Manifest | Index
    descriptor: Descriptor


def pull(
    store: Store,
    registries: Registries,
    reference: Reference,
    *,
    platform: Platform | None = None,
    all_platforms: bool = False,
    progress: Progress = silent,
) -> Pulled:
    """Bring the image `reference` into the store and give it that name.

    Of a multi-platform image the child that suits `platform` (None: this machine) best, or all of them with
    everything attached to them.  Reports are docker's, the last lines are "Digest:" and "Status:".
    Raises NotInRegistry, AccessDenied, AuthenticationRequired, NoMatchingPlatform, NotAnImage, InvalidManifest,
    Corrupt, Unavailable; nothing is named then, and a later pull goes on from what was downloaded.
    """
    # Whoever waits for a registry tells so; short waits are nobody's business.
    registries.effort.notice = lambda seconds, reason: (
        progress(Report("", f"Retrying in {seconds:.0f} seconds: {reason}")) if seconds >= 1 else None
    )
    try:
        with naming(reference.tagged()), store.lease("pull") as lease:
            return _Pull(store, registries, lease, reference.tagged(), platform, progress).run(all_platforms)
    except BaseException:
        registries.stop()
        raise


class _Pull:
    def __init__(
        self,
        store: Store,
        registries: Registries,
        lease: Lease,
        reference: Reference,
        platform: Platform | None,
        progress: Progress,
    ) -> None:
        self._store, self._registries, self._lease = store, registries, lease
        self._reference, self._progress = reference, progress
        self._asked, self._wanted = platform, platform or host()
        self._registry: Registry

    def run(self, all_platforms: bool) -> Pulled:
        resolved = self._resolve()
        target = self._reference.digest or self._reference.tag
        self._progress(Report(str(target), f"Pulling from {self._reference.repository}"))
        if not all_platforms and (image := self._current(resolved)):
            return self._tell(Pulled(image, resolved.digest, up_to_date=True))
        top = self._document(resolved)
        if all_platforms and isinstance(top.parsed, Index):
            image = self._take_all(top)
        else:
            image = self._take(self._choose(top))
            self._keep(top)
        return self._tell(self._name(image, resolved.digest))

    # -- which ------------------------------------------------------------------------------------------------

    def _resolve(self) -> Descriptor:
        """What the name points at, by the first source that knows; that one serves the whole pull."""
        for registry in self._registries.sources(self._reference.registry):
            try:
                descriptor = registry.resolve(self._reference)
            except VeneerError as error:
                if not registry.mirror:
                    raise
                self._progress(Report("", f"mirror {registry.host} cannot help: {error.message}"))
            else:
                self._registry = registry
                return descriptor
        raise AssertionError("the registry itself comes last and raises")

    def _current(self, resolved: Descriptor) -> Image | None:
        """The image that the name has already, if it is the one the registry means and whole."""
        from veneer.store import damage

        images, digest_name = self._store.images, self._reference.with_digest(resolved.digest)
        image_id = images.named(self._reference)
        if image_id is None or images.named(digest_name) != image_id:
            return None
        image = images.get(image_id)
        # An index has other children too; a single manifest is what it is, whatever platform was asked for.
        if resolved.media_type not in MANIFEST_TYPES and self._wanted.suitability(image.platform) != 0:
            return None
        manifest = parse(self._store.blobs.read(image.manifest), what=f"manifest {image.manifest}")
        assert isinstance(manifest, Manifest), "an image's manifest is no index"
        if not damage.all_here(self._store.layers, image.config.chain_ids):
            return None
        parts = [image.manifest, BlobDigest(image.id), *(layer.digest for layer in manifest.layers)]
        return image if all(self._store.blobs.acquire(self._lease, digest) for digest in parts) else None

    def _document(self, descriptor: Descriptor) -> _Document:
        """A manifest or index by its digest, from the store or the registry."""
        what = f"{self._reference.familiar_name}@{descriptor.digest}"
        if self._store.blobs.acquire(self._lease, descriptor.digest):
            raw, media_type = self._store.blobs.read(descriptor.digest), descriptor.media_type
        else:
            raw, media_type = self._registry.manifest(self._reference.repository, str(descriptor.digest))
        if len(raw) != descriptor.size:
            raise WrongDigest(
                f"{self._registry.host}: {what}: {len(raw)} bytes, where {descriptor.size} were announced"
            )
        return _Document(parse(raw, media_type, what), descriptor)

    def _choose(self, top: _Document) -> _Document:
        """The manifest for the platform wanted, through as many indexes as there may be."""
        document = top
        for _ in range(MAX_DEPTH):
            if isinstance(document.parsed, Manifest):
                return document
            document = self._document(document.parsed.choose(self._wanted))
        if isinstance(document.parsed, Manifest):
            return document
        raise self._too_deep()

    def _too_deep(self) -> InvalidManifest:
        return InvalidManifest(f"{self._reference.familiar}: more than {MAX_DEPTH} indexes within each other")

    def _children(self, index: Index, seen: set[Digest], depth: int = 1) -> Iterator[tuple[Descriptor, _Document]]:
        """Everything below an index, each once, with the descriptor that names it first; `seen` fills up.

        Once also where it is looked into: indexes that name each other a thousandfold, four deep, would take years.
        """
        if depth > MAX_DEPTH:
            raise self._too_deep()
        for child in index.manifests:
            if child.digest in seen:
                continue
            if len(seen) >= MAX_CHILDREN:
                raise InvalidManifest(f"{self._reference.familiar}: more than {MAX_CHILDREN} manifests in its indexes")
            seen.add(child.digest)
            document = self._document(child)
            yield child, document
            if isinstance(document.parsed, Index):
                yield from self._children(document.parsed, seen, depth + 1)

    # -- taking in --------------------------------------------------------------------------------------------

    def _take(self, document: _Document) -> Image:
        """One image: its config, its layers, its row."""
        manifest = document.parsed
        assert isinstance(manifest, Manifest)
        if manifest.is_artifact:
            kind = manifest.artifact_type or manifest.config.media_type
            raise NotAnImage(
                f"{self._reference.familiar} is not a container image but an artifact of type {kind[:120]!r}",
                hint="oras pull, or the tool that made it, can fetch it",
            )
        # Processes take a while to start: they do so while the config comes.
        self._store.layers.pool.start(sum(layer.digest not in self._store.blobs for layer in manifest.layers))
        config = self._config(manifest)
        if self._asked is not None and self._asked.suitability(config.platform) is None:
            self._progress(Report("", f"WARNING: image with reference {self._reference.familiar} was found but its "
                                      f"platform ({config.platform}) does not match {self._asked}"))  # fmt: skip
        if len(manifest.layers) != len(config.diff_ids):
            raise InvalidManifest(
                f"{self._reference.familiar}: manifest {manifest.digest} has {len(manifest.layers)} layers, "
                f"its config {len(config.diff_ids)} diff IDs"
            )
        with self._store.layers.intake(self._lease, config.diff_ids, progress=self._progress) as intake:
            documents = partial(self._store.images.prepare, self._lease, config, manifest)
            self._downloads().take_layers(manifest.layers, intake, beside=documents)
            intake.commit()
        return self._add(manifest, config)

    def _config(self, manifest: Manifest) -> ImageConfig:
        digest = manifest.config.digest
        if self._store.blobs.acquire(self._lease, digest):
            raw = self._store.blobs.read(digest)
        else:
            raw = self._registry.blob(self._reference.repository, manifest.config)
        return ImageConfig.parse(raw, f"image config {digest}")

    def _downloads(self) -> LayerDownloads:
        sources = [self._registry]
        if self._registry.mirror:
            sources.append(self._registries.registry(self._reference.registry))
        return LayerDownloads(
            self._store, self._registries, self._lease, sources, self._reference.repository, self._progress
        )

    def _add(self, manifest: Manifest, config: ImageConfig) -> Image:
        layers, blobs = self._store.layers, self._store.blobs
        whole = all(
            blobs.acquire(self._lease, layer.digest)
            and any(layer.digest == blob.digest for blob in layers.blobs(diff_id))
            for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
        )
        if not whole:
            from veneer.store import manifests

            with self._store.catalog.reading() as connection:
                manifests.check_blobs(connection, manifest, config)  # the name will stand for it all the same
            # A layer was here already, out of another blob (docker load brings them uncompressed).  A manifest that
            # names a blob which is not here, or not known to be that layer, could not be saved or pushed; one is
            # written over those that are.
            return self._store.images.add(self._lease, config.raw, durable=False)
        image = self._store.images.add(
            self._lease, config.raw, manifest=manifest.raw, manifest_type=manifest.media_type, durable=False
        )
        self._note([manifest.config, *manifest.layers])
        return image

    def _note(self, descriptors: list[Descriptor]) -> None:
        from veneer.store import sources

        digests = [descriptor.digest for descriptor in descriptors if not descriptor.is_foreign]
        sources.note(self._store.catalog, digests, self._reference.registry, self._reference.repository)

    def _take_all(self, top: _Document) -> Image:
        """Every platform's image, and whatever else the index names; returns the image that suits best."""
        assert isinstance(top.parsed, Index)
        images: dict[Digest, Image] = {}
        for child, document in self._children(top.parsed, set()):
            if isinstance(document.parsed, Manifest):
                if child.is_attestation or document.parsed.is_artifact:
                    self._take_attached(document.parsed)
                else:
                    images[document.parsed.digest] = self._take(document)
            self._keep(document)
        self._keep(top)
        if not images:
            raise NotAnImage(f"{self._reference.familiar}: its index names no image")
        try:
            chosen = self._choose(top)
        except VeneerError:
            # Nothing for this machine, and that is fine: all platforms were asked for.
            return next(iter(images.values()))
        return images.get(chosen.parsed.digest) or next(iter(images.values()))

    def _take_attached(self, manifest: Manifest) -> None:
        """An attestation or artifact: its blobs as they are, nothing unpacked."""
        self._downloads().take_blobs([manifest.config, *manifest.layers])

    def _keep(self, document: _Document) -> None:
        """Store a manifest or index, with what it needs noted."""
        from veneer.store import manifests

        self._store.blobs.put(self._lease, document.parsed.raw, document.parsed.media_type)
        with self._store.catalog.transaction(durable=False) as transaction:
            manifests.record(transaction, document.parsed)

    # -- names ------------------------------------------------------------------------------------------------

    def _name(self, image: Image, resolved: BlobDigest) -> Pulled:
        images, reference = self._store.images, self._reference
        before = images.named(reference)
        # The names are what was asked for: all there is of the image reaches the disk with them, at once.
        with images.layout.held(), self._store.catalog.transaction():
            images.add_digest(image.id, reference.with_digest(resolved))
            if reference.digest is None:
                target = resolved if resolved != image.manifest else None
                images.tag(image.id, reference, index=target, stamp=False)
        return Pulled(images.get(image.id), resolved, up_to_date=before == image.id)

    def _tell(self, pulled: Pulled) -> Pulled:
        news = "Image is up to date for" if pulled.up_to_date else "Downloaded newer image for"
        self._progress(Report("", f"Digest: {pulled.digest}"))
        self._progress(Report("", f"Status: {news} {self._reference.familiar}"))
        return pulled
