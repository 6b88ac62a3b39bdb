"""Tables line up as docker's do, and nothing a stranger wrote can break them."""

from __future__ import annotations

from veneer.cli import tables


def test_cells_are_at_least_ten_wide_and_three_apart() -> None:
    rows = [("IMAGE", "CREATED", "SIZE"), ("fe5b6ff633f1", "1 second ago", "0B")]
    assert tables.align(rows) == "IMAGE          CREATED        SIZE\nfe5b6ff633f1   1 second ago   0B\n"


def test_an_empty_last_cell_leaves_the_padding_before_it() -> None:
    rows = [("IMAGE", "SIZE", "COMMENT"), ("a", "0B", "")]
    assert tables.align(rows).splitlines()[1] == "a         0B        "


def test_a_header_alone_is_still_padded() -> None:
    assert tables.align([("IMAGE", "COMMENT")]) == "IMAGE     COMMENT\n"


def test_a_column_ends_where_a_row_has_no_such_cell() -> None:
    text = "a\tb\nlonger than ten\tb\nno tab here\nx\ty\n"
    assert tables.align_text(text) == (
        "a                 b\nlonger than ten   b\nno tab here\nx         y\n"
    )  # as Go's tabwriter: the last row is a column block of its own


def test_wide_characters_take_two_cells() -> None:
    assert tables.width("日本") == 4
    assert tables.width("e\u0301") == 1
    first, second = tables.align([("日本", "x"), ("abcd", "x")]).splitlines()
    assert first == "日本" + " " * 6 + "x"
    assert second == "abcd" + " " * 6 + "x"


def test_a_long_text_is_cut_at_its_width_with_an_ellipsis() -> None:
    assert tables.shorten("x" * 45, 45) == "x" * 45
    assert tables.shorten("x" * 46, 45) == "x" * 44 + "…"
    assert tables.shorten("宽" * 22, 45) == "宽" * 22
    assert tables.shorten("宽" * 30, 45) == "宽" * 22 + "…"
    assert len(tables.shorten("e" + "\u0301" * 1000, 45)) == 45


def test_control_characters_are_written_out() -> None:
    assert tables.harmless("a\x1b[31mb\nc\td\x07\x9b\x7f") == "a\\x1b[31mb\\nc\\td\\x07\\u009b\\x7f"
    assert tables.harmless("safe\u202etxt.exe") == "safe\\u202etxt.exe"
    assert tables.harmless("line\nnext\tcell\x1b", keep="\n\t") == "line\nnext\tcell\\x1b"
    assert tables.harmless("twin\u200b\ufeff") == "twin\\u200b\\ufeff"
    assert tables.harmless("Grüße 日本") == "Grüße 日本"


def test_a_name_that_is_not_utf8_can_be_printed() -> None:
    assert tables.harmless(b"caf\xe9".decode("utf-8", "surrogateescape")) == "caf\\udce9"
