"""Two images side by side, and what many share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.analysis.stacks import random_stack
from tests.analysis.test_tree import file, folder, gone, layer
from tests.analysis.test_waste import other
from veneer.analysis.comparison import Difference, compare
from veneer.analysis.events import Op, changed_fields
from veneer.analysis.sharing import Branch, Stack, common_layers, elsewhere, forest, totals
from veneer.analysis.table import Table
from veneer.analysis.tree import BadLink, merge
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.oci.digest import ChainID, DiffID, Digest, chain_ids


def compared(first: list[LayerIndex], second: list[LayerIndex], **how: bool) -> list[Difference]:
    names = (tuple(map(id, first)), tuple(map(id, second)))
    return list(compare(Table(first), Table(second), names, **how))


def seen(indexes: list[LayerIndex]) -> dict[bytes, Entry]:
    tree = merge(indexes)
    return {node.path: tree.entry(node) for node in tree}


def test_what_differs_is_told_by_path_and_field() -> None:
    first = [layer(folder(b"d"), file(b"d/same", 1), file(b"d/mode", 1), file(b"d/gone", 5), file(b"kind"))]
    second = [
        layer(folder(b"d"), file(b"d/same", 1), replace(file(b"d/mode", 1), mode=0o600), file(b"d/new", 7),
              folder(b"kind"))
    ]  # fmt: skip
    found = compared(first, second)
    assert [(each.path, each.op, each.changed) for each in found] == [
        (b"d/gone", Op.DELETED, ()),
        (b"d/mode", Op.METADATA, ("mode",)),
        (b"d/new", Op.ADDED, ()),
        (b"kind", Op.REPLACED, ("kind", "content", "mode")),
    ]


def test_a_directory_that_only_one_has_stands_for_all_in_it() -> None:
    first, second = [layer(file(b"a"))], [layer(file(b"a")), layer(folder(b"d"), folder(b"d/e"), file(b"d/e/f", 9))]
    (found,) = compared(first, second)
    assert (found.path, found.size_after, found.entries) == (b"d", 9, 2)
    assert [each.path for each in compared(first, second, expand=True)] == [b"d", b"d/e", b"d/e/f"]
    assert [each.op for each in compared(second, first, expand=True)] == [Op.DELETED] * 3


def test_a_directory_in_a_files_place_stands_for_all_in_it_too() -> None:
    first, second = [layer(file(b"d", 3))], [layer(folder(b"d"), file(b"d/e", 5), file(b"d/f", 9))]
    (found,) = compared(first, second)
    assert (found.op, found.size_before, found.size_after, found.entries) == (Op.REPLACED, 3, 14, 2)
    (found,) = compared(second, first)
    assert (found.op, found.size_before, found.size_after, found.entries) == (Op.REPLACED, 14, 3, 2)
    assert [(each.op, each.entries) for each in compared(second, first, expand=True)] == [
        (Op.REPLACED, 0), (Op.DELETED, 0), (Op.DELETED, 0),
    ]  # fmt: skip


def test_a_semantic_comparison_does_not_look_at_times() -> None:
    first, second = [layer(file(b"a"), file(b"b"))], [layer(replace(file(b"a"), mtime_ns=5), other(b"b", 1))]
    assert [each.path for each in compared(first, second)] == [b"a", b"b"]
    assert [each.path for each in compared(first, second, semantic=True)] == [b"b"]


def test_a_shared_base_is_passed_over() -> None:
    base = layer(folder(b"usr"), file(b"usr/a"), folder(b"etc"), file(b"etc/b"))
    first, second = [base, layer(gone(b"etc/b"))], [base, layer(file(b"usr/c"))]
    assert [(each.path, each.op) for each in compared(first, second)] == [
        (b"etc/b", Op.ADDED), (b"usr/c", Op.ADDED),
    ]  # fmt: skip
    assert compared(first, first) == []


def test_a_link_of_a_shared_layer_to_files_that_differ_differs() -> None:
    shared = layer(folder(b"d"), file(b"d/own", 3), Entry(b"d/link", Kind.HARDLINK, link=b"f"),
                   Entry(b"d/second", Kind.HARDLINK, link=b"d/own"))  # fmt: skip
    first, second = [layer(other(b"f", 1)), shared], [layer(other(b"f", 2)), shared]
    assert [(each.path, each.op) for each in compared(first, second)] == [(b"d/link", Op.MODIFIED), (b"f", Op.MODIFIED)]


@pytest.mark.usefixtures("root_only")
def test_random_images_differ_by_what_their_trees_differ(tmp_path: Path) -> None:
    for seed in range(100):
        folder_ = tmp_path / str(seed)
        folder_.mkdir()
        indexes = list(random_stack(Random(seed), folder_, layers=6).indexes)
        middle = len(indexes) // 2
        # Two images on one base, and two that have nothing in common.
        for first, second in ((indexes[: middle + 1], indexes), (indexes[:middle], indexes[middle:])):
            try:
                before, after = seen(first), seen(second)
            except BadLink:
                continue  # the upper half alone may link to what only the lower has
            wanted = {path for path in before.keys() | after.keys() if _differs(before.get(path), after.get(path))}
            found = [each.path for each in compared(first, second, expand=True)]
            assert set(found) == wanted, f"seed {seed}"
            assert len(found) == len(set(found)) and found == sorted(found, key=lambda path: path.split(b"/"))


def _differs(before: Entry | None, after: Entry | None) -> bool:
    if before is None or after is None:
        return before is not after
    fields = set(changed_fields(before, after))
    return bool(fields - {"mtime"} if before.kind is after.kind is Kind.DIRECTORY else fields)


def image(key: str, *contents: str) -> Stack:
    """A stack of layers named by their contents, a hundred bytes for each letter."""
    diff_ids = tuple(DiffID(Digest.of(content.encode())) for content in contents)
    return Stack(key, tuple(chain_ids(diff_ids)), diff_ids, tuple(100 * len(content) for content in contents))


def test_shared_layers_are_one_branch_and_sizes_add_up() -> None:
    stacks = [image("web", "base", "py", "web"), image("job", "base", "py", "job"), image("base", "base"),
              image("alone", "other"), image("nothing")]  # fmt: skip
    trees = forest(stacks)
    assert [(tree.users, tree.ends, len(tree.layers)) for tree in trees] == [
        (3, ["base"], 1), (1, ["alone"], 1), (1, ["nothing"], 0),
    ]  # fmt: skip
    (python,) = trees[0].branches
    assert (python.users, python.ends, python.size, python.saved) == (2, [], 200, 200)
    assert sorted(branch.ends[0] for branch in python.branches) == ["job", "web"]
    found = totals(stacks)
    assert (found.unshared, found.unique, found.saved) == (2700, 1700, 1000)

    def size(branch: Branch) -> int:
        return branch.size + sum(size(above) for above in branch.branches)

    assert sum(size(tree) for tree in trees) == found.unique


def test_the_same_layer_on_another_base_is_found_by_its_content() -> None:
    stacks = [image("a", "x", "app"), image("b", "y", "app")]
    ((diff_id, places),) = elsewhere(stacks).items()
    assert diff_id == stacks[0].diff_ids[1] and len(places) == 2
    assert common_layers(stacks[0].chain_ids, stacks[1].chain_ids) == 0
    assert totals(stacks).disk == totals(stacks).unique - 300


def test_two_thousand_images_with_a_hundred_layers_each_are_no_deep_recursion() -> None:
    words = [f"layer {number}" for number in range(100)]
    stacks = [image(f"i{number}", *words[: number % 100], f"own {number}") for number in range(2000)]
    trees = forest(stacks)
    assert sum(tree.users for tree in trees) == 2000
    assert ChainID(trees[0].layers[0][0]) in stacks[1].chain_ids
