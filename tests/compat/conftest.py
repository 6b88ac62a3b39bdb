"""The peers, started privately, and veneer beside them on a store of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.peers import ContainersTool, Docker
from tests.support.programs import Output, needs, veneer
from tests.support.registries import RealRegistry


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A real dockerd for all tests: choose image names of your own."""
    needs("dockerd", "docker")
    running = Docker(tmp_path_factory.mktemp("dockerd"))
    yield running
    running.stop()


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainersTool]:
    needs("podman")
    tool = ContainersTool("podman", tmp_path_factory.mktemp("podman"))
    yield tool
    tool.stop()


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainersTool]:
    needs("buildah")
    tool = ContainersTool("buildah", tmp_path_factory.mktemp("buildah"))
    yield tool
    tool.stop()


@dataclass(frozen=True)
class Veneer:
    """The veneer command on the store at `root`.  Call it like the command."""

    root: Path

    def __call__(self, *words: str | Path, stdin: bytes | None = None, check: bool = True) -> Output:
        return veneer(*words, root=self.root, stdin=stdin, check=check)

    def image_id(self, name: str) -> str:
        return self("image", "inspect", "--format", "{{.Id}}", name).out.strip()


@pytest.fixture
def ours(tmp_path: Path) -> Veneer:
    """veneer on an empty store."""
    return Veneer(tmp_path / "root")


@pytest.fixture
def theirs(docker: Docker) -> Iterator[Docker]:
    """The dockerd, without any image before and after."""
    _forget_images(docker)  # tests that use `docker` itself leave theirs
    yield docker
    _forget_images(docker)


def _forget_images(docker: Docker) -> None:
    # A failed build's container keeps its image.
    docker("container", "prune", "--force")
    # Not rmi --force with every ID: it refuses an image whose children it has yet to come to.
    docker("image", "prune", "--all", "--force")


def without_ages(text: str) -> str:
    """The text without how long ago something was, and without the padding that depends on it."""
    return re.sub(" +", " ", re.sub(r"(Less than a second|\d+ seconds?|About a minute) ago", "<just now>", text))


def first_line(errors: str) -> str:
    """What went wrong, without who says so: docker's client names its daemon, veneer has none."""
    line = errors.splitlines()[0] if errors else ""
    return line.removeprefix("Error response from daemon: ").removeprefix("Error: ")


@pytest.fixture
def names(registry: RealRegistry, request: pytest.FixtureRequest) -> str:
    """`host/repository` that no other test uses."""
    return f"{registry.host}/{re.sub('[^a-z0-9]+', '-', request.node.name.lower()).strip('-')}"
