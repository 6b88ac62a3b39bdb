"""Names and shapes that nobody means well with: nothing breaks, and everything stays findable."""

from __future__ import annotations

import io
import re

from tests.analysis.test_tree import file, folder, gone, layer
from veneer.analysis.comparison import compare
from veneer.analysis.dive import figures
from veneer.analysis.events import Op, history_of, matching
from veneer.analysis.table import Table
from veneer.analysis.view import View
from veneer.analysis.waste import account
from veneer.changeset.entry import Kind
from veneer.changeset.index import IndexBuilder, LayerIndex

NAMES = (
    b"new\nline", b"\x1b[2Jclear", "\u202egnp.exe".encode(), b"\xff\xfe", b"\xc3", b" ", b"-rf", b"*", b"a\\x41",
    b"y" * 255, "\u2066isolate".encode(), b"tab\there", b"\x7f", b"..."
)  # fmt: skip


def test_every_name_is_found_again_and_only_by_itself() -> None:
    table = Table([
        layer(*(file(name, number) for number, name in enumerate(NAMES, 1))),
        layer(*(gone(name) for name in NAMES)),
        layer(*(file(name, 1) for name in NAMES)),
    ])  # fmt: skip
    for name in NAMES:
        assert [event.op for event in history_of(table, name)] == [Op.ADDED, Op.DELETED, Op.ADDED]
        assert [path for path, _ in matching(table, re.compile(re.escape(name)))] == [name]
    assert {line.path for line in View(table).level()} == set(NAMES)
    assert account(table).wasted == sum(range(1, len(NAMES) + 1))
    assert {loss.path for loss in account(table).losses} == set(NAMES)


def test_a_path_of_four_thousand_bytes() -> None:
    path = b"/".join([b"d" * 250] * 16)
    table = Table([layer(file(path, 9)), layer(gone(path))])
    assert [event.op for event in history_of(table, path)] == [Op.ADDED, Op.DELETED]
    assert account(table).losses[0].path == path


def built(*paths: bytes, kind: Kind = Kind.REGULAR) -> LayerIndex:
    builder = IndexBuilder()
    for path in paths:
        builder.add(path, kind, 0o644, size=5, digest=bytes(32))
    out = io.BytesIO()
    builder.write(out)
    return LayerIndex.from_bytes(out.getvalue())


def test_five_thousand_directories_deep() -> None:
    deep = b"/".join([b"x"] * 5000)
    indexes = [built(deep + b"/f"), built(deep + b"/g"), built(deep + b"/g", kind=Kind.WHITEOUT)]
    table = Table(indexes)
    assert account(table).wasted == 5
    view = View(table)
    assert view.total().entries == 5001
    assert [(line.name, line.is_there) for line in view.level(deep)] == [(b"f", True), (b"g", False)]
    assert [event.op for event in history_of(table, deep + b"/g")] == [Op.ADDED, Op.DELETED]
    assert figures(indexes).wasted == 5
    assert list(compare(table, Table(indexes[:1]), (("a", "b", "c"), ("a",)))) == []
    assert [each.path for each in compare(table, Table([]), (("a", "b", "c"), ()))] == [b"x"]


def test_a_directory_too_large_to_sort_at_once() -> None:
    count = 100_000
    indexes = [built(*(b"d/%d" % number for number in range(count))),
               built(*(b"d/%d" % number for number in range(0, count, 1000)), kind=Kind.WHITEOUT)]  # fmt: skip
    table = Table(indexes)
    found = account(table)
    assert (found.wasted, found.layers[1].deleted) == (5 * 100, 100)
    assert View(table).total().entries == count - 100 + 1
    names = [row.path for row in table.walk()]
    assert len(names) == count + 2 and names == sorted(names)


def test_an_image_of_nothing_and_of_a_thousand_layers() -> None:
    assert account(Table([])).efficiency == 1.0
    assert View(Table([])).level() == []
    many = Table([layer(folder(b"d"), file(b"d/f", number)) for number in range(1, 1001)])
    assert account(many).wasted == sum(range(1, 1000))
    assert len(history_of(many, b"d/f")) == 1000
