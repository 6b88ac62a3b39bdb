"""The same content under several paths."""

from __future__ import annotations

from tests.analysis.test_tree import file, folder, gone, hard, layer
from tests.analysis.test_waste import other
from veneer.analysis.duplicates import duplicates
from veneer.analysis.table import Table


def test_the_same_content_elsewhere_is_a_duplicate_across_layers() -> None:
    table = Table([
        layer(folder(b"a"), file(b"a/one", 10), other(b"a/two", 10), file(b"b", 10), file(b"small", 1)),
        layer(folder(b"a"), file(b"a/new", 10), file(b"tiny", 1), other(b"lone", 99)),
    ])  # fmt: skip
    found = duplicates(table)
    assert [(each.size, each.paths, each.layers, each.bytes) for each in found] == [
        (10, (b"a/new", b"a/one", b"b"), (1, 0, 0), 20), (1, (b"small", b"tiny"), (0, 1), 1),
    ]  # fmt: skip
    assert [each.size for each in duplicates(table, least=2)] == [10]


def test_names_of_one_file_and_what_nobody_sees_are_none() -> None:
    base = layer(file(b"a", 10), hard(b"b", b"a"), file(b"c", 10), file(b"empty", 0), file(b"void", 0))
    assert [each.paths for each in duplicates(Table([base]))] == [(b"a", b"c")]
    assert duplicates(Table([base, layer(gone(b"c"))])) == []
    assert duplicates(Table([])) == []


def test_a_file_whose_first_name_went_counts_under_the_next() -> None:
    """As on every Debian: perl, by two names, one of which a chmod writes again."""
    base = layer(file(b"a", 10), hard(b"b", b"a"), hard(b"c", b"a"))
    found = duplicates(Table([base, layer(file(b"a", 10))]))
    assert [(each.size, each.paths, each.layers, each.bytes) for each in found] == [(10, (b"a", b"b"), (1, 0), 10)]
    assert [each.paths for each in duplicates(Table([base, layer(file(b"b", 10))]))] == [(b"a", b"b")]
    moved = Table([base, layer(gone(b"a")), layer(file(b"d", 10))])
    assert [(each.paths, each.layers) for each in duplicates(moved)] == [((b"b", b"d"), (0, 2))]
