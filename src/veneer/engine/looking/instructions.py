"""What each history row says was done, short enough for a table and without what only the builder put there."""

from __future__ import annotations

import json
import re

from veneer.engine.rework import rowtext
from veneer.oci import timestamp
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.values import Value

_COPIED = re.compile(r"^(?:--\S+ )*(?:file|dir|multi):[0-9a-f]{64} in ?")


class Instruction(Value):
    """One row understood.  `keyword` "" is a row that no Dockerfile instruction made; `text` is what stands behind it.

    `raw` is the row's text as it came, `created` seconds since 1970 or None, `args` the build arguments a RUN saw.
    """

    __slots__ = ()
    keyword: str
    text: str
    raw: str
    created: float | None = None
    args: tuple[tuple[str, str], ...] = ()
    comment: str = ""

    @property
    def shown(self) -> str:
        """The instruction on one line."""
        return " ".join(f"{self.keyword} {self.text}".split()) or self.comment or "(nothing is said)"


def instructions(config: ImageConfig) -> list[tuple[Instruction, int | None]]:
    """Each history row, oldest first, with the position of its layer (None: it made none)."""
    found: list[tuple[Instruction, int | None]] = []
    shell: tuple[str, ...] = rowtext.DEFAULT_SHELL
    declared: dict[str, None] = {}
    for entry, position in config.rows():
        row = rowtext.read_row(entry.created_by, entry.comment, shell, declared)
        if row.keyword == "ARG":
            declared |= dict.fromkeys(name for name, _ in rowtext.pairs(row.text, {}, names=True))
        if row.keyword == "SHELL":
            shell = tuple(rowtext.quoted_words(row.text) or row.text.strip().strip("[]").split())
        found.append((understood(entry, row), position))
    return found


def understood(entry: HistoryEntry, row: rowtext.Row) -> Instruction:
    """The instruction of one row."""
    text = row.text
    if row.keyword in ("CMD", "ENTRYPOINT", "SHELL") and (words := rowtext.quoted_words(text)) is not None:
        text = json.dumps(words, ensure_ascii=False)
    elif row.keyword == "EXPOSE":
        text = " ".join(rowtext.ports(text))
    elif row.keyword in ("COPY", "ADD"):
        text = _COPIED.sub("… ", text.strip())
    elif row.keyword == "RUN" and row.flags:
        text = f"{row.flags} {text}"
    created = timestamp.parse(entry.created)
    return Instruction(row.keyword, text.strip(), entry.created_by, created, row.args, entry.comment)
