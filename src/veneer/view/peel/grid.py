"""Several images as a wall of layers: a shared one is one box as wide as the images that have it, as high as its bytes.

Layers are joined by chain ID; the same content in another place (by diff ID) is marked ◇, for it is not drawn joined.
"""

from __future__ import annotations

from collections.abc import Sequence

from veneer.analysis.sharing import Stack, totals
from veneer.values import Value
from veneer.view.amounts import size
from veneer.view.cells import width
from veneer.view.peel.spans import Spans, cell, cut, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.looking.subject import Subject
    from veneer.oci.digest import ChainID

HEAD = 3
"""Lines above the wall: names, sizes, a gap."""
LEAST_ROWS = 2
"""Lines that the heaviest image has at least: where there is less room, one scrolls."""
NARROWEST = 16
"""Cells of a column, border included."""
_FAMILIES = {
    "RUN": "R", "ADD": "A", "COPY": "A", "VOLUME": "E", "ENV": "E", "USER": "E", "WORKDIR": "E", "ENTRYPOINT": "C",
    "CMD": "C", "FROM": "F", "MAINTAINER": "F", "EXPOSE": "F", "ONBUILD": "F",
}  # fmt: skip
_MEANINGS = {"R": "layer0", "A": "layer2", "E": "layer3", "C": "layer1", "F": "layer4", "?": "dim"}
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_BORDERS = " ╵╷│╴┘┐┤╶└┌├─┴┬┼"


class Column(Value):
    """An image of the comparison."""

    __slots__ = ()
    name: str
    stack: Stack
    texts: tuple[str, ...]
    keywords: tuple[str, ...]


class Brick(Value):
    """A layer of the columns `first` to `last` (left out), `layer` counts from 0; lines `top` to `bottom` of the wall.

    `twin`: its content is elsewhere in the comparison too.
    """

    __slots__ = ()
    first: int
    last: int
    layer: int
    top: int
    bottom: int
    size: int
    text: str
    family: str
    twin: bool


def column(subject: Subject, key: str, *, inside: bool) -> Column:
    """An image as a column; without `inside` it is weighed by what is to be pulled.  `key`: names may be the same."""
    config = subject.config
    sizes = (
        tuple(index.bytes_total for index in subject.indexes)
        if inside
        else tuple(blob.size if blob else 0 for blob in subject.documents.blobs)
    )
    origins = subject.origins
    return Column(
        subject.name, Stack(key, config.chain_ids, config.diff_ids, sizes),
        tuple(plain(origin.shown) for origin in origins),
        tuple(origin.instruction.keyword if origin.instruction else "" for origin in origins),
    )  # fmt: skip


