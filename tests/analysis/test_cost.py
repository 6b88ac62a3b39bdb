"""What paths cost, in each layer and to pull."""

from __future__ import annotations

from tests.analysis.test_tree import file, folder, gone, layer
from veneer.analysis.cost import Cost, cost

LAYERS = (
    layer(file(b"usr/bin/a", 300), file(b"usr/share/doc", 100), file(b"etc/x", 600)),
    layer(file(b"usr/share/doc", 50), file(b"usr/sharp", 50)),
    layer(gone(b"usr/share")),
    layer(folder(b"srv")),
)
BLOBS = (500, 80, None, 10)


def test_everything_costs_what_the_layers_take() -> None:
    assert [(each.layer, each.stored, each.pull) for each in cost(LAYERS, BLOBS)] == [
        (0, 1000, 500), (1, 100, 80), (2, 0, None), (3, 0, 10),
    ]  # fmt: skip


def test_a_path_has_its_share_of_each_blob_hidden_copies_too() -> None:
    assert cost(LAYERS, BLOBS, [b"usr/share"]) == [Cost(0, 100, 2, 50), Cost(1, 50, 2, 40), Cost(2, 0, 1, None)]
    assert cost(LAYERS, BLOBS, [b"srv"]) == [Cost(3, 0, 1, 10)]
    assert cost(LAYERS, BLOBS, [b"nothing"]) == []


def test_a_path_within_another_counts_once() -> None:
    assert cost(LAYERS, BLOBS, [b"usr", b"usr/share/doc", b"usr"]) == cost(LAYERS, BLOBS, [b"usr"])
    assert [each.stored for each in cost(LAYERS, BLOBS, [b"usr/share", b"usr/sharp"])] == [100, 100, 0]
