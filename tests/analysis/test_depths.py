"""Sums of directories at every depth, made alone or on the walk that weighs the image."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import random_stack
from veneer.analysis import sweep
from veneer.analysis.depths import Depths, weighed
from veneer.analysis.table import Table
from veneer.analysis.view import View
from veneer.analysis.waste import account


@pytest.mark.parametrize("seed", range(8))
def test_one_walk_tells_what_two_do(seed: int, tmp_path: Path) -> None:
    table = Table(random_stack(Random(seed), tmp_path, 5).indexes)
    found, depths = weighed(table)
    other = account(table)
    assert (found.layers, found.totals, found.losses) == (other.layers, other.totals, other.losses)
    alone = Depths(table)
    for at in range(len(table.indexes) + 1):
        for since in range(at + 1):
            views = [View(table, at, since, each) for each in (depths, alone, None)]
            assert len({view.total() for view in views}) == 1
            assert len({tuple(line.sums for line in view.level()) for view in views}) == 1


@pytest.mark.parametrize("few", [1 << 40, 0], ids=["one by one", "looked up"])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_told_together_is_what_every_paths_story_tells(
    seed: int, few: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = Table(random_stack(Random(seed), tmp_path, 7).indexes)
    together, sums = weighed(table)
    monkeypatch.setattr(sweep, "_LARGE", -1)  # no directory is small enough
    monkeypatch.setattr(sweep, "_FEW", few)
    one_by_one, others = weighed(table)
    assert (together.layers, together.totals) == (one_by_one.layers, one_by_one.totals)
    assert together.losses == one_by_one.losses
    lines = View(table).level()
    met = [line.path for line in lines if line.place is not None and table.run(line.place) is None]
    for path in [b"", *met] if table.run(table.root()) is None else met:
        for at in range(len(table.indexes) + 1):
            for since in range(at + 1):
                assert sums.sums(path, since, at) == others.sums(path, since, at), (path, since, at)


def test_an_image_without_layers_has_nothing() -> None:
    table = Table(())
    found, depths = weighed(table)
    assert (found.stored, View(table, 0, 0, depths).total().size) == (0, 0)
