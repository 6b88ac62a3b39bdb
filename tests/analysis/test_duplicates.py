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
