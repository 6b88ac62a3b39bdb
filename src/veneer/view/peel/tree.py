"""The files pane: which directories are open, what of them is shown and in which order, as rows.

One directory level at a time is asked for, and of a long one only as many lines are kept as are shown.  What would take
longer than there is time for becomes a row that says so, and `fill_open` is for whoever has the time.
"""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Callable, Iterable, Iterator

from veneer.analysis.events import matching
from veneer.analysis.view import Line, View
from veneer.values import Value
from veneer.view.peel.columns import entries_in, foremost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.copies import Place

SORTS = ("size", "name", "waste", "layer")
STATES = "AMPDOU"
"""U stands for what is unchanged."""
SMALL = 1_000_000
"""Bytes beneath which `m` hides things."""
PAGE = 1000
"""Lines of one directory that are shown at first."""
QUICK = 2000
"""Entries of a directory from which it is read by somebody with time."""
BUDGET = 0.015
"""Seconds that `rows` may take to read directories."""
MOST_MATCHES = 100_000
_WILD = re.compile(r"[*?[]")


class Row(Value):
    """One row: a path, or (line None) what is left out of directory `path`, or that it is still being read."""

    __slots__ = ()
    depth: int
    path: bytes
    line: Line | None
    open: bool = False
    left: int = 0
    left_size: int = 0


class Level(Value):
    """What is shown of one directory, and how many lines, with how many bytes, are not."""

    __slots__ = ()
    lines: tuple[Line, ...]
    left: int
    left_size: int


class Matches(Value):
    """What a pattern found: paths in the order of the tree by name, and all directories above them."""

    __slots__ = ()
    text: str
    paths: tuple[bytes, ...]
    above: frozenset[bytes]


def pattern(text: str) -> re.Pattern[bytes]:
    """What somebody looks for: `re:` and an expression, a pattern with * ? [, or a part of a name.

    Without a slash it is held against names; small letters mean large ones too.  Raises ValueError.
    """
    import fnmatch

    flags = re.DOTALL | (re.IGNORECASE if text == text.lower() else 0)
    try:
        if text.startswith("re:"):
            return re.compile(rb".*(?:" + text[3:].encode("utf-8", "surrogateescape") + rb").*", flags)
        if _WILD.search(text):
            inner = fnmatch.translate(_bytes(text.removeprefix("/")).decode("latin-1")).encode("latin-1")
            anywhere = rb"" if text.startswith("/") else rb"(?:.*/)?"
            return re.compile(anywhere + inner, flags)
        inside = rb".*" if "/" in text else rb"[^/]*"
        start = rb"" if text.startswith("/") else rb".*" if "/" in text else rb"(?:.*/)?[^/]*"
        return re.compile(start + re.escape(_bytes(text.removeprefix("/"))) + inside, flags)
    except re.error as error:
        raise ValueError(f"{text}: {error}") from None


def _bytes(text: str) -> bytes:
    from veneer.view.texts import spelled_out

    raw = text.encode("utf-8", "surrogateescape")
    return spelled_out(raw)


def found_by(view: View, text: str) -> Matches:
    """All paths of a view that the text means.  Goes through every path.  Raises ValueError.

    What is a path as a whole is that path, whatever else it might mean.
    """
    paths: list[bytes] = []
    above: set[bytes] = set()
    for path in _exactly(view, text) or (path for path, _ in matching(view.table, pattern(text))):
        paths.append(path)
        while (path := path.rpartition(b"/")[0]) and path not in above:
            above.add(path)
        if len(paths) == MOST_MATCHES:
            break
    return Matches(text, tuple(paths), frozenset(above))


def _exactly(view: View, text: str) -> list[bytes]:
    from veneer.view.texts import path_bytes, spelled_out

    if text.startswith("/"):
        for path in (path_bytes(text), spelled_out(path_bytes(text))):
            if path and view.table.find(path)[0]:
                return [path]
    return []


