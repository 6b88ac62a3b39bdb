"""Images go from veneer to docker and back, and both say the same of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer, first_line
from tests.compat.samples import ODD, nginx_like
from tests.support.peers import Docker
from tests.support.programs import run
from tests.support.registries import RealRegistry
from veneer.testing.images import SampleImage, docker_archive

pytestmark = pytest.mark.compat

NAME = "compat/exchange:1"


def loaded(engine: Veneer | Docker, folder: Path, *images: tuple[SampleImage, list[str]]) -> None:
    archive = folder / "in.tar"
    archive.write_bytes(docker_archive(*images))
    engine("load", "--input", archive)


@pytest.mark.parametrize("image", ODD.values(), ids=ODD)
def test_docker_loads_what_veneer_saves(ours: Veneer, theirs: Docker, tmp_path: Path, image: SampleImage) -> None:
    loaded(ours, tmp_path, (image, [NAME]))
    ours("save", "--output", tmp_path / "out.tar", NAME)
    assert f"Loaded image: {NAME}" in theirs("load", "--input", tmp_path / "out.tar").out
    assert theirs.image_id(NAME) == ours.image_id(NAME) == image.image_id


@pytest.mark.parametrize("image", ODD.values(), ids=ODD)
def test_veneer_loads_what_docker_saves(ours: Veneer, theirs: Docker, tmp_path: Path, image: SampleImage) -> None:
    loaded(theirs, tmp_path, (image, [NAME]))
    theirs("save", "--output", tmp_path / "out.tar", NAME)
    assert ours("load", "--input", tmp_path / "out.tar").out == f"Loaded image: {NAME}\n"
    assert ours.image_id(NAME) == theirs.image_id(NAME) == image.image_id


def test_load_prints_what_docker_prints(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    tagged, bare = ODD["whiteouts only"], ODD["same layer twice"]
    archive = tmp_path / "several.tar"
    for images in ([(tagged, [NAME]), (bare, [])], [(bare, ["compat/other:2", NAME]), (tagged, ["compat/other:3"])]):
        archive.write_bytes(docker_archive(*images))
        dockers = theirs("load", "--quiet", "--input", archive).out
        assert ours("load", "--quiet", "--input", archive).out == dockers


def test_inspect_says_what_docker_says(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    for engine in (ours, theirs):
        loaded(engine, tmp_path, (nginx_like(), [NAME]))
    (mine,), (dockers,) = (json.loads(engine("image", "inspect", NAME).out) for engine in (ours, theirs))
    assert list(mine) == list(dockers), "the same keys in the same order"
    assert mine["GraphDriver"].keys() == dockers["GraphDriver"].keys()
    for document in (mine, dockers):
        del document["GraphDriver"]
    assert mine == dockers


def test_the_table_of_images_is_dockers(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    images = [(image, [f"compat/listed:{n}"]) for n, image in enumerate(ODD.values())]
    images.append((ODD["whiteouts only"], ["compat/twice:1", "compat/twice:2"]))
    for engine in (ours, theirs):
        loaded(engine, tmp_path, *images)
    for words in ((), ("--all",), ("--quiet",), ("--no-trunc",), ("--digests",), ("--format", "{{json .}}"),
                  ("compat/twice",), ("--filter", "reference=*/twice"), ("--filter", "dangling=true")):  # fmt: skip
        command = ("images", *words)
        # All were made in the same second, and such images come in no particular order.
        assert sorted(ours(*command).out.splitlines()) == sorted(theirs(*command).out.splitlines()), words


def test_removing_prints_what_docker_prints(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    image = ODD["ten rows, three layers"]
    for engine in (ours, theirs):
        loaded(engine, tmp_path, (image, [NAME, "compat/exchange:2", "compat/elsewhere:1"]))
    for words in (("compat/elsewhere:1",), ("nothing/here:1",), (image.image_id.short,), ("compat/exchange:1",),
                  ("compat/exchange:2",), (NAME,)):  # fmt: skip
        mine, dockers = (engine("rmi", *words, check=False) for engine in (ours, theirs))
        assert (mine.code, mine.out) == (dockers.code, dockers.out), words
        assert first_line(mine.err) == first_line(dockers.err), words


def test_what_is_not_there_is_refused_in_dockers_words(ours: Veneer, theirs: Docker) -> None:
    for command in (("image", "inspect", "nothing/here:1"), ("history", "nothing/here"), ("save", "nothing/here"),
                    ("tag", "nothing/here", "other"), ("push", "--quiet", "nothing/here:1")):  # fmt: skip
        mine, dockers = (engine(*command, check=False) for engine in (ours, theirs))
        assert (mine.code, mine.out) == (dockers.code, dockers.out), command
        assert first_line(mine.err) == first_line(dockers.err), command


def test_a_name_that_is_none_is_refused_for_dockers_reason(ours: Veneer, theirs: Docker) -> None:
    for command in (("tag", "nothing/here", "Other"), ("rmi", "Other"), ("pull", "Other"), ("push", "Other")):
        mine, dockers = (engine(*command, check=False) for engine in (ours, theirs))
        assert mine.code == dockers.code == 1, command
        reason = "repository name must be lowercase"
        assert reason in dockers.err and reason in mine.err, command


def test_an_imported_tar_keeps_its_diff_id(ours: Veneer, theirs: Docker, busybox: Path) -> None:
    layers = []
    for engine in (ours, theirs):
        engine("import", busybox, "compat/imported:1")
        layers.append(engine("image", "inspect", "--format", "{{json .RootFS}} {{.Size}}", "compat/imported:1").out)
    assert layers[0] == layers[1]
    assert run("sha256sum", busybox).out.split()[0] in layers[0]


def test_docker_pulls_what_veneer_pushed(
    ours: Veneer, theirs: Docker, tmp_path: Path, registry: RealRegistry, names: str
) -> None:
    loaded(ours, tmp_path, (nginx_like(), [f"{names}:1"]))
    ours("push", f"{names}:1")
    theirs("pull", "--quiet", f"{names}:1")
    assert theirs.image_id(f"{names}:1") == ours.image_id(f"{names}:1")
