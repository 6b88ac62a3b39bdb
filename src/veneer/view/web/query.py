"""What a URL asks: its query string, read strictly and as bytes, for paths in images are bytes of any kind."""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from veneer.errors import InvalidRequest
from veneer.view.texts import path_bytes

MOST_PARAMETERS = 40
MOST_LIMIT = 1000
"""Of anything that comes in pages."""


class BadQuery(InvalidRequest):
    """A parameter of a URL that cannot be meant."""


class Query:
    """The parameters of one URL.  Of one that is given twice the first counts."""

    def __init__(self, raw: str) -> None:
        self._values: dict[str, bytes] = {}
        parts = raw.split("&") if raw else []
        if len(parts) > MOST_PARAMETERS:
            raise BadQuery(f"{len(parts)} parameters: at most {MOST_PARAMETERS} are read")
        for part in parts:
            name, _, value = part.partition("=")
            if name:
                self._values.setdefault(_decoded(name).decode("utf-8", "replace"), _decoded(value))

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """A text; bytes that are no UTF-8 become surrogates, as in file names."""
        value = self._values.get(name)
        return default if value is None else os.fsdecode(value)

    def words(self, name: str, most: int) -> list[str]:
        """A list with commas between its words; each word once.  Raises BadQuery for more than `most`."""
        found = list(dict.fromkeys(word.strip() for word in self.text(name).split(",") if word.strip()))
        if len(found) > most:
            raise BadQuery(f"{name}: {len(found)} of them; at most {most} can be shown at once")
        return found

    def path(self, name: str = "path") -> bytes:
        """A path as layers have it, b"" for the root."""
        return path_bytes(self.text(name, "/"))

    def number(self, name: str, default: int, *, most: int = 1 << 62) -> int:
        """A natural number.  Raises BadQuery."""
        value = self._values.get(name)
        if not value:
            return default
        if not value.isdigit() or len(value) > 19 or int(value) > most:
            raise BadQuery(f"{name}={self._shown(value)}: a whole number from 0 to {most} is wanted")
        return int(value)

    def limit(self, default: int = 200) -> int:
        """How many rows a page has.  Raises BadQuery."""
        return max(self.number("limit", default, most=MOST_LIMIT), 1)

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of several words, the first where nothing is given.  Raises BadQuery."""
        value = self.text(name) or choices[0]
        if value not in choices:
            raise BadQuery(f"{name}={self._shown(os.fsencode(value))}: one of {', '.join(choices)} is wanted")
        return value

    def flag(self, name: str) -> bool:
        return self.text(name).lower() in ("1", "true", "yes", "on")

    @staticmethod
    def _shown(value: bytes) -> str:
        return value[:60].decode("utf-8", "backslashreplace")


def _decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogateescape"))


def page_of(after: str) -> int:
    """Where the page begins that a `next` of an earlier one names.  Raises BadQuery."""
    if not after:
        return 0
    if not after.isascii() or not after.isdigit() or len(after) > 12:
        raise BadQuery(f"after={after[:40]}: give the `next` of the page before")
    return int(after)
