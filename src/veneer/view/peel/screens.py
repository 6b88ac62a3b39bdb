"""Screens of lines: the waste ledger, what an image says of itself, how two images differ, the keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from veneer.analysis.comparison import Difference
from veneer.analysis.waste import Waste as WasteRow
from veneer.view.amounts import size
from veneer.view.peel.about import about_lines
from veneer.view.peel.base import LinesScreen
from veneer.view.peel.keys import ACTIONS, shown
from veneer.view.peel.ledger import Ledger
from veneer.view.peel.lines import Pane
from veneer.view.peel.spans import Spans, cell, cut_middle, path_shown, plain, wrapped


class Waste(LinesScreen):
    """What is stored in vain; `go` is where a path of it is to be seen."""

    HINTS: ClassVar[tuple[str, ...]] = ("next_pane", "choose", "back", "help", "quit")

    def __init__(self, go: Callable[[bytes, int], None]) -> None:
        super().__init__()
        self._go = go
        self._rows: list[WasteRow] = []

    def telling(self, room: int) -> list[Spans]:
        """What there is no room for in the line of the cursor."""
        cursor = self.body.cursor
        texts = self.ledger.told(self._rows[cursor], room - 1) if cursor < len(self._rows) else []
        return [[(" " + text, "")] for text in texts]

    def on_pane_moved(self, event: Pane.Moved) -> None:
        self.told.refresh()

    def on_mount(self) -> None:
        self.ledger = Ledger(self.peel_app.peel)
        self.body.heading = self.ledger.heading
        super().on_mount()

    def update(self) -> None:
        if self.ledger.is_known:
            self._read(self.ledger.rows())
        else:
            self._rows = []
            self.body.entitle(self.ledger.title())
            self.body.show(1, lambda line, room: [("putting the paths together ...", "dim")])
            self.told.refresh()
            self.in_background(self.ledger.rows, self._read, "waste")

    def _read(self, rows: list[WasteRow]) -> None:
        ledger = self.ledger
        self._rows = rows
        self.body.entitle(ledger.title())
        if not rows:
            self.body.show(1, lambda line, room: [("Nothing: every byte stored is to be seen.", "good")])
            return
        most = rows[0].bytes
        self.body.show(len(rows), lambda line, room: ledger.spans(rows[line], most, room))
        self.told.refresh()

    def do_next_pane(self) -> None:
        self.ledger.turn()
        self.body.cursor = 0
        self.update()

    def do_choose(self) -> None:
        if self.body.cursor >= len(self._rows):
            return
        row = self._rows[self.body.cursor]
        if self.ledger.into(row):
            self.body.cursor = 0
            self.update()
        else:
            assert isinstance(row.key, bytes)
            self.app.pop_screen()
            self._go(row.key, row.makers[-1])

    def on_pane_chosen(self, event: Pane.Chosen) -> None:
        self.do_choose()


class About(LinesScreen):
    """Configuration and labels."""

    HAS_CURSOR: ClassVar[bool] = False

    def update(self) -> None:
        peel = self.peel_app.peel
        lines = about_lines(peel, max(self.body.room, 20))
        self.body.entitle(f"{plain(peel.subject.name)}: configuration and labels")
        self.body.show(len(lines), lambda line, room: lines[line])


class Differences(LinesScreen):
    """The paths that differ between two images."""

    def __init__(self, names: tuple[str, str], found: Sequence[Difference]) -> None:
        super().__init__()
        self._names = names
        self._found = found

    def update(self) -> None:
        found = self._found
        self.body.entitle(f"{plain(self._names[0])} → {plain(self._names[1])}: {len(found)} paths differ")
        self.body.heading = lambda room: [("    BEFORE    AFTER PATH", "dim")]
        if found:
            self.body.show(len(found), lambda line, room: difference_spans(found[line], room))
        else:
            self.body.show(1, lambda line, room: [("No file differs.", "good")])


def difference_spans(each: Difference, room: int) -> Spans:
    """One path that differs."""
    before = size(each.size_before) if each.before else "-"
    after = size(each.size_after) if each.after else "-"
    changed = f"  ({','.join(each.changed)})" if each.changed else ""
    beneath = f"  ({each.entries} entries in it)" if each.entries > 0 else ""
    return [
        (f"{each.op.value} ", each.op.value), (cell(before, 8, right=True) + " ", ""),
        (cell(after, 8, right=True) + " ", ""),
        (cut_middle(path_shown(each.path), max(room - 20 - len(changed) - len(beneath), 10)), "strong"),
        (changed + beneath, "dim"),
    ]  # fmt: skip


KEYS_ROOM = 18


class Help(LinesScreen):
    """All keys as they are now."""

    HAS_CURSOR: ClassVar[bool] = False

    def update(self) -> None:
        lines: list[Spans] = []
        room = max(self.body.room, 40)
        for action in ACTIONS:
            keys = shown(self.peel_app.keys_of(action))
            where = "" if action.where == "everywhere" else f" ({action.where})"
            for number, line in enumerate(wrapped(action.about + where, room - KEYS_ROOM)):
                lines.append([(cell("" if number else keys, KEYS_ROOM), "strong"), (line, "")])
        for text in ("States: A added, M other content, P only metadata, D deleted, O another kind, · unchanged",
                     "The keys can be others: [keys] of peel.toml, beside veneer's configuration"):  # fmt: skip
            lines += [[], *([(line, "dim")] for line in wrapped(text, room))]
        self.body.entitle("Keys")
        self.body.show(len(lines), lambda line, room: lines[line])
