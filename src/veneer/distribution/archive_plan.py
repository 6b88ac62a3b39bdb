"""What an archive offers: read from its small documents alone, before any layer is touched.

Two layouts are understood, alone or together in one archive: Docker's (`manifest.json` names a config file and
layer files) and OCI's (`index.json` names manifests by digest).  Where both are there the OCI manifests are kept
byte for byte, and Docker's file adds names and Parent links.
Source: moby image/tarexport/load.go; OCI image-spec image-layout.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from veneer.errors import InvalidRequest, NotFound
from veneer.oci import manifest as manifests
from veneer.oci import strictjson
from veneer.oci.digest import BlobDigest, Digest, ImageID, InvalidDigest
from veneer.oci.image import ImageConfig
from veneer.oci.manifest import Descriptor, Index, Manifest
from veneer.oci.platform import Platform, host
from veneer.oci.reference import InvalidReference, Reference

MAX_IMAGES = 10_000
MAX_INDEX_DEPTH = 4
_ENGINES = ("engine-id", "image/overlay2/repositories.json", "overlay-images/images.json", "vfs-images/images.json")
"""Files of the data roots of docker and podman, which are no archives."""
MAX_NAMES = 10_000
"""Names that one archive may give; each is a durable write."""
MAX_DOCUMENTS = 32 << 20
"""Bytes of an archive's documents, one read twice counted twice: indexes that name each other a thousandfold end."""


class InvalidArchive(InvalidRequest):
    """An archive that is neither layout, or breaks its own."""


class NotInArchive(NotFound):
    """A member the archive's documents name is not in it."""


class Documents(Protocol):
    """The members of an archive, by name; all names are relative and clean."""

    what: str

    def __contains__(self, name: object) -> bool: ...
    def read(self, name: str) -> bytes:
        """A whole small member.  Raises NotInArchive, InvalidArchive if it is no file or too large."""
        ...


@dataclass
class PlannedImage:
    """One image of an archive.

    `layers` are member names, base first; `descriptors` the same layers as the manifest describes them (empty
    without a manifest).  `parent` is the image ID the archive gives as Parent.
    """

    config: ImageConfig
    layers: tuple[str, ...]
    manifest: Manifest | None = None
    references: list[Reference] = field(default_factory=list)
    parent: ImageID | None = None

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        return self.manifest.layers if self.manifest else ()


@dataclass(frozen=True)
class PlannedIndex:
    """A name that stands for several platforms, every one of which is in the archive."""

    index: Index
    children: tuple[BlobDigest, ...]
    references: tuple[Reference, ...]


@dataclass
class Plan:
    """Every image of an archive in its order, and the multi-platform names above them."""

    images: list[PlannedImage]
    indexes: list[PlannedIndex]


class _Bounded:
    """An archive's documents, as long as there are not too many."""

    def __init__(self, documents: Documents) -> None:
        self.what = documents.what
        self._documents = documents
        self._left = MAX_DOCUMENTS

    def __contains__(self, name: object) -> bool:
        return name in self._documents

    def read(self, name: str) -> bytes:
        raw = self._documents.read(name)
        self._left -= len(raw) + 1024
        if self._left < 0:
            raise InvalidArchive(f"{self.what}: its documents take more than {MAX_DOCUMENTS} bytes to read")
        return raw


