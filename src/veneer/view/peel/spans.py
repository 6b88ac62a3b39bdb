"""Lines as spans of text with a meaning: what a pane shows, before anybody knows colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from veneer.view.cells import ELLIPSIS, harmless, width

Span = tuple[str, str]
"""A text and what it means: "" (nothing special) or one of MEANINGS."""
Spans = list[Span]
MEANINGS = ("dim", "strong", "A", "M", "P", "D", "O", "bar", "waste", "here", "range", "good", "bad", "match",
            *(f"layer{number}" for number in range(6)))  # fmt: skip
"""All the meanings there are.  None stands alone: the text beside it always says the same."""
FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and signs that look like nothing."""
MOST_MARKS = 2
"""Combining marks that one character may carry; more would smear over the lines above."""
LAYER_COLOURS = 6
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def plain(text: str) -> str:
    """A text from anywhere as it may stand in a pane: one line, each character as wide as it says, nothing unseen."""
    if text.isascii() and text.isprintable():
        return text
    text = harmless(text)
    if text.isascii():
        return text
    found: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        if marks > (MOST_MARKS if found else 0) or not char.isprintable() or char in FILLERS or _has_no_cell(char):
            code = ord(char)
            found.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
        else:
            found.append(char)
    return "".join(found)


def _has_no_cell(char: str) -> bool:
    """Whether it is a mark that `width` does not know for one."""
    return unicodedata.category(char) in {"Me", "Mn"} and not unicodedata.combining(char)


def name_text(name: bytes) -> str:
    """A name in an image, for a pane; spaces around it are written out, for they would not be seen."""
    text = plain(name.decode("utf-8", "backslashreplace"))
    if text[:1] != " " and text[-1:] != " ":
        return text
    inner = text.strip(" ")
    start = len(text) - len(text.lstrip(" "))
    return "\\x20" * start + inner + "\\x20" * (len(text) - start - len(inner))


def path_shown(path: bytes) -> str:
    """A path in an image, absolute, for a pane."""
    return "/" + name_text(path)


def cut(text: str, room: int) -> str:
    """`text` in at most `room` cells, an ellipsis in the last if something is left out."""
    if room <= 0:
        return ""
    return text if width(text) <= room else _beginning(text, room - 1) + ELLIPSIS


def _beginning(text: str, room: int) -> str:
    """As much of `text` as `room` cells hold."""
    taken = 0
    for number, char in enumerate(text):
        taken += width(char)
        if taken > room:
            return text[:number]
    return text


def cut_middle(text: str, room: int) -> str:
    """As `cut`, but what is left out is in the middle: of a path both ends matter."""
    if width(text) <= room or room < 5:
        return cut(text, room)
    tail = room // 2
    return cut(text, room - tail) + text[-tail:] if text[-tail:].isascii() else cut(text, room)


def cell(text: str, room: int, *, right: bool = False) -> str:
    """`text` in exactly `room` cells."""
    text = cut(text, room)
    space = " " * (room - width(text))
    return space + text if right else text + space


def text_of(spans: Iterable[Span]) -> str:
    """What the spans say."""
    return "".join(text for text, _ in spans)


def bar(value: int, most: int, room: int, *, log: bool = False) -> str:
    """A bar of up to `room` cells, in eighths; something always shows something.  `log`: of the logarithm."""
    if value <= 0 or most <= 0 or room <= 0:
        return " " * max(room, 0)
    if log:
        import math

        share = math.log1p(value) / math.log1p(most)
    else:
        share = value / most
    eighths = max(1, round(min(share, 1.0) * room * 8))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(room)


def wrapped(text: str, room: int) -> list[str]:
    """`text` in lines of at most `room` cells, broken at spaces where there are some."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        while width(word) > room:
            if line:
                lines.append(line)
                line = ""
            head = _beginning(word, room) or word[:1]
            lines.append(head)
            word = word[len(head) :]
        if line and width(line) + 1 + width(word) > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line or not lines else lines
