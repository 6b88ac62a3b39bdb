"""Files as documents: one directory at a time, maps of sizes, the history of a path."""

from __future__ import annotations

import heapq

from veneer.analysis.copies import NEVER
from veneer.view.texts import path_text, spelled_out
from veneer.view.web import words
from veneer.view.web.query import BadQuery, page_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.analysis.copies import Place
    from veneer.analysis.events import Event
    from veneer.analysis.names import Relation
    from veneer.analysis.table import Table
    from veneer.analysis.view import Line, View
    from veneer.engine.looking.subject import Subject
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked
    from veneer.view.web.words import Json

SORTS = ("size", "name", "waste", "layer")
STATES = "AMPDOU"
DEEPEST = 8
MOST_NAMES = 20
"""Of a file with more hard links the others are not told."""
MOST_BOXES = 4000
"""Of one map, "other" ones not counted."""
FOLDED = 300
"""A map folds what is less than one of so many parts of the whole."""


def view_of(looked: Looked, query: Query) -> View:
    """The tree that a URL asks for, by `at` and `since`.  Raises BadQuery, NoSuchDepth."""
    at = query.number("at", len(looked.subject.table.indexes))
    return looked.view(at, query.number("since", 0))


def found_path(table: Table, path: bytes) -> bytes:
    """`path`, or where no layer has that, what it means with its escapes understood."""
    if path and not table.find(path)[0]:
        meant = spelled_out(path)
        if meant != path and table.find(meant)[0]:
            return meant
    return path


# -- one directory --------------------------------------------------------------------------------------------


def tree(looked: Looked, query: Query) -> Json:
    """One page of one directory.  Raises BadQuery, NoSuchDepth, NotThere."""
    view = view_of(looked, query)
    path = found_path(view.table, query.path())
    sort, name = query.choice("sort", SORTS), query.text("q").lower()
    show, hidden = query.text("show").upper().replace("·", "U"), query.flag("hidden")
    if not set(show) <= set(STATES):
        raise BadQuery(f"show={show[:20]}: letters of {STATES} are wanted")
    first, limit = page_of(query.text("after")), query.limit()
    place = view.table.find(path)[1]
    if place is None:
        view.level(path)  # says why not
        raise AssertionError("a directory has a place")

    key = (view.at, view.since, path, sort, show, hidden, name)
    order = _Order(sort, len(view.table.indexes))
    rows = looked.kept(key, lambda: sorted(_rows(view, path, place, order, show, hidden, name)))
    shown = [order.name(row) for row in rows[first : first + limit]]
    following = first + len(shown)
    return words.path_document(path) | {
        "at": view.at, "since": view.since, "sort": sort, "total": len(rows),
        "entries": [line_document(_line(view, path, place, each)) for each in shown],
        "next": str(following) if following < len(rows) else None,
    }  # fmt: skip


def _line(view: View, path: bytes, place: Place, name: bytes) -> Line:
    return view.line(path + b"/" + name if path else name, *view.table.child(place, name, path))


def _rows(
    view: View, path: bytes, place: Place, order: _Order, show: str, hidden: bool, wanted: str
) -> Iterator[bytes]:  # fmt: skip
    """The rows of what is to be shown of a directory.  What one layer has alone and is to be seen, as nearly everything
    is in a directory with very many names, is weighed without being made a line."""
    bytes_of, since = view.names.bytes_of, view.since
    prefix = path + b"/" if path else b""
    for name, copies, inner in view.table.children(place, path):
        if wanted and wanted not in words.text(name).lower():
            continue
        if inner is None and len(copies) == 1 and copies[0].ended == NEVER:
            layer, number = copies[0].layer, copies[0].number
            if not show or ("A" if layer >= since else words.UNCHANGED) in show:
                size, holder = bytes_of(layer, number)
                yield order.row(name, size, 0, bool(size) << holder)
            continue
        line = view.line(prefix + name, copies, inner)
        if _is_wanted(line, show, hidden):
            yield order.row(name, line.sums.size, line.sums.waste, line.sums.holders)