def blob_name(digest: Digest) -> str:
    """The member that holds a blob in an OCI layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def plan(documents: Documents, platform: Platform | None = None) -> Plan:
    """Read the archive's documents; `platform` keeps only what runs there.

    Raises InvalidArchive or NotInArchive, naming the member.
    """
    found = Plan([], [])
    bounded = _Bounded(documents)
    if "index.json" in documents:
        _OciReader(bounded, found, platform).read()
    if "manifest.json" in documents:
        _add_docker(bounded, found, platform)
    elif "index.json" not in documents:
        wanted = "an archive of `docker save` or an OCI layout is wanted; "
        engine = any(name in documents for name in _ENGINES)
        raise InvalidArchive(
            f"{documents.what}: neither manifest.json nor index.json in it",
            hint=wanted + ("this is an engine's data root: its own `save` makes an archive of an image, and "
                           "`veneer import-store` takes its images over" if engine
                           else "a root file system goes in with `veneer import`"),
        )  # fmt: skip
    if not found.images and platform is not None:
        raise NotFound(f"{documents.what}: no image for {platform} in it")
    return found


class _OciReader:
    def __init__(self, documents: Documents, found: Plan, platform: Platform | None) -> None:
        self.documents = documents
        self.found = found
        self.platform = platform
        self.by_manifest: dict[BlobDigest, PlannedImage] = {}

    def read(self) -> None:
        raw = self.documents.read("index.json")
        index = manifests.parse(raw, manifests.OCI_INDEX, f"{self.documents.what}: index.json")
        if not isinstance(index, Index):
            raise InvalidArchive(f"{self.documents.what}: index.json is no index")
        for child in index.manifests:
            references = [reference] if (reference := _annotated_name(child.annotations)) else []
            self._take(child, references, 0)

    def _document(self, descriptor: Descriptor) -> Manifest | Index:
        what = f"{self.documents.what}: {descriptor.digest}"
        raw = self.documents.read(blob_name(descriptor.digest))
        if Digest.of(raw) != descriptor.digest:
            raise InvalidArchive(f"{what}: its bytes have digest {Digest.of(raw)}")
        return manifests.parse(raw, descriptor.media_type, what)

    def _take(self, child: Descriptor, references: list[Reference], depth: int) -> None:
        if depth > MAX_INDEX_DEPTH:
            raise InvalidArchive(f"{self.documents.what}: indexes nested deeper than {MAX_INDEX_DEPTH}")
        if child.is_attestation:
            return
        document = self._document(child)
        if isinstance(document, Manifest):
            self._image(child, document, references)
            return
        here = [each for each in document.images() if self._is_complete(each)]
        if depth == 0 and self.platform is None and len(here) == len(list(document.images())) > 1:
            for each in here:
                self._take(each, [], depth + 1)
            children = tuple(each.digest for each in here if each.digest in self.by_manifest)
            self.found.indexes.append(PlannedIndex(document, children, tuple(references)))
            self._name_best(document, here, references)
            return
        wanted = self.platform or host()
        fitting = Index(b"", document.media_type, tuple(here), {}) if here else document
        chosen = here[0] if len(here) == 1 and self.platform is None else fitting.choose(wanted)
        self._take(chosen, references, depth + 1)

    def _name_best(self, document: Index, here: list[Descriptor], references: list[Reference]) -> None:
        """The name also means the image of this host's platform, or the first one where none fits."""
        fits = [each for each in here if each.platform and host().suitability(each.platform) is not None]
        best = document.choose(host()) if fits else here[0]
        if best.digest in self.by_manifest:
            self.by_manifest[best.digest].references.extend(references)

    def _is_complete(self, descriptor: Descriptor) -> bool:
        return blob_name(descriptor.digest) in self.documents

    def _image(self, child: Descriptor, document: Manifest, references: list[Reference]) -> None:
        if document.is_artifact:
            raise InvalidArchive(
                f"{self.documents.what}: {child.digest}: an artifact ({document.config.media_type[:80]}), not an image"
            )
        if image := self.by_manifest.get(child.digest):
            image.references.extend(references)
            return
        config = _config(self.documents, blob_name(document.config.digest), document.config.digest)
        if self.platform is not None and self.platform.suitability(config.platform) is None:
            return
        layers = tuple(blob_name(layer.digest) for layer in document.layers)
        image = PlannedImage(config, layers, document, list(references))
        self.by_manifest[child.digest] = image
        self.found.images.append(image)
        check_layers(self.documents, image)


