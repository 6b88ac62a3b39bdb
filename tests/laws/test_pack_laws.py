"""Laws of packing and unpacking, for random trees and random changes on real file systems."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings

from tests.laws.scratch import directory, overlay, scratch
from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import Packed, pack, pack_difference, pack_tree
from veneer.changeset.unpack import Unpacked, settle, unpack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.testing.trees import (
    Tree,
    assert_same,
    change_tree,
    changes,
    random_change,
    random_tree,
    read_tree,
    trees,
    write_tree,
)

OVERLAY, ERASE = WhiteoutStyle.OVERLAY, WhiteoutStyle.ERASE
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and overlay mounts take root")
EXAMPLES = settings(max_examples=20)


class Layer:
    """A layer that was packed: the tar, its index and what was said of it."""

    def __init__(self, how: Callable[[io.BytesIO, io.BytesIO], Packed]) -> None:
        tar, index = io.BytesIO(), io.BytesIO()
        self.packed = how(tar, index)
        self.tar, self.index = tar.getvalue(), index.getvalue()

    def unpack(self, root_fd: int, style: WhiteoutStyle, lowers: list[int]) -> Unpacked:
        index = io.BytesIO()
        unpacked = unpack(io.BytesIO(self.tar), root_fd, style, index=index)
        settle(root_fd, unpacked, lowers, style)
        assert unpacked.diff_id == self.packed.diff_id
        assert unpacked.size == self.packed.size
        assert unpacked.tar_size == self.packed.tar_size == len(self.tar)
        with LayerIndex.from_bytes(index.getvalue()) as found, LayerIndex.from_bytes(self.index) as expected:
            assert list(found) == list(expected)
            assert len(found) == self.packed.entries
        assert index.getvalue() == self.index
        return unpacked


def layer_of_tree(fd: int) -> Layer:
    return Layer(lambda tar, index: pack_tree(fd, tar, index=index))


def layer_of_difference(old: int | None, new: int) -> Layer:
    return Layer(lambda tar, index: pack_difference(old, new, tar, index=index))


def layer_of_upper(fd: int, below: int | None) -> Layer:
    return Layer(lambda tar, index: pack(fd, OVERLAY, tar, index=index, below=below))


@given(tree=trees())
@EXAMPLES
def test_a_packed_tree_unpacks_to_the_same_tree(tmp_path: Path, tree: Tree) -> None:
    with (
        scratch(tmp_path) as tmp,
        directory(tmp / "t") as fd,
        directory(tmp / "o") as overlaid,
        directory(tmp / "e") as plain,
    ):
        write_tree(tree, fd)
        assert_same(tree, read_tree(fd))
        layer = layer_of_tree(fd)
        layer.unpack(overlaid, OVERLAY, [])
        layer.unpack(plain, ERASE, [])
        assert_same(tree, read_tree(overlaid))
        assert_same(tree, read_tree(plain))


@given(story=changes())
@EXAMPLES
def test_the_difference_of_two_trees_applied_to_the_first_yields_the_second(tmp_path: Path, story: list[Tree]) -> None:
    a, b = story
    with (
        scratch(tmp_path) as tmp,
        directory(tmp / "a") as old,
        directory(tmp / "b") as new,
        directory(tmp / "d") as diff,
    ):
        write_tree(a, old)
        write_tree(b, new)
        layer = layer_of_difference(old, new)
        layer.unpack(diff, OVERLAY, [old])
        with overlay(tmp, [tmp / "d", tmp / "a"]) as merged, directory(merged) as view:
            assert_same(b, read_tree(view))
        layer.unpack(old, ERASE, [])
        assert_same(b, read_tree(old))


def change_by_overlay(tmp: Path, a: Tree, b: Tree) -> tuple[Layer, Layer, Layer]:
    """(packed from the upper alone, from upper and lower, from the two merged trees) of a real overlay mount."""
    with directory(tmp / "a") as old:
        write_tree(a, old)
        with overlay(tmp, [tmp / "a"]) as merged, directory(merged) as view, directory(tmp / "upper") as upper:
            change_tree(view, a, b)
            assert_same(b, read_tree(view))
            return layer_of_upper(upper, None), layer_of_upper(upper, old), layer_of_difference(old, view)


@given(story=changes())
@EXAMPLES
def test_an_overlay_upper_packs_to_the_bytes_of_the_difference_of_the_merged_trees(
    tmp_path: Path, story: list[Tree]
) -> None:
    a, b = story
    with scratch(tmp_path) as tmp:
        _, canonical, difference = change_by_overlay(tmp, a, b)
        with LayerIndex.from_bytes(canonical.index) as found, LayerIndex.from_bytes(difference.index) as expected:
            assert list(found) == list(expected)
        assert canonical.tar == difference.tar


@given(story=changes())
@EXAMPLES
def test_an_overlay_upper_taken_at_its_word_applies_to_the_changed_tree(tmp_path: Path, story: list[Tree]) -> None:
    a, b = story
    with scratch(tmp_path) as tmp, directory(tmp / "copy") as copy, directory(tmp / "diff") as diff:
        native, _, _ = change_by_overlay(tmp, a, b)
        write_tree(a, copy)
        native.unpack(copy, ERASE, [])
        assert_same(b, read_tree(copy))
        with directory(tmp / "a") as old:
            native.unpack(diff, OVERLAY, [old])
        with overlay(tmp / "second", [tmp / "diff", tmp / "a"]) as merged, directory(merged) as view:
            assert_same(b, read_tree(view))


@pytest.mark.parametrize("seed", range(10))
def test_packing_twice_gives_the_same_bytes(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    a = random_tree(random)
    b = random_change(random, a)
    with (
        scratch(tmp_path) as tmp,
        directory(tmp / "a") as old,
        directory(tmp / "b") as new,
        directory(tmp / "c") as again,
    ):
        write_tree(a, old)
        write_tree(b, new)
        write_tree(b, again)
        assert layer_of_difference(old, new).tar == layer_of_difference(old, again).tar
        assert layer_of_difference(None, new).tar == layer_of_tree(again).tar


@pytest.mark.parametrize("style", [OVERLAY, WhiteoutStyle.OVERLAY_USER, WhiteoutStyle.AUFS])
@given(story=changes())
@EXAMPLES
def test_a_layer_unpacked_in_any_drivers_spelling_packs_to_its_own_bytes_again(
    tmp_path: Path, style: WhiteoutStyle, story: list[Tree]
) -> None:
    a, b = story
    with (
        scratch(tmp_path) as tmp,
        directory(tmp / "a") as old,
        directory(tmp / "b") as new,
        directory(tmp / "d") as diff,
    ):
        write_tree(a, old)
        write_tree(b, new)
        layer = layer_of_difference(old, new)
        unpack(io.BytesIO(layer.tar), diff, style, index=None)
        again = Layer(lambda tar, index: pack(diff, style, tar, index=index))
        assert again.index == layer.index
        assert again.tar == layer.tar
