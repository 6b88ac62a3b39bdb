"""Wildcards of COPY and ADD sources: Go's path.Match, one path component at a time.

`*` and `?` do not match a slash, `[...]` is a class, negated by `^`, and a backslash takes the next character's
meaning away.  Names are str with surrogateescape.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from veneer.errors import InvalidRequest

STAR = "[^/]*"


class BadPattern(InvalidRequest):
    """A pattern that cannot be read."""


def has_wildcards(text: str) -> bool:
    """Whether a path is a pattern: an unescaped `*`, `?` or `[`."""
    at = 0
    while at < len(text):
        if text[at] in "*?[":
            return True
        at += 2 if text[at] == "\\" else 1
    return False


def unescaped(text: str) -> str:
    """A path without wildcards as the path it means."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.S)


def matcher(pattern: str) -> re.Pattern[str]:
    """A component's pattern, to be used with `fullmatch`.  Raises BadPattern."""
    out, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            out.append(STAR)
        elif character == "?":
            out.append("[^/]")
        elif character == "[":
            at, text = character_class(pattern, at)
            out.append(text)
        elif character == "\\":
            if at == len(pattern):
                raise BadPattern(f"syntax error in pattern {pattern!r}: it ends with an escape")
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(character))
    return re.compile(committed(out), re.S)


def committed(tokens: Sequence[str], *, last: bool = False) -> str:
    """Tokens as one expression that takes no more than quadratic time, whatever the number of stars.

    A star takes as little as it can and never goes back on it (an atomic group): a later star can take whatever it
    left.  Only the last one has nobody after it; `last` says that it too may be settled at once.
    """
    pieces = [""]
    for token in tokens:
        if token == STAR:
            pieces.append("")
        else:
            pieces[-1] += token
    out = [pieces[0]]
    for number, piece in enumerate(pieces[1:], 2):
        out.append(f"(?>{STAR}?{piece})" if last or number < len(pieces) else STAR + piece)
    return "".join(out)


def character_class(pattern: str, at: int) -> tuple[int, str]:
    """The class whose `[` is before `at`: where it ends, and as an expression.  Raises BadPattern."""
    negated = pattern.startswith("^", at)
    at += negated
    parts: list[str] = []
    while True:
        if at >= len(pattern):
            raise BadPattern(f"syntax error in pattern {pattern!r}: [ without ]")
        if pattern[at] == "]" and parts:
            break
        at, low = _member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            at, high = _member(pattern, at + 1)
        if low <= high:
            parts.append(re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}")
        else:
            parts.append("")  # an empty range matches nothing
    inside = "".join(parts)
    if not inside:
        return at + 1, r"(?!)" if not negated else r"(?s:.)"
    return at + 1, f"[{'^' if negated else ''}{inside}]"


def _member(pattern: str, at: int) -> tuple[int, str]:
    if pattern.startswith("\\", at):
        at += 1
    elif pattern.startswith(("-", "]"), at):
        raise BadPattern(f"syntax error in pattern {pattern!r}: {pattern[at]} in a class must be escaped")
    if at >= len(pattern):
        raise BadPattern(f"syntax error in pattern {pattern!r}: [ without ]")
    return at + 1, pattern[at]
