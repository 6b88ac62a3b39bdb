"""`--chmod`: permissions as an octal number, or in the letters of chmod(1).

Source: POSIX chmod (Extended Description); docker/dockerfile 1.14 reference (COPY --chmod).
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable

Change = Callable[[int], int]
"""From a mode with its file type to the twelve bits that it becomes."""

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]+|[ugo])?")
_SHIFTS = {"u": 6, "g": 3, "o": 0}


def change(text: str) -> Change:
    """What a checked `--chmod` does to a mode; letters without `ugoa` count for all, there being no umask."""
    if text.isdigit():
        fixed = int(text, 8)
        return lambda mode: fixed
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]

    def changed(mode: int) -> int:
        original = mode
        for clause in clauses:
            assert clause is not None, "resolve() checks what --chmod says"
            who = "ugo" if "a" in clause[1] or not clause[1] else clause[1]
            for sign, letters in _ACTION.findall(clause[2]):
                mode = _applied(mode, original, who, sign, letters)
        return stat.S_IMODE(mode)

    return changed


def _applied(mode: int, original: int, who: str, sign: str, letters: str) -> int:
    bits = 0
    for name in dict.fromkeys(who):
        bits |= _permissions(mode, original, letters) << _SHIFTS[name]
    if "s" in letters:
        bits |= (stat.S_ISUID if "u" in who else 0) | (stat.S_ISGID if "g" in who else 0)
    if "t" in letters and "o" in who:
        bits |= stat.S_ISVTX
    if sign == "+":
        return mode | bits
    if sign == "-":
        return mode & ~bits
    cleared = sum(0o7 << _SHIFTS[name] for name in dict.fromkeys(who))
    if not stat.S_ISDIR(mode):
        cleared |= (stat.S_ISUID if "u" in who else 0) | (stat.S_ISGID if "g" in who else 0)
    if "o" in who:
        cleared |= stat.S_ISVTX
    return mode & ~cleared | bits


def _permissions(mode: int, original: int, letters: str) -> int:
    """The three bits that letters mean for one class; `X` goes by what the mode was before any change."""
    if letters in _SHIFTS and letters:
        return mode >> _SHIFTS[letters] & 0o7
    found = 0
    for letter in letters:
        found |= {"r": 4, "w": 2, "x": 1}.get(letter, 0)
        if letter == "X" and (stat.S_ISDIR(original) or original & 0o111):
            found |= 1
    return found
