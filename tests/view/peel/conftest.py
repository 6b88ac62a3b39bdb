"""One store for all that only look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.view.peel.samples import fill
from veneer.config import Config
from veneer.engine.engine import Engine


@pytest.fixture(scope="session")
def peel_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("peel")
    with Engine(Config(root=folder / "root", docker_config=folder / "config.json", durability="none")) as engine:
        fill(engine)
        yield engine
