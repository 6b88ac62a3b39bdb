"""`veneer badge`: of images of the store, of archives and of registries."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from veneer.testing.images import docker_archive, image
from veneer.testing.registry import Registry

APP = image(
    {"etc/motd": b"m" * 1000}, {"etc/motd": b"M" * 900, "etc/more": b"x" * 100},
    config={"Labels": {"org.opencontainers.image.licenses": '"><script>alert(1)</script>',
                       "org.opencontainers.image.revision": "0123456789abcdef",
                       "org.opencontainers.image.base.name": "debian:12"}},
)  # fmt: skip


@pytest.fixture
def app(veneer: Veneer, tmp_path: Path) -> Veneer:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1", "demo/app:1.27", "demo/app:latest", "other/app:longer"])))
    assert veneer("load", "-i", str(archive)).code == 0
    return veneer


def said(veneer: Veneer, *words: str) -> tuple[str, str, str]:
    answer = veneer("badge", "--format", "json", *words)
    assert answer.code == 0, answer.err
    document = json.loads(answer.text)
    return document["label"], document["message"], document["color"]


def test_each_kind_of_an_image_here(app: Veneer) -> None:
    assert said(app, "layers", "demo/app:1") == ("layers", "2", "blue")
    assert said(app, "disk", "demo/app:1") == ("on disk", "2kB", "blue")
    assert said(app, "efficiency", "demo/app:1") == ("efficiency", "50%", "red")
    assert said(app, "version", "demo/app:latest") == ("version", "1.27", "blue")
    assert said(app, "version", "other/app:longer") == ("version", "longer", "blue")
    assert said(app, "commit", "demo/app:1") == ("commit", "0123456", "blue")
    assert said(app, "base", "demo/app:1") == ("base", "debian:12", "blue")
    assert said(app, "size", "demo/app:1")[1].endswith("B")
    assert said(app, "image", "--label", "app", "--color", "green", "demo/app:1")[::2] == ("app", "green")
    assert "<script" not in app("badge", "license", "demo/app:1").text
    assert app("image", "badge", "layers", "demo/app:1").text == app("badge", "layers", "demo/app:1").text


def test_a_picture_goes_into_a_file(app: Veneer, tmp_path: Path) -> None:
    target = tmp_path / "x.svg"
    assert app("badge", "image", "demo/app:1", "-o", str(target), "--style", "flat-square").code == 0
    root = ElementTree.fromstring(target.read_text())
    assert root.attrib["aria-label"].endswith(": 2 layers")


def test_from_afar_only_documents_are_asked_for(veneer: Veneer, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    assert said(veneer, "layers", "--archive", str(archive)) == ("layers", "2", "blue")
    with Registry() as registry:
        registry.add("far/app:2.1", APP)
        name = f"{registry.host}/far/app:2.1"
        veneer("--insecure-registry", registry.host, "badge", "size", "--remote", name)
        answer = veneer("--insecure-registry", registry.host, "badge", "version", "--format", "json", "--remote", name)
        assert json.loads(answer.text)["message"] == "2.1"
        assert len(registry.requests("/blobs/")) == 2, "its config, once for each"


@pytest.mark.parametrize(("words", "complaint"), [
    (("stars", "demo/app:1"), "Error: no badge 'stars'\nhint: there are: size, disk, layers"),
    (("layers", "nosuch:1"), "Error: No such image: nosuch:1"),
    (("layers",), "veneer: 'veneer badge' requires 2 arguments"),
    (("layers", "demo/app:1", "--style", "plastic"), "Error: no badge style 'plastic'"),
    (("layers", "demo/app:1", "--color", "url(x)"), "Error: no colour 'url(x)'"),
    (("layers", "demo/app:1", "--format", "png"), "Error: invalid --format 'png': svg or json"),
])  # fmt: skip
def test_what_cannot_be_is_said(app: Veneer, words: tuple[str, ...], complaint: str) -> None:
    answer = app("badge", *words)
    assert answer.code != 0 and answer.err.startswith(complaint), answer.err
