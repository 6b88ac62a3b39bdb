"""What is wrong with a Dockerfile, and where."""

from __future__ import annotations

from collections.abc import Sequence

from veneer.errors import InvalidRequest

AROUND = 2
"""Lines shown before and after the one that is wrong."""
MAX_SHOWN = 200


class DockerfileError(InvalidRequest):
    """A Dockerfile that cannot be understood.

    `reason` is the fact alone, `line` counts from 1 (0: the file as a whole), `excerpt` shows the place.
    """

    def __init__(
        self, reason: str, *, name: str = "Dockerfile", line: int = 0, excerpt: str = "", hint: str = ""
    ) -> None:
        place = f"dockerfile parse error on line {line}: " if line else ""
        shown = f"\n{name}:{line}\n--------------------\n{excerpt}\n--------------------" if excerpt else ""
        super().__init__(place + reason + shown, hint=hint)
        self.reason = reason
        self.line = line
        self.excerpt = excerpt


class ExpansionError(InvalidRequest):
    """A word whose ${...} cannot be replaced; `position` is the offset of what is wrong in the word."""

    def __init__(self, reason: str, position: int = 0) -> None:
        super().__init__(reason)
        self.position = position


def excerpt(source: Sequence[str], first: int, last: int, column: int = 0) -> str:
    """The lines around `first` to `last` (from 1), `>>>` on those and a caret under `column` (from 1) of the first."""
    low, high = max(1, first - AROUND), min(len(source), last + AROUND)
    lines = []
    for number in range(low, high + 1):
        text = source[number - 1].rstrip("\r\n").expandtabs(4)[:MAX_SHOWN]
        marked = first <= number <= last
        lines.append(f"{number:4d} | {'>>>' if marked else '   '} {text}".rstrip())
        if number == first and column:
            before = source[number - 1][: column - 1].expandtabs(4)
            if len(before) < MAX_SHOWN:
                lines.append(" " * (len(f"{number:4d} | >>> ") + len(before)) + "^")
    return "\n".join(lines)


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that may have been meant; "" if none is near."""
    import difflib

    return next(iter(difflib.get_close_matches(word, known, 1, 0.6)), "")
