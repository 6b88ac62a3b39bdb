"""The waste ledger: what is stored in vain, by cause, by the layer that made it, by path."""

from __future__ import annotations

from veneer.analysis import waste
from veneer.analysis.copies import Cause
from veneer.view.amounts import size
from veneer.view.cells import width
from veneer.view.peel.model import Peel
from veneer.view.peel.spans import Spans, bar, cell, cut, cut_middle, path_shown, plain, text_of, wrapped
from veneer.view.texts import layer_numbers, remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from veneer.analysis.waste import Loss, Waste

TABS = ("cause", "layer", "path")
_WIDE = 90


class Ledger:
    """The rows of one tab; `cause` and `maker` leave out what is not by them (None: nothing is left out)."""

    def __init__(self, peel: Peel) -> None:
        self.peel = peel
        self.tab = TABS[0]
        self.cause: Cause | None = None
        self.maker: int | None = None
        self._known = peel.wastes

    def _losses(self) -> Iterable[Loss]:
        account = self.peel.subject.account
        for loss in account.losses if self.tab == "path" else account.totals:
            if self.cause in (None, loss.cause) and self.maker in (None, loss.maker):
                yield loss

    @property
    def is_known(self) -> bool:
        """Whether the rows are there at once."""
        return (self.tab, self.cause, self.maker) in self._known

    def rows(self) -> list[Waste]:
        """The rows, the most bytes first; of many losses it takes a while the first time."""
        key = (self.tab, self.cause, self.maker)
        if key not in self._known:
            group = {"cause": waste.by_cause, "layer": waste.by_maker, "path": waste.by_path}[self.tab]
            self._known[key] = group(self._losses())
        return self._known[key]

    def ahead(self) -> None:
        """Find the rows of all tabs before somebody asks."""
        for self.tab in reversed(TABS):
            self.rows()

    def turn(self) -> None:
        """To the next tab, of all waste."""
        self.tab = TABS[(TABS.index(self.tab) + 1) % len(TABS)]
        self.cause = self.maker = None

    def into(self, row: Waste) -> bool:
        """To the paths of a cause or a layer; False for a row that is a path already."""
        if self.tab == "path":
            return False
        if self.tab == "cause":
            assert isinstance(row.key, Cause)
            self.cause = row.key
        else:
            assert isinstance(row.key, int)
            self.maker = row.key
        self.tab = "path"
        return True

    def title(self) -> str:
        account = self.peel.subject.account
        tabs = "  ".join(f"[{tab}]" if tab == self.tab else tab for tab in TABS)
        only = f" · {self.cause.shown} only" if self.cause else ""
        if self.maker is not None:
            only = f" · by layer {self.maker + 1} only"
        return f"Waste {size(account.wasted)} of {size(account.stored)} stored · by {tabs}{only}"

    def told(self, row: Waste, room: int) -> list[str]:
        """A row in words: which path, or which layer, it is, and what to do about it."""
        causes, advice = ", ".join(cause.shown for cause in row.causes), remedy(row.causes)
        if isinstance(row.key, bytes):
            by = f"{causes} by layer {layer_numbers(row.makers)}"
            return [cut_middle(path_shown(row.key), room), cut(f"{by}{f': {advice}' if advice else ''}", room)]
        if self.tab == "cause":
            return wrapped(f"{causes}: {advice}", room)
        return wrapped(f"layer {row.key + 1}, {causes}{f': {advice}' if advice else ''}", room)

    def heading(self, room: int) -> Spans:
        if self.tab == "path" and room >= _WIDE:
            return [(cell(f"{'WASTE':>8}  FILES HELD   BY    CAUSE       PATH", room), "dim")]
        last = {"cause": "CAUSE       WHAT TO DO", "layer": "MADE BY", "path": "PATH"}[self.tab]
        return [(cell(f"{'WASTE':>8} {'':10}  FILES HELD   {last}", room), "dim")]

    def spans(self, row: Waste, most: int, room: int) -> Spans:
        """One row."""
        if self.tab == "path":
            assert isinstance(row.key, bytes)
            head: Spans = [(cell(size(row.bytes), 8, right=True), "waste")]
            if room >= _WIDE:
                causes = ",".join(cause.shown for cause in row.causes)
                head += [
                    (cell(str(row.files), 7, right=True) + " ", ""),
                    (cell(layer_numbers(row.holders), 6) + " " + cell(layer_numbers(row.makers), 5) + " ", ""),
                    (cell(causes, 12), ""),
                ]
            else:
                head += [
                    (" " + bar(row.bytes, most, 10), "waste"), (cell(str(row.files), 7, right=True) + " ", ""),
                    (cell(layer_numbers(row.holders), 6) + " ", ""),
                ]  # fmt: skip
            return [*head, (cut_middle(path_shown(row.key), room - width(text_of(head))), "strong")]
        head = [
            (cell(size(row.bytes), 8, right=True) + " ", "waste"), (bar(row.bytes, most, 10), "waste"),
            (cell(str(row.files), 7, right=True) + " ", ""), (cell(layer_numbers(row.holders), 6) + " ", ""),
        ]  # fmt: skip
        if self.tab == "cause":
            assert isinstance(row.key, Cause)
            what = cell(row.key.shown, 12) + remedy(row.causes)
        else:
            assert isinstance(row.key, int)
            origin = self.peel.subject.origins[row.key]
            what = f"{row.key + 1} {plain(origin.shown)}"
        return [*head, (cut(what, room - width(text_of(head))), "")]
