"""Which images are the same as another, and which tags a repository has of each."""

from __future__ import annotations

import io

import pytest

from tests.support.registries import RealRegistry
from veneer.distribution.client import BadTagList
from veneer.distribution.session import NotInRegistry
from veneer.engine.engine import Engine
from veneer.engine.looking.tags import catalog, here, in_order, there, version_key
from veneer.engine.looking.twins import other_names, twins
from veneer.oci.reference import InvalidReference, Reference
from veneer.testing.images import docker_archive, image
from veneer.testing.registry import Registry

ONE = image({"a": b"1", "b": b"2"}, config={"Cmd": ["a"]})
OTHER_SETTINGS = image({"a": b"1", "b": b"2"}, config={"Cmd": ["b"]})
OTHER_LAYERS = image({"a": b"1"}, {"b": b"2"})
OTHER = image({"a": b"1", "b": b"3"})


def load(engine: Engine, *named: tuple[object, list[str]]) -> None:
    engine.images.load(io.BytesIO(docker_archive(*named)))  # type: ignore[arg-type]


def test_images_are_the_same_in_three_ways(engine: Engine) -> None:
    load(engine, (ONE, ["x:1"]), (OTHER_SETTINGS, ["x:2"]), (OTHER_LAYERS, ["x:3"]), (OTHER, ["x:4"]))
    with engine.looking.open("x:1") as subject:
        assert [(str(twin.image.tags[0].tag), twin.how) for twin in twins(engine, subject)] == [("2", "layers")]
        found = {(str(twin.image.tags[0].tag), twin.how) for twin in twins(engine, subject, files=True)}
        assert found == {("2", "layers"), ("3", "files")}
    with engine.looking.open(archive=io.BytesIO(docker_archive((ONE, ["y:1"])))) as subject:
        assert [(str(twin.image.tags[0].tag), twin.how) for twin in twins(engine, subject)] == [
            ("1", "image"), ("2", "layers"),
        ]  # fmt: skip


def test_other_names_of_an_image_are_told_but_the_one_asked_for(engine: Engine) -> None:
    load(engine, (ONE, ["x:1", "same:1", "r.example/u/x:1"]), (OTHER, ["x:4"]))
    with engine.looking.open("x:1") as subject:
        assert [(each.name, each.how) for each in other_names(engine, subject)] == [
            ("same:1", "image"), ("r.example/u/x:1", "image"),
        ]  # fmt: skip
    with engine.looking.open(ONE.image_id.hex[:12]) as subject:
        assert len(list(other_names(engine, subject))) == 3
    with engine.looking.open(archive=io.BytesIO(docker_archive((ONE, ["y:1"])))) as subject:
        assert not list(other_names(engine, subject)), "`twins` tells of the store's image"


def test_tags_of_one_image_stand_together(engine: Engine) -> None:
    load(engine, (ONE, ["x/app:1", "x/app:1.27", "x/app:latest", "y/app:1"]), (OTHER, ["x/app:0.9"]))
    found = here(engine, Reference.parse("x/app"))
    assert {image.tags for image in found.images} == {("1.27", "1", "latest"), ("0.9",)} and not found.left_off
    assert here(engine, Reference.parse("x/nothing")).images == ()


def test_tags_of_a_registry_are_asked_after_newest_first(engine: Engine, registry: RealRegistry) -> None:
    for tag in ("1.9", "1.10", "1", "latest"):
        name = registry.put(f"tags/app:{tag}", ONE if tag != "1.9" else OTHER)
    repository = Reference.parse(name)
    found = there(engine, repository)
    assert [(each.digest, each.tags) for each in found.images] == [
        (ONE.digest, ("1.10", "1", "latest")), (OTHER.digest, ("1.9",)),
    ]  # fmt: skip
    few = there(engine, repository, 2)
    assert [each.tags for each in few.images] == [("1.10", "latest")] and few.left_off == 2
    with pytest.raises(NotInRegistry):
        there(engine, replace_repository(repository))


def replace_repository(reference: Reference) -> Reference:
    return reference.replaced(repository="tags/nothing")


def test_a_registry_tells_its_repositories_or_does_not(engine: Engine, registry: RealRegistry) -> None:
    for name in ("catalog/b", "catalog/a/deep"):
        registry.put(f"{name}:1", ONE)
    found = [each.repository for each in catalog(engine, registry.host)]
    assert found == sorted(found) and {"catalog/a/deep", "catalog/b"} <= set(found)
    with Registry() as fake, pytest.raises(NotInRegistry):
        catalog(engine, fake.host)
    for said in (b'{"repositories": ["../x"]}', b'{"repositories": "x"}', b'{"repositories": ["a:1"]}'):
        with Registry() as fake:
            fake.fault("/_catalog", status=200, body=said)
            with pytest.raises(BadTagList, match="are not repositories"):
                catalog(engine, fake.host)
    for text in ("", "a/b", "localhost:5000/x", "http://x"):
        with pytest.raises(InvalidReference):
            catalog(engine, text)


def test_versions_sort_as_versions() -> None:
    tags = ["1.10", "1.9", "2", "1.9-alpine", "nightly", "1" * 40]
    assert sorted(tags, key=version_key) == ["nightly", "1.9", "1.9-alpine", "1.10", "2", "1" * 40]
    assert in_order(["latest", "1", "1.2.3", "1.2"]) == ("1.2.3", "1.2", "1", "latest")
