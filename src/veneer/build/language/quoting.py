"""Texts as Go prints them with %q: history rows show lists that way.  Source: Go strconv.Quote, QuoteRune."""

from __future__ import annotations

from collections.abc import Iterable

_SHORT = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\"}


def quoted(text: str) -> str:
    """`"text"`."""
    return '"' + "".join(_escaped(char, '"') for char in text) + '"'


def quoted_rune(code: int) -> str:
    """`'\\x00'` for a number: what %q makes of an integer."""
    char = chr(code) if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else "\N{REPLACEMENT CHARACTER}"
    return "'" + _escaped(char, "'") + "'"


def quoted_list(words: Iterable[str]) -> str:
    """`["a" "b"]`."""
    return "[" + " ".join(map(quoted, words)) + "]"


def _escaped(char: str, quote: str) -> str:
    if char == quote:
        return "\\" + char
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
