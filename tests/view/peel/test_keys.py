"""The keys: one table, which bindings, help and documents share; and what somebody prefers instead."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import veneer.view.peel as package
from tests.view.peel.driving import by_hand, peeling
from veneer.engine.engine import Engine
from veneer.view.peel.base import PeelScreen
from veneer.view.peel.keys import ACTIONS, named, shown
from veneer.view.peel.preferences import BadPreferences, Preferences, read

DOCUMENT = Path(__file__).parents[3] / "docs" / "peel.md"


def screens() -> list[type[PeelScreen]]:
    """Every screen there is."""
    for module in pkgutil.iter_modules(package.__path__, "veneer.view.peel."):
        importlib.import_module(module.name)
    found: list[type[PeelScreen]] = []
    pending = [PeelScreen]
    while pending:
        kind = pending.pop()
        found.append(kind)
        pending += kind.__subclasses__()
    return found


def test_the_documents_table_is_the_bindings_table() -> None:
    rows = re.findall(r"^\| (`.*`) \| `(\w+)` \| (.*) \|$", DOCUMENT.read_text(), re.M)
    assert rows == [
        (" ".join(f"`{key}`" for key in shown(action.keys).split(" ")), action.id, action.about) for action in ACTIONS
    ]


def test_every_action_is_done_by_some_screen_and_every_screen_does_what_is_listed() -> None:
    done = {name.removeprefix("do_") for screen in screens() for name in dir(screen) if name.startswith("do_")}
    assert done == {action.id for action in ACTIONS}


def test_no_key_means_two_things_and_none_needs_control() -> None:
    keys = [key for action in ACTIONS for key in action.keys.split(",")]
    assert len(keys) == len(set(keys))
    assert all(any("ctrl" not in key for key in action.keys.split(",")) for action in ACTIONS)


def test_keys_are_written_as_people_do_and_read_back() -> None:
    for action in ACTIONS:
        assert named(shown(action.keys)) == action.keys
    assert named("/") == "slash" and named("w W") == "w,W" and named("ctrl+f") == "ctrl+f" and named(" ") == ""
    assert named(",") == "comma" and named("a,b") == "a,b" and named("escape") == "escape"


def test_preferences_are_read_and_what_is_not_known_is_told() -> None:
    text = 'theme = "light"\nlog = true\nbrowser = "http://x"\n[keys]\nwaste = "V"\nfind = "/ ctrl+f"\n'
    assert read(text, "peel.toml") == Preferences("light", {"waste": "V", "find": "slash,ctrl+f"}, "http://x", True)
    found = read('[keys]\nwaste = "b"\nwrap = "x"\n', "peel.toml")
    assert found.warnings == (
        "peel.toml: b is the key of page_up and of waste", "peel.toml: x is the key of wrap and of text",
    )  # fmt: skip
    found = read('thema = 1\n[keys]\nwast = "x"\n', "peel.toml")
    assert found.warnings == (
        "peel.toml: unknown setting 'thema': did you mean theme?",
        "peel.toml: unknown action 'wast': did you mean waste?",
    )
    assert read("", "peel.toml") == Preferences()


@pytest.mark.parametrize(
    "text",
    ["theme = ", 'theme = "pink"', "theme = 1", 'log = "yes"', "keys = 1", "[keys]\nwaste = 1", '[keys]\nwaste = ""',
     "browser = []"],
)  # fmt: skip
def test_preferences_that_cannot_be(text: str) -> None:
    with pytest.raises(BadPreferences, match=r"peel\.toml: "):
        read(text, "peel.toml")


@by_hand
async def test_every_key_of_the_table_does_its_action(peel_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """That a key arrives where it is bound to, on the first screen; what it does there, other tests tell."""
    came: list[str] = []
    monkeypatch.setattr(PeelScreen, "action_act", lambda self, action: came.append(action))
    async with peeling(peel_engine, "clean:1") as it:
        for action in ACTIONS:
            for key in action.keys.split(","):
                if key == "ctrl+c":
                    continue  # the application's own: it leaves wherever one is
                came.clear()
                await it.press(key)
                assert came == [action.id], key


@by_hand
async def test_warnings_of_the_preferences_are_told(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "clean:1", preferences=read("x = 1", "[b]peel.toml")) as it:
        assert it.told == "[b]peel.toml: unknown setting 'x'"


@by_hand
async def test_a_question_has_the_keys_until_it_is_answered_or_left(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1") as it:
        await it.press("2", "slash", "m", "tab", "down", "W", "pagedown")
        question = it.app.screen.question  # type: ignore[attr-defined]
        assert question.is_open and it.screen == "Main" and question.query_one("Input").value == "mW"
        await it.press("escape")
        assert not question.is_open and it.pane("files").has_focus and "Find (" not in it.text
        await it.press("slash")
        await it.pilot.click("#layers", offset=(5, 3))
        await it.settle()
        assert not question.is_open and it.pane("layers").has_focus
        await it.press("f")
        await it.say("motd")
        assert it.pane("layers").has_focus and "filter motd (1)" in it.text
