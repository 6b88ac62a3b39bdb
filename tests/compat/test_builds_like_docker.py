"""Every Dockerfile in dockerfiles/ makes the same image by veneer as by docker, but for what its case argues for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import build_cases
from tests.support.build_cases import Case
from tests.support.build_compare import compare
from tests.support.builders import DockerBuilder, VeneerBuilder, make_bases
from tests.support.peers import Docker

CASES = build_cases.cases()


@pytest.fixture(scope="module")
def bases(busybox: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bases(busybox, tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def by_docker(docker: Docker, bases: Path) -> Iterator[DockerBuilder]:
    """Docker with the base images, which tests of other modules take away."""
    yield DockerBuilder(docker, bases)
    docker("image", "prune", "--all", "--force")


@pytest.fixture(scope="module")
def by_veneer(bases: Path, tmp_path_factory: pytest.TempPathFactory) -> VeneerBuilder:
    return VeneerBuilder(bases, tmp_path_factory.mktemp("veneer"))


@pytest.mark.compat
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_dockerfile_makes_dockers_image(
    case: Case, by_docker: DockerBuilder, by_veneer: VeneerBuilder, tmp_path: Path
) -> None:
    verdict = compare(case, by_docker, by_veneer, tmp_path)
    assert verdict.good, str(verdict)


def test_every_refusal_in_other_words_and_every_difference_is_argued() -> None:
    for case in CASES:
        assert all(len(each.why.split()) > 4 for each in case.differs), case.name
