"""The style sheet with other values for its variables."""

from __future__ import annotations

from textual.css.stylesheet import Stylesheet
from textual.strip import Strip

from tests.view.peel.driving import by_hand, peeling
from veneer.engine.engine import Engine
from veneer.view.peel.preferences import Preferences
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


def _cells(strip: Strip) -> list[tuple[str, object, object]]:
    """What is to be seen in a line: a blank has no colour but that of its ground, whoever drew it."""
    return [
        (letter, None if letter == " " else part.style, part.style and part.style.bgcolor)
        for part in strip
        for letter in part.text
    ]


@by_hand
async def test_a_theme_that_was_changed_to_is_drawn_as_one_that_was_started_with(peel_engine: Engine) -> None:
    drawn = []
    for name, keys in (("dark", ("question_mark", "t", "escape")), ("light", ("question_mark", "escape"))):
        async with peeling(peel_engine, "shop:1", preferences=Preferences(theme=name)) as it:
            await it.press(*keys)
            main = it.strips()
            await it.press("slash")
            drawn.append([_cells(strip) for strip in main + it.strips()[:-2]])
    assert drawn[0] == drawn[1]
