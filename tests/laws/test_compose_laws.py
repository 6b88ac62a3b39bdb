"""One law: a run of layers and the one layer composed of it make the same tree, wherever in a stack it stands."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.laws.scratch import directory, scratch
from tests.laws.test_merge_laws import describe_merged, random_layer
from veneer.analysis.tree import MergedTree, merge
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import LayerIndex
from veneer.changeset.tar import TarReader
from veneer.changeset.tar_writer import TarWriter, member_header
from veneer.changeset.unpack import unpack
from veneer.changeset.whiteout import OPAQUE_MARKER, WhiteoutStyle
from veneer.engine.rework.composing import compose

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and whiteouts on disk take root")

Contents = dict[bytes, bytes]


def some_layer(random: Random, below: MergedTree, number: int, contents: Contents) -> bytes:
    """A random layer, now and then with an opaque root or an opaque directory without an entry.

    What its files hold goes into `contents`, by hash.
    """
    tar = random_layer(random, below, number)
    reader = TarReader(io.BytesIO(tar))
    while reader.next():
        data = reader.read(1 << 20)
        contents[hashlib.sha256(data).digest()] = data
    directories = [b"", *(node.path + b"/" for node in below if node.kind is Kind.DIRECTORY)]
    if random.randint(0, 2) == 0:
        tar = member_header(Entry(random.choice(directories) + OPAQUE_MARKER, Kind.WHITEOUT)) + tar
    return tar


def indexed(base: Path, tar: bytes) -> LayerIndex:
    out = io.BytesIO()
    with scratch(base) as root, directory(root / "layer") as fd:
        unpack(io.BytesIO(tar), fd, WhiteoutStyle.OVERLAY, index=out)
    return LayerIndex.from_bytes(out.getvalue())


def composed(indexes: list[LayerIndex], contents: Contents, first: int, last: int) -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out)
    for member in compose(indexes, first, last):
        writer.add(member.entry, contents[member.entry.digest] if member.source else None)
    writer.finish()
    return out.getvalue()


@given(seed=st.integers(0, 10**9), depth=st.integers(2, 6), cut=st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_a_run_of_layers_and_its_composition_make_one_tree(
    tmp_path: Path, seed: int, depth: int, cut: tuple[int, int]
) -> None:
    random = Random(seed)
    first, last = sorted(min(each, depth - 1) for each in cut)
    indexes: list[LayerIndex] = []
    contents: Contents = {}
    with ExitStack() as stack:
        for number in range(depth):
            tar = some_layer(random, merge(indexes), number, contents)
            indexes.append(stack.enter_context(indexed(tmp_path, tar)))
        tar = composed(indexes, contents, first, last)
        one = stack.enter_context(indexed(tmp_path, tar))
        for top in (last, depth - 1):
            stacked = [*indexes[:first], one, *indexes[last + 1 : top + 1]]
            assert describe_merged(merge(stacked)) == describe_merged(merge(indexes[: top + 1]))
        # Nothing in it is idle: composed again it is the same, and every deletion deletes something.
        again = [*indexes[:first], one]
        assert composed(again, contents, first, first) == tar
        below = merge(indexes[:first])
        for entry in one:
            if entry.kind is Kind.WHITEOUT:
                assert below.find(entry.path) is not None
            if entry.opaque:
                assert list(below.children(entry.path))
