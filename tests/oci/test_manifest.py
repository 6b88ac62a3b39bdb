"""Manifests and indexes: what is read, what is refused, which child is chosen."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veneer.errors import Unsupported, VeneerError
from veneer.oci import manifest
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.manifest import Descriptor, Index, InvalidManifest, Manifest, NoMatchingPlatform
from veneer.oci.platform import Platform
from veneer.oci.strictjson import InvalidDocument


def descriptor(text: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": manifest.OCI_LAYER_GZIP, "digest": str(Digest.of(text.encode())), "size": len(text), **more}


def image(**more: Any) -> dict[str, Any]:
    config = descriptor("config", mediaType=manifest.OCI_CONFIG)
    return {"schemaVersion": 2, "config": config, "layers": [descriptor("one"), descriptor("two")], **more}


def child(name: str, platform: str | None = None, **more: Any) -> dict[str, Any]:
    found = descriptor(name, mediaType=manifest.OCI_MANIFEST, **more)
    if platform:
        system, architecture, *variant = platform.split("/")
        found["platform"] = {"os": system, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
    return found


def index(*children: dict[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": list(children)}


def read(document: object, content_type: str = "") -> Manifest | Index:
    return manifest.parse(json.dumps(document).encode(), content_type)


def test_an_oci_manifest_may_leave_its_media_type_to_the_header() -> None:
    for content_type in ("", manifest.OCI_MANIFEST, manifest.OCI_MANIFEST + "; charset=utf-8", "text/plain"):
        found = read(image(), content_type)
        assert isinstance(found, Manifest)
        assert found.media_type == manifest.OCI_MANIFEST
    assert read(image(), manifest.DOCKER_MANIFEST).media_type == manifest.DOCKER_MANIFEST


def test_the_raw_bytes_are_kept_and_named() -> None:
    raw = json.dumps(image(), indent=7).encode()
    found = manifest.parse(raw)
    assert found.raw is raw
    assert found.digest == Digest.of(raw)


@pytest.mark.parametrize(
    ("document", "content_type", "reason"),
    [
        (image(manifests=[]), "", "both an image"),
        (image(mediaType=manifest.OCI_MANIFEST), manifest.OCI_INDEX, "sent as"),
        (image(mediaType=manifest.OCI_INDEX), "", "does not fit"),
        (image(schemaVersion=3), "", "schemaVersion"),
        (image(layers={}), "", "must be a list"),
        (image(layers=[descriptor("x")] * 1001), "", "more than"),
        (image(layers=[descriptor("x", size=-1)]), "", "no byte count"),
        (image(layers=[descriptor("x", size="9")]), "", "no byte count"),
        (image(layers=[descriptor("x", size=True)]), "", "no byte count"),
        (image(layers=[descriptor("x", digest="sha256:../../x")]), "", "invalid digest"),
        (image(layers=["x"]), "", "must be an object"),
        (image(config=None), "", "must be an object"),
        (image(mediaType=7), "", "must be a text"),
        (index() | {"manifests": {}}, "", "must be a list"),
        (index(*[child("x")] * 1001), "", "more than"),
    ],
)
def test_what_breaks_the_specification_is_refused_with_its_reason(
    document: object, content_type: str, reason: str
) -> None:
    with pytest.raises(InvalidManifest, match=reason):
        read(document, content_type)


def test_schema_1_is_named_and_refused() -> None:
    with pytest.raises(Unsupported, match="schema 1"):
        read({"schemaVersion": 1, "fsLayers": []})
    with pytest.raises(Unsupported, match="schema 1"):
        read(image(), manifest.SCHEMA1_SIGNED)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"schemaVersion":2,"schemaVersion":2}', b"[]", b"nul", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000,
        b'{"a":' * 65 + b"1" + b"}" * 65, b" " * (4 << 20) + b"{}", b'{"size": 1e999, "b": Infinity}',
    ],
)  # fmt: skip
def test_ambiguous_or_monstrous_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidDocument) as caught:
        manifest.parse(raw, what="manifest of acme/app")
    assert "manifest of acme/app" in caught.value.message


def test_brackets_inside_texts_are_not_depth() -> None:
    assert isinstance(read(image(annotations={"a": "[{" * 500 + '\\"'})), Manifest)


def test_the_best_platform_wins_and_attestations_never_do() -> None:
    found = read(
        index(
            child("att", "unknown/unknown", annotations={manifest.ANNOTATION_ATTESTATION: "attestation-manifest"}),
            child("v6", "linux/arm/v6"),
            child("v7", "linux/arm/v7"),
            child("amd", "linux/amd64"),
        )
    )
    assert isinstance(found, Index)
    assert found.choose(Platform.parse("linux/arm/v7")).digest == Digest.of(b"v7")
    assert found.choose(Platform.parse("linux/arm/v8")).digest == Digest.of(b"v7")
    assert found.choose(Platform.parse("linux/arm/v6")).digest == Digest.of(b"v6")
    assert found.choose(Platform.parse("linux/amd64")).digest == Digest.of(b"amd")
    assert len(list(found.images())) == 3
    with pytest.raises(NoMatchingPlatform) as caught:
        found.choose(Platform.parse("linux/s390x"))
    assert "linux/arm/v6" in caught.value.hint
    assert "unknown" not in caught.value.hint


def test_a_child_without_platform_is_the_last_resort() -> None:
    found = read(index(child("bare"), child("amd", "linux/amd64")))
    assert isinstance(found, Index)
    assert found.choose(Platform.parse("linux/amd64")).digest == Digest.of(b"amd")
    assert found.choose(Platform.parse("linux/s390x")).digest == Digest.of(b"bare")


def test_built_documents_read_back_as_built() -> None:
    layer = Descriptor(manifest.OCI_LAYER_GZIP, BlobDigest(Digest.of(b"x")), 1, annotations={"a": "b"}, urls=("u",))
    config = Descriptor(manifest.OCI_CONFIG, BlobDigest(Digest.of(b"c")), 1)
    built = Manifest.build(manifest.OCI_MANIFEST, config, (layer,))
    assert manifest.parse(built.raw) == built
    one = Descriptor(built.media_type, built.digest, len(built.raw), Platform("linux", "arm", "v7"))
    whole = Index.build(manifest.OCI_INDEX, (one,))
    assert manifest.parse(whole.raw) == whole


def test_an_artifact_is_told_from_an_image() -> None:
    found = read(image(config=descriptor("sbom", mediaType="application/spdx+json")))
    assert isinstance(found, Manifest)
    assert found.is_artifact
    plain = read(image())
    assert isinstance(plain, Manifest)
    assert not plain.is_artifact


def test_every_error_is_one_of_ours() -> None:
    for raw in (b"", b"{}", b'{"schemaVersion":2}', b'{"schemaVersion":2,"manifests":null}'):
        with pytest.raises(VeneerError):
            manifest.parse(raw)
