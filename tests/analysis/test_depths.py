"""Sums of directories at every depth, made alone or on the walk that weighs the image."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import random_stack
from veneer.analysis.depths import Depths, weighed
from veneer.analysis.table import Table
from veneer.analysis.view import View
from veneer.analysis.waste import account


@pytest.mark.parametrize("seed", range(8))
def test_one_walk_tells_what_two_do(seed: int, tmp_path: Path) -> None:
    table = Table(random_stack(Random(seed), tmp_path, 5).indexes)
    found, depths = weighed(table)
    assert found == account(table)
    alone = Depths(table)
    for at in range(len(table.indexes) + 1):
        for since in range(at + 1):
            views = [View(table, at, since, each) for each in (depths, alone, None)]
            assert len({view.total() for view in views}) == 1
            assert len({tuple(line.sums for line in view.level()) for view in views}) == 1


def test_an_image_without_layers_has_nothing() -> None:
    table = Table(())
    found, depths = weighed(table)
    assert (found.stored, View(table, 0, 0, depths).total().size) == (0, 0)
