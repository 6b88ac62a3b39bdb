"""The first screen of `veneer peel`: layers, files, what is known of a layer, the history of a path."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.events import Resize

from veneer.view.peel import panes
from veneer.view.peel.base import Ask, PeelScreen
from veneer.view.peel.file_actions import FileActions
from veneer.view.peel.ledger import Ledger
from veneer.view.peel.lines import Pane, Words
from veneer.view.peel.model import Told
from veneer.view.peel.panes import LayerRow
from veneer.view.peel.spans import Spans
from veneer.view.peel.tree import Row

if TYPE_CHECKING:
    from textual.timer import Timer

    from veneer.engine.looking.origins import SharedWith, StandsOn

PANES = ("layers", "files", "layer", "history")
NAMES = ("Layers", "Files", "Layer", "History")
NARROW = 100
"""Cells beneath which one pane is shown at a time."""
REST = 0.3
"""Seconds without a change after which the map of what is to be seen is made ahead."""


class Main(FileActions, PeelScreen):
    """Four panes, the slider above them; when there is little room, one pane at a time."""

    HINTS: ClassVar[tuple[str, ...]] = (
        "less", "more", "since_less", "since_more", "all", "sort", "find", "filter", "waste", "compare", "map", "view",
        "export", "diff", "about", "pane_4", "help", "quit",
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self._unfolded: set[int] = set()
        self._layer_rows: list[LayerRow] = []
        self._rows: list[Row] = []
        self._told: Told | None = None
        self._wanted: bytes | None = None
        """Where the cursor is to be once the directories on the way are read."""
        self._log = False
        self._wrap = True
        self._news = ""
        self._resting: Timer | None = None
        self.shown_pane = "files"
        self.question = Ask()

        self._panes = {name: Pane(id=name, cursor=name != "layer") for name in PANES}
        self._above = Words(self._top, id="top")
        self._tab_line = Words(self._tabs, id="tabs")
        self._sides = Vertical(id="left"), Vertical(id="right")

    def compose(self) -> ComposeResult:
        yield self._above
        yield self._tab_line
        left, right = self._sides
        with Horizontal(id="panes"):
            with left:
                yield self._panes["layers"]
                yield self._panes["layer"]
            with right:
                yield self._panes["files"]
                yield self._panes["history"]
        yield Words(self.hints, id="hints")
        assert self.question is not None
        yield self.question

    def on_mount(self) -> None:
        self._log = self.peel_app.preferences.log
        self.peel = self.peel_app.peel
        self._pane("files").heading = panes.files_heading
        self._pane("files").footnote(self.peel_app.named("view", "diff", "export", "copy"))
        self._pane("history").footnote(self.peel_app.named("choose").replace("open", "to that layer"))
        self._arrange(self.size.width)
        self._pane(self.shown_pane if self.narrow else "layers").focus()
        self.update()
        self.set_interval(0.25, self._tell_news)
        self.in_background(self.peel.load, self._loaded, "load")

    def _pane(self, name: str) -> Pane:
        return self._panes[name]

    # -- what comes in from threads --------------------------------------------------------------------------

    def _loaded(self, _: object) -> None:
        # What was read stays to the end: to look through it for garbage, again and again, would be felt at the keys.
        gc.freeze()
        self.peel.look()
        if self.peel_app.first_path:
            self.to_pane("files")
            self.go_to(self.peel_app.first_path)
        self.update()
        # Not before all this is drawn: two threads that compute are in each other's way.
        self.call_after_refresh(self.in_background, self._place, self._placed, "base")

    def _place(self) -> tuple[StandsOn | None, tuple[SharedWith, ...]]:
        """In a thread: what others have of it."""
        around, subject = self.peel_app.around, self.peel.subject
        return around.stands_on(subject), tuple(around.shared_with(subject))

    def _placed(self, found: tuple[StandsOn | None, tuple[SharedWith, ...]]) -> None:
        if found != (self.peel.base, self.peel.shared):
            self.peel.base, self.peel.shared = found
            self.update()
        self.in_background(self._prepare, lambda _: None, "ahead")

    def _prepare(self) -> None:
        """In a thread: what the next keys may need, before somebody presses them."""
        for name in ("screens", "pictures", "viewer"):
            import_module(f"veneer.view.peel.{name}")
        Ledger(self.peel).ahead()
        self.peel_app.prepare_themes()

    def _tell_news(self) -> None:
        news = ""
        if not self.peel.loaded:
            news = self.peel_app.news.line(self.peel.layers, self.peel.to_pull) or "reading the layers ..."
        if news != self._news:
            self._news = news
            self._above.refresh()

    # -- drawing ---------------------------------------------------------------------------------------------

    def _top(self, room: int) -> list[Spans]:
        peel = self.peel_app.peel
        return [panes.headline(peel, room), panes.second_line(peel, room, self._news)]

    def _tabs(self, room: int) -> list[Spans]:
        spans: Spans = []
        for number, (name, title) in enumerate(zip(PANES, NAMES, strict=True), 1):
            text = f"{number} {title}"
            spans.append((f"[{text}]", "here") if name == self.shown_pane else (f" {text} ", "dim"))
        return [spans]

    def update(self) -> None:
        """Everything anew, after the slider moved or something came in."""
        self.update_layers()
        self.update_files()
        self._tell_news()
        self._above.refresh()
        if self._resting is not None:
            self._resting.stop()
        self._resting = self.set_timer(REST, self._map_ahead)

    def _map_ahead(self) -> None:
        """Have a thread ask for the sums that the map of all shows: a map is the slowest key where layers are many."""
        if self.peel.loaded:
            from veneer.view.peel import icicle

            sized, room, depth = self.peel.sized, max(self.size.width, 20), self.size.height // icicle.ROWS
            self.in_background(lambda: icicle.layout(sized, b"", room, depth), lambda _: None, "map ahead")

    def update_layers(self) -> None:
        peel, pane = self.peel, self._pane("layers")
        self._layer_rows = panes.layer_rows(peel, self._unfolded)
        known = self._layer_rows[pane.cursor] if pane.cursor < len(self._layer_rows) else None
        cursor = pane.cursor
        if known is None or known.step is None:
            here = LayerRow(peel.at - 1)
            cursor = self._layer_rows.index(here) if here in self._layer_rows else 0
        pane.entitle(f"1 {panes.layers_title(peel)}{' (log)' if self._log else ''}")
        pane.show(len(self._layer_rows), self._draw_layer, cursor=cursor)
        self._update_details()

    def _draw_layer(self, line: int, room: int) -> Spans:
        row = self._layer_rows[line]
        return panes.layer_spans(self.peel, row, room, log=self._log, unfolded=row.layer in self._unfolded)

    def _update_details(self) -> None:
        pane = self._pane("layer")
        lines = panes.layer_details(self.peel, max(pane.room, 20), wrap=self._wrap)
        pane.entitle(f"3 Layer {self.peel.at}")
        pane.show(len(lines), lambda line, room: lines[line])

    def update_files(self, path: bytes | None = None) -> None:
        """The rows of the tree, with the cursor on `path` (None: on the path where it was)."""
        pane = self._pane("files")
        if not self.peel.loaded:
            pane.entitle("2 Files")
            pane.show(1, lambda line, room: [("reading the layers ...", "dim")])
            return
        if path is None:
            path = self._wanted if self._wanted is not None else self.peel.path
        self._rows, missing = self.peel.tree.rows()
        self._wanted = path if missing else None
        pane.entitle(f"2 {panes.files_title(self.peel)}")
        pane.show(len(self._rows), self._draw_file, cursor=self._row_of(path))
        self.take_row()
        if missing:
            self.in_background(lambda: self.peel.tree.fill_open(*missing), lambda _: self.update_files(), "fill")

    def _draw_file(self, line: int, room: int) -> Spans:
        return panes.file_spans(self._rows[line], room, self.peel.tree)

    def _row_of(self, path: bytes) -> int | None:
        """The row of a path, or of the nearest directory above it that has one."""
        above = {path}
        known = path
        while known:
            known = known.rpartition(b"/")[0]
            above.add(known)
        best: tuple[int, int] | None = None
        for number, row in enumerate(self._rows):
            if row.line is not None and row.path in above and (best is None or len(row.path) > best[0]):
                best = (len(row.path), number)
        return best[1] if best else None

    def row(self) -> Row | None:
        """The row of the files on which the cursor is."""
        cursor = self._pane("files").cursor
        return self._rows[cursor] if cursor < len(self._rows) else None

    def take_row(self) -> None:
        """The path of the cursor's row is what the history is of."""
        row = self.row()
        self.peel.path = row.path if row is not None and row.line is not None else b""
        self.update_history()

    def update_history(self) -> None:
        pane = self._pane("history")
        told = self._told = self.peel.history(self.peel.path)
        lines = panes.history_lines(self.peel, told, max(pane.room, 20))
        pane.entitle(f"4 {panes.history_title(self.peel, max(pane.room, 20))}")
        pane.show(len(lines), lambda line, room: lines[line] if line < len(lines) else [])

    # -- room ------------------------------------------------------------------------------------------------

    def on_resize(self, event: Resize) -> None:
        if self.pane is not None and self.pane.id in PANES:
            self.shown_pane = self.pane.id  # where somebody is stays in sight when there is less room
        self._arrange(event.size.width)

    def on_pane_resized(self, event: Pane.Resized) -> None:
        if event.pane.id == "layer":
            self._update_details()
        elif event.pane.id == "history":
            self.update_history()

    @property
    def narrow(self) -> bool:
        return self.size.width < NARROW

    def _arrange(self, width: int) -> None:
        narrow = width < NARROW
        self._tab_line.display = narrow
        for name in PANES:
            self._pane(name).display = not narrow or name == self.shown_pane
        left = not narrow or self.shown_pane in ("layers", "layer")
        for part, shown in zip(self._sides, (left, not narrow or not left), strict=True):
            part.display = shown
            part.styles.width = "1fr" if narrow or part.id == "right" else None
            part.styles.max_width = None if not narrow else width
        self._tab_line.refresh()

    def to_pane(self, name: str) -> None:
        self.shown_pane = name
        if self.narrow:
            self._arrange(self.size.width)
        self.to(self._pane(name))

    def do_pane_1(self) -> None:
        self.to_pane("layers")

    def do_pane_2(self) -> None:
        self.to_pane("files")

    def do_pane_3(self) -> None:
        self.to_pane("layer")

    def do_pane_4(self) -> None:
        self.to_pane("history")

    def _beside(self, steps: int) -> None:
        now = self.pane.id if self.pane is not None else None
        self.to_pane(PANES[(PANES.index(now) + steps) % len(PANES)] if now in PANES else PANES[0])

    def do_next_pane(self) -> None:
        self._beside(1)

    def do_previous_pane(self) -> None:
        self._beside(-1)

    # -- the cursor ------------------------------------------------------------------------------------------

    def on_pane_moved(self, event: Pane.Moved) -> None:
        if event.pane.id == "files":
            self._wanted = None
            self.take_row()
        elif event.pane.id == "layers":
            row = self._layer_rows[event.pane.cursor]
            if row.step is None and self.peel.move(row.layer + 1):
                self.update()

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        self.do_choose()

    def do_choose(self) -> None:
        name = self.pane.id if self.pane is not None else ""
        if name == "layers":
            if self._layer_rows[self._pane("layers").cursor].step is not None:
                self._fold()
            else:
                self.to_pane("files")
        elif name == "history":
            self._to_event()
        elif name == "files":
            self.open_row()

    def _to_event(self) -> None:
        """The slider to the layer that did what the history's line tells."""
        cursor = self._pane("history").cursor
        if self._told is not None and cursor < len(self._told.events):
            path, layer = self.peel.path, self._told.events[cursor].layer
            self.peel.go(layer + 1, layer)
            self.go_to(path)
            self.update()

    def do_last(self) -> None:
        row = self.row()
        pane = self._pane("files")
        if self.pane is pane and row is not None and row.line is None and pane.cursor == pane.count - 1:
            self.open_row()
        super().do_last()

    def _fold(self) -> None:
        pane = self._pane("layers")
        row = self._layer_rows[pane.cursor]
        if panes.steps_before(self.peel, row.layer):
            self._unfolded ^= {row.layer}
            self.update_layers()
            pane.go(self._layer_rows.index(LayerRow(row.layer, -1)) if row.step is not None else pane.cursor)

    def do_expand(self) -> None:
        if self.pane is self._pane("layers"):
            self._fold()
        else:
            self.toggle_row()

    def do_left(self) -> None:
        self.collapse() if self.pane is self._pane("files") else self.do_less()

    def do_right(self) -> None:
        self.unfold() if self.pane is self._pane("files") else self.do_more()

    # -- the slider ------------------------------------------------------------------------------------------

    def _to(self, at: int) -> None:
        if self.peel.move(at):
            self._pane("layers").cursor = max(self._pane("layers").count, 0)  # to the layer's own row
            self.update()

    def do_less(self) -> None:
        self._to(self.peel.at - 1)

    def do_more(self) -> None:
        self._to(self.peel.at + 1)

    def do_since_less(self) -> None:
        if self.peel.move_since(self.peel.since - 1):
            self.update()

    def do_since_more(self) -> None:
        if self.peel.move_since(self.peel.since + 1):
            self.update()

    def do_all(self) -> None:
        self.peel.toggle_all()
        self.update()

    def do_log(self) -> None:
        self._log = not self._log
        self.update_layers()

    def do_wrap(self) -> None:
        self._wrap = not self._wrap
        self._update_details()