class _Order:
    """The rows of a directory while they are sorted and kept: bytes that sort as the rows do and end in their name.

    Of a directory with a million names no more is held at once.
    """

    def __init__(self, sort: str, layers: int) -> None:
        self._sort = sort
        self._before = {"name": 0, "layer": layers // 8 + 1}.get(sort, 16)
        self._most = (1 << 8 * self._before) - 1

    def row(self, name: bytes, size: int, waste: int, holders: int) -> bytes:
        """The largest number first, and where they are the same, by name."""
        if self._sort == "name":
            return name
        number = {"size": size << 64 | waste, "waste": waste << 64 | size, "layer": holders}[self._sort]
        return (self._most - number).to_bytes(self._before, "big") + name

    def name(self, row: bytes) -> bytes:
        return row[self._before :]


def _is_wanted(line: Line, show: str, hidden: bool) -> bool:
    state = str(line.state) or words.UNCHANGED
    if not line.is_there and not hidden and state not in show:
        return bool(line.place is not None and show and line.sums.changed)
    # A directory stays where something in it is wanted.
    return not show or state in show or bool(line.place is not None and line.sums.changed and show != words.UNCHANGED)


def line_document(line: Line) -> Json:
    """One path of a directory."""
    entry = line.entry
    return {"name": words.text(line.name)} | words.path_document(line.path) | {
        "type": words.kind(entry), "op": str(line.state) or words.UNCHANGED, "there": line.is_there,
        "size": line.sums.size, "waste": line.sums.waste, "layers": words.numbers(line.sums.layers),
        "mode": f"{entry.mode:04o}", "uid": entry.uid, "gid": entry.gid, "mtime": words.mtime(entry.mtime_ns),
        "link": words.text(entry.link), "changed": list(line.changed),
        "children": max(line.sums.entries - line.is_there, 0) if line.place is not None else 0,
    }  # fmt: skip


# -- maps -----------------------------------------------------------------------------------------------------


def rollup(looked: Looked, query: Query) -> Json:
    """Sizes of a directory and what is in it, as deep as wanted, the largest first; small things folded.

    Raises BadQuery, NoSuchDepth, NotThere.
    """
    view = view_of(looked, query)
    path = found_path(view.table, query.path())
    copies, place = view.table.find(path)
    if not copies and place is None:
        view.level(path)  # says why not
    depth = min(query.number("depth", 3), DEEPEST)
    sums = view.sums(path, copies, place)
    whole = sums.size + sums.waste
    least = max(query.number("min", whole // FOLDED), 1)
    if path:
        top = box(view.line(path, copies, place))
    else:
        top = {"name": "/", "path": "/", "type": "directory", "op": words.UNCHANGED, "size": sums.size,
               "waste": sums.waste, "entries": sums.entries, **_holders(sums.layers)}  # fmt: skip
    if place is not None:
        _fill(view, top, path, place, depth, least)
    return top | {"at": view.at, "since": view.since, "min": least}


def box(line: Line) -> Json:
    return {"name": words.text(line.name)} | words.path_document(line.path) | {
        "type": words.kind(line.entry), "op": str(line.state) or words.UNCHANGED, "size": line.sums.size,
        "waste": line.sums.waste, "entries": line.sums.entries, **_holders(line.sums.layers),
    }  # fmt: skip


def _holders(layers: tuple[int, ...]) -> Json:
    return {"layer": layers[0] + 1 if len(layers) == 1 else 0, "layers": words.numbers(layers)}


def _fill(view: View, top: Json, path: bytes, place: Place, depth: int, least: int) -> None:
    """Put the children of a directory into its box, and theirs, level by level, until there are enough boxes."""
    pending: list[tuple[Json, bytes, Place]] = [(top, path, place)]
    boxes = 0
    for _ in range(depth):
        deeper: list[tuple[Json, bytes, Place]] = []
        for into, above, inside in pending:
            shown, other = _largest(view, above, inside, least, MOST_BOXES - boxes)
            children = []
            for line in shown:
                children.append(box(line))
                if line.place is not None and line.is_directory:
                    deeper.append((children[-1], line.path, line.place))
            boxes += len(children)
            into["children"] = children
            if other["n"]:
                into["other"] = other
            if boxes >= MOST_BOXES:
                return
        pending = deeper


def _largest(view: View, path: bytes, place: Place, least: int, most: int) -> tuple[list[Line], Json]:
    """What is in a directory and has `least` bytes, the largest first, at most so many; and what the rest has."""
    number = size = waste = 0

    def large() -> Iterator[Line]:
        nonlocal number, size, waste
        for line in view.beneath(path, place):
            number += bool(line.sums.size or line.sums.waste)
            size, waste = size + line.sums.size, waste + line.sums.waste
            if line.sums.size + line.sums.waste >= least:
                yield line

    shown = heapq.nsmallest(most, large(), key=lambda line: (-line.sums.size - line.sums.waste, line.path))
    size -= sum(line.sums.size for line in shown)
    waste -= sum(line.sums.waste for line in shown)
    return shown, {"n": number - len(shown), "size": size, "waste": waste}


# -- one path -------------------------------------------------------------------------------------------------


def history(looked: Looked, query: Query) -> Json:
    """What each layer did to a path, lowest layer first.  Raises NotThere."""
    from veneer.analysis.events import events_of
    from veneer.analysis.names import Relation, relations
    from veneer.analysis.view import NotThere

    subject = looked.subject
    table = subject.table
    path = found_path(table, query.path())
    copies, _ = table.find(path)
    related = {copy.layer: each for copy, each in zip(copies, relations(table, path, copies), strict=True)}
    events = events_of(table, path, copies)
    if not events:
        raise NotThere(f"{path_text(path)} is in no layer of {subject.name}")
    stored = sum(table.indexes[copy.layer].sizes[copy.number] for copy in copies)
    seen = [copy for copy in copies if copy.ended == NEVER]
    visible = sum(table.entry(copy, path).size for copy in seen)
    return words.path_document(path) | {
        "events": [
            event_document(subject, event) | _names(related.get(event.layer, Relation()), event) for event in events
        ],
        "verdict": {"stored": stored, "visible": visible},
    }


def _names(relation: Relation, event: Event) -> Json:
    """The other names of its file, as hard links are, and those with which the layer broke one; the first of many."""
    gone = event.op.value == "D"
    return {"names": [] if gone else list(map(path_text, relation.others[:MOST_NAMES])),
            "broke": [] if gone else list(map(path_text, relation.broke[:MOST_NAMES]))}  # fmt: skip


def event_document(subject: Subject, event: Event) -> Json:
    import base64

    entry = event.entry
    xattrs = {words.text(name): base64.b64encode(value).decode() for name, value in entry.xattrs}
    return words.path_document(event.path) | {"layer": event.layer + 1, "op": str(event.op)} | words.stat(entry) | {
        "sha256": entry.digest.hex(), "xattrs": xattrs, "fields_changed": list(event.changed),
        "cause": event.cause.shown if event.cause else "", "by": path_text(event.by) if event.by else "",
        "instruction": subject.origins[event.layer].shown,
    }  # fmt: skip
