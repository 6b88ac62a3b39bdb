"""Caches from elsewhere: `--cache-from`.

A cache is an image, or an index of several: its history says what each layer was made by, so nothing but images has
to be understood by a registry or kept in a directory.  A step is found in one if that image's history goes on, from
exactly the rows and layers the build has so far, with the step's own text; then the row and the layer are the
image's.  That is docker's own rule.  Only documents are fetched until a step is found; a layer comes when it is used.
Source: moby builder/dockerfile imageprobe.go, image/cache/cache.go.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from veneer.errors import InvalidRequest, NotFound, VeneerError
from veneer.oci import manifest as oci
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.oci.manifest import Descriptor, Index, InvalidManifest, Manifest
from veneer.oci.reference import Reference
from veneer.progress import Progress
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.build.request import CacheSpec
    from veneer.distribution.client import Registries
    from veneer.oci.digest import BlobDigest, DiffID, Digest
    from veneer.oci.platform import Platform
    from veneer.store.intake import LayerIntake
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MAX_IMAGES = 256
"""Images of one cache that are looked at."""
_LAYOUT_LIMIT = 4 << 20


class NoSuchCache(NotFound):
    """There is no cache at the place named."""


class BadCache(InvalidRequest):
    """A cache option that does not say where the cache is."""


class Place(Protocol):
    """Where a cache's images are."""

    name: str

    def images(self, platform: Platform) -> Iterator[tuple[ImageConfig, Manifest | None]]:
        """Configs, and the manifests naming the layers' blobs (None: the layers are in the store)."""

    def bring(self, lease: Lease, manifest: Manifest, intake: LayerIntake, progress: Progress) -> None:
        """Feed every layer the intake misses; it is of the first layers of `manifest`."""


class CachedStep(Value):
    """A step that an imported cache has: its history row, its layer's diff ID (None: no layer) and, where it is the
    last of that image, the image's config to the byte."""

    entry: HistoryEntry
    diff_id: DiffID | None
    whole: bytes | None
    take: Callable[[Lease, Progress], None]
    """Brings the layers up to this step into the store."""


class ImportedCaches:
    """Every cache of one build; looked into in the order given."""

    def __init__(self, store: Store, places: Sequence[Place], platform: Platform) -> None:
        self._store = store
        self._known: list[tuple[Place, ImageConfig, Manifest | None]] = []
        self.warnings: list[str] = []
        for place in places:
            try:
                for config, manifest in place.images(platform):
                    self._known.append((place, config, manifest))
            except VeneerError as error:
                # As with docker: a build without its cache is slower and no less right.
                self.warnings.append(f"cache {place.name} cannot be used: {error.message}")

    def __bool__(self) -> bool:
        return bool(self._known)

    def match(self, parent: ImageConfig | None, created_by: str) -> CachedStep | None:
        """The step that comes after `parent` (None: from scratch) and whose history text is `created_by`."""
        rows = parent.history if parent else ()
        layers = parent.diff_ids if parent else ()
        at, below = len(rows), len(layers)
        for place, config, manifest in self._known:
            if len(config.history) <= at or config.history[at].created_by != created_by:
                continue
            if config.history[:at] != rows or config.diff_ids[:below] != layers:
                continue
            entry = config.history[at]
            if not entry.empty_layer and len(config.diff_ids) <= below:
                continue
            count = below if entry.empty_layer else below + 1
            whole = at + 1 == len(config.history) and count == len(config.diff_ids)
            return CachedStep(
                entry,
                None if entry.empty_layer else config.diff_ids[below],
                config.raw if whole else None,
                self._taker(place, config.diff_ids[:count], manifest),
            )
        return None

    def _taker(
        self, place: Place, diff_ids: tuple[DiffID, ...], manifest: Manifest | None
    ) -> Callable[[Lease, Progress], None]:
        def take(lease: Lease, progress: Progress) -> None:
            if manifest is None or not diff_ids:
                return
            part = Manifest.build(manifest.media_type, manifest.config, manifest.layers[: len(diff_ids)])
            with self._store.layers.intake(lease, diff_ids, progress=progress) as intake:
                place.bring(lease, part, intake, progress)
                intake.commit()

        return take


