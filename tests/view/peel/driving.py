"""`veneer peel` driven as by hand: keys go in, the screen's text comes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from textual.pilot import Pilot

from veneer.engine.engine import Engine
from veneer.engine.looking.subject import Subject
from veneer.view.cells import width
from veneer.view.peel.app import PeelApp
from veneer.view.peel.around import Around
from veneer.view.peel.lines import Pane
from veneer.view.peel.model import Peel
from veneer.view.peel.preferences import Preferences

PATIENCE = 60.0
"""Seconds after which work that goes on is taken for stuck."""


class Driven:
    """The application that runs.  Every call returns when all that it set off is done."""

    def __init__(self, app: PeelApp, pilot: Pilot[Any]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def peel(self) -> Peel:
        return self.app.peel

    async def settle(self) -> None:
        """Wait for work in threads, and for what is shown of it."""
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < 2:
            await self.pilot.pause()
            if all(worker.is_finished for worker in self.app.workers):
                quiet += 1
            else:
                quiet = 0
                await asyncio.sleep(0.002)
            assert time.monotonic() < deadline, "work that does not end"

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
            await self.settle()

    async def say(self, text: str) -> None:
        """Write an answer, and Enter; what stood there is replaced."""
        from textual.widgets import Input

        self.app.screen.query_one(Input).value = text
        await self.press("enter")

    def lines(self) -> list[str]:
        """The screen's text, as a terminal shows it: each line exactly as wide as the terminal."""
        screen, app = self.app.screen, self.app
        update = screen._compositor.render_update(full=True, screen_stack=app._background_screens)
        found = ["".join(strip.text for strip in line) for line in update.strips]  # type: ignore[union-attr]
        assert {width(line) for line in found} <= {app.size.width}, "a line of another width"
        assert all(char.isprintable() for line in found for char in line), "something unseen on the screen"
        return found

    @property
    def text(self) -> str:
        return "\n".join(self.lines())

    def pane(self, name: str = "body") -> Pane:
        return self.app.screen.query_one(f"#{name}", Pane)

    def pane_lines(self, name: str = "body") -> list[str]:
        """All lines of a pane, those out of sight too."""
        pane = self.pane(name)
        return ["".join(text for text, _ in pane._draw(line, pane.room)) for line in range(pane.count)]

    @property
    def screen(self) -> str:
        """The name of the screen's class."""
        return type(self.app.screen).__name__


def around(engine: Engine) -> Around:
    """The rest of the house, as the command gives it."""

    def names() -> list[str]:
        return sorted(each.familiar for image in engine.store.images.list() for each in image.references)

    looking = engine.looking
    return Around(looking.open, names, looking.stands_on, looking.shared_with)


@asynccontextmanager
async def peeling(
    engine: Engine, subject: str | Subject, size: tuple[int, int] = (120, 40), *,
    preferences: Preferences | None = None, path: bytes = b"", ends: tuple[int, int] | None = None,
) -> AsyncIterator[Driven]:  # fmt: skip
    """The application over an image of the engine's store, or over a subject, ready to be driven."""
    if isinstance(subject, str):
        with engine.looking.open(subject) as found:
            async with peeling(engine, found, size, preferences=preferences, path=path, ends=ends) as driven:
                yield driven
        return
    peel = Peel(subject)
    if ends is not None:
        peel.go(*ends)
    app = PeelApp(peel, around(engine), preferences, path=path)
    async with app.run_test(size=size) as pilot:
        driven = Driven(app, pilot)
        await driven.settle()
        yield driven
