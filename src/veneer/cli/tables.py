"""Columns of text, laid out as docker does, and texts from strangers made harmless.

docker writes rows through Go's tabwriter (minimum cell 10, padding 3, spaces), so that every cell but the last is
padded, trailing spaces included.
Sources: go/src/text/tabwriter, docker/cli formatter/formatter.go and formatter/tabwriter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from veneer.view.cells import harmless as harmless
from veneer.view.cells import shorten as shorten
from veneer.view.cells import width as width

MINIMUM_WIDTH = 10
PADDING = 3


def all_harmless(texts: list[str]) -> list[str]:
    """Each of `texts` made harmless."""
    together = "".join(texts)
    return texts if together.isascii() and together.isprintable() else [harmless(text) for text in texts]


def _layout(lines: Sequence[Sequence[str]], widths: list[int], out: list[str]) -> None:
    """Go's tabwriter.format: a column is a run of lines that have a cell there which a tab ended."""
    column = len(widths)
    start = at = 0
    while at < len(lines):
        if column >= len(lines[at]) - 1:
            at += 1
            continue
        _write(lines[start:at], widths, out)
        start = at
        widest = MINIMUM_WIDTH
        while at < len(lines) and column < len(lines[at]) - 1:
            widest = max(widest, width(lines[at][column]) + PADDING)
            at += 1
        _layout(lines[start:at], [*widths, widest], out)
        start = at
    _write(lines[start:], widths, out)


def _write(lines: Sequence[Sequence[str]], widths: list[int], out: list[str]) -> None:
    for cells in lines:
        padded = [cell + " " * (wide - width(cell)) for cell, wide in zip(cells, widths, strict=False)]
        out.append("".join([*padded, *cells[len(widths) :]]))


def _padded(column: Sequence[str]) -> list[str]:
    """The cells of a column, each as wide as the widest and the padding."""
    if "".join(column).isascii():
        wide = max(MINIMUM_WIDTH, max(map(len, column)) + PADDING)
        return [cell.ljust(wide) for cell in column]
    widths = [width(cell) for cell in column]
    wide = max(MINIMUM_WIDTH, max(widths) + PADDING)
    return [cell + " " * (wide - taken) for cell, taken in zip(column, widths, strict=True)]


def align(lines: Iterable[Sequence[str]]) -> str:
    """Rows of cells as aligned lines, each ended by a newline; all cells but a row's last are padded."""
    rows = list(lines)
    counts = {len(row) for row in rows}
    if len(counts) == 1 and 0 not in counts:
        return align_columns(list(zip(*rows, strict=True)))
    out: list[str] = []
    _layout(rows, [], out)
    return "".join(line + "\n" for line in out)


def align_columns(columns: Sequence[Sequence[str]]) -> str:
    """What `align` gives for rows of equal length, from their columns."""
    *before, last = columns
    padded = [_padded(column) for column in before]
    return "\n".join([*map("".join, zip(*padded, last, strict=True)), ""])


def align_text(text: str) -> str:
    """Text with tabs between cells, aligned; what a `table ` template gives."""
    return align([line.split("\t") for line in text.removesuffix("\n").split("\n")])
