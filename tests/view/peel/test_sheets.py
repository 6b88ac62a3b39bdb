"""The style sheet with other values for its variables."""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet

from veneer.view.peel.sheets import Sheet

SOURCE = "Screen { background: $ground; } Label { color: $ground; height: 1; }"
BLACK, WHITE, RED = ({"ground": colour} for colour in ("#000000", "#ffffff", "#ff0000"))


def test_a_sheet_is_what_its_variables_say_parsed_ahead_or_not() -> None:
    sheet = Sheet(BLACK)
    sheet.add_source(SOURCE)
    sheet.ahead(WHITE)
    seen = set()
    for variables in (BLACK, WHITE, BLACK, RED, WHITE, RED):
        sheet.set_variables(variables)
        sheet.reparse()
        fresh = Stylesheet(variables=variables)
        fresh.add_source(SOURCE)
        assert sheet.css == fresh.css
        seen.add(sheet.css)
    assert len(seen) == 3


def test_what_is_added_later_has_the_values_of_now() -> None:
    sheet = Sheet(BLACK)
    sheet.add_source(SOURCE)
    sheet.ahead(WHITE)
    sheet.set_variables(WHITE)
    sheet.reparse()
    sheet.add_source("Input { color: $ground; }")
    assert "Input" in sheet.css and sheet.css.count("#FFFFFF") == 3