class LocalImage:
    """An image of this store, as classic docker's `--cache-from NAME`."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self._store = store

    def images(self, platform: Platform) -> Iterator[tuple[ImageConfig, Manifest | None]]:
        image = self._store.images.find(self.name)
        if platform.suitability(image.platform) is not None:
            if image.top is not None:
                self._store.layers.ensure(image.top)
            yield image.config, None

    def bring(self, lease: Lease, manifest: Manifest, intake: LayerIntake, progress: Progress) -> None:
        raise AssertionError("the layers of a local image are here")


def _wanted(document: Manifest | Index, read: Callable[[Descriptor], bytes], platform: Platform) -> Iterator[Manifest]:
    """The image manifests below a document that suit the platform."""
    if isinstance(document, Manifest):
        if not document.is_artifact:
            yield document
        return
    for number, child in enumerate(document.images()):
        if number >= MAX_IMAGES:
            raise InvalidManifest(f"more than {MAX_IMAGES} images in one cache")
        if child.platform is not None and platform.suitability(child.platform) is None:
            continue
        parsed = oci.parse(read(child), child.media_type, f"manifest {child.digest}")
        if isinstance(parsed, Manifest) and not parsed.is_artifact:
            yield parsed


def _paired(manifest: Manifest, raw: bytes) -> tuple[ImageConfig, Manifest]:
    config = ImageConfig.parse(raw, f"image config {manifest.config.digest}")
    if len(config.diff_ids) != len(manifest.layers):
        raise InvalidManifest(f"manifest {manifest.digest}: {len(manifest.layers)} layers, "
                              f"but its config has {len(config.diff_ids)} diff IDs")  # fmt: skip
    return config, manifest


class RegistryCache:
    """`type=registry,ref=...`: what a name at a registry stands for."""

    def __init__(self, store: Store, registries: Registries, reference: Reference) -> None:
        self.name = reference.familiar
        self._store = store
        self._registries = registries
        self._reference = reference
        self._registry = registries.registry(reference.registry)

    def images(self, platform: Platform) -> Iterator[tuple[ImageConfig, Manifest | None]]:
        repository = self._reference.repository
        target = str(self._reference.digest or self._reference.tag)
        raw, media_type = self._registry.manifest(repository, target, self._reference)

        def read(child: Descriptor) -> bytes:
            return self._registry.manifest(repository, str(child.digest))[0]

        for manifest in _wanted(oci.parse(raw, media_type, self.name), read, platform):
            yield _paired(manifest, self._registry.blob(repository, manifest.config))

    def bring(self, lease: Lease, manifest: Manifest, intake: LayerIntake, progress: Progress) -> None:
        from veneer.distribution.pull_layers import LayerDownloads

        LayerDownloads(
            self._store, self._registries, lease, [self._registry], self._reference.repository, progress
        ).take_layers(manifest.layers, intake)


def _read(path: Path) -> bytes:
    """A document of a layout, which may be anybody's.  Raises OSError; InvalidManifest for one that is too large."""
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        raw = file.read(_LAYOUT_LIMIT + 1) or b""
    if len(raw) > _LAYOUT_LIMIT:
        raise InvalidManifest(f"{path}: more than {_LAYOUT_LIMIT} bytes are no document")
    return raw


class LayoutCache:
    """`type=local,src=...`: an OCI image layout directory; `tag` chooses one of its names."""

    def __init__(self, store: Store, folder: Path, tag: str = "", digest: str = "") -> None:
        self.name = str(folder)
        self._store = store
        self._folder = folder
        self._tag = tag
        self._digest = digest

    def _blob(self, digest: Digest) -> Path:
        return self._folder / "blobs" / digest.algorithm / digest.hex

    def _read(self, descriptor: Descriptor) -> bytes:
        from veneer.oci.digest import Digest

        path = self._blob(descriptor.digest)
        if descriptor.size > _LAYOUT_LIMIT:
            raise InvalidManifest(f"{path}: a document of {descriptor.size} bytes")
        try:
            raw = _read(path)
        except OSError as error:
            raise NoSuchCache(f"{path}: {(error.strerror or '').lower()}") from None
        if Digest.of(raw) != descriptor.digest:
            raise InvalidManifest(f"{path}: its bytes are not what its digest says")
        return raw

    def images(self, platform: Platform) -> Iterator[tuple[ImageConfig, Manifest | None]]:
        index_file = self._folder / "index.json"
        try:
            raw = _read(index_file)
        except OSError as error:
            raise NoSuchCache(
                f"{index_file}: {(error.strerror or '').lower()}",
                hint="type=local wants the directory that --cache-to type=local wrote",
            ) from None
        index = oci.parse(raw, oci.OCI_INDEX, str(index_file))
        if not isinstance(index, Index):
            raise InvalidManifest(f"{index_file}: not an index")
        for top in index.manifests:
            if self._digest and str(top.digest) != self._digest:
                continue
            if self._tag and top.annotations.get(oci.ANNOTATION_REF_NAME) != self._tag:
                continue
            for manifest in _wanted(oci.parse(self._read(top), top.media_type, str(top.digest)), self._read, platform):
                yield _paired(manifest, self._read(manifest.config))

    def bring(self, lease: Lease, manifest: Manifest, intake: LayerIntake, progress: Progress) -> None:
        for position in intake.missing:
            layer = manifest.layers[position]
            intake.feed(position, self._take(lease, layer), layer.media_type)

    def _take(self, lease: Lease, layer: Descriptor) -> BlobDigest:
        if self._store.blobs.acquire(lease, layer.digest):
            return layer.digest
        try:
            with (
                open(self._blob(layer.digest), "rb") as file,
                self._store.blobs.writer(lease, expect=layer.digest, size=layer.size) as writer,
            ):
                file.seek(writer.offset)
                while not writer.complete and (block := file.read(1 << 20)):
                    writer.write(block)
                return writer.commit()
        except FileNotFoundError:
            raise NoSuchCache(f"{self._folder}: layer {layer.digest} is missing") from None


@contextlib.contextmanager
def opened(store: Store, specs: Sequence[CacheSpec], platform: Platform) -> Iterator[ImportedCaches]:
    """The caches named, ready to be asked; what cannot be used is told in `warnings`.  Raises BadCache."""
    with contextlib.ExitStack() as stack:
        registries: Registries | None = None
        places: list[Place] = []
        for spec in specs:
            options = dict(spec.options)
            if spec.type == "local":
                folder = options.get("src") or options.get("dest", "")
                if not folder:
                    raise BadCache("cache type=local needs src=DIRECTORY")
                places.append(LayoutCache(store, Path(folder), options.get("tag", ""), options.get("digest", "")))
                continue
            name = options.get("ref", "")
            if not name:
                raise BadCache(f"cache type={spec.type} needs ref=NAME")
            reference = Reference.parse(name).tagged()
            if spec.type == "image" or (len(options) == 1 and store.images.named(reference) is not None):
                places.append(LocalImage(store, name))
                continue
            if registries is None:
                from veneer.distribution.client import Registries

                registries = stack.enter_context(Registries(store.config))
            places.append(RegistryCache(store, registries, reference))
        yield ImportedCaches(store, places, platform)
