"""The shipped trees: same seed, same tree; what is written is read back; differences are named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from veneer.changeset.entry import Kind
from veneer.testing.trees import (
    Node,
    Tree,
    Wishes,
    assert_same,
    change_tree,
    difference,
    random_change,
    random_tree,
    read_tree,
    write_tree,
)

FOLDER, FILE = Node(Kind.DIRECTORY, 0o755), Node(Kind.REGULAR, 0o644, content=b"x")


def test_the_same_seed_makes_the_same_tree_and_change() -> None:
    for seed in range(20):
        trees = [random_tree(Random(seed)) for _ in range(2)]
        assert trees[0] == trees[1]
        assert random_change(Random(seed), trees[0]) == random_change(Random(seed), trees[0])


def test_random_trees_have_every_kind_of_node() -> None:
    seen = {node.kind for seed in range(60) for node in random_tree(Random(seed), Wishes(devices=True)).values()}
    assert seen == set(Kind) - {Kind.WHITEOUT}


@pytest.mark.skipif(os.geteuid() != 0, reason="foreign owners and devices take root")
@pytest.mark.parametrize("seed", range(15))
def test_a_tree_is_read_back_as_written_and_changed_in_place_to_another(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    a = random_tree(random, Wishes(size=25))
    b = random_change(random, a, Wishes(size=25))
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_tree(a, fd)
        assert_same(a, read_tree(fd))
        change_tree(fd, a, b)
        assert_same(b, read_tree(fd))
    finally:
        os.close(fd)


def test_names_of_one_file_are_normal_whichever_is_said_to_hold_it() -> None:
    link = Node(Kind.HARDLINK, link=b"z")
    assert Tree({b"z": FILE, b"a": link}) == Tree({b"a": FILE, b"z": Node(Kind.HARDLINK, link=b"a")})
    assert Tree({b"z": FILE, b"a": link}).without(b"a") == Tree({b"z": FILE})


def test_a_node_without_its_directory_or_target_is_refused() -> None:
    for nodes in ({b"d/f": FILE}, {b"d": FILE, b"d/f": FILE}, {b"l": Node(Kind.HARDLINK, link=b"f")}):
        with pytest.raises(ValueError, match="is "):
            Tree(nodes)


def test_a_difference_names_the_path_and_the_fields() -> None:
    one = Tree({b"d": FOLDER, b"d/f": FILE, b"gone": FILE})
    other = Tree({b"d": FOLDER, b"d/f": Node(Kind.REGULAR, 0o600, content=b"x"), b"new": FILE})
    lines = difference(one, other)
    assert [line.split(":")[0] for line in lines] == ["different   d/f", "missing     gone", "unexpected  new"]
    assert lines[0] == "different   d/f: mode 384, not 420"
    assert difference(one, one) == []
    with pytest.raises(AssertionError, match="mode 384"):
        assert_same(one, other)


def test_trees_need_hypothesis_only_for_strategies() -> None:
    program = "import sys, veneer.testing.trees; sys.exit('hypothesis' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
