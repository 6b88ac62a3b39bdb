"""The tree between two depths, and histories of single paths."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import random_stack
from tests.analysis.test_tree import file, folder, gone, hard, layer
from tests.analysis.test_waste import other
from veneer.analysis.copies import Cause
from veneer.analysis.depths import Depths
from veneer.analysis.events import Op, history_of, matching
from veneer.analysis.table import Table
from veneer.analysis.view import NoSuchDepth, NotThere, View
from veneer.changeset.entry import Kind

LAYERS = (
    layer(folder(b"etc"), file(b"etc/a", 10), file(b"etc/b", 20), folder(b"srv"), file(b"srv/x", 5)),
    layer(folder(b"etc"), other(b"etc/a", 11), folder(b"new"), file(b"new/n", 7)),
    layer(folder(b"etc"), replace(file(b"etc/b", 20), mode=0o600), gone(b"srv")),
    layer(file(b"srv", 1), gone(b"new/n")),
)


def states(at: int | None = None, since: int = 0, path: bytes = b"") -> dict[bytes, str]:
    return {line.path: str(line.state) for line in View(Table(LAYERS), at, since).level(path)}


def test_a_layer_shows_what_it_did_itself() -> None:
    assert states(2, 1) == {b"etc": "M", b"new": "A", b"srv": ""}
    assert states(2, 1, b"etc") == {b"etc/a": "M", b"etc/b": ""}
    assert states(3, 2) == {b"etc": "M", b"new": "", b"srv": "D"}
    assert states(3, 2, b"etc") == {b"etc/a": "", b"etc/b": "P"}
    assert states(3, 2, b"srv") == {b"srv/x": "D"}
    assert states(4, 3) == {b"etc": "", b"new": "M", b"srv": "A"}


def test_a_range_shows_its_ends() -> None:
    assert states(4, 1) == {b"etc": "M", b"new": "A", b"srv": "O"}
    assert states(4, 1, b"new") == {b"new/n": "D"}, "it came and went in between"
    assert states(3, 3) == {b"etc": "", b"new": "", b"srv": ""}
    assert states(0) == {}


def test_sums_are_those_of_the_depth() -> None:
    view = View(Table(LAYERS), 3)
    total = view.total()
    assert (total.size, total.waste, total.layers) == (11 + 20 + 7, 10 + 20 + 5, (0, 1, 2))
    (etc,) = (line for line in view.level() if line.path == b"etc")
    assert (etc.sums.size, etc.sums.waste, etc.sums.layers, etc.sums.entries) == (31, 30, (0, 1, 2), 3)
    (srv,) = (line for line in view.level() if line.path == b"srv")
    assert (srv.is_there, srv.sums.size, srv.sums.waste) == (False, 0, 5)


def test_a_file_counts_under_the_name_that_is_seen() -> None:
    layers = (layer(folder(b"d"), file(b"d/a", 50), folder(b"e"), hard(b"e/b", b"d/a")), layer(gone(b"d/a")))
    sizes = {line.path: (line.sums.size, line.sums.waste) for line in View(Table(layers)).level()}
    assert sizes == {b"d": (0, 0), b"e": (50, 0)}
    assert View(Table(layers)).total().size == 50
    assert {line.path: line.sums.size for line in View(Table(layers[:1])).level()} == {b"d": 50, b"e": 0}


def test_a_range_that_is_not_there_is_refused() -> None:
    for at, since in ((5, 0), (2, 3), (-1, 0)):
        with pytest.raises(NoSuchDepth, match="the image has 4 layers"):
            View(Table(LAYERS), at, since)
    with pytest.raises(NotThere, match="/etc/a is no directory"):
        View(Table(LAYERS)).level(b"etc/a")
    with pytest.raises(NotThere, match="/nope is in no layer"):
        View(Table(LAYERS)).level(b"nope")


def told(path: bytes) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(event.layer, event.op.value, event.changed) for event in history_of(Table(LAYERS), path)]


def test_a_files_history_names_every_layer_that_touched_it() -> None:
    assert told(b"etc/a") == [(0, "A", ()), (1, "M", ("content",))]
    assert told(b"etc/b") == [(0, "A", ()), (2, "P", ("mode",))]
    assert told(b"new/n") == [(1, "A", ()), (3, "D", ())]
    assert told(b"nope") == []
    assert told(b"srv") == [(0, "A", ()), (2, "D", ()), (3, "A", ())]


def test_a_deletion_says_what_deleted_and_where() -> None:
    (_, event) = history_of(Table(LAYERS), b"srv/x")
    assert (event.op, event.cause, event.by, event.entry.size) == (Op.DELETED, Cause.DELETED, b"srv", 5)
    table = Table((LAYERS[0], layer(folder(b"etc", opaque=True), file(b"etc/b", 20))))
    (_, event) = history_of(table, b"etc/a")
    assert (event.cause, event.by) == (Cause.SHADOWED, b"etc")
    assert [event.op.value for event in history_of(table, b"etc/b")] == ["A", "P"], "it is there again at once"


def test_what_comes_back_was_added_again() -> None:
    table = Table((LAYERS[0], layer(gone(b"etc")), layer(folder(b"etc"), file(b"etc/a", 10))))
    assert [(event.layer, event.op.value) for event in history_of(table, b"etc/a")] == [(0, "A"), (1, "D"), (2, "A")]


def test_a_hard_link_is_told_as_its_file() -> None:
    table = Table((layer(file(b"a", 50)), layer(hard(b"b", b"a")), layer(hard(b"a", b"b"))))
    (event,) = history_of(table, b"b")
    assert (event.entry.kind, event.entry.size, event.entry.path) == (Kind.REGULAR, 50, b"b")
    assert [event.op.value for event in history_of(table, b"a")] == ["A", "P"]


def test_patterns_find_what_is_hidden_too() -> None:
    found = dict(matching(Table(LAYERS), re.compile(rb".*/?(?:x|n|b)")))
    assert sorted(found) == [b"etc/b", b"new/n", b"srv/x"]
    assert [copy.ended for copy in found[b"srv/x"]] == [2]


def test_one_layer_on_top_is_one_more() -> None:
    """What a container wrote is looked at as a layer like any other."""
    writable = layer(gone(b"etc/a"), file(b"tmp", 3))
    view = View(Table((*LAYERS, writable)), 5, 4)
    assert {line.path: str(line.state) for line in view.level() if line.state} == {b"etc": "M", b"tmp": "A"}


def test_views_that_share_one_pass_say_what_each_says_alone(tmp_path: Path) -> None:
    for seed in range(25):
        folder = tmp_path / str(seed)
        folder.mkdir()
        table = Table(random_stack(Random(seed), folder, 6, size=30).indexes)
        depths, layers = Depths(table), len(table.indexes)
        for at in range(layers + 1):
            for since in range(at + 1):
                alone, shared = View(table, at, since), View(table, at, since, depths)
                assert alone.total() == shared.total()
                pending = [b""]
                while pending:
                    path = pending.pop()
                    lines = shared.level(path)
                    assert lines == alone.level(path), (seed, at, since, path)
                    pending += [line.path for line in lines if line.place is not None]
