"""Descriptors, manifests and indexes: read-only views over raw bytes.

The raw bytes are the truth: digests are taken of them, they are what is stored and sent; the parsed fields
are for reading only.  Source: OCI image-spec manifest.md, image-index.md, descriptor.md and Docker's
"Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from veneer.errors import InvalidRequest, NotFound, Unsupported
from veneer.oci import strictjson
from veneer.oci.digest import BlobDigest, Digest, InvalidDigest
from veneer.oci.image import MAX_LAYERS
from veneer.oci.platform import Platform
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})
CONFIG_TYPES = frozenset({OCI_CONFIG, DOCKER_CONFIG})
ACCEPT = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
"""What to ask a registry for, in one Accept header."""

ANNOTATION_REF_NAME = "org.opencontainers.image.ref.name"
ANNOTATION_IMAGE_NAME = "io.containerd.image.name"
ANNOTATION_ATTESTATION = "vnd.docker.reference.type"

MAX_CHILDREN = 1000


class InvalidManifest(InvalidRequest):
    """A manifest or index that breaks its specification or can be read two ways."""


class NoMatchingPlatform(NotFound):
    """An index that holds nothing for the platform asked for."""


class Descriptor(Value):
    """A typed pointer to bytes: what they are, their digest, their exact size in bytes."""

    __slots__ = ()
    media_type: str
    digest: BlobDigest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = MappingProxyType({})
    urls: tuple[str, ...] = ()
    artifact_type: str = ""

    @classmethod
    def from_json(cls, document: object, what: str) -> Descriptor:
        """Read one descriptor; `what` names the document in errors.  Raises InvalidManifest."""
        if not isinstance(document, dict):
            raise InvalidManifest(f"{what}: a descriptor must be an object")
        try:
            digest = BlobDigest(Digest.parse(document.get("digest")))
        except InvalidDigest as error:
            raise InvalidManifest(f"{what}: {error.message}") from None
        size, media_type = document.get("size"), document.get("mediaType", "")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 62:
            raise InvalidManifest(f"{what}: {digest}: size {str(size)[:40]} is no byte count")
        platform, urls = document.get("platform"), document.get("urls")
        return cls(
            media_type=media_type if isinstance(media_type, str) else "",
            digest=digest,
            size=size,
            platform=Platform.from_json(platform) if isinstance(platform, dict) else None,
            annotations=_annotations(document),
            urls=tuple(url for url in urls if isinstance(url, str)) if isinstance(urls, list) else (),
            artifact_type=str(document.get("artifactType") or ""),
        )

    def to_json(self) -> dict[str, Any]:
        """The descriptor as JSON, keys in the order Docker writes them, empty ones left out."""
        document: dict[str, Any] = {"mediaType": self.media_type, "size": self.size, "digest": str(self.digest)}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.urls:
            document["urls"] = list(self.urls)
        if self.platform is not None:
            platform = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            if self.platform.os_version:
                platform["os.version"] = self.platform.os_version
            document["platform"] = platform
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        return document

    @property
    def is_index(self) -> bool:
        return self.media_type in INDEX_TYPES

    @property
    def is_plain_layer(self) -> bool:
        """Whether it says to be a layer that is not compressed."""
        return self.media_type in (OCI_LAYER, DOCKER_LAYER)

    @property
    def is_foreign(self) -> bool:
        """A layer its vendor serves from elsewhere (`urls`); registries need not hold it."""
        return "foreign" in self.media_type or "nondistributable" in self.media_type

    @property
    def is_attestation(self) -> bool:
        """A child of an index that describes another child (provenance, SBOM); never an image to run."""
        return ANNOTATION_ATTESTATION in self.annotations or (self.platform is not None and self.platform.unknown)


def _annotations(document: dict[str, Any]) -> dict[str, str]:
    found = document.get("annotations")
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


class Manifest(Value):
    """One image (or artifact) for one platform.  `layers` has the base layer first."""

    __slots__ = ()
    raw: bytes
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]
    artifact_type: str
    subject: Descriptor | None

    @property
    def digest(self) -> BlobDigest:
        return BlobDigest(Digest.of(self.raw))

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))

    @property
    def is_artifact(self) -> bool:
        """True where the config is no image config, so that there is nothing to unpack or run."""
        return self.config.media_type not in CONFIG_TYPES

    @classmethod
    def build(cls, media_type: str, config: Descriptor, layers: tuple[Descriptor, ...],
              annotations: dict[str, str] | None = None) -> Manifest:  # fmt: skip
        """Write a new manifest of `media_type` (OCI_MANIFEST or DOCKER_MANIFEST) over config and layers."""
        document: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": media_type,
            "config": config.to_json(), "layers": [layer.to_json() for layer in layers],
        }  # fmt: skip
        if annotations:
            document["annotations"] = annotations
        return cls(strictjson.dumps(document), media_type, config, layers, dict(annotations or {}), "", None)


class Index(Value):
    """Several manifests under one name, one per platform, plus what is attached to them."""

    __slots__ = ()
    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: dict[str, str]

    @property
    def digest(self) -> BlobDigest:
        return BlobDigest(Digest.of(self.raw))

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))

    @classmethod
    def build(cls, media_type: str, manifests: tuple[Descriptor, ...],
              annotations: dict[str, str] | None = None) -> Index:  # fmt: skip
        """Write a new index of `media_type` (OCI_INDEX or DOCKER_LIST) over `manifests`."""
        document: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": media_type, "manifests": [child.to_json() for child in manifests],
        }  # fmt: skip
        if annotations:
            document["annotations"] = annotations
        return cls(strictjson.dumps(document), media_type, manifests, dict(annotations or {}))

    def images(self) -> Iterator[Descriptor]:
        """The children that are images: no attestations, no unknown platforms."""
        return (child for child in self.manifests if not child.is_attestation)

    def choose(self, wanted: Platform) -> Descriptor:
        """The child that runs best on `wanted`.  Raises NoMatchingPlatform, naming what there is."""
        best: tuple[int, int, Descriptor] | None = None
        for position, child in enumerate(self.images()):
            # A child without a platform is taken last: old indexes of one image have none.
            rank = 1000 if child.platform is None else wanted.suitability(child.platform)
            if rank is not None and (best is None or (rank, position) < best[:2]):
                best = (rank, position, child)
        if best is None:
            offered = ", ".join(sorted({str(child.platform) for child in self.images()})) or "none"
            raise NoMatchingPlatform(
                f"no matching manifest for {wanted} in the manifest list entries",
                hint=f"this name has: {offered}; choose with --platform",
            )
        return best[2]


def parse(raw: bytes, content_type: str = "", what: str = "manifest") -> Manifest | Index:
    """Read a manifest or an index; `content_type` is what the sender called it ("" if it said nothing).

    Raises InvalidManifest for anything ambiguous (media type and content type differ, both `layers` and
    `manifests`) and Unsupported for schema 1.
    """
    document = strictjson.loads(raw, what)
    content_type = content_type.partition(";")[0].strip()
    declared = document.get("mediaType", "")
    if not isinstance(declared, str):
        raise InvalidManifest(f"{what}: mediaType must be a text")
    if "fsLayers" in document or document.get("schemaVersion") == 1 or content_type in (SCHEMA1, SCHEMA1_SIGNED):
        raise Unsupported(f"{what}: schema 1 manifests are not supported",
                          hint="have its owner push it again with a client of 2017 or later")  # fmt: skip
    if document.get("schemaVersion") != 2:
        raise InvalidManifest(f"{what}: schemaVersion must be 2")
    known = MANIFEST_TYPES | INDEX_TYPES
    if declared and content_type in known and declared != content_type:
        raise InvalidManifest(f"{what}: sent as {content_type} but calls itself {declared[:120]}")
    has_layers = "layers" in document or "config" in document
    has_children = "manifests" in document
    if has_layers and has_children:
        raise InvalidManifest(f"{what}: both an image (layers) and an index (manifests)")
    implied = OCI_INDEX if has_children else OCI_MANIFEST
    media_type = declared or (content_type if content_type in known else implied)
    if media_type not in known:
        raise Unsupported(f"{what}: media type {media_type[:120]!r} is not an image manifest or index")
    if (media_type in INDEX_TYPES) != has_children:
        raise InvalidManifest(f"{what}: media type {media_type} does not fit its keys")
    return _index(raw, media_type, document, what) if has_children else _manifest(raw, media_type, document, what)


def _manifest(raw: bytes, media_type: str, document: dict[str, Any], what: str) -> Manifest:
    layers = document.get("layers")
    if not isinstance(layers, list):
        raise InvalidManifest(f"{what}: layers must be a list")
    if len(layers) > MAX_LAYERS:
        raise InvalidManifest(f"{what}: {len(layers)} layers, more than the {MAX_LAYERS} allowed")
    subject = document.get("subject")
    return Manifest(
        raw=raw,
        media_type=media_type,
        config=Descriptor.from_json(document.get("config"), f"{what}: config"),
        layers=tuple(Descriptor.from_json(layer, f"{what}: layer {n}") for n, layer in enumerate(layers)),
        annotations=_annotations(document),
        artifact_type=str(document.get("artifactType") or ""),
        subject=Descriptor.from_json(subject, f"{what}: subject") if isinstance(subject, dict) else None,
    )


def _index(raw: bytes, media_type: str, document: dict[str, Any], what: str) -> Index:
    children = document["manifests"]
    if not isinstance(children, list):
        raise InvalidManifest(f"{what}: manifests must be a list")
    if len(children) > MAX_CHILDREN:
        raise InvalidManifest(f"{what}: {len(children)} children, more than the {MAX_CHILDREN} allowed")
    descriptors = tuple(Descriptor.from_json(child, f"{what}: child {n}") for n, child in enumerate(children))
    return Index(raw, media_type, descriptors, _annotations(document))
