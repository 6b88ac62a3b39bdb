"""The data root of containerd (Kubernetes' nodes, nerdctl, docker with the containerd image store).

Images are what their manifests say, which lie with configs and compressed layers in the content store; an unpacked
layer is a snapshot that is called by its chain ID.  Several namespaces may have the same image, each its own snapshots.
Sources: containerd plugins/content/local/store.go, core/unpack/unpacker.go, core/images/image.go.
"""

from __future__ import annotations

from veneer.distribution.foreign.containerd_rows import METADATA, preference, rows
from veneer.distribution.foreign.root import (
    ForeignContainer,
    ForeignDamaged,
    ForeignImage,
    ForeignLayer,
    ForeignRoot,
    noted,
    ordered,
)
from veneer.oci import manifest as manifests
from veneer.oci.digest import ChainID, Digest
from veneer.oci.image import ImageConfig
from veneer.oci.manifest import Index, Manifest
from veneer.oci.platform import host
from veneer.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.distribution.foreign.containerd_rows import ImageRow, SnapshotRow
    from veneer.distribution.foreign.reading import Reading
    from veneer.oci.digest import ImageID
    from veneer.oci.manifest import Descriptor

    _Found = dict[Digest, tuple[Manifest, ImageConfig]]

_PLACES = ("", "containerd/daemon/")
"""Where in a directory the root is: the second is what a dockerd without a containerd beside it starts its own with."""
_DEEPEST = 4
_BARE = "content"
"""The driver of a layer that is there as a tar alone."""


def read(reading: Reading) -> ForeignRoot | None:
    """What containerd has in a directory, in all its namespaces; None if it is not its.

    Raises ForeignDamaged, ForeignDenied, ForeignBusy.
    """
    for below in _PLACES:
        if reading.has(below + METADATA):
            return _Containerd(reading, below).root()
    return None


