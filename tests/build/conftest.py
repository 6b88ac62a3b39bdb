"""Builds on a store that waits for no disk: there are many of them, and none of these tests is about power cuts."""

from __future__ import annotations

from pathlib import Path

import pytest

from veneer.config import Config


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """As the general one, but for its durability."""
    return Config(root=tmp_path / "root", docker_config=tmp_path / "docker" / "config.json", durability="none")