def _annotated_name(annotations: Mapping[str, str]) -> Reference | None:
    """The image name an index gives a manifest; a bare tag is none, for it says nothing of the repository."""
    for key in (manifests.ANNOTATION_IMAGE_NAME, manifests.ANNOTATION_REF_NAME):
        text = annotations.get(key, "")
        if key == manifests.ANNOTATION_IMAGE_NAME or "/" in text or ":" in text:
            try:
                reference = Reference.parse(text) if text else None
            except InvalidReference:
                continue
            if reference is not None and reference.digest is None:
                return reference.tagged()
    return None


def _config(documents: Documents, name: str, expect: Digest | None) -> ImageConfig:
    raw = documents.read(name)
    if expect is not None and Digest.of(raw) != expect:
        raise InvalidArchive(f"{documents.what}: {name}: its bytes have digest {Digest.of(raw)}")
    return ImageConfig.parse(raw, f"{documents.what}: {name}")


def check_layers(documents: Documents, image: PlannedImage) -> None:
    """As many layer files as diff IDs.  Raises InvalidArchive."""
    if len(image.layers) != len(image.config.diff_ids):
        raise InvalidArchive(
            f"{documents.what}: invalid manifest, layers length mismatch: "
            f"expected {len(image.config.diff_ids)}, got {len(image.layers)}"
        )


def _add_docker(documents: Documents, found: Plan, platform: Platform | None) -> None:
    known = {image.config.image_id: image for image in found.images}
    named = {(image.config.image_id, reference) for image in found.images for reference in image.references}
    for entry in _docker_entries(documents):
        config_name = _member(entry.get("Config"), documents)
        config = _config(documents, config_name, None)
        if platform is not None and platform.suitability(config.platform) is None:
            continue
        image = known.get(config.image_id)
        if image is None:
            layers = entry.get("Layers") or []
            if not isinstance(layers, list):
                raise InvalidArchive(f"{documents.what}: manifest.json: Layers must be a list")
            image = PlannedImage(config, tuple(_member(layer, documents) for layer in layers))
            check_layers(documents, image)
            known[config.image_id] = image
            found.images.append(image)
        for reference in _repo_tags(entry, documents):
            if (config.image_id, reference) not in named:
                named.add((config.image_id, reference))
                image.references.append(reference)
            if len(named) > MAX_NAMES:
                raise InvalidArchive(f"{documents.what}: manifest.json gives more than {MAX_NAMES} names")
        if entry.get("Parent"):
            try:
                image.parent = ImageID(Digest.parse(entry["Parent"]))
            except InvalidDigest as error:
                raise InvalidArchive(f"{documents.what}: manifest.json: Parent: {error.message}") from None


def _docker_entries(documents: Documents) -> Iterator[dict[str, Any]]:
    raw = documents.read("manifest.json")
    entries = strictjson.loads_any(raw, f"{documents.what}: manifest.json")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        hint = "`skopeo copy dir:... oci:...` makes a layout of such a directory" if "version" in documents else ""
        raise InvalidArchive(f"{documents.what}: manifest.json must be a list of objects", hint=hint)
    if len(entries) > MAX_IMAGES:
        raise InvalidArchive(f"{documents.what}: manifest.json lists {len(entries)} images")
    yield from entries


def _member(name: object, documents: Documents) -> str:
    """A member name as the archive's own index has it: no `./`, no absolute paths, no way out."""
    text = name if isinstance(name, str) else ""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in text or len(text) > 4096:
        raise InvalidArchive(f"{documents.what}: manifest.json: {json.dumps(name)[:120]} is no member name")
    return "/".join(parts)


def _repo_tags(entry: dict[str, Any], documents: Documents) -> Iterator[Reference]:
    tags = entry.get("RepoTags") or []
    if not isinstance(tags, list):
        raise InvalidArchive(f"{documents.what}: manifest.json: RepoTags must be a list")
    for text in tags:
        try:
            reference = Reference.parse(text if isinstance(text, str) else "")
        except InvalidReference as error:
            raise InvalidArchive(f"{documents.what}: manifest.json: {error.message}") from None
        if reference.tag is None or reference.digest is not None:
            raise InvalidArchive(f"{documents.what}: manifest.json: invalid tag {str(text)[:200]!r}")
        yield reference
