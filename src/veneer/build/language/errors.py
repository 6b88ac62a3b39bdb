"""What is wrong with a Dockerfile, and where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from veneer.errors import InvalidRequest

AROUND = 2
"""Lines shown before and after the one that is wrong."""
MAX_SHOWN = 200
FAR = 3
"""A word needs fewer changed letters than this to be taken for another."""
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 9}


class DockerfileError(InvalidRequest):
    """A Dockerfile that cannot be understood.

    `reason` is the fact alone, `line` counts from 1 (0: the file as a whole), `excerpt` shows the place.
    """

    has_lines = True

    def __init__(
        self, reason: str, *, name: str = "Dockerfile", line: int = 0, excerpt: str = "", hint: str = ""
    ) -> None:
        reason = printable(reason)
        place = f"dockerfile parse error on line {line}: " if line else ""
        shown = f"\n{name}:{line}\n--------------------\n{excerpt}\n--------------------" if excerpt else ""
        super().__init__(place + reason + shown, hint=printable(hint))
        self.reason = reason
        self.line = line
        self.excerpt = excerpt


class Syntax(InvalidRequest):
    """Something is wrong in an instruction; `at` is the part of its text that is, `hint` the way out."""

    def __init__(self, reason: str, hint: str = "", at: str = "") -> None:
        super().__init__(printable(reason), hint=printable(hint))
        self.reason = reason
        self.at = at


class ExpansionError(Syntax):
    """A word whose ${...} cannot be replaced; `position` is the offset of what is wrong in the word."""

    def __init__(self, reason: str, position: int = 0, at: str = "") -> None:
        super().__init__(reason, at=at)
        self.position = position


def printable(text: str) -> str:
    """Text for people: bytes that are no UTF-8 and characters that steer terminals are replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").translate(_CONTROLS | {10: "\n"})


def excerpt(source: Sequence[str], first: int, last: int, column: int = 0) -> str:
    """The lines around `first` to `last` (from 1), `>>>` on those and a caret under `column` (from 1) of the first."""
    # What follows the last line feed is no line.
    end = len(source) - (len(source) > 1 and not source[-1])
    low, high = max(1, first - AROUND), min(end, last + AROUND)
    lines = []
    for number in range(low, high + 1):
        text = source[number - 1].rstrip("\r\n").expandtabs(4)[:MAX_SHOWN].translate(_CONTROLS)
        marked = first <= number <= last
        lines.append(f"{number:4d} | {'>>>' if marked else '   '} {text}".rstrip())
        if number == first and column:
            before = source[number - 1][: column - 1].expandtabs(4)
            if len(before) < MAX_SHOWN:
                lines.append(" " * (len(f"{number:4d} | >>> ") + len(before)) + "^")
    return "\n".join(lines)


def pointed(error: Syntax, source: str, first: int, last: int) -> tuple[int, str]:
    """Where in the instruction of the lines `first` to `last` (from 1) `error` is: its line, and the lines around it.

    A caret stands under what is wrong, or under the instruction's first word.
    """
    lines = source.removeprefix("\ufeff").split("\n")
    line, column = first, len(lines[first - 1]) - len(lines[first - 1].lstrip()) + 1
    at = re.escape(error.at)
    # A word of its own is meant rather than a part of one.
    for pattern in (rf"(?<!\S){at}(?!\S)", at) if at else ():
        found = ((number, re.search(pattern, lines[number - 1], re.IGNORECASE))
                 for number in range(first, min(last, first + 50) + 1))  # fmt: skip
        if there := next(((number, match.start()) for number, match in found if match), None):
            line, column = there[0], there[1] + 1
            break
    return line, excerpt(lines, line, max(line, min(last, line + 3)), column)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that may have been meant, in the case of `word`; "" if none is near or it is known itself."""
    found, fewest = "", min(FAR, len(word))  # of a word with all its letters changed nothing is left
    folded = word.lower()
    for each in known:
        most = min(fewest, max(3, len(word), len(each)) // 3 + 1)  # one letter in three may be wrong
        far = _distance(folded, each.lower(), most)
        if far == 0:
            return ""
        if far < most:
            found, fewest = each, far
    return found.lower() if word == folded else found


def _distance(a: str, b: str, most: int) -> int:
    """How many letters must be changed, added, dropped or swapped with the next; `most` where it is as many or more."""
    if abs(len(a) - len(b)) >= most:
        return most
    older: list[int] = []
    old = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            row.append(min(old[j] + 1, row[-1] + 1, old[j - 1] + (letter != other)))
            if i > 1 and j > 1 and letter == b[j - 2] and other == a[i - 2]:
                row[j] = min(row[j], older[j - 2] + 1)
        if min(min(row), min(old)) >= most:
            return most
        older, old = old, row
    return old[-1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or "" where nothing is near."""
    near = nearest(word, known)
    return f" (did you mean {near}?)" if near else ""
