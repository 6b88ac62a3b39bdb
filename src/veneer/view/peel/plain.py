"""`veneer peel --plain`: what the panes show, as text, for pipes and for whoever reads otherwise than on a screen."""

from __future__ import annotations

from collections.abc import Iterator

from veneer.view.peel import panes
from veneer.view.peel.about import about_lines
from veneer.view.peel.ledger import TABS, Ledger
from veneer.view.peel.model import Peel
from veneer.view.peel.spans import path_shown, text_of
from veneer.view.peel.tree import Row

LEAST_ROOM = 100


def plain_lines(peel: Peel, path: bytes, room: int) -> Iterator[str]:
    """All tables, a line at a time: `path` is a directory to list, or a file to tell the history of."""
    room = max(room, LEAST_ROOM)
    yield panes.identity(peel)
    yield "  ".join(f"{name} {value}" for name, value in panes.sums(peel))
    yield text_of(panes.second_line(peel, room)).strip()
    yield from ("", panes.layers_title(peel))
    unfolded = set(range(peel.layers + 1))
    for layer_row in panes.layer_rows(peel, unfolded):
        yield text_of(panes.layer_spans(peel, layer_row, room, unfolded=True))
    yield from ("", f"Layer {peel.at}")
    for spans in panes.layer_details(peel, room):
        yield text_of(spans)
    told = peel.history(path)
    _, place = peel.view.table.find(path)
    if place is not None:
        if path:
            peel.tree.reveal(path)
            peel.tree.open.add(path)
        yield from ("", panes.files_title(peel), text_of(panes.files_heading(room)))
        for row in _all_rows(peel):
            if row.path.startswith(path):
                yield text_of(panes.file_spans(row, room, peel.tree))
    if told is not None:
        yield from ("", f"History of {path_shown(path)}")
        for spans in panes.history_lines(peel, told, room):
            yield text_of(spans)
    ledger = Ledger(peel)
    for tab in TABS:
        ledger.tab = tab
        rows = ledger.rows()
        yield from ("", ledger.title())
        if rows:
            yield text_of(ledger.heading(room))
        for each in rows[:MOST]:
            yield text_of(ledger.spans(each, rows[0].bytes, room))
        if len(rows) > MOST:
            yield f"... {len(rows) - MOST} more"
    yield ""
    for spans in about_lines(peel, room):
        yield text_of(spans)


MOST = 20
"""Rows of a ledger."""


def _all_rows(peel: Peel) -> list[Row]:
    """The rows of the tree, whatever time it takes."""
    rows, missing = peel.tree.rows()
    while missing:
        peel.tree.fill_open(*missing)
        rows, missing = peel.tree.rows()
    return rows
