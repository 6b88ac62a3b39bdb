"""What an archive offers is read from its documents alone, and what is wrong with them is named."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veneer.distribution.archive_plan import InvalidArchive, NotInArchive, Plan, blob_name, plan
from veneer.errors import NotFound, VeneerError
from veneer.oci import manifest as manifests
from veneer.oci.digest import BlobDigest, Digest
from veneer.oci.platform import Platform
from veneer.testing import images

BASE = images.image({"a": b"1"})
OTHER = images.image({"a": b"2"}, platform="linux/arm64")


class Members:
    """An archive of documents only."""

    what = "archive.tar"

    def __init__(self, **members: bytes) -> None:
        self.members = dict(members)

    def put(self, name: str, data: bytes) -> Members:
        self.members[name] = data
        return self

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def read(self, name: str) -> bytes:
        if name not in self.members:
            raise NotInArchive(f"{self.what}: {name} is not in the archive")
        return self.members[name]


def docker(entries: object, *samples: images.SampleImage) -> Members:
    members = Members().put("manifest.json", json.dumps(entries).encode())
    for sample in samples:
        members.put(f"{sample.image_id.hex}.json", sample.config)
    return members


def entry(sample: images.SampleImage, **more: Any) -> dict[str, Any]:
    layers = [f"{n}/layer.tar" for n in range(len(sample.layers))]
    return {"Config": f"{sample.image_id.hex}.json", "RepoTags": ["app:1"], "Layers": layers} | more


def layout(*children: dict[str, Any], samples: tuple[images.SampleImage, ...] = (BASE,)) -> Members:
    document = {"schemaVersion": 2, "manifests": list(children)}
    members = Members().put("index.json", json.dumps(document).encode())
    for sample in samples:
        for digest, data in {**sample.blobs(), sample.digest: sample.manifest.raw}.items():
            members.put(blob_name(digest), data)
    return members


def named(sample: images.SampleImage, **annotations: str) -> dict[str, Any]:
    return sample.manifest.descriptor.to_json() | {"annotations": annotations}


def names(found: Plan) -> list[list[str]]:
    return [[reference.familiar for reference in image.references] for image in found.images]


def test_a_docker_archive_names_config_layers_tags_and_parent() -> None:
    [image] = plan(docker([entry(BASE, Parent=str(OTHER.image_id))], BASE)).images
    assert image.config.image_id == BASE.image_id
    assert image.layers == ("0/layer.tar",)
    assert [reference.familiar for reference in image.references] == ["app:1"]
    assert image.parent == OTHER.image_id
    assert image.manifest is None


def test_a_layout_names_images_by_their_annotations() -> None:
    found = plan(layout(named(BASE, **{manifests.ANNOTATION_IMAGE_NAME: "docker.io/library/app:1"})))
    assert names(found) == [["app:1"]]
    assert found.images[0].manifest == BASE.manifest


@pytest.mark.parametrize(
    ("text", "expected"),
    [("host:5000/app:1", ["host:5000/app:1"]), ("app:1", ["app:1"]), ("latest", []), ("1.0", []), ("!!:!!", [])],
)
def test_a_bare_tag_is_no_name(text: str, expected: list[str]) -> None:
    assert names(plan(layout(named(BASE, **{manifests.ANNOTATION_REF_NAME: text})))) == [expected]


def test_both_layouts_together_keep_the_manifest_and_add_names() -> None:
    members = layout(named(BASE))
    config = blob_name(BlobDigest(Digest(BASE.image_id)))
    members.put("manifest.json", json.dumps([entry(BASE, Config=config)]).encode())
    found = plan(members)
    assert names(found) == [["app:1"]]
    assert found.images[0].manifest == BASE.manifest


def test_an_index_with_all_its_platforms_is_kept_whole() -> None:
    listed = images.index(BASE, OTHER)
    child = listed.descriptor.to_json() | {"annotations": {manifests.ANNOTATION_IMAGE_NAME: "app:1"}}
    members = layout(child, samples=(BASE, OTHER)).put(blob_name(listed.digest), listed.raw)
    found = plan(members)
    assert [image.config.image_id for image in found.images] == [BASE.image_id, OTHER.image_id]
    [index] = found.indexes
    assert index.index.raw == listed.raw
    assert names(found) == [["app:1"], []]
    one = plan(members, Platform.parse("linux/arm64"))
    assert [image.config.image_id for image in one.images] == [OTHER.image_id]
    assert names(one) == [["app:1"]]


def test_an_index_with_one_platform_here_gives_that_one() -> None:
    listed = images.index(BASE, OTHER)
    members = layout(listed.descriptor.to_json(), samples=(OTHER,)).put(blob_name(listed.digest), listed.raw)
    found = plan(members)
    assert [image.config.image_id for image in found.images] == [OTHER.image_id]
    assert found.indexes == []


def test_a_platform_nothing_is_for_is_named() -> None:
    with pytest.raises(NotFound, match="linux/s390x"):
        plan(docker([entry(BASE)], BASE), Platform.parse("linux/s390x"))


def nested_index() -> Members:
    members = layout()
    child = BASE.manifest.descriptor
    for _ in range(6):
        outer = manifests.Index.build(manifests.OCI_INDEX, (child,))
        members.put(blob_name(outer.digest), outer.raw)
        child = outer.descriptor
    for digest, data in {**BASE.blobs(), BASE.digest: BASE.manifest.raw}.items():
        members.put(blob_name(digest), data)
    return members.put("index.json", json.dumps({"schemaVersion": 2, "manifests": [child.to_json()]}).encode())


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (Members(), "neither manifest.json nor index.json"),
        (docker({}), "list of objects"),
        (docker([1]), "list of objects"),
        (docker([entry(BASE)]), "not in the archive"),
        (docker([entry(BASE, Layers=[])], BASE), "layers length mismatch: expected 1, got 0"),
        (docker([entry(BASE, Layers="x")], BASE), "Layers must be a list"),
        (docker([entry(BASE, Layers=["../../etc/shadow"])], BASE), "is no member name"),
        (docker([entry(BASE, Config="../../etc/passwd")], BASE), "is no member name"),
        (docker([entry(BASE, Config=None)], BASE), "is no member name"),
        (docker([entry(BASE, RepoTags=["app"])], BASE), "invalid tag"),
        (docker([entry(BASE, RepoTags=["App:1"])], BASE), "invalid reference format"),
        (docker([entry(BASE, RepoTags=[f"app@{BASE.image_id}"])], BASE), "invalid tag"),
        (docker([entry(BASE, RepoTags="app:1")], BASE), "RepoTags must be a list"),
        (docker([entry(BASE, Parent="../x")], BASE), "Parent: invalid digest"),
        (docker([entry(BASE)] * 10_001, BASE), "lists 10001 images"),
        (Members().put("manifest.json", b"[" * 200), "nested deeper"),
        (Members().put("index.json", BASE.manifest.raw), "calls itself"),
        (layout(named(BASE), samples=()), "not in the archive"),
        (layout(named(BASE)).put(blob_name(BASE.digest), b"{}"), "its bytes have digest"),
        (layout(named(BASE)).put(blob_name(Digest(BASE.image_id)), b"{}"), "its bytes have digest"),
        (nested_index(), "nested deeper than"),
    ],
)
def test_what_is_wrong_is_named(members: Members, reason: str) -> None:
    with pytest.raises(VeneerError, match=reason):
        plan(members)


def test_an_artifact_is_told_from_an_image() -> None:
    config = manifests.Descriptor("application/spdx+json", BlobDigest(Digest.of(b"x")), 1)
    artifact = manifests.Manifest.build(manifests.OCI_MANIFEST, config, ())
    members = layout(artifact.descriptor.to_json(), samples=()).put(blob_name(artifact.digest), artifact.raw)
    with pytest.raises(InvalidArchive, match="an artifact"):
        plan(members)
