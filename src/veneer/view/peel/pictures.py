"""Screens that are pictures: the map of the bytes, and images beside each other."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult

from veneer.engine.looking.subject import Subject
from veneer.view.peel import icicle
from veneer.view.peel.base import LinesScreen
from veneer.view.peel.grid import HEAD, Column, Wall, column
from veneer.view.peel.icicle import Icicle
from veneer.view.peel.lines import Pane, Words
from veneer.view.peel.spans import Spans, cut, path_shown, plain


class Map(LinesScreen):
    """Rows of boxes; Enter goes into one, Backspace out of it."""

    HAS_CURSOR: ClassVar[bool] = False
    HINTS: ClassVar[tuple[str, ...]] = ("choose", "back", "less", "more", "help", "quit")

    def __init__(self, path: bytes, left: Callable[[bytes], None]) -> None:
        super().__init__()
        self.path = path
        self._left = left
        self.icicle: Icicle | None = None
        self.selected = (0, 0)

    def telling(self, room: int) -> list[Spans]:
        box = self.box()
        return [[(" " + icicle.told(box, room - 1) if box is not None else "", "")]]

    def box(self) -> icicle.Box | None:
        """The selected box."""
        if self.icicle is None:
            return None
        level, number = self.selected
        return self.icicle.levels[level][number]

    def update(self) -> None:
        sized = self.peel_app.peel.sized
        room, depth = max(self.body.room, 20), max(self.body.page // icicle.ROWS, 2)
        path = self.path
        self.in_background(lambda: icicle.layout(sized, path, room, depth), self._drawn, "map")

    def _drawn(self, found: Icicle) -> None:
        known = self.box()
        self.icicle = found
        place = found.find(known.path) if known is not None and known.line is not None else None
        self.selected = place if place is not None and place[0] else (min(1, len(found.levels) - 1), 0)
        self._redraw()

    def _redraw(self) -> None:
        peel, found = self.peel_app.peel, self.icicle
        if found is None:
            return
        self.body.entitle(f"Map of {path_shown(self.path)} after layer {peel.at}")
        self.body.show(
            len(found.levels) * icicle.ROWS, lambda line, room: icicle.spans(found, line, room, self.selected)
        )
        self.told.refresh()

    # -- keys ------------------------------------------------------------------------------------------------

    def _select(self, level: int, number: int) -> None:
        self.selected = (level, number)
        self._redraw()

    def _sideways(self, step: int) -> None:
        if self.icicle is not None:
            level, number = self.selected
            self._select(level, min(max(number + step, 0), len(self.icicle.levels[level]) - 1))

    def do_left(self) -> None:
        self._sideways(-1)

    def do_right(self) -> None:
        self._sideways(1)

    def _to_level(self, level: int) -> None:
        box = self.box()
        if self.icicle is None or box is None or not 0 <= level < len(self.icicle.levels):
            return
        boxes = self.icicle.levels[level]
        middle = box.start if level > self.selected[0] else box.start + box.room // 2
        inside = [number for number, each in enumerate(boxes) if each.start <= middle < each.start + each.room]
        nearest = min(range(len(boxes)), key=lambda number: abs(boxes[number].start - middle))
        self._select(level, inside[0] if inside else nearest)

    def do_up(self) -> None:
        self._to_level(self.selected[0] - 1)

    def do_down(self) -> None:
        self._to_level(self.selected[0] + 1)

    def do_choose(self) -> None:
        box = self.box()
        if box is None or box.line is None:
            return
        if box.line.place is not None and box.line.is_directory and box.path != self.path:
            self.path = box.path
            self.update()
        elif box.line.place is None:
            self.app.pop_screen()
            self._left(box.path)

    def do_back(self) -> None:
        if self.path:
            self.path = self.path.rpartition(b"/")[0]
            self.update()
        else:
            self.app.pop_screen()
            self._left(b"")

    def do_less(self) -> None:
        if self.peel_app.peel.move(self.peel_app.peel.at - 1):
            self.update()

    def do_more(self) -> None:
        if self.peel_app.peel.move(self.peel_app.peel.at + 1):
            self.update()

    def do_map(self) -> None:
        self.app.pop_screen()
        self._left(self.path)


class Compare(LinesScreen):
    """A wall of layers; beneath it what made the selected one, from the base up."""

    HAS_CURSOR: ClassVar[bool] = False
    HINTS: ClassVar[tuple[str, ...]] = ("choose", "diff", "back", "help", "quit")

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = list(names)
        self.subjects: list[Subject] = []
        self._columns: list[Column] = []
        self.wall: Wall | None = None
        self.place = (0, 0)
        """The selected column and layer."""
        self.journal = Pane(id="journal", cursor=False)
        self.start = 0
        """The first column in sight."""

    def compose(self) -> ComposeResult:
        yield self.body
        yield self.journal
        yield self.told
        yield Words(self.hints, id="hints")

    def on_mount(self) -> None:
        self.body.focus()
        self.body.entitle("reading ...")
        self.in_background(self._read, self._opened, "compare")

    def _read(self) -> tuple[list[Subject], list[Column]]:
        """In a thread: the other images, and all as columns.  What was opened is closed with the screen."""
        opened = contextlib.ExitStack()
        self.kept.add(opened.close)
        around = self.peel_app.around
        subjects = [self.peel_app.peel.subject, *(opened.enter_context(around.open(name)) for name in self._names)]
        inside = all(subject.documents.where != "registry" for subject in subjects)
        return subjects, [column(subject, str(at), inside=inside) for at, subject in enumerate(subjects)]

    def _opened(self, found: tuple[list[Subject], list[Column]]) -> None:
        self.subjects, self._columns = found
        self.update()
        columns = self.wall.columns if self.wall is not None else []
        at = next((number for number, each in enumerate(columns) if each.stack.key == "0"), 0)
        self._select(at, self.peel_app.peel.at - 1)

    def telling(self, room: int) -> list[Spans]:
        return [[(" " + cut(self.wall.summary(), room - 1) if self.wall is not None else "", "dim")]]

    def update(self) -> None:
        if not self.subjects:
            return
        self.wall = Wall(self._columns, self.body.page)
        self._redraw()

    def _redraw(self) -> None:
        wall = self.wall
        if wall is None:
            return
        selected, room = wall.at(*self.place), max(self.body.room, 20)
        fitting, count = wall.fitting(room), len(wall.columns)
        self.start = max(min(self.start, self.place[0], count - fitting), self.place[0] - fitting + 1, 0)
        lines = wall.draw(room, selected, self.start)
        part = f"{self.start + 1}-{self.start + fitting} of {count} images" if fitting < count else f"{count} images"
        self.body.entitle(f"{part}: one box for a shared layer, heights to scale, ◇ same content elsewhere")
        self.body.show(len(lines), lambda line, room: lines[line])
        each = wall.columns[self.place[0]] if wall.columns else None
        texts = each.texts[: self.place[1] + 1] if each is not None else ()
        self.journal.entitle(f"{plain(each.name)} up to layer {self.place[1] + 1}" if each is not None else "")
        self.journal.show(len(texts), lambda line, room: [(cut(f"{line + 1:3} {texts[line]}", room), "")])
        self.journal.scroll_end(animate=False)
        if selected is not None:
            top = HEAD + wall.bricks[selected].top
            if not self.body.scroll_y <= top < self.body.scroll_y + self.body.page - 2:
                self.body.go(max(top - 3, 0))
        self.told.refresh()

    # -- keys ------------------------------------------------------------------------------------------------

    def _select(self, column: int, layer: int) -> None:
        if self.wall is not None and self.wall.columns:
            column = min(max(column, 0), len(self.wall.columns) - 1)
            layers = len(self.wall.columns[column].texts)
            self.place = (column, min(max(layer, 0), max(layers - 1, 0)))
            self._redraw()

    def do_left(self) -> None:
        self._select(self.place[0] - 1, self.place[1])

    def do_right(self) -> None:
        self._select(self.place[0] + 1, self.place[1])

    def do_up(self) -> None:
        self._select(self.place[0], self.place[1] + 1)

    def do_down(self) -> None:
        self._select(self.place[0], self.place[1] - 1)

    def _subject(self) -> Subject | None:
        """The image of the selected column."""
        if self.wall is None:
            return None
        return self.subjects[int(self.wall.columns[self.place[0]].stack.key)]

    def do_choose(self) -> None:
        peel, subject = self.peel_app.peel, self._subject()
        if (
            subject is not None
            and subject.config.chain_ids[: self.place[1] + 1] == (peel.subject.config.chain_ids[: self.place[1] + 1])
        ):
            peel.move(self.place[1] + 1)
            self.app.pop_screen()
        else:
            self.peel_app.tell(f"{peel.subject.name} does not have this layer")

    def do_diff(self) -> None:
        from veneer.engine.looking.differences import files
        from veneer.view.peel.screens import Differences

        own, other = self.peel_app.peel.subject, self._subject()
        if other is None or other is own:
            self.peel_app.tell("choose another image's column first")
            return
        self.in_background(
            lambda: list(files(own, other)),
            lambda found: self.app.push_screen(Differences((own.name, other.name), found)),
            "compare",
        )
