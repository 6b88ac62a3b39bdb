"""Files told by columns are those that lines tell, and the first of them come first."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import random_stack
from veneer.analysis import foremost
from veneer.analysis.foremost import ORDERS, apart
from veneer.analysis.table import Table
from veneer.analysis.view import Line, View


def compare(view: View, path: bytes) -> tuple[list[Line], int]:
    """Hold what is told of a directory against its lines; these, and how many files were told by columns."""
    lines = view.level(path)
    place = view.table.find(path)[1]
    assert place is not None
    files, others = apart(view, path, place)
    apart_from = list(others)
    if files is None:
        assert apart_from == lines
        return lines, 0
    told = [files.line(number) for number in files.numbers]
    assert sorted([*told, *apart_from], key=ORDERS["name"]) == lines
    assert len({(line.state, line.is_there, line.changed, line.place) for line in told}) == 1
    assert files.size == sum(line.sums.size for line in told)
    for sort, key in ORDERS.items():
        for most in (1, 2, len(told), len(told) + 1):
            found = list(files.first(most, sort))
            assert sorted(found, key=key) == sorted(told, key=key)[:most]
            assert found == sorted(found, key=key) or most >= len(told)
    return lines, len(told)


def test_a_directory_told_by_columns_has_the_same_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foremost, "MANY", 1)
    monkeypatch.setattr(foremost, "_SHARE", 0)  # other layers may have as many
    columns = 0
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        table = Table(random_stack(Random(seed), folder, 5, size=40).indexes)
        for at in range(1, len(table.indexes) + 1):
            for since in range(at + 1):
                view = View(table, at, since)
                pending = [b""]
                while pending:
                    lines, told = compare(view, pending.pop())
                    columns += told
                    pending += [line.path for line in lines if line.place is not None]
    assert columns > 100
