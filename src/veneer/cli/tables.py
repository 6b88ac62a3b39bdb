"""Columns of text, laid out as docker does, and texts from strangers made harmless.

docker writes rows through Go's tabwriter (minimum cell 10, padding 3, spaces), so that every cell but the last is
padded, trailing spaces included.  Widths are those of a terminal: East Asian wide characters take two cells.
Sources: go/src/text/tabwriter, docker/cli formatter/{formatter,displayutils}.go and formatter/tabwriter.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MINIMUM_WIDTH = 10
PADDING = 3
ELLIPSIS = "…"
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(char: str) -> str:
    code = ord(char)
    return _NAMED.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _is_dangerous(char: str) -> bool:
    # C0, DEL, C1, and the marks that reorder what follows them (bidirectional overrides and isolates).
    return char < " " or "\x7f" <= char <= "\x9f" or "\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069"


def harmless(text: str, *, keep: str = "") -> str:
    """`text` with control characters written out (\\x1b), but for those in `keep`.

    Names, comments and commands of an image are anybody's: raw, they could redraw a terminal or forge a row.
    """
    if text.isprintable() and text.isascii():
        return text
    text = "".join(_escape(char) if _is_dangerous(char) and char not in keep else char for char in text)
    return text.encode("utf-8", "backslashreplace").decode()


def all_harmless(texts: list[str]) -> list[str]:
    """Each of `texts` made harmless."""
    together = "".join(texts)
    return texts if together.isascii() and together.isprintable() else [harmless(text) for text in texts]


def width(text: str) -> int:
    """How many cells of a terminal `text` takes."""
    if text.replace(ELLIPSIS, "").isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
               for char in text)  # fmt: skip


def shorten(text: str, limit: int) -> str:
    """`text` if it fits into `limit` cells, else its beginning with an ellipsis in the last cell."""
    if text.isascii():
        return text if len(text) <= limit else text[: limit - 1] + ELLIPSIS
    import unicodedata

    # As in docker, a combining mark takes a cell here: a thousand of them must not pass for one character.
    taken = 0
    fitting = 0
    for position, char in enumerate(text):
        taken += 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if taken <= limit - 1:
            fitting = position + 1
        if taken > limit:
            return text[:fitting] + ELLIPSIS
    return text


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