class Wall:
    """The layout of some columns, to be drawn `lines` high at least."""

    def __init__(self, columns: Sequence[Column], lines: int) -> None:
        self.columns = _side_by_side(columns)
        self.bricks: list[Brick] = []
        self._unit = _unit([each.stack.sizes for each in columns], lines - HEAD)
        places: dict[object, set[ChainID]] = {}
        for each in columns:
            for chain_id, diff_id in zip(each.stack.chain_ids, each.stack.diff_ids, strict=True):
                places.setdefault(diff_id, set()).add(chain_id)
        self._twins = {diff_id for diff_id, chains in places.items() if len(chains) > 1}
        self._build()
        self.totals = totals([each.stack for each in columns])

    def _build(self) -> None:
        """Bricks from the base up; heights first, counted from the bottom."""
        raised: list[tuple[int, int, int, int, int]] = []
        tops = [0] * len(self.columns)
        layer = 0
        while any(layer < len(each.stack.chain_ids) for each in self.columns):
            first = 0
            while first < len(self.columns):
                chains = self.columns[first].stack.chain_ids
                if layer >= len(chains):
                    first += 1
                    continue
                last = first + 1
                while last < len(self.columns) and self.columns[last].stack.chain_ids[layer : layer + 1] == (
                    chains[layer],
                ):
                    last += 1
                height = _height(self.columns[first].stack.sizes[layer], self._unit)
                raised.append((first, last, layer, tops[first], tops[first] + height))
                tops[first:last] = [tops[first] + height] * (last - first)
                first = last
            layer += 1
        self.height = max(tops, default=0) + 1
        for first, last, layer, low, high in raised:
            each = self.columns[first]
            family = _FAMILIES.get(each.keywords[layer], "?")
            self.bricks.append(
                Brick(first, last, layer, self.height - 1 - high, self.height - 1 - low, each.stack.sizes[layer],
                      each.texts[layer], family, each.stack.diff_ids[layer] in self._twins)
            )  # fmt: skip

    def fitting(self, room: int) -> int:
        """How many columns can be side by side."""
        return max(min((room - 1) // NARROWEST, len(self.columns)), 1)

    def at(self, column: int, layer: int) -> int | None:
        """The number of the brick of a column's layer."""
        for number, brick in enumerate(self.bricks):
            if brick.first <= column < brick.last and brick.layer == layer:
                return number
        return None

    def draw(self, room: int, selected: int | None, start: int = 0) -> list[Spans]:
        """All lines, of as many columns from `start` on as there is room for: names, sizes, the wall."""
        end = start + self.fitting(room)
        wide = (room - 1) // (end - start)
        lines: list[Spans] = [[], [], []]
        for each in self.columns[start:end]:
            lines[0].append((" " + cell(plain(each.name), wide - 1), "strong"))
            count = f"{len(each.texts)} layer{'s' if len(each.texts) != 1 else ''}"
            lines[1].append((" " + cell(f"{size(sum(each.stack.sizes))}, {count}", wide - 1), "dim"))
        canvas = _Canvas(wide * (end - start) + 1, self.height)
        for number, brick in enumerate(self.bricks):
            left, right = (max(brick.first, start) - start) * wide, (min(brick.last, end) - start) * wide
            if left >= right:
                continue
            canvas.frame(left, brick.top, right, brick.bottom)
            amount = size(brick.size)
            inner = right - left - 1
            here = number == selected
            mark = f"{'▶' if here else ' '}{'◇' if brick.twin else ''}{brick.family} "
            text = mark + cut(brick.text, inner - width(mark) - len(amount) - 1)
            canvas.write(left + 1, brick.top + 1, cell(text, inner - len(amount)) + amount,
                         "here" if here else _MEANINGS[brick.family])  # fmt: skip
        return [*lines, *canvas.lines()]

    def summary(self) -> str:
        sums = self.totals
        share = f" ({100 * sums.saved / sums.unshared:.0f}%)" if sums.unshared else ""
        return (f"{size(sums.unshared)} unshared, {size(sums.disk)} in {sums.layers} layers: {size(sums.saved)}{share} "
                f"saved; largest layer {size(sums.largest)}")  # fmt: skip


def _height(size: int, unit: float) -> int:
    """Lines of a layer, with the border above it."""
    return max(1, round(size / unit)) + 1


def _unit(stacks: Sequence[Sequence[int]], lines: int) -> float:
    """Bytes of a line with which the highest column is no higher than `lines`, if that can be."""
    heaviest = max(map(sum, stacks), default=0)
    for rows in range(lines, LEAST_ROWS, -1):
        unit = max(heaviest / rows, 1.0)
        if max((sum(_height(size, unit) for size in sizes) for sizes in stacks), default=0) < lines:
            return unit
    return max(heaviest / LEAST_ROWS, 1.0)


def _side_by_side(columns: Sequence[Column]) -> list[Column]:
    """The columns so that those that share layers are next to each other; the first given begins."""
    left = list(columns)
    found: list[Column] = []
    while left:
        if not found:
            found.append(left.pop(0))
            continue
        last = found[-1].stack.chain_ids
        best = max(range(len(left)), key=lambda number: (_common(last, left[number].stack.chain_ids), -number))
        found.append(left.pop(best))
    return sorted(found, key=lambda each: _prefix_rank(found, each))


def _prefix_rank(found: Sequence[Column], column: Column) -> tuple[int, ...]:
    """Where a column belongs: at each depth the first of `found` that has the same layers so far."""
    ranks = []
    for depth in range(1, len(column.stack.chain_ids) + 1):
        chain = column.stack.chain_ids[depth - 1]
        ranks.append(next(n for n, each in enumerate(found) if each.stack.chain_ids[depth - 1 : depth] == (chain,)))
    return tuple(ranks)


def _common(one: Sequence[ChainID], other: Sequence[ChainID]) -> int:
    from veneer.analysis.sharing import common_layers

    return common_layers(one, other)


class _Canvas:
    """Characters in rows, borders that join where they meet."""

    def __init__(self, wide: int, high: int) -> None:
        self._texts = [[" "] * wide for _ in range(high)]
        self._meanings = [[""] * wide for _ in range(high)]
        self._borders = [[0] * wide for _ in range(high)]

    def frame(self, left: int, top: int, right: int, bottom: int) -> None:
        for x in range(left, right):
            for y in (top, bottom):
                self._borders[y][x] |= _RIGHT
                self._borders[y][x + 1] |= _LEFT
        for y in range(top, bottom):
            for x in (left, right):
                self._borders[y][x] |= _DOWN
                self._borders[y + 1][x] |= _UP

    def write(self, x: int, y: int, text: str, meaning: str) -> None:
        for char in text:
            cells = width(char)
            if not cells:
                self._texts[y][max(x - 1, 0)] += char
                continue
            self._texts[y][x] = char
            if cells == 2:
                self._texts[y][x + 1] = ""
            for cell_ in range(x, x + cells):
                self._meanings[y][cell_] = meaning
            x += cells

    def lines(self) -> list[Spans]:
        found = []
        for texts, meanings, borders in zip(self._texts, self._meanings, self._borders, strict=True):
            spans: Spans = []
            for text, meaning, border in zip(texts, meanings, borders, strict=True):
                text, meaning = (_BORDERS[border], "dim") if border else (text, meaning)
                if spans and spans[-1][1] == meaning:
                    spans[-1] = (spans[-1][0] + text, meaning)
                else:
                    spans.append((text, meaning))
            found.append(spans)
        return found
