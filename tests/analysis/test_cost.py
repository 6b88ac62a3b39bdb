"""What paths cost, in each layer and to pull."""

from __future__ import annotations

from tests.analysis.test_tree import file, folder, gone, hard, layer
from veneer.analysis.cost import Cost, cost
from veneer.analysis.table import Table

LAYERS = (
    layer(file(b"usr/bin/a", 300), file(b"usr/share/doc", 100), file(b"etc/x", 600)),
    layer(file(b"usr/share/doc", 50), file(b"usr/sharp", 50)),
    layer(gone(b"usr/share")),
    layer(folder(b"srv")),
)
BLOBS = (500, 80, None, 10)


def test_everything_costs_what_the_layers_take() -> None:
    assert [(each.layer, each.stored, each.pull) for each in cost(Table(LAYERS), BLOBS)] == [
        (0, 1000, 500), (1, 100, 80), (2, 0, None), (3, 0, 10),
    ]  # fmt: skip


def test_a_path_has_its_share_of_each_blob_hidden_copies_too() -> None:
    assert cost(Table(LAYERS), BLOBS, [b"usr/share"]) == [Cost(0, 100, 2, 50), Cost(1, 50, 2, 40), Cost(2, 0, 1, None)]
    assert cost(Table(LAYERS), BLOBS, [b"srv"]) == [Cost(3, 0, 1, 10)]
    assert cost(Table(LAYERS), BLOBS, [b"nothing"]) == []


def test_a_path_within_another_counts_once() -> None:
    assert cost(Table(LAYERS), BLOBS, [b"usr", b"usr/share/doc", b"usr"]) == cost(Table(LAYERS), BLOBS, [b"usr"])
    assert [each.stored for each in cost(Table(LAYERS), BLOBS, [b"usr/share", b"usr/sharp"])] == [100, 100, 0]


def test_what_another_name_needs_is_no_cost_of_a_path() -> None:
    table = Table((layer(file(b"a", 300), hard(b"d/b", b"a"), file(b"c", 100)), layer(file(b"a", 500), gone(b"d/b"))))
    blobs = (None, None)
    assert cost(table, blobs, [b"a"]) == [Cost(0, 0, 1, None, 300, (b"d/b",)), Cost(1, 500, 1, None)]
    assert [(each.stored, each.kept) for each in cost(table, blobs, [b"d"])] == [(0, 0), (0, 0)]
    assert [(each.stored, each.kept) for each in cost(table, blobs, [b"a", b"d"])] == [(300, 0), (500, 0)]
    assert [each.stored for each in cost(table, blobs)] == [400, 500]
    linked = Table((layer(file(b"a", 300)), layer(hard(b"b", b"a"))))
    assert [(each.stored, each.names) for each in cost(linked, blobs, [b"a"])] == [(0, (b"b",))]
