"""Where the bytes are, as rows of boxes: a directory above, what is in it below, each as wide as its share."""

from __future__ import annotations

from veneer.analysis.view import Line, View
from veneer.values import Value
from veneer.view.amounts import size
from veneer.view.peel.columns import Sized
from veneer.view.peel.panes import layer_meaning
from veneer.view.peel.spans import Spans, cell, cut, name_text, path_shown
from veneer.view.texts import layer_numbers

LEAST = 4
"""Cells beneath which a box is folded into "other"."""
ROWS = 3
"""Lines of the terminal for one level."""


class Box(Value):
    """A path, or (line None) `others` small ones together; its cells are `start` to `start + room`."""

    __slots__ = ()
    path: bytes
    line: Line | None
    start: int
    room: int
    size: int
    waste: int
    others: int = 0


class Icicle(Value):
    """The levels, the first with one box: the directory that is looked at."""

    __slots__ = ()
    levels: tuple[tuple[Box, ...], ...]

    def find(self, path: bytes) -> tuple[int, int] | None:
        """(level, number) of a path's box."""
        for level, boxes in enumerate(self.levels):
            for number, box in enumerate(boxes):
                if box.line is not None and box.path == path:
                    return level, number
        return None


def layout(sized: Sized, path: bytes, room: int, depth: int) -> Icicle:
    """The boxes beneath directory `path`, as many levels as there is depth for.  Raises NotThere."""
    view = sized.view
    copies, place = view.table.find(path)
    if path:
        top = Box(path, view.line(path, copies, place), 0, room, *_sizes(view, path))
    else:
        total = view.total()
        top = Box(b"", None, 0, room, total.size, total.waste)
    levels: list[tuple[Box, ...]] = [(top,)]
    while len(levels) < depth:
        boxes: list[Box] = []
        for box in levels[-1]:
            is_top = len(levels) == 1
            if is_top or (box.line is not None and box.line.place is not None and box.line.is_directory):
                boxes += _inside(sized, box)
        if not boxes:
            break
        levels.append(tuple(boxes))
    return Icicle(tuple(levels))


def _sizes(view: View, path: bytes) -> tuple[int, int]:
    sums = view.sums(path, *view.table.find(path))
    return sums.size, sums.waste


def _inside(sized: Sized, above: Box) -> list[Box]:
    """The boxes of a directory, the largest first; their cells are those of the directory's box."""
    lines, more, more_size = sized.of(above.path)
    total = sum(line.sums.size for line in lines) + more_size
    whole = max(above.size, total)
    found: list[Box] = []
    done = number = 0
    for line in lines:
        start = above.start + round(above.room * done / whole)
        end = above.start + round(above.room * (done + line.sums.size) / whole)
        if end - start < LEAST:
            break
        found.append(Box(line.path, line, start, end - start, line.sums.size, line.sums.waste))
        done += line.sums.size
        number += 1
    left = lines[number:]
    if left or more:
        start = above.start + round(above.room * done / whole)
        end = above.start + round(above.room * total / whole)
        if end > start:
            waste = sum(line.sums.waste for line in left)
            found.append(Box(above.path, None, start, end - start, total - done, waste, len(left) + more))
    return found


def label(box: Box) -> str:
    if box.others:
        return f"other ({box.others}) {size(box.size)}"
    name = name_text(box.path.rpartition(b"/")[2]) if box.path else "/"
    return f"{name}{'/' if box.line is not None and box.line.is_directory and box.path else ''} {size(box.size)}"


def _meaning(box: Box) -> str:
    """The colour of the layer whose bytes are to be seen, if it is one."""
    layers = box.line.sums.layers if box.line is not None else ()
    of_one = len(layers) == 1 or (layers and box.line is not None and box.line.place is None)
    return layer_meaning(layers[-1]) if of_one else "dim"


def spans(icicle: Icicle, line: int, room: int, selected: tuple[int, int]) -> Spans:
    """One line of the terminal: of the ROWS of a level its names, then its bars, then nothing."""
    level, row = divmod(line, ROWS)
    found: Spans = []
    at = 0
    if row == ROWS - 1 or level >= len(icicle.levels):
        return found
    for number, box in enumerate(icicle.levels[level]):
        if box.start > at:
            found.append((" " * (box.start - at), ""))
        here = (level, number) == selected
        if row == 0:
            found.append(("▏", "dim"))
            found.append((cell(label(box), box.room - 1), "here" if here else "" if not box.others else "dim"))
        else:
            found.append((" ", ""))
            found.append((("█" if here else "▆") * (box.room - 1), _meaning(box)))
        at = box.start + box.room
    return found


def told(box: Box, room: int) -> str:
    """What the selected box is, in words."""
    if box.others:
        return cut(f"{box.others} small ones in {path_shown(box.path)}: {size(box.size)}", room)
    waste = f", {size(box.waste)} of waste" if box.waste else ""
    holders = box.line.sums.layers if box.line is not None else ()
    layers = f", layer{'s' if len(holders) > 1 else ''} {layer_numbers(holders)}" if holders else ""
    inside = box.line.sums.entries - 1 if box.line is not None and box.line.is_directory else 0
    entries = f", {inside} entr{'y' if inside == 1 else 'ies'} in it" if inside > 0 else ""
    return cut(f"{path_shown(box.path)}: {size(box.size)}{waste}{layers}{entries}", room)
