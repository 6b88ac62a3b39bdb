"""The files of several images side by side: one directory of all of them, name by name."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from itertools import groupby

from veneer.analysis.copies import NEVER
from veneer.errors import VeneerError
from veneer.values import Value
from veneer.view.texts import path_text
from veneer.view.web import comparing, words
from veneer.view.web.query import BadQuery, page_of
from veneer.view.web.trees import found_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from veneer.analysis.comparison import Difference
    from veneer.analysis.copies import Copy, Place
    from veneer.analysis.view import View
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked, Subjects
    from veneer.view.web.words import Json

    Found = Sequence[tuple[str, Looked]]

MOST_BESIDE = 24
"""Images, whose files are all open at once."""
SORTS = ("name", "size")
SHOWN = (ALL, DIFFERENT) = ("all", "different")
_SIZE = 8


class _Change(Value):
    """How what is under one name of a directory differs from the first image's: in so many paths, None where that is
    not known; `own` is the difference of the name itself, where it is the one that differs."""

    __slots__ = ()
    paths: int | None
    own: Difference | None


_SAME = _Change(0, None)


class _Side:
    """One image's directory."""

    def __init__(self, name: str, looked: Looked, path: bytes) -> None:
        self.name = name
        self.view: View = looked.view()
        self.path = found_path(self.view.table, path)
        self.copies, place = self.view.table.find(self.path)
        self.place: Place | None = place if not self.path or _is_there(self.copies) else None

    def names(self) -> Iterator[bytes]:
        """What is to be seen in it, in order."""
        if self.place is not None:
            for name, copies, _ in self.view.table.children(self.place, self.path):
                if copies[-1].ended == NEVER:
                    yield name

    def sizes(self) -> Iterator[tuple[bytes, int]]:
        """The bytes under each name that has any."""
        bytes_of = self.view.names.bytes_of
        for name, copies, inner in self.view.table.children(self.place, self.path) if self.place is not None else ():
            last = copies[-1]
            if last.ended != NEVER:
                continue
            if inner is None:
                size, _ = bytes_of(last.layer, last.number)
            else:
                size = self.view.sums(self.prefix + name, copies, inner).size
            if size:
                yield name, size

    @property
    def prefix(self) -> bytes:
        return self.path + b"/" if self.path else b""

    def cell(self, name: bytes, change: _Change) -> Json | None:
        """What it has under a name of the directory; None for nothing."""
        if self.place is None:
            return None
        copies, inner = self.view.table.child(self.place, name, self.path)
        return self._told(self.prefix + name, copies, inner, change) if _is_there(copies) else None

    def whole(self, change: _Change) -> Json | None:
        """The directory itself, or what else it has at that path; None for nothing."""
        if not self.path:
            sums = self.view.total()
            top = {"type": "directory", "size": sums.size, "mode": "0755", "uid": 0, "gid": 0, "mtime": "", "link": ""}
            return top | _beside(words.UNCHANGED, (), change, sums.entries, sums.layers)
        return self._told(self.path, self.copies, self.place, change) if _is_there(self.copies) else None

    def _told(self, path: bytes, copies: tuple[Copy, ...], inner: Place | None, change: _Change) -> Json:
        line = self.view.line(path, copies, inner)
        size = line.sums.size if line.is_directory else line.entry.size
        entries = max(line.sums.entries - 1, 0) if line.is_directory else 0
        op, changed = words.UNCHANGED, tuple[str, ...]()
        if change.own is not None:
            op, changed = str(change.own.op), change.own.changed
        return words.stat(line.entry) | {"size": size} | _beside(op, changed, change, entries, line.sums.layers)


def _beside(op: str, changed: Sequence[str], change: _Change, entries: int, layers: Sequence[int]) -> Json:
    return {"op": op, "changed": list(changed), "differing": change.paths, "children": entries,
            "layers": words.numbers(layers)}  # fmt: skip


def _is_there(copies: tuple[Copy, ...]) -> bool:
    return bool(copies) and copies[-1].ended == NEVER


def files(subjects: Subjects, query: Query) -> Json:
    """A page of one directory of several images: a row for each name, a cell for each image, each with what differs
    from the first image, or from that called `base`.

    One that is not here is told of in "errors"; the others are shown.  Raises BadQuery, NotThere.
    """
    names = query.words("images", MOST_BESIDE)
    if not names:
        raise BadQuery("no images to set side by side", hint="give images=NAME,NAME")
    mode, sort = query.choice("mode", comparing.MODES), query.choice("sort", SORTS)
    show, wanted = query.choice("show", SHOWN), query.text("q").lower()
    first, limit = page_of(query.text("after")), query.limit()
    with _all(subjects, names) as (found, errors):
        if not found:
            return _page(path_text(query.path()), 0, [], [], None, errors)
        base = next((number for number, (name, _) in enumerate(found) if name == query.text("base")), 0)
        sides = [_Side(name, looked, query.path()) for name, looked in found]
        _check(sides, query.path())
        changes = [_changes(found[base][1], looked, side, mode) for (_, looked), side in zip(found, sides, strict=True)]
        etags = tuple(looked.etag for _, looked in found)
        key = ("beside", etags, base, sides[base].path, mode, sort, show, wanted)

        def make() -> list[bytes]:
            return _rows(sides, changes, sort, wanted, different=show == DIFFERENT)

        rows = found[base][1].kept(key, make) if all(etags) else make()
        shown = [row[_SIZE:] if sort == "size" else row for row in rows[first : first + limit]]
        following = first + len(shown)
        images = [{"ref": side.name, "whole": side.whole(_sum(change))}
                  for side, change in zip(sides, changes, strict=True)]  # fmt: skip
        return _page(
            path_text(sides[base].path), base, images,
            [_row(sides, changes, base, name) for name in shown], str(following) if following < len(rows) else None,
            errors, len(rows),
        )  # fmt: skip


