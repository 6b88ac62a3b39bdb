"""`veneer image packages` and `veneer image catalog`: what they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support.finished import row
from tests.support.registries import RealRegistry
from veneer.testing.images import Tree, docker_archive, image

BASE: Tree = {"lib/apk/db/installed": b"P:musl\nV:1.2\nF:lib\nR:ld.so\n\nP:busy\nV:3\nF:bin\nR:sh\n",
              "lib/ld.so": b"l" * 5000, "bin/sh": b"s" * 400}  # fmt: skip
TOP: Tree = {"bin/sh": b"S" * 900, "srv/new\nline": b"own"}
APP = image(BASE, TOP, history=[row("ADD rootfs"), row("RUN make")])


@pytest.fixture
def archive(tmp_path: Path) -> str:
    path = tmp_path / "app.tar"
    path.write_bytes(docker_archive((APP, ["demo/app:1"])))
    return str(path)


def test_packages_are_told_with_what_they_take(veneer: Veneer, archive: str) -> None:
    words = ["image", "packages", "--archive", archive]
    rows = [line.split() for line in veneer(*words).text.splitlines()]
    assert rows[:3] == [
        ["PACKAGE", "VERSION", "KIND", "FILES", "SIZE", "LAYERS"],
        ["musl", "1.2", "apk", "1", "5kB", "1"], ["busy", "3", "apk", "1", "900B", "2"],
    ]  # fmt: skip
    assert rows[3][:2] == ["(no", "package)"]
    assert veneer(*words).text.endswith("demo/app:1: 2 packages with 5.9kB, 53B in files of none\n")
    assert veneer(*words, "-q").text == "musl\nbusy\n"
    assert "... 2 more, 953B; --limit 0 shows all" in veneer(*words, "--limit", "1").text
    documents = [json.loads(line) for line in veneer(*words, "--format", "json").text.splitlines()]
    assert [(each["Name"], each["Size"]) for each in documents] == [
        ("musl", "5000"), ("busy", "900"), ("(no package)", "53"),
    ]  # fmt: skip
    assert veneer(*words, "-q", "demo/app:1", "/bin").text == veneer(*words, "-q", "/bin").text == "busy\n"


def test_one_drills_down_to_the_layer(veneer: Veneer, archive: str) -> None:
    words = ["image", "packages", "--archive", archive, "--of"]
    assert [line.split() for line in veneer(*words, "busy").text.splitlines()][1] == [
        "900B", "2", "/bin/sh", "RUN", "make",
    ]  # fmt: skip
    assert veneer(*words, "apk:musl", "--format", "{{.Path}} {{.Layer}}").text == "/lib/ld.so 1\n"
    assert veneer(*words, "musl", "-q").text == "/lib/ld.so\n"
    for more, complaint in (
        (["nope"], "Error: no package nope has files in demo/app:1"),
        (["musl", "/etc"], "Error: /etc is not to be seen in demo/app:1"),
    ):
        answer = veneer(*words, *more)
        assert (answer.code, answer.text) == (1, "") and answer.err.startswith(complaint)


def test_a_registrys_repositories_are_listed(veneer: Veneer, registry: RealRegistry) -> None:
    registry.put("catalogued/app:1", APP)
    listed = veneer("image", "catalog", registry.host)
    assert ["catalogued/app", f"{registry.host}/catalogued/app"] in [line.split() for line in listed.text.splitlines()]
    assert f"{registry.host}/catalogued/app\n" in veneer("image", "catalog", "-q", registry.host).text
    assert "catalogued/app" in veneer("image", "catalog", "--format", "{{.Repository}}", registry.host).text
    assert veneer("image", "catalog", "nowhere").err.startswith("Error: 'nowhere' is no registry\n")
