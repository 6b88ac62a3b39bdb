"""`veneer peel` driven as by hand: keys go in, the screen's text comes out."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from rich.cells import cell_len
from textual.events import Key
from textual.pilot import Pilot
from textual.strip import Strip

from veneer.engine.engine import Engine
from veneer.engine.looking.subject import Subject
from veneer.view.peel.app import PeelApp
from veneer.view.peel.around import Around
from veneer.view.peel.lines import Pane
from veneer.view.peel.model import Peel
from veneer.view.peel.preferences import Preferences

Story = Callable[..., Coroutine[Any, Any, None]]
PATIENCE = 60.0
"""Seconds after which work that goes on is taken for stuck."""
ROUNDS = 4
"""How often in turn nothing is to be left to do: what one message sets off is done in the next round."""


class Patient(PeelApp):
    """What it tells in the corner stays there, however slow the machine is that reads it."""

    def notify(self, *words: Any, **keys: Any) -> None:
        super().notify(*words, **keys | {"timeout": 3600.0})


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
        while quiet < ROUNDS:
            await self.pilot.pause(0)
            if all(worker.is_finished for worker in self.app.workers):
                quiet += 1
            else:
                quiet = 0
                await asyncio.sleep(0.002)
            assert time.monotonic() < deadline, "work that does not end"

    async def press(self, *keys: str) -> None:
        """Press keys, by Textual's names, one after the other.

        Textual's own pilot waits for an idle processor after each; here all work is known, and waited for.
        """
        for key in keys:
            event = Key(key, key if len(key) == 1 else None)
            event.set_sender(self.app)
            self.app.post_message(event)
            await self.settle()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for what Textual does in its own time."""
        deadline = time.monotonic() + PATIENCE
        while not true():
            await self.pilot.pause(0.01)
            assert time.monotonic() < deadline, "it never came"

    async def say(self, text: str) -> None:
        """Write an answer, and Enter; what stood there is replaced."""
        from textual.widgets import Input

        self.app.screen.query_one(Input).value = text
        await self.press("enter")

    def strips(self) -> list[Strip]:
        """The screen's lines as they are drawn."""
        screen, app = self.app.screen, self.app
        update = screen._compositor.render_update(full=True, screen_stack=app._background_screens)
        return [Strip.join(line) for line in update.strips]  # type: ignore[union-attr]

    def lines(self) -> list[str]:
        """The screen's text, as a terminal shows it: each line exactly as wide as the terminal."""
        found = [strip.text for strip in self.strips()]
        assert {cell_len(line) for line in found} <= {self.app.size.width}, "a line of another width"
        assert all(char.isprintable() for line in found for char in line), "something unseen on the screen"
        return found

    @property
    def text(self) -> str:
        return "\n".join(self.lines())

    @property
    def told(self) -> str:
        """The last word in the corner."""
        return [note.message for note in self.app._notifications][-1]

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


def by_hand(story: Story) -> Callable[..., None]:
    """A test that is a coroutine."""

    @functools.wraps(story)
    def test(*args: Any, **keys: Any) -> None:
        asyncio.run(story(*args, **keys))

    return test


def around(engine: Engine) -> Around:
    """The rest of the house, as the command gives it."""

    def names() -> list[str]:
        return sorted(each.familiar for image in engine.store.images.list() for each in image.references)

    looking = engine.looking

    def platforms(subject: Subject) -> dict[str, str]:
        index = subject.documents.index
        return {str(each.platform): "" for each in index.images()} if index is not None else {}

    return Around(looking.open, names, looking.stands_on, looking.shared_with, platforms)


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
    app = Patient(peel, around(engine), preferences, path=path)
    async with app.run_test(size=size, notifications=True) as pilot:
        driven = Driven(app, pilot)
        await driven.settle()
        yield driven
