"""Texts from strangers made harmless, and cut to the cells of a terminal.

Widths are those of a terminal: East Asian wide characters take two cells.
Source: docker/cli cli/command/formatter/displayutils.go.
"""

from __future__ import annotations

ELLIPSIS = "…"
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(char: str) -> str:
    code = ord(char)
    # From 80 on \xNN is a byte that is no UTF-8.
    return _NAMED.get(char) or (f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}")


# C0, DEL, C1, the marks that reorder what follows them, and what nobody sees: two names must not look like one.
_DANGEROUS = {
    code: _escape(chr(code))
    for first, last in ((0, 0x1F), (0x7F, 0x9F), (0x61C, 0x61C), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x2069),
                        (0xFEFF, 0xFEFF))
    for code in range(first, last + 1)
}  # fmt: skip


def harmless(text: str, *, keep: str = "") -> str:
    """`text` with control characters and invisible ones written out (\\x1b), but for those in `keep`.

    Names, comments and commands of an image are anybody's: raw, they could redraw a terminal or forge a row.
    """
    if text.isprintable() and text.isascii():
        return text
    table = {code: shown for code, shown in _DANGEROUS.items() if chr(code) not in keep} if keep else _DANGEROUS
    text = text.translate(table)
    return text.encode("utf-8", "backslashreplace").decode()


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