class Tree:
    """The rows of a view.  `only`: what a filter found (None: no filter)."""

    def __init__(self) -> None:
        self.sort = SORTS[0]
        self.show = set(STATES)
        self.least = 0
        self.only: Matches | None = None
        self.open: set[bytes] = set()
        self.view: View | None = None
        self._limits: dict[bytes, int] = {}
        self._wanted: dict[bytes, set[bytes]] = {}
        self._levels: dict[bytes, Level] = {}
        self.lines: dict[bytes, tuple[Line, ...]] = {}
        """All lines of directories that are not long, whatever is shown of them; the map is made of them, too."""
        self._only_paths: frozenset[bytes] = frozenset()

    # -- what is to be shown ---------------------------------------------------------------------------------

    def look(self, view: View) -> None:
        """Another view of the same image: what is open stays open."""
        self.view = view
        self._levels = {}
        self.lines = {}

    def changed(self) -> None:
        """Order or choice are others."""
        self._levels = {}

    def next_sort(self) -> None:
        self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        self.changed()

    def toggle_state(self, letter: str) -> None:
        self.show ^= {letter}
        self.changed()

    def toggle_small(self) -> None:
        self.least = 0 if self.least else SMALL
        self.changed()

    def filter(self, matches: Matches | None) -> None:
        self.only = matches
        self._wanted = {}
        self._only_paths = frozenset(matches.paths) if matches else frozenset()
        self.changed()

    def toggle(self, path: bytes) -> None:
        self.open ^= {path}

    def toggle_level(self, path: bytes) -> None:
        """Open all directories beside `path`, or close them if all are open."""
        beside = {line.path for line in self._level(path.rpartition(b"/")[0]).lines if line.place is not None}
        if beside <= self.open:
            self.open -= beside
        else:
            self.open |= beside

    def more(self, path: bytes) -> None:
        """Show ten times as many lines of a directory."""
        self._limits[path] = self._limits.get(path, PAGE) * 10
        self._levels.pop(path, None)

    def reveal(self, path: bytes) -> None:
        """See to it that a path has a row, whatever is hidden."""
        while path:
            above = path.rpartition(b"/")[0]
            if path not in self._wanted.setdefault(above, set()):
                self._wanted[above].add(path)
                self._levels.pop(above, None)
            if above:
                self.open.add(above)
            path = above

    # -- rows ------------------------------------------------------------------------------------------------

    def rows(self, budget: float = BUDGET) -> tuple[list[Row], list[bytes]]:
        """The rows, and the directories that are still to be read: for each, `fill_open` and ask again."""
        view = self.view
        if view is None:
            return [], []
        deadline = time.perf_counter() + budget
        found: list[Row] = []
        missing: list[bytes] = []
        stack: list[tuple[bytes, Iterator[Line], Level]] = []

        def enter(path: bytes, place: Place | None) -> None:
            level = self._levels.get(path)
            if level is None and time.perf_counter() < deadline and entries_in(view, place) <= QUICK:
                level = self.fill(path, place)
            if level is None:
                missing.append(path)
                found.append(Row(len(stack), path, None))
            else:
                stack.append((path, iter(level.lines), level))

        enter(b"", view.table.root())
        while stack:
            path, lines, level = stack[-1]
            for line in lines:
                is_open = line.place is not None and self._is_open(line.path)
                found.append(Row(len(stack) - 1, line.path, line, is_open))
                if is_open:
                    enter(line.path, line.place)
                    if stack[-1][0] == line.path:
                        break
            else:
                stack.pop()
                if level.left:
                    found.append(Row(len(stack), path, None, False, level.left, level.left_size))
        return found, missing

    def _is_open(self, path: bytes) -> bool:
        return path in self.open or (self.only is not None and path in self.only.above)

    def _level(self, path: bytes) -> Level:
        return self._levels.get(path) or self.fill(path)

    def fill(self, path: bytes, place: Place | None = None) -> Level:
        """Read a directory.  May be called in another thread; what it finds for an older view is dropped."""
        levels, lines = self._levels, self.lines  # before the view: if that is another by then, these are dropped
        view = self.view
        assert view is not None
        place = place or view.table.find(path)[1]
        level = self._read(view, path, place, lines) if place is not None else Level((), 0, 0)
        levels[path] = level
        return level

    def fill_open(self, *paths: bytes) -> None:
        """Read directories, and all beneath them that are open.  May be called in another thread."""
        pending: list[tuple[bytes, Place | None]] = [(path, None) for path in paths]
        while pending:
            path, place = pending.pop()
            level = self._levels.get(path) or self.fill(path, place)
            pending += [(line.path, line.place) for line in level.lines
                        if line.place is not None and self._is_open(line.path)]  # fmt: skip

    def _read(self, view: View, path: bytes, place: Place, known_lines: dict[bytes, tuple[Line, ...]]) -> Level:
        limit, wanted = self._limits.get(path, PAGE), self._wanted.get(path, set())
        count = size = 0
        extra: list[Line] = []
        lines: Iterable[Line] | None = known_lines.get(path)
        if lines is None:
            lines = view.beneath(path, place)
            if entries_in(view, place) <= QUICK:
                lines = known_lines[path] = tuple(lines)
            elif self.only is None and (found := foremost(view, path, place, self.sort, limit, self.least)):
                lines = found.files + found.directories
                if found.files and self._is_shown(found.files[0]):
                    count, size = found.left, found.left_size

        def shown() -> Iterator[Line]:
            nonlocal count, size
            for line in lines:
                if self._is_shown(line):
                    count, size = count + 1, size + line.sums.size
                    yield line
                elif line.path in wanted:
                    extra.append(line)

        key = _key(self.sort)
        kept = heapq.nsmallest(limit, shown(), key=key)
        if wanted:
            known = {line.path for line in kept} | {line.path for line in extra}
            for missing in wanted - known:
                copies, inner = view.table.child(place, missing.rpartition(b"/")[2], path)
                if copies:
                    line = view.line(missing, copies, inner)
                    extra.append(line)
                    count, size = count - 1, size - line.sums.size
        left, left_size = count - len(kept), size - sum(line.sums.size for line in kept)
        if extra:
            kept = sorted([*kept, *extra], key=key)
        return Level(tuple(kept), max(left, 0), max(left_size, 0))

    def _is_shown(self, line: Line) -> bool:
        if self.only is not None and line.path not in self._only_paths and line.path not in self.only.above:
            return False
        if not line.is_there and not line.state:
            return False  # gone before this range begins
        if self.least and line.sums.size < self.least and line.sums.waste < self.least:
            return False
        state = str(line.state)
        if (state or "U") in self.show:
            return True
        # A directory stays where something in it changed and changes are wanted; one that is new, or gone, or was of
        # another kind, has only the like in it.
        return (
            line.place is not None
            and state not in {"A", "D", "O"}
            and line.sums.changed > 0
            and bool(self.show - {"U"})
        )


def _key(sort: str) -> Callable[[Line], Any]:
    return {
        "name": lambda line: line.path,
        "size": lambda line: (-line.sums.size, -line.sums.waste, line.path),
        "waste": lambda line: (-line.sums.waste, -line.sums.size, line.path),
        "layer": lambda line: (-line.sums.holders, line.path),
    }[sort]  # fmt: skip