class _Containerd:
    def __init__(self, reading: Reading, below: str) -> None:
        self._reading = reading
        self._path = reading.root / below
        self._content = f"{below}io.containerd.content.v1.content/blobs/"
        self._faults: list[str] = []
        found = rows(reading, below, self._faults)
        self._targets = found.images
        self._snapshots: dict[str, list[SnapshotRow]] = {}
        for each in found.snapshots:
            self._snapshots.setdefault(each.key, []).append(each)
        self._read: dict[Digest, _Found] = {}
        self._images: dict[ImageID, ForeignImage] = {}
        self._named: dict[Reference, tuple[ImageID, str]] = {}
        self._layers: dict[ChainID, ForeignLayer] = {}

    def root(self) -> ForeignRoot:
        for row in self._targets:
            with noted(self._faults):
                self._take(row)
        layers = ordered(self._layers.values(), self._faults)
        drivers = sorted({layer.driver for layer in layers} - {_BARE})
        return ForeignRoot(
            self._path, f"containerd's {', '.join(drivers) or 'content store'}", layers, tuple(self._images.values()),
            tuple(self._others()), tuple(dict.fromkeys(self._faults)),
        )  # fmt: skip

    def _take(self, row: ImageRow) -> None:
        """One name and all that it stands for; an index stands for each platform that is here, and names the first."""
        reference = self._reference(row.name)
        for manifest, config in self._standing(Digest.parse(row.digest), row.media_type, 0).values():
            known = self._images.get(config.image_id)
            kept = known if known and known.manifest else self._image(manifest, config)
            names = known.references if known else ()
            if reference is not None and reference not in names and self._means(reference, config.image_id, row):
                names = (*names, reference)
            reference = None
            self._images[config.image_id] = kept.replaced(references=names)
            for layer in self._stack(manifest, config):
                there = self._layers.get(layer.chain_id)
                if there is None or (there.blob is None and layer.blob is not None):
                    self._layers[layer.chain_id] = layer

    def _reference(self, name: str) -> Reference | None:
        """The name as one with a tag; None for those by which containerd only keeps what it has."""
        found = None
        if not name.startswith("sha256:"):
            with noted(self._faults):
                found = Reference.parse(name).tagged()
        return found if found is not None and found.digest is None else None

    def _means(self, reference: Reference, image: ImageID, row: ImageRow) -> bool:
        """Whether the name is the image's here; namespaces may each give it to another one, and the first has it."""
        other, namespace = self._named.setdefault(reference, (image, row.namespace))
        if other != image:
            self._faults.append(f"the name {reference.familiar} of image {image} in namespace {row.namespace}, for it "
                                f"is that of {other} in {namespace}: give the ID")  # fmt: skip
        return other == image

    def _standing(self, digest: Digest, media_type: str, depth: int) -> _Found:
        """The images that a manifest or an index stands for and that are here, what this host would run first."""
        if digest in self._read:
            return self._read[digest]
        found: _Found = {}
        self._read[digest] = {}  # should it lead to itself
        if depth > _DEEPEST:
            raise ForeignDamaged(f"{self._path}: indexes nested deeper than {_DEEPEST}")
        document = manifests.parse(self._blob(digest), media_type, f"{self._path}: {digest}")
        if isinstance(document, Index):
            here = [each for each in document.images() if self._reading.has(self._name(each.digest))]
            for each in sorted(here, key=_strangeness):
                for inner, image in self._standing(each.digest, each.media_type, depth + 1).items():
                    # Of platforms that were not fetched there may be the manifests.
                    if self._is_here(*image):
                        found.setdefault(inner, image)
        elif not document.is_artifact and (depth == 0 or self._reading.has(self._name(document.config.digest))):
            config = ImageConfig.parse(self._blob(document.config.digest), f"{self._path}: {document.config.digest}")
            if len(config.diff_ids) != len(document.layers):
                raise ForeignDamaged(
                    f"{self._path}: {digest} has {len(document.layers)} layers, its config {len(config.diff_ids)}"
                )
            found[digest] = (document, config)
        self._read[digest] = found
        return found

    def _is_here(self, manifest: Manifest, config: ImageConfig) -> bool:
        return all(
            chain in self._snapshots or self._reading.has(self._name(layer.digest))
            for chain, layer in zip(config.chain_ids, manifest.layers, strict=True)
        )

    def _image(self, manifest: Manifest, config: ImageConfig) -> ForeignImage:
        names = [self._name(layer.digest) for layer in manifest.layers]
        if not all(self._reading.has(name) for name in names):
            # Kubernetes' nodes may be told to drop what is unpacked.
            return ForeignImage(config, ())
        return ForeignImage(config, (), None, manifest, tuple(self._reading.root / name for name in names))

    def _stack(self, manifest: Manifest, config: ImageConfig) -> Iterator[ForeignLayer]:
        below: ChainID | None = None
        counted = 0
        for chain, diff_id, layer in zip(config.chain_ids, config.diff_ids, manifest.layers, strict=True):
            name = self._name(layer.digest)
            blob = self._reading.root / name if self._reading.has(name) else None
            unpacked = sorted((row for row in self._snapshots.get(chain, ()) if row.committed), key=preference)
            if unpacked:
                first, *_ = unpacked
                places = [self._reading.root / row.directory for row in unpacked if row.directory]
                # This one counts whole trees.
                size, counted = (first.size - counted, first.size) if first.driver == "native" else (first.size, 0)
                yield ForeignLayer(
                    chain, diff_id, below, size if size > 0 else layer.size, first.driver,
                    str(first.number or first.key), places[0] if places else None, None, blob, tuple(places[1:]),
                )  # fmt: skip
            elif blob is not None:
                yield ForeignLayer(chain, diff_id, below, layer.size, _BARE, layer.digest.hex, None, None, blob)
            else:
                self._faults.append(f"layer {chain} of {config.image_id}, which is neither unpacked nor a tar here")
                return
            below = chain

    def _others(self) -> Iterator[ForeignContainer]:
        """The snapshots that are no layer of an image that is here."""
        for key, found in self._snapshots.items():
            for row in found:
                if row.directory and not (row.committed and key in self._layers):
                    place, own = self._reading.root / row.directory, f"snapshot {row.key} of namespace {row.namespace}"
                    yield ForeignContainer(row.container or row.key, place, "" if row.container else own)

    def _name(self, digest: Digest) -> str:
        return f"{self._content}{digest.algorithm}/{digest.hex}"

    def _blob(self, digest: Digest) -> bytes:
        raw = self._reading.read(self._name(digest))
        actual = Digest.of(raw, digest.algorithm)
        if actual != digest:
            raise ForeignDamaged(f"{self._reading.root / self._name(digest)}: its bytes have digest {actual}")
        return raw


def _strangeness(child: Descriptor) -> int:
    """How far an index's child is from what runs here."""
    fits = host().suitability(child.platform) if child.platform is not None else 1000
    return 2000 if fits is None else fits
