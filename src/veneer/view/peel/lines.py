"""The widgets: a pane of lines that are drawn when they come into sight, and a few lines that stand still."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from textual.content import Content
from textual.events import Click, Resize
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from veneer.view.peel.spans import Spans

if TYPE_CHECKING:
    from veneer.view.peel.app import PeelApp

Draw = Callable[[int, int], Spans]
"""(number of the line, cells it has) -> what it says."""


def strip_of(widget: Widget, spans: Spans, room: int, *, cursor: bool = False) -> Strip:
    """Spans as Textual draws them, exactly `room` cells wide."""
    palette = cast("PeelApp", widget.app).palette
    base = palette.pane if isinstance(widget, Pane) else palette.words
    if cursor:
        base += palette.cursor
    style = palette.style
    return Strip([Segment(text, style(base, meaning)) for text, meaning in spans]).adjust_cell_length(room, base)


class Words(Widget):
    """Lines that stand still: `draw` gives them for a number of cells."""

    def __init__(self, draw: Callable[[int], list[Spans]], *, id: str) -> None:
        super().__init__(id=id)
        self._draw = draw

    def render_line(self, y: int) -> Strip:
        lines = self._draw(self.size.width)
        return strip_of(self, lines[y] if y < len(lines) else [], self.size.width)


class Pane(ScrollView, can_focus=True, inherit_bindings=False):
    """A frame with a title around `count` lines, of which one may be where the cursor is.

    `heading` stands still above them.  Lines are drawn as they are scrolled into sight, so their number is no matter.
    """

    class Moved(Message):
        """The cursor is on another line."""

        def __init__(self, pane: Pane) -> None:
            super().__init__()
            self.pane = pane

        @property
        def control(self) -> Pane:
            return self.pane

    class Chosen(Moved):
        """A line was clicked twice, or clicked where the cursor was."""

    def __init__(self, *, id: str, cursor: bool = True) -> None:
        super().__init__(id=id)
        self.has_cursor = cursor
        self.cursor = 0
        self.count = 0
        self._drawn_room = 0
        self.heading: Callable[[int], Spans] | None = None
        self._draw: Draw = lambda line, room: []

    class Resized(Moved):
        """It has another size: what is laid out for its width is to be shown anew."""

    # -- what it shows ---------------------------------------------------------------------------------------

    def show(self, count: int, draw: Draw, *, cursor: int | None = None) -> None:
        """Other lines; the cursor stays on its number, or goes to another."""
        self.count, self._draw = count, draw
        self.virtual_size = Size(self.scrollable_content_region.width, count + self._above)
        self.cursor = min(max(self.cursor if cursor is None else cursor, 0), max(count - 1, 0))
        self.follow()
        self.refresh()

    def entitle(self, title: str) -> None:
        """The text in its frame, as it is: brackets in names are no markup."""
        self.border_title = Content(title)

    def footnote(self, text: str) -> None:
        """The text in its lower frame."""
        self.border_subtitle = Content(text)

    @property
    def _above(self) -> int:
        return 1 if self.heading is not None else 0

    @property
    def page(self) -> int:
        """Lines in sight."""
        return max(self.scrollable_content_region.height - self._above, 1)

    @property
    def room(self) -> int:
        """Cells of a line."""
        return self.scrollable_content_region.width

    def render_lines(self, crop: Region) -> list[Strip]:
        self._drawn_room = self.room  # to ask for it takes as long as to draw a line
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        room = self._drawn_room
        if self.heading is not None and y == 0:
            return strip_of(self, self.heading(room), room)
        line = y - self._above + round(self.scroll_y)
        if not 0 <= line < self.count:
            return strip_of(self, [], room)
        at = self.has_cursor and line == self.cursor
        return strip_of(self, self._draw(line, room), room, cursor=at)

    def on_resize(self, event: Resize) -> None:
        self.virtual_size = Size(self.room, self.count + self._above)
        self.follow()
        self.post_message(self.Resized(self))

    # -- moving ----------------------------------------------------------------------------------------------

    def move(self, lines: int) -> None:
        """The cursor by so many lines; a pane without one scrolls."""
        self.go(self.cursor + lines) if self.has_cursor else self.scroll_by(lines)

    def scroll_by(self, lines: int) -> None:
        self.scroll_to(y=self.scroll_y + lines, animate=False, immediate=True, force=True)

    def go(self, line: int) -> None:
        """The cursor to that line, or the nearest there is."""
        line = min(max(line, 0), max(self.count - 1, 0))
        if not self.has_cursor:
            self.scroll_to(y=line, animate=False, immediate=True, force=True)
        elif line != self.cursor:
            self.cursor = line
            self.follow()
            self.refresh()
            self.post_message(self.Moved(self))

    def follow(self) -> None:
        """Scroll as far as is needed to have the cursor in sight."""
        if self.has_cursor and self.is_attached:
            region = Region(0, self.cursor, 1, 1 + self._above)
            top, height = round(self.scroll_y), self.page
            if self.cursor < top:
                self.scroll_to(y=self.cursor, animate=False, immediate=True, force=True)
            elif region.y >= top + height:
                self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True, force=True)

    def on_click(self, event: Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or not self.has_cursor:
            return
        line = offset.y - self._above + round(self.scroll_y)
        if 0 <= line < self.count:
            again = line == self.cursor
            self.go(line)
            if again:
                self.post_message(self.Chosen(self))
