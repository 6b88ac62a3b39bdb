"""Patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` is any text, `?` one character, a backslash makes either plain.

A pattern is cut at its stars, and each piece is looked for once from where the one before ended: no backtracking, so
no pattern takes more than its length times the value's.  Source: moby/buildkit frontend/dockerfile/shell/lex.go.
"""

from __future__ import annotations

import re

from veneer.build.language.errors import ExpansionError

MAX_PATTERN = 1024

Piece = tuple[str, ...]
"""Characters, "" standing for any one."""


class Pattern:
    """A pattern ready for use."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN:
            raise ExpansionError(f"a pattern of more than {MAX_PATTERN} characters")
        self.pieces = _pieces(text)
        self._forward = [_Finder(piece) for piece in self.pieces]

    def prefix(self, value: str, *, longest: bool) -> int:
        """Where the prefix of `value` that matches ends; -1 if none does."""
        return _prefix(self._forward, value, 0, longest=longest)

    def suffix(self, value: str, *, longest: bool) -> int:
        """Where the suffix that matches begins; -1 if none does."""
        # The shortest suffix is the shortest prefix of everything turned round.
        turned = [_Finder(piece[::-1]) for piece in reversed(self.pieces)]
        end = _prefix(turned, value[::-1], 0, longest=longest)
        return end if end < 0 else len(value) - end

    def replaced(self, value: str, replacement: str, *, everywhere: bool) -> str:
        """`value` with the first longest match, or every one, replaced."""
        if self.pieces == [()]:
            return value
        if len(self.pieces) == 1:
            return self._forward[0].replaced(value, replacement, 0 if everywhere else 1)
        # With a star in it, a match reaches to the last place where its last piece stands, so there is only one.
        start = self._forward[0].find(value, 0)
        if start < 0:
            return value
        end = _prefix(self._forward, value, start, longest=True)
        return value if end < 0 else value[:start] + replacement + value[end:]


def _pieces(text: str) -> list[Piece]:
    pieces: list[list[str]] = [[]]
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*":
            pieces.append([])
        elif char == "?":
            pieces[-1].append("")
        elif char != "\\":
            pieces[-1].append(char)
        else:
            escaped = text[at : at + 1]
            at += 1
            if not escaped or escaped not in "*?\\}/":
                raise ExpansionError(f"invalid pattern ({text}) in substitution: invalid escape '\\{escaped}'")
            pieces[-1].append(escaped)
    # `**` is `*`: nothing stands between the two.
    kept = [pieces[0], *filter(None, pieces[1:-1]), pieces[-1]] if len(pieces) > 1 else pieces
    return [tuple(piece) for piece in kept]


class _Finder:
    """One piece between stars, looked for in a value."""

    def __init__(self, piece: Piece) -> None:
        self.length = len(piece)
        self._text = None if "" in piece else "".join(piece)
        self._piece = piece
        self._regex = None if self._text is not None else _regex(piece)

    def at(self, value: str, place: int) -> bool:
        if self._regex is None:
            return value.startswith(self._text or "", place)
        return self._regex.match(value, place) is not None

    def find(self, value: str, place: int) -> int:
        """The first place from `place` on, or -1."""
        if self._regex is None:
            return value.find(self._text or "", place)
        found = self._regex.search(value, place)
        return found.start() if found else -1

    def rfind(self, value: str, place: int) -> int:
        """The last place from `place` on, or -1."""
        if self._regex is None:
            return value.rfind(self._text or "", place)
        turned = _regex(self._piece[::-1]).search(value[place:][::-1])
        return len(value) - turned.end() if turned else -1

    def replaced(self, value: str, replacement: str, count: int) -> str:
        if self._regex is None:
            return value.replace(self._text or "", replacement, count or -1)
        return self._regex.sub(lambda _: replacement, value, count)


def _regex(piece: Piece) -> re.Pattern[str]:
    return re.compile("".join(re.escape(char) if char else "." for char in piece), re.DOTALL)


def _prefix(pieces: list[_Finder], value: str, place: int, *, longest: bool) -> int:
    if not pieces[0].at(value, place):
        return -1
    place += pieces[0].length
    for piece in pieces[1:-1]:
        place = piece.find(value, place)
        if place < 0:
            return -1
        place += piece.length
    if len(pieces) == 1:
        return place
    last = pieces[-1]
    place = last.rfind(value, place) if longest else last.find(value, place)
    return place if place < 0 else place + last.length
