"""The bytes of a file of any layer are had from wherever the image is, and never other bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.engine.engine import Engine
from veneer.engine.looking.contents import ContentGone, LayerBytes, NoContent, OtherContent, content
from veneer.engine.looking.subject import Subject
from veneer.testing.images import Tree, directory, docker_archive, file, hardlink, image, oci_layout, symlink
from veneer.testing.registry import Registry

BASE: Tree = {"etc": directory(), "etc/motd": b"first", "real": directory(), "link": symlink("real")}
TOP: Tree = {"etc/motd": b"second", "twin": hardlink("etc/motd"), "big": file(os.urandom(300_000)),
             "real": directory(), "link": symlink("real"), "link/inside": b"through a link", "empty": b""}  # fmt: skip
APP = image(BASE, TOP)


def read(subject: Subject, layer: int, path: bytes) -> bytes:
    number = subject.indexes[layer].find(path)
    assert number is not None
    with content(subject, layer, number) as file:
        return file.read()


def check(subject: Subject) -> None:
    assert read(subject, 0, b"etc/motd") == b"first"
    assert read(subject, 1, b"etc/motd") == read(subject, 1, b"twin") == b"second"
    assert read(subject, 1, b"big") == TOP["big"].content  # type: ignore[union-attr]
    assert read(subject, 1, b"real/inside") == b"through a link"
    assert read(subject, 1, b"empty") == b""
    with pytest.raises(NoContent, match="/etc of layer 1 is a directory"):
        read(subject, 0, b"etc")


def test_contents_are_the_same_from_everywhere(engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    layout = oci_layout(tmp_path / "layout", ("1", APP))
    for source in (archive, layout):
        with engine.looking.open(archive=source) as subject:
            check(subject)
    with Registry() as registry:
        registry.add("demo/app:1", APP)
        with engine.looking.open(f"{registry.host}/demo/app:1", remote=True) as subject:
            check(subject)
    engine.images.load(archive)
    with engine.looking.open("demo/app:1") as subject:
        check(subject)
        assert subject.bytes_of(1).directory


def test_a_file_changed_on_the_disk_is_taken_from_the_blob(engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    engine.images.load(archive)
    with engine.looking.open("demo/app:1") as subject:
        motd = Path(subject.bytes_of(1).directory, "etc/motd")
        motd.write_bytes(b"forged")
        assert read(subject, 1, b"etc/motd") == b"second"
        motd.unlink()
        motd.symlink_to("/etc/passwd")
        assert read(subject, 1, b"etc/motd") == b"second"


def test_where_nothing_has_it_nobody_gets_something_else(engine: Engine, tmp_path: Path) -> None:
    archive = tmp_path / "app.tar"
    archive.write_bytes(docker_archive((APP, ["demo/app:1"])))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/motd").write_bytes(b"other")
    with engine.looking.open(archive=archive) as subject:
        nowhere = Subject(subject.documents, lambda: subject.indexes)
        with pytest.raises(ContentGone):
            read(nowhere, 0, b"etc/motd")
        forged = Subject(subject.documents, lambda: subject.indexes, lambda layer: LayerBytes(str(tmp_path)))
        with pytest.raises(OtherContent):
            read(forged, 0, b"etc/motd")
