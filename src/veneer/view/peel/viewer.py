"""Screens that show what is in a file, and two copies of it side by side."""

from __future__ import annotations

from typing import ClassVar

from veneer.analysis.copies import Copy
from veneer.engine.looking.contents import content
from veneer.view.peel.base import LinesScreen
from veneer.view.peel.model import Peel
from veneer.view.peel.reading import ARCHIVE, HEX, MODES, TEXT, Content, Pair
from veneer.view.peel.spans import path_shown

STEP = 20
"""Characters of a step sideways."""


class Reading(LinesScreen):
    """A screen of long lines, which can be moved sideways."""

    HAS_CURSOR: ClassVar[bool] = False

    def __init__(self, path: bytes) -> None:
        super().__init__()
        self.path = path
        self.start = 0
        """The first character of each line that is in sight."""

    @property
    def peel(self) -> Peel:
        return self.peel_app.peel

    def longest(self) -> int:
        """Characters of the longest line."""
        raise NotImplementedError

    def _sideways(self, characters: int) -> None:
        start = max(min(self.start + characters, self.longest() - STEP), 0)
        if start != self.start:
            self.start = start
            self.update()

    def do_left(self) -> None:
        self._sideways(-STEP)

    def do_right(self) -> None:
        self._sideways(STEP)


class Viewer(Reading):
    """A file of one layer, as text, in hexadecimal, or as the archive that it is."""

    HINTS: ClassVar[tuple[str, ...]] = ("back", "text", "diff", "left", "right", "help", "quit")

    def __init__(self, path: bytes, copy: Copy) -> None:
        super().__init__(path)
        self.copy = copy
        self.mode = ""
        self.content: Content | None = None

    def longest(self) -> int:
        return self.content.longest(self.mode) if self.content is not None and self.mode else 0

    def on_mount(self) -> None:
        super().on_mount()
        self.in_background(self._open, self._opened, "open")

    def _open(self) -> Content:
        found = Content(content(self.peel.subject, self.copy.layer, self.copy.number))
        self.kept.add(found.close)
        found.read(found.guess())
        return found

    def _opened(self, found: Content) -> None:
        self.content = found
        self.mode = found.guess()
        self.update()

    def update(self) -> None:
        where = f"{path_shown(self.path)} in layer {self.copy.layer + 1}"
        found = self.content
        if found is None or not self.mode:
            self.body.entitle(f"{where} · reading ...")
            self.body.show(0, lambda line, room: [])
            return
        mode, start = self.mode, self.start
        modes = "  ".join(f"[{each}]" if each == mode else each for each in MODES)
        self.body.entitle(f"{where} · {found.note(mode)} · {modes}")
        self.body.show(found.count(mode), lambda line, room: found.spans(mode, line, room, start))

    def do_text(self) -> None:
        """The next way to show it."""
        found = self.content
        if found is None:
            return
        mode = {TEXT: HEX, HEX: ARCHIVE, ARCHIVE: TEXT}[self.mode]
        self.in_background(lambda: found.read(mode), lambda _: self._turned(mode), "open")

    def _turned(self, mode: str) -> None:
        self.mode, self.start = mode, 0
        self.body.scroll_home(animate=False)
        self.update()

    def do_diff(self) -> None:
        copies = [copy for copy in self.peel.copies(self.path) if self.peel.has_content(copy)]
        below = [copy for copy in copies if copy.layer < self.copy.layer]
        if below:
            self.app.switch_screen(Difference(self.path, below[-1], self.copy))
        else:
            self.peel_app.tell("no layer below has this file")


class Difference(Reading):
    """Two copies of a file side by side; the keys of the slider's two ends take other layers' copies."""

    HINTS: ClassVar[tuple[str, ...]] = (
        "back", "since_less", "since_more", "less", "more", "next", "left", "right", "help", "quit"
    )  # fmt: skip

    def __init__(self, path: bytes, before: Copy, after: Copy) -> None:
        super().__init__(path)
        self.before, self.after = before, after
        self.pair: Pair | None = None

    def longest(self) -> int:
        return self.pair.longest if self.pair is not None else 0

    def on_mount(self) -> None:
        super().on_mount()
        self._read()

    def _read(self) -> None:
        self.pair = None
        self.in_background(self._open, self._opened, "open")
        self.update()

    def _open(self) -> Pair:
        sides = []
        for copy in (self.before, self.after):
            side = Content(content(self.peel.subject, copy.layer, copy.number))
            try:
                if side.guess() == TEXT:
                    side.read(TEXT)
                    sides.append(side.lines)
                else:
                    sides.append([f"({side.note(HEX)} that are no text)"])
            finally:
                side.close()
        return Pair(*sides)

    def _opened(self, pair: Pair) -> None:
        self.pair = pair
        self.update()
        self.body.go(max(pair.first - 3, 0))

    def update(self) -> None:
        where = f"{path_shown(self.path)}: layer {self.before.layer + 1} ↔ {self.after.layer + 1}"
        pair = self.pair
        if pair is None:
            self.body.entitle(f"{where} · reading ...")
            self.body.show(0, lambda line, room: [])
            return
        changes = f"{pair.changes} lines differ" if pair.changes != 1 else "1 line differs"
        if not pair.changes:
            changes = "the same text"
        self.body.entitle(f"{where} · {changes}")
        start = self.start
        self.body.show(len(pair.rows), lambda line, room: pair.spans(line, room, start))

    def _other(self, before: int, after: int) -> None:
        """Other copies, so many further up; the one before stays below the one after."""
        copies = [copy for copy in self.peel.copies(self.path) if self.peel.has_content(copy)]
        layers = [copy.layer for copy in copies]
        if self.before.layer not in layers or self.after.layer not in layers:
            return
        lower, upper = layers.index(self.before.layer) + before, layers.index(self.after.layer) + after
        if 0 <= lower < upper < len(copies):
            self.before, self.after = copies[lower], copies[upper]
            self._read()

    def do_since_less(self) -> None:
        self._other(-1, 0)

    def do_since_more(self) -> None:
        self._other(1, 0)

    def do_less(self) -> None:
        self._other(0, -1)

    def do_more(self) -> None:
        self._other(0, 1)

    def do_next(self) -> None:
        """To the next line that differs, after one that does not."""
        if self.pair is not None:
            rows, top = self.pair.rows, round(self.body.scroll_y) + 3
            for number in range(top + 1, len(rows)):
                if rows[number][0] != " " and rows[number - 1][0] == " ":
                    self.body.go(max(number - 3, 0))
                    return
