"""Texts from strangers in Markdown: nothing in them is a link, a picture, a mention, a table or HTML.

Source: GitHub Flavored Markdown, 6.1 (code spans) and 4.10 (tables: `|` is escaped within code spans, too).
"""

from __future__ import annotations

import re

from veneer.cli.tables import harmless

_WORDS = re.compile(r"[\w .,%+≤:-]*")
"""What means nothing to Markdown wherever it stands in a line, and is no mention."""


def code(value: str) -> str:
    """As a code span, whatever is in it."""
    value = harmless(value)
    if not value:
        return ""
    longest = max((len(run) for run in re.findall("`+", value)), default=0)
    fence = "`" * (longest + 1)
    # Spaces keep a backtick apart from the fence, and are kept themselves only in pairs.
    apart = " " if value[0] in "` " or value[-1] in "` " else ""
    return f"{fence}{apart}{value}{apart}{fence}"


def told(value: str) -> str:
    """As it is where it holds nothing but words; else as a code span."""
    return value if _WORDS.fullmatch(value) and "://" not in value and "www." not in value else code(value)


def cell(value: str, *, always: bool = False) -> str:
    """As `told` (or `always` as `code`), in a cell of a table."""
    return (code if always else told)(value).replace("|", "\\|")