def _page(
    path: str,
    base: int,
    images: list[Json],
    rows: list[Json],
    following: str | None,
    errors: list[Json],
    total: int = 0,
) -> Json:
    return {"path": path, "base": base, "images": images, "total": total, "rows": rows, "next": following,
            "errors": errors}  # fmt: skip


@contextlib.contextmanager
def _all(subjects: Subjects, names: Sequence[str]) -> Iterator[tuple[Found, list[Json]]]:
    """The images that are here, open and locked, in an order that all askers keep; and what is not here."""
    with contextlib.ExitStack() as stack:
        found: list[tuple[str, Looked]] = []
        errors: list[Json] = []
        for name in names:
            try:
                found.append((name, stack.enter_context(subjects.opened(name))))
            except VeneerError as error:
                errors.append({"ref": name, "error": error.message, "hint": error.hint})
        for looked in sorted({looked for _, looked in found}, key=id):
            stack.enter_context(looked.lock)
        yield found, errors


def _check(sides: Sequence[_Side], path: bytes) -> None:
    from veneer.analysis.view import NotThere

    if path and not any(_is_there(side.copies) for side in sides):
        raise NotThere(
            f"{path_text(path)} is in none of these images", hint="it may have been deleted: ask for its history"
        )


def _changes(base: Looked, other: Looked, side: _Side, mode: str) -> Mapping[bytes, _Change]:
    """How the names of a directory differ from the first image's."""
    if base is other:
        return {}
    found = comparing.differing(base, other, mode)
    counts: dict[bytes, int] = {}
    own: dict[bytes, Difference] = {}
    prefix = side.prefix
    for each in found:
        if each.path.startswith(prefix):
            name, slash, _ = each.path[len(prefix) :].partition(b"/")
            counts[name] = counts.get(name, 0) + 1 + each.entries
            if not slash:
                own[name] = each
    told: dict[bytes, _Change] = {name: _Change(count, own.get(name)) for name, count in counts.items()}
    return told if len(found) < comparing.MOST_DIFFERENCES else _Cut(told, found[-1].path, prefix)


class _Cut(dict[bytes, _Change]):
    """The same where there are more differences than are looked for: of what comes after the last one nobody knows."""

    def __init__(self, told: Mapping[bytes, _Change], last: bytes, prefix: bytes) -> None:
        super().__init__(told)
        self._last = last.split(b"/")
        self._prefix = prefix.split(b"/")[:-1]
        for name in [name for name in self if self._is_beyond(name)]:
            self[name] = _Change(None, self[name].own)

    def _is_beyond(self, name: bytes) -> bool:
        path = [*self._prefix, name]
        return path > self._last or self._last[: len(path)] == path

    def get(self, name: bytes, default: _Change = _SAME) -> _Change:  # type: ignore[override]
        return self[name] if name in self else (_Change(None, None) if self._is_beyond(name) else default)


def _sum(changes: Mapping[bytes, _Change]) -> _Change:
    counts = [change.paths for change in changes.values()]
    return _Change(None if isinstance(changes, _Cut) or None in counts else sum(filter(None, counts)), None)


def _rows(
    sides: Sequence[_Side], changes: Sequence[Mapping[bytes, _Change]], sort: str, wanted: str, *, different: bool
) -> list[bytes]:
    """The names that any of them has, each once, in order; with their size in front where that is the order."""
    found = []
    for name, same in groupby(heapq.merge(*(side.names() for side in sides))):
        if wanted and wanted not in words.text(name).lower():
            continue
        everywhere = not different or sum(1 for _ in same) == len(sides)
        if different and everywhere and all(each.get(name, _SAME).paths == 0 for each in changes):
            continue
        found.append(name)
    return found if sort == "name" else _by_size(sides, found)


def _by_size(sides: Sequence[_Side], names: list[bytes]) -> list[bytes]:
    """The names with the most that any of them has there in front."""
    sizes: dict[bytes, int] = {}
    for side in sides:
        for name, size in side.sizes():
            if size > sizes.get(name, 0):
                sizes[name] = size
    most = (1 << 8 * _SIZE) - 1
    return sorted((most - sizes.get(name, 0)).to_bytes(_SIZE, "big") + name for name in names)


def _row(sides: Sequence[_Side], changes: Sequence[Mapping[bytes, _Change]], base: int, name: bytes) -> Json:
    cells = [side.cell(name, change.get(name, _SAME)) for side, change in zip(sides, changes, strict=True)]
    for number, cell in enumerate(cells):
        if cell is not None and number != base:
            if cells[base] is None:
                cell["op"] = "A"
            elif (cell["differing"] or 0) > (cell["op"] != words.UNCHANGED) and cell["op"] != "O":
                cell["op"] = "M"  # something in it
    differs = any(cell is None or cell["op"] != words.UNCHANGED or cell["differing"] is None for cell in cells)
    return {"name": words.text(name), "differs": differs, "cells": cells} | words.path_document(
        sides[base].prefix + name
    )
