"""A directory with a great many names shows the same, whether its lines come from columns or one by one."""

from __future__ import annotations

from random import Random

import pytest

from tests.view.peel.test_hostile import built
from veneer.analysis.table import Table
from veneer.analysis.view import View
from veneer.changeset.entry import Kind
from veneer.changeset.index import LayerIndex
from veneer.view.peel import tree as module
from veneer.view.peel.columns import foremost
from veneer.view.peel.tree import SORTS, Tree


def layers() -> list[LayerIndex]:
    random = Random(1)
    files = [(b"d/f%03d" % number, Kind.REGULAR, random.choice((0, 1, 7, 7, 900, 2_000_000))) for number in range(300)]
    inner = [(b"d/s%02d/x" % number, Kind.REGULAR, random.randrange(5000)) for number in range(20)]
    return [built((b"d/a", Kind.SYMLINK, 0), *files, *inner), built((b"else", Kind.REGULAR, 5))]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("depth", [(2, 0), (2, 1), (1, 0), (1, 1)], ids=str)
def test_columns_tell_what_lines_tell(monkeypatch: pytest.MonkeyPatch, sort: str, depth: tuple[int, int]) -> None:
    table = Table(layers())

    def rows(quick: int, change: str) -> list[tuple[bytes, int, int]]:
        monkeypatch.setattr(module, "QUICK", quick)
        monkeypatch.setattr(module, "PAGE", 25)
        tree = Tree()
        tree.sort = sort
        tree.look(View(table, *depth))
        tree.open.add(b"d")
        if change == "small":
            tree.toggle_small()
        elif change == "reveal":
            tree.reveal(b"d/f299")
        elif change:
            tree.toggle_state(change)
        tree.fill_open(b"")
        return [(row.path, row.left, row.left_size) for row in tree.rows()[0]]

    for change in ("", "small", "reveal", "A", "U"):
        assert rows(50, change) == rows(10**6, change), change


def test_what_takes_more_than_columns() -> None:
    hidden = [*layers(), built((b"d", Kind.WHITEOUT, 0))]
    for indexes in ([layers()[0], layers()[0]], hidden):
        table = Table(indexes)
        place = table.find(b"d")[1]
        assert place is not None and foremost(View(table), b"d", place, "size", 10, 0) is None
