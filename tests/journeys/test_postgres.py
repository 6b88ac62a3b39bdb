"""Containers share their image's layers and nothing else: told by real PostgreSQL servers, as docs/layers.md has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.postgres.pages import commands, told
from demo.postgres.story import PACKAGE, SCRIPTS, Story
from tests.support import leaks
from tests.support.private_host import private_host
from tests.support.programs import needs, run

pytestmark = [pytest.mark.usefixtures("root_only"), pytest.mark.timeout(1200)]

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"


def test_two_databases_on_one_stack_a_third_beside_them_and_an_image_of_the_first(tmp_path: Path) -> None:
    for program in ("mmdebstrap", "psql", "nft", "ip"):
        needs(program)
    base = tmp_path / "base.tar"
    run(SCRIPTS / "rootfs.sh", "debian", base, PACKAGE)
    story = Story(tmp_path, base)
    with private_host():  # or another data root of this machine may choose the same subnet at the same moment
        story.tell()
    assert [scene.name for scene in story.scenes] == ["image", "passwords", "stack", "space", "third", "commit"]
    assert commands(PAGE) == told(story.scenes), (
        "docs/layers.md shows other commands: make it anew, see its first lines"
    )
    assert leaks.mounts_below(tmp_path) == set()
