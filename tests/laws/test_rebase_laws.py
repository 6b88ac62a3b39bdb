"""One law: what an image loses of itself, or hides of a new base's own, when it is put on that base has been told."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.test_compose_laws import indexed, some_layer
from veneer.analysis.tree import MergedTree, merge
from veneer.changeset.entry import Kind
from veneer.changeset.index import LayerIndex
from veneer.engine.rework.hazards import LINKED, LOST, Hazard, hazards, same

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and whiteouts on disk take root")


def alike(one: MergedTree, other: MergedTree, path: bytes) -> bool:
    """Whether two trees have the same at a path."""
    here, there = one.find(path), other.find(path)
    if here is None or there is None:
        return here is there
    return same(one.entry(here), other.entry(there))


def is_told(path: bytes, found: list[Hazard]) -> bool:
    return any(each.path in (b"", path) or path.startswith(each.path + b"/") for each in found)


@given(seed=st.integers(0, 10**9), base=st.integers(1, 2), changes=st.integers(0, 2), own=st.integers(1, 3))
def test_what_is_lost_or_hidden_on_another_base_has_been_told(
    tmp_path: Path, seed: int, base: int, changes: int, own: int
) -> None:
    random = Random(seed)
    with ExitStack() as stack:

        def layers(below: list[LayerIndex], count: int) -> list[LayerIndex]:
            made: list[LayerIndex] = []
            for number in range(count):
                tar = some_layer(random, merge([*below, *made]), len(below) + number, {})
                made.append(stack.enter_context(indexed(tmp_path, tar)))
            return made

        old = layers([], base)
        upper = layers(old, own)
        new = [*old, *layers(old, changes)]
        found = hazards(old, new, upper)
        before, after, top = merge(old), merge(new), merge(upper)
        on_old, on_new = merge([*old, *upper]), merge([*new, *upper])
        assert changes or found == []
        for node in after:
            if not alike(before, after, node.path) and not is_told(node.path, found):
                assert alike(after, on_new, node.path), f"{node.path!r} of the new base is lost: {found}"
        broken = {each.path for each in found if each.kind in (LOST, LINKED)}
        for node in top:
            assert on_new.find(node.path) is not None
            if node.kind is not Kind.DIRECTORY and node.path not in broken:
                assert alike(on_old, on_new, node.path), f"{node.path!r} of the image became another: {found}"
