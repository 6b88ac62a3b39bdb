"""Images: names, IDs, parents, and what is listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.shelf import Shelf, diff_id, ref
from veneer.errors import Corrupt, NotFound
from veneer.oci import manifest as oci
from veneer.oci.digest import BlobDigest, Digest, ImageID
from veneer.oci.image import InvalidImageConfig
from veneer.oci.manifest import Descriptor, Index, InvalidManifest, Manifest
from veneer.oci.platform import Platform
from veneer.oci.reference import InvalidReference
from veneer.store.images import AmbiguousID, BadTag, LayerNotStored, NoSuchImage, ParentLoop

NOBODY = "sha256:" + "0" * 64


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path / "root")
    yield made
    made.close()


def test_an_image_is_named_by_the_digest_of_its_config_bytes_as_they_came(shelf: Shelf) -> None:
    config = shelf.config(["a"], labels={"k": "v"}) + b"\n \n"
    with shelf.lease() as lease:
        shelf.layers(lease, ["a"])
        image = shelf.images.add(lease, config)
    assert image.id == Digest.of(config)
    assert image.config.raw == config
    assert shelf.blobs.read(BlobDigest(image.id)) == config


def test_what_images_and_inspect_show_comes_from_the_row(shelf: Shelf) -> None:
    image = shelf.image(
        "base", "app", sizes={"base": 1000, "app": 22}, labels={"a": "ü", "b": ""}, author="ada", variant="v3",
        history=[{"created_by": "x", "comment": "first"}, {"created_by": "y", "comment": "last"}],
    )  # fmt: skip
    top = image.config.top
    shelf.blobs.path(BlobDigest(image.id)).unlink()
    again = shelf.images.get(image.id)
    assert again.size == 1022
    assert again.top == top
    assert again.platform == Platform("linux", "amd64", "v3")
    assert (again.author, again.comment, again.labels) == ("ada", "last", {"a": "ü", "b": ""})
    assert again.created == 1_700_000_001
    assert (again.last_tagged, again.built, again.parent) == (0, False, None)


@pytest.mark.parametrize("created", [None, "0001-01-01T00:00:00Z", "yesterday"])
def test_an_image_that_does_not_say_when_it_was_made_has_created_zero(shelf: Shelf, created: str | None) -> None:
    with shelf.lease() as lease:
        assert shelf.images.add(lease, shelf.config(created=created)).created == 0


def test_an_image_without_layers_has_no_top_and_no_size(shelf: Shelf) -> None:
    image = shelf.image()
    assert (image.top, image.size) == (None, 0)
    manifest = oci.parse(shelf.blobs.read(image.manifest))
    assert isinstance(manifest, Manifest)
    assert manifest.layers == ()


def test_a_config_that_changed_on_the_disk_is_corrupt_not_another_image(shelf: Shelf) -> None:
    image = shelf.image("a")
    path = shelf.blobs.path(image.id)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"amd64", b"amd65"))
    with pytest.raises(Corrupt, match=str(image.id)):
        _ = shelf.images.get(image.id).config


def test_an_image_cannot_come_before_its_layers(shelf: Shelf) -> None:
    with shelf.lease() as lease:
        shelf.layers(lease, ["a"])
        with pytest.raises(LayerNotStored) as caught:
            shelf.images.add(lease, shelf.config(["a", "b"]))
    assert f"layer 2 of 2 is not in the store: diff ID {diff_id('b')}" in caught.value.message
    assert shelf.images.list(all=True) == []


def test_more_history_than_layers_is_refused_with_dockers_words(shelf: Shelf) -> None:
    with (
        shelf.lease() as lease,
        pytest.raises(InvalidImageConfig, match="too many non-empty layers in History section"),
    ):
        shelf.images.add(lease, shelf.config([], history=[{"created_by": "x"}]))


# ---- manifests


def test_without_a_manifest_the_same_one_is_written_every_time(shelf: Shelf, tmp_path: Path) -> None:
    first = shelf.image("a", "b")
    other = Shelf(tmp_path / "other")
    second = other.image("a", "b")
    other.close()
    assert first.manifest == second.manifest
    manifest = oci.parse(shelf.blobs.read(first.manifest))
    assert isinstance(manifest, Manifest)
    assert manifest.media_type == oci.OCI_MANIFEST
    assert manifest.config == Descriptor(oci.OCI_CONFIG, BlobDigest(first.id), len(first.config.raw))
    assert [layer.media_type for layer in manifest.layers] == [oci.OCI_LAYER_GZIP] * 2
    assert all(shelf.blobs.size(layer.digest) == layer.size for layer in manifest.layers)


def test_a_written_manifest_tells_each_layers_compression_by_its_bytes(shelf: Shelf) -> None:
    with shelf.lease() as lease:
        shelf.layers(lease, ["a", "b"])
        zstd = shelf.blobs.put(lease, b"\x28\xb5\x2f\xfd....")
        plain = shelf.blobs.put(lease, b"plain")
        with shelf.catalog.transaction() as connection:
            connection.execute("DELETE FROM blob_diff")
            connection.executemany(
                "INSERT INTO blob_diff VALUES (?, ?, ?, '')",
                [(diff_id("a"), zstd, oci.OCI_LAYER_GZIP), (diff_id("a"), plain, ""), (diff_id("b"), plain, "")],
            )
        image = shelf.images.add(lease, shelf.config(["a", "b"]))
    manifest = oci.parse(shelf.blobs.read(image.manifest))
    assert isinstance(manifest, Manifest)
    assert [(layer.media_type, layer.digest) for layer in manifest.layers] == [
        (oci.OCI_LAYER_ZSTD, zstd),
        (oci.OCI_LAYER, plain),
    ]


def test_a_given_manifest_is_kept_byte_for_byte_and_what_it_names_is_kept_with_it(shelf: Shelf) -> None:
    config = shelf.config(["a"])
    with shelf.lease() as lease:
        shelf.layers(lease, ["a"])
        layer = Descriptor(oci.DOCKER_LAYER_GZIP, BlobDigest(Digest.of(b"elsewhere")), 9)
        raw = b" " + Manifest.build(
            oci.DOCKER_MANIFEST, Descriptor(oci.DOCKER_CONFIG, BlobDigest(Digest.of(config)), len(config)), (layer,)
        ).raw  # fmt: skip
        image = shelf.images.add(lease, config, manifest=raw, manifest_type=oci.DOCKER_MANIFEST)
    assert image.manifest == Digest.of(raw)
    assert shelf.blobs.read(image.manifest) == raw
    assert shelf.catalog.value("SELECT media_type FROM blob WHERE digest = ?", (image.manifest,)) == oci.DOCKER_MANIFEST
    needed = {row[0] for row in shelf.catalog.rows("SELECT child FROM blob_ref WHERE blob = ?", (image.manifest,))}
    twin = Manifest.build(
        oci.OCI_MANIFEST,
        Descriptor(oci.OCI_CONFIG, BlobDigest(Digest.of(config)), len(config)),
        (Descriptor(oci.OCI_LAYER_GZIP, layer.digest, layer.size),),
    )
    assert needed == {str(image.id), str(layer.digest), str(twin.digest)}
    assert shelf.blobs.read(twin.digest) == twin.raw


def test_a_manifest_of_another_image_is_refused(shelf: Shelf) -> None:
    other = shelf.image("a")
    raw = shelf.blobs.read(other.manifest)
    with shelf.lease() as lease:
        with pytest.raises(InvalidManifest, match="its config is"):
            shelf.images.add(lease, shelf.config(["a"], labels={}), manifest=raw)
        with pytest.raises(InvalidManifest, match="an index is no image"):
            shelf.images.add(lease, shelf.config(["a"]), manifest=Index.build(oci.OCI_INDEX, ()).raw)
    short = Manifest.build(oci.OCI_MANIFEST, Descriptor(oci.OCI_CONFIG, BlobDigest(other.id), 1), ())
    with shelf.lease() as lease, pytest.raises(InvalidManifest, match=r"0 layers, but its config .* has 1"):
        shelf.images.add(lease, other.config.raw, manifest=short.raw)


def test_adding_an_image_again_keeps_its_manifest_and_names_and_adds_its_parent(shelf: Shelf) -> None:
    parent = shelf.image("a")
    image = shelf.image("a", "b", tags=["x:1"])
    with shelf.lease() as lease:
        again = shelf.images.add(lease, image.config.raw, parent=parent.id, built=True)
    assert (again.manifest, again.tags, again.added) == (image.manifest, image.tags, image.added)
    assert (again.parent, again.built) == (parent.id, True)
    with shelf.lease() as lease:
        assert shelf.images.add(lease, image.config.raw).parent == parent.id


# ---- names


def test_names_are_found_as_docker_finds_them(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["nginx", "reg.example:5000/team/app:1.2"], digests=[f"nginx@{NOBODY}"])
    for name in (
        "nginx", "nginx:latest", "library/nginx", "docker.io/library/nginx:latest", "index.docker.io/nginx",
        "reg.example:5000/team/app:1.2", f"nginx@{NOBODY}", f"nginx:other@{NOBODY}",
        image.id, image.id.hex, image.id.hex[:12], image.id.hex[:1], image.id[:14],
    ):  # fmt: skip
        assert shelf.images.find(name).id == image.id, name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.99", "nginx:1.99"),
        ("docker.io/library/nginx", "nginx:latest"),
        ("reg.example/a", "reg.example/a:latest"),
        ("0123abcd", "0123abcd:latest"),
        ("sha256:abcd", "sha256:abcd"),
        (NOBODY, NOBODY),
        (NOBODY[7:], NOBODY),
        (f"nope@{NOBODY}", f"nope@{NOBODY}"),
    ],
)
def test_what_is_not_here_is_said_in_dockers_words(shelf: Shelf, name: str, said: str) -> None:
    with pytest.raises(NoSuchImage) as caught:
        shelf.images.find(name)
    assert caught.value.message == f"No such image: {said}"


def test_a_name_that_is_no_name_is_an_invalid_request(shelf: Shelf) -> None:
    with pytest.raises(InvalidReference, match="repository name must be lowercase"):
        shelf.images.find("team/App")


def test_a_beginning_that_several_ids_share_is_refused_with_those_ids(shelf: Shelf) -> None:
    made = [shelf.image("a", labels={"n": str(n)}) for n in range(17)]
    firsts = [image.id.hex[0] for image in made]
    shared = next(first for first in firsts if firsts.count(first) > 1)
    with pytest.raises(AmbiguousID, match=f"Multiple IDs found with provided prefix: {shared}") as caught:
        shelf.images.find(shared)
    assert all(image.id.short in caught.value.hint for image in made if image.id.hex[0] == shared)


def test_a_name_wins_over_the_beginning_of_an_id(shelf: Shelf) -> None:
    by_id = shelf.image("a")
    named = shelf.image("b", tags=[by_id.id.hex[:8]])
    assert shelf.images.find(by_id.id.hex[:8]).id == named.id


def test_a_tag_that_moves_leaves_the_old_image_dangling_and_says_which(shelf: Shelf) -> None:
    old, new = shelf.image("a", tags=["x:1"]), shelf.image("b")
    assert shelf.images.tag(old.id, ref("x:1")) is None
    moved = shelf.images.tag(new.id, ref("x:1"))
    assert moved is not None
    assert (moved.id, moved.tags) == (old.id, ())
    assert [image.id for image in shelf.images.list(filters={"dangling": ["true"]})] == [old.id]
    assert shelf.images.find("x:1").id == new.id


def test_tagging_sets_the_time_unless_it_is_a_pull(shelf: Shelf) -> None:
    image = shelf.image("a")
    shelf.images.tag(image.id, ref("pulled"), stamp=False)
    assert shelf.images.get(image.id).last_tagged == 0
    shelf.images.tag(image.id, ref("tagged"))
    assert shelf.images.get(image.id).last_tagged > 0


def test_names_docker_refuses_are_refused(shelf: Shelf) -> None:
    image = shelf.image("a")
    with pytest.raises(BadTag, match="refusing to create a tag with a digest reference"):
        shelf.images.tag(image.id, ref(f"x@{NOBODY}"))
    with pytest.raises(BadTag, match="refusing to create an ambiguous tag using digest algorithm as name"):
        shelf.images.tag(image.id, ref("sha256:abc"))
    with pytest.raises(BadTag):
        shelf.images.add_digest(image.id, ref("x:1"))
    with pytest.raises(NoSuchImage):
        shelf.images.tag(ImageID(Digest(NOBODY)), ref("x"))
    with pytest.raises(NotFound):
        shelf.images.tag(image.id, ref("x"), index=BlobDigest(Digest(NOBODY)))
    assert shelf.images.references(image.id) == ()


def test_references_are_in_the_order_of_their_full_names(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["b:2", "b:1", "a/z", "localhost/q"], digests=[f"b@{NOBODY}", f"a/z@{NOBODY}"])
    assert [reference.familiar for reference in shelf.images.references(image.id)] == [
        "a/z:latest", f"a/z@{NOBODY}", "b:1", "b:2", f"b@{NOBODY}", "localhost/q:latest",
    ]  # fmt: skip
    assert [reference.familiar for reference in image.tags] == ["a/z:latest", "b:1", "b:2", "localhost/q:latest"]


def test_untag_takes_one_name_and_nothing_else(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["x:1", "x:2"], digests=[f"x@{NOBODY}"])
    assert shelf.images.untag(ref("x:1")) == image.id
    assert shelf.images.untag(ref(f"x@{NOBODY}")) == image.id
    assert [reference.familiar for reference in shelf.images.references(image.id)] == ["x:2"]
    with pytest.raises(NoSuchImage, match="No such image: x:1"):
        shelf.images.untag(ref("x:1"))


def test_a_multi_platform_name_keeps_its_index_and_what_the_index_names(shelf: Shelf) -> None:
    mine, other = shelf.image("a"), shelf.image("b", architecture="arm64")
    index = shelf.index(mine, other)
    shelf.images.tag(mine.id, ref("x"), index=index.digest)
    shelf.images.add_digest(mine.id, ref(f"x@{index.digest}"))
    assert shelf.images.find(f"x@{index.digest}").id == mine.id
    needed = {row[0] for row in shelf.catalog.rows("SELECT child FROM blob_ref WHERE blob = ?", (index.digest,))}
    assert needed == {mine.manifest, other.manifest}
    # The other platform's image belongs to the name: it is listed, but not as something left over.
    assert other.id in {image.id for image in shelf.images.list()}
    assert shelf.images.list(filters={"dangling": ["true"]}) == []


# ---- parents


def test_ancestors_follow_parent_links_as_far_as_they_go(shelf: Shelf) -> None:
    pulled = shelf.image("a", tags=["base"])
    first = shelf.image("a", "b", parent=pulled)
    top = shelf.image("a", "b", "c", parent=first, tags=["top"])
    sibling = shelf.image("a", "d", parent=pulled)
    assert [image.id for image in shelf.images.ancestors(top.id)] == [top.id, first.id, pulled.id]
    assert [image.tags for image in shelf.images.ancestors(top.id)] == [
        (ref("top").tagged(),),
        (),
        (ref("base:latest"),),
    ]
    assert shelf.images.children(pulled.id) == [sibling.id, first.id]
    assert shelf.images.children(top.id) == []
    with pytest.raises(NoSuchImage):
        shelf.images.ancestors(ImageID(Digest(NOBODY)))


def test_an_image_cannot_become_its_own_ancestor(shelf: Shelf) -> None:
    first = shelf.image("a")
    second = shelf.image("a", "b", parent=first)
    for parent in (first, second):
        with pytest.raises(ParentLoop):
            shelf.images.set_parent(first.id, parent.id)
    with pytest.raises(NoSuchImage):
        shelf.images.set_parent(first.id, ImageID(Digest(NOBODY)))
    with pytest.raises(NoSuchImage):
        shelf.images.set_parent(ImageID(Digest(NOBODY)), first.id)
    shelf.images.set_parent(second.id, None)
    assert shelf.images.get(second.id).parent is None


# ---- lists


def test_the_list_hides_intermediate_images_and_has_the_newest_first(shelf: Shelf) -> None:
    base = shelf.image("a", tags=["base:1"])
    middle = shelf.image("a", "b", parent=base)
    top = shelf.image("a", "b", "c", parent=middle, tags=["top:1"])
    dangling = shelf.image("a", "d", parent=base)
    digested = shelf.image("e", digests=[f"e@{NOBODY}"])
    child = shelf.image("e", "f", parent=digested, tags=["f:1"])
    assert [i.id for i in shelf.images.list()] == [child.id, digested.id, dangling.id, top.id, base.id]
    assert [i.id for i in shelf.images.list(all=True)] == [
        child.id, digested.id, dangling.id, top.id, middle.id, base.id,
    ]  # fmt: skip


def test_images_of_one_second_have_a_stable_order(shelf: Shelf) -> None:
    made = [shelf.image(name, created=5) for name in "abcd"]
    assert [i.id for i in shelf.images.list()] == sorted(image.id for image in made)


def test_a_copy_of_an_image_equals_it_until_a_name_changes(shelf: Shelf) -> None:
    image = shelf.image("a", tags=["x"])
    assert image == shelf.images.find("x")
    assert hash(image) == hash(shelf.images.find("x"))
    shelf.images.tag(image.id, ref("y"))
    assert image != shelf.images.find("x")
    assert repr(shelf.images.find("x")) == f"<Image {image.id.short} x:latest y:latest>"
    assert json.loads(image.config.raw)["os"] == "linux"
