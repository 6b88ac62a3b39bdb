"""The merged tree of layers, computed from their indexes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest

from veneer.analysis.tree import BadLink, MergedTree, merge
from veneer.changeset.entry import Entry, Kind
from veneer.changeset.index import IndexBuilder, LayerIndex


def layer(*entries: Entry) -> LayerIndex:
    builder = IndexBuilder()
    for e in entries:
        builder.add(
            e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.mtime_ns, e.link, e.digest, 0, e.xattrs, e.opaque, e.implied
        )
    out = io.BytesIO()
    builder.write(out)
    return LayerIndex.from_bytes(out.getvalue())


def folder(path: bytes, mode: int = 0o755, *, opaque: bool = False, implied: bool = False) -> Entry:
    return Entry(path, Kind.DIRECTORY, mode, opaque=opaque, implied=implied)


def file(path: bytes, size: int = 1) -> Entry:
    return Entry(path, Kind.REGULAR, 0o644, size=size, digest=bytes(32))


def gone(path: bytes) -> Entry:
    return Entry(path, Kind.WHITEOUT)


def hard(path: bytes, link: bytes) -> Entry:
    return Entry(path, Kind.HARDLINK, link=link)


def tree(*layers: Sequence[Entry]) -> MergedTree:
    return merge([layer(*entries) for entries in layers])


def paths(merged: MergedTree) -> list[bytes]:
    return [node.path for node in merged]


def test_layers_on_top_of_each_other_are_one_sorted_tree() -> None:
    merged = tree([folder(b"a"), file(b"a/z"), file(b"a-b")], [folder(b"a", 0o700), file(b"a/b")], [file(b"A")])
    assert paths(merged) == [b"A", b"a", b"a/b", b"a/z", b"a-b"]
    assert [(node.path, node.layer) for node in merged][1:4] == [(b"a", 1), (b"a/b", 1), (b"a/z", 0)]
    node = merged.find(b"a")
    assert node is not None
    assert merged.entry(node).mode == 0o700


def test_a_whiteout_hides_what_is_below_and_everything_in_it() -> None:
    merged = tree([folder(b"d"), file(b"d/f"), file(b"g")], [gone(b"d"), gone(b"never")])
    assert paths(merged) == [b"g"]
    assert merged.find(b"d") is None
    assert merged.find(b"d/f") is None
    assert merged.find(b"never") is None


def test_a_directory_made_again_has_nothing_of_the_old_one() -> None:
    below = [folder(b"d"), file(b"d/old")]
    assert paths(tree(below, [gone(b"d")], [folder(b"d"), file(b"d/new")])) == [b"d", b"d/new"]
    assert paths(tree(below, [folder(b"d", opaque=True), file(b"d/new")])) == [b"d", b"d/new"]
    assert paths(tree(below, [file(b"d")], [folder(b"d"), file(b"d/new")])) == [b"d", b"d/new"]


def test_only_a_directory_over_a_directory_merges() -> None:
    assert paths(tree([folder(b"x"), file(b"x/f")], [file(b"x")])) == [b"x"]
    assert paths(tree([file(b"x")], [folder(b"x"), file(b"x/f")])) == [b"x", b"x/f"]


def test_an_implied_directory_keeps_the_attributes_of_the_one_below() -> None:
    merged = tree([folder(b"tmp", 0o1777)], [file(b"tmp/x")], [folder(b"tmp", implied=True), file(b"tmp/y")])
    node = merged.find(b"tmp")
    assert node is not None
    assert (node.layer, merged.entry(node).mode) == (0, 0o1777)


def test_an_opaque_root_hides_all_layers_below() -> None:
    root = Entry(b"", Kind.DIRECTORY, 0o755, opaque=True, implied=True)
    assert paths(tree([file(b"a")], [root, file(b"b")], [file(b"c")])) == [b"b", b"c"]


def test_children_are_those_of_one_directory() -> None:
    merged = tree([folder(b"a"), file(b"a/x"), file(b"a/y"), file(b"b")], [folder(b"a"), gone(b"a/x"), file(b"a/w")])
    assert [node.path for node in merged.children()] == [b"a", b"b"]
    assert [node.path for node in merged.children(b"a")] == [b"a/w", b"a/y"]
    assert list(merged.children(b"b")) == []
    assert list(merged.children(b"missing")) == []


def test_a_hard_link_is_the_file_it_names_in_its_own_layer_or_below() -> None:
    merged = tree(
        [file(b"a", 5), hard(b"b", b"a")],
        [gone(b"a"), hard(b"c", b"b")],
        [file(b"b", 9)],
    )
    assert {node.path: merged.entry(node).size for node in merged} == {b"b": 9, b"c": 5}
    node = merged.find(b"c")
    assert node is not None
    assert merged.content(node) == (0, 0)
    assert merged.entry(node).path == b"c"
    assert merged.entry(node).kind is Kind.REGULAR


def test_a_hard_link_to_nothing_or_to_itself_is_refused_by_name() -> None:
    for target in (b"nothing", b"l"):
        merged = tree([hard(b"l", target)])
        node = merged.find(b"l")
        assert node is not None
        with pytest.raises(BadLink, match=r"^l in layer 0"):
            merged.entry(node)


def test_a_slice_of_the_layers_is_the_tree_at_that_depth() -> None:
    layers = [layer(file(b"a")), layer(gone(b"a"), file(b"b")), layer(file(b"a"))]
    assert [paths(merge(layers[:depth])) for depth in range(4)] == [[], [b"a"], [b"b"], [b"a", b"b"]]
    assert paths(merge(layers[1:])) == [b"a", b"b"]
