"""What is written down of docker's reading of odd Dockerfiles is what a real dockerd says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.build.language.recorded import Recorded, config_of, recorded
from tests.support.peers import Docker
from tests.support.rootfs import busybox_tar

pytestmark = pytest.mark.compat


@pytest.fixture(scope="module")
def context(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    docker("import", busybox_tar(folder / "busybox.tar"), "base:1")
    directory = folder / "context"
    directory.mkdir()
    (directory / "f").write_text("1\n")
    (directory / "g").write_text("2\n")
    return directory


@pytest.mark.parametrize("each", recorded(), ids=str)
def test_docker_still_reads_it_so(docker: Docker, context: Path, tmp_path: Path, each: Recorded) -> None:
    file, ids = tmp_path / "Dockerfile", tmp_path / "iid"
    file.write_bytes(each.dockerfile)
    arguments = [word for pair in each.args for word in ("--build-arg", pair)]
    built = docker("build", "--no-cache", "--network", "none", "-f", file, "--iidfile", ids, *arguments, context,
                   check=False)  # fmt: skip
    steps = re.findall(r"^Step \d+/\d+ : (.*)$", built.out, re.MULTILINE)
    assert steps == list(each.steps)
    if each.history is None:
        error = re.sub(r"^Error response from daemon: (failed to parse \.dockerfile\.[0-9a-f]+: )?", "",
                       built.err.strip())  # fmt: skip
        assert re.sub(r"\.dockerfile\.[0-9a-f]+", "Dockerfile", error) == each.error
        return
    image = ids.read_text()
    rows = docker("history", "--no-trunc", "--format", "{{json .CreatedBy}}", image).out.splitlines()
    assert [json.loads(row) for row in reversed(rows)] == list(each.history)
    assert each.config is not None
    assert config_of(json.loads(docker("inspect", image).out)[0]["Config"]) == config_of(each.config)
