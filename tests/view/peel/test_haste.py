"""Keys that come faster than anything can be done: what a thread finds for a screen that was left is dropped."""

from __future__ import annotations

from random import Random

import pytest
from textual.events import Key

from tests.view.peel.driving import by_hand, peeling
from veneer.engine.engine import Engine
from veneer.view.peel.keys import ACTIONS

KEYS = [key for action in ACTIONS for key in action.keys.split(",") if action.id not in ("quit", "copy", "browser")]


@pytest.mark.parametrize("seed", range(2))
@by_hand
async def test_random_keys_at_once(peel_engine: Engine, seed: int) -> None:
    random = Random(seed)
    async with peeling(peel_engine, "shop:1", (100, 30), path=b"opt/greeting.txt") as it:
        for _ in range(12):
            for key in random.choices(KEYS, k=10):
                it.app.post_message(Key(key, key if len(key) == 1 else None))
                if random.random() < 0.2:
                    await it.pilot.pause(0)
            await it.pilot.pause(0)
            assert it.app.is_running
        await it.settle()
        it.lines()
        while it.screen != "Main":
            await it.press("escape", "backspace")
        it.lines()


@by_hand
async def test_a_screen_is_left_before_it_is_filled(peel_engine: Engine) -> None:
    async with peeling(peel_engine, "shop:1", path=b"opt/greeting.txt") as it:
        for key in ("W", "g", "i", "v", "d"):
            for _ in range(3):
                it.app.post_message(Key(key, key))
                it.app.post_message(Key("escape", None))
                it.app.post_message(Key("escape", None))
            await it.settle()
            assert it.app.is_running and it.app.return_value is None
            while it.screen != "Main":
                await it.press("escape")
