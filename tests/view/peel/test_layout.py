"""What a person sees, whole screens of it: text as a terminal shows it, kept in tests/view/golden/peel.

To accept what is there now: ACCEPT_SCREENS=1 pytest tests/view/peel/test_layout.py, and look at the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.view.peel.driving import by_hand, peeling
from veneer.engine.engine import Engine

GOLDEN = Path(__file__).parents[1] / "golden" / "peel"
SIZES = ((80, 24), (200, 60))
SCREENS = (
    ("first", ""), ("all", "1 a"), ("layers", "a home down space up"), ("layer", "down space full_stop full_stop 3"),
    ("files", "2 home right down right"), ("question", "f"), ("history", "escape slash SAY:greeting 4"),
    ("waste", "full_stop W"), ("waste-by-path", "tab tab"), ("map", "escape 1 g down"),
    ("compare", "escape escape c SAY:shop:2,clean:1"), ("text", "escape 2 v"), ("bytes", "x"), ("difference", "x x d"),
    ("about", "escape i"), ("keys", "escape question_mark"),
)  # fmt: skip
"""Names, and the keys that lead there from the one before; SAY: answers a question."""


def accepted(name: str, text: str) -> None:
    """Hold a screen to the one that was accepted."""
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("ACCEPT_SCREENS"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), f"{file.name} is not what the screen shows"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@by_hand
async def test_screens_are_as_they_were_accepted(peel_engine: Engine, size: tuple[int, int]) -> None:
    async with peeling(peel_engine, "shop:1", size) as it:
        for name, keys in SCREENS:
            for key in keys.split():
                await (it.say(key[4:]) if key.startswith("SAY:") else it.press(key))
            it.app.clear_notifications()
            await it.settle()
            accepted(f"{name}-{size[0]}x{size[1]}", "".join(f"{line.rstrip()}\n" for line in it.lines()))
