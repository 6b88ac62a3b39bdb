"""The data roots of a real dockerd and a real podman: veneer lists, explains and imports what is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer, without_ages
from tests.compat.samples import ODD, nginx_like
from tests.support.peers import ContainersTool, Docker
from veneer.testing.images import docker_archive

pytestmark = pytest.mark.compat

NAME = "compat/foreign:1"


def test_a_root_of_dockerd_is_told_as_docker_tells_it(ours: Veneer, theirs: Docker, tmp_path: Path) -> None:
    archive = tmp_path / "in.tar"
    images = [(nginx_like(), [NAME]), *((one, [f"compat/odd:{n}"]) for n, one in enumerate(ODD.values()))]
    archive.write_bytes(docker_archive(*images))
    theirs("load", "--input", archive)
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(f"FROM {NAME}\nCOPY Dockerfile /added\nLABEL a=b\n")
    theirs("build", "--tag", "compat/built:1", tmp_path / "context")
    there = Veneer(theirs.root)
    for name in (NAME, "compat/built:1"):
        assert without_ages(there("history", name).out) == without_ages(theirs("history", name).out)
    rows = [json.loads(line) for line in there("layer", "ls", "--no-trunc", "--format", "json").out.splitlines()]
    assert {row["DiffID"] for row in rows} == {each for one, _ in images for each in one.parsed.diff_ids} | set(
        json.loads(theirs("inspect", "compat/built:1").out)[0]["RootFS"]["Layers"]
    )
    ours("import-store", theirs.root)
    for name in (NAME, "compat/built:1", *(f"compat/odd:{n}" for n in range(len(ODD)))):
        assert ours.image_id(name) == theirs.image_id(name)
    assert ours("system", "check", "--deep").code == 0


def test_a_root_of_podman_is_told_and_imported(ours: Veneer, podman: ContainersTool, tmp_path: Path) -> None:
    archive = tmp_path / "in.tar"
    one = nginx_like()
    archive.write_bytes(docker_archive((one, ["docker.io/compat/foreign:1"])))
    podman("load", "--input", archive)
    root = podman.folder / "root"
    listed = Veneer(root)("history", "--quiet", "--no-trunc", NAME).out.splitlines()
    assert (listed[0], len(listed)) == (one.image_id, len(one.parsed.history))
    ours("import-store", root, NAME)
    assert ours.image_id(NAME) == one.image_id
    podman("rmi", "--force", one.image_id)
