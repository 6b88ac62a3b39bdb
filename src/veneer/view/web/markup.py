"""HTML, by functions: whatever is not markup of our own is escaped on its way in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Control characters, marks that reorder or hide what follows, halves of characters."""


class Html(str):
    """Markup; nothing in it is escaped again."""

    __slots__ = ()


def text(value: Any) -> Html:
    """A text from anywhere: characters that cannot be seen or reorder others are spelled, HTML's own are escaped."""
    if isinstance(value, Html):
        return value
    return Html(escape(_INVISIBLE.sub(_spelled, str(value))))


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    named = {10: "\\n", 13: "\\r", 9: "\\t"}
    return named.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def element(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; `class_` is class, `data_page` data-page; attributes that are None are left out."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
                    for key, value in attributes.items() if value is not None)  # fmt: skip
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(children: Sequence[Any]) -> Html:
    return Html("".join(text(child) for child in children))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Html:
    """A table; a heading that begins with # is of numbers."""
    kinds = ["n" if heading.startswith("#") else None for heading in head]
    heads = joined([element("th", heading.lstrip("#"), scope="col", class_=kind)
                    for heading, kind in zip(head, kinds, strict=True)])  # fmt: skip
    body = Html("\n".join(
        element("tr", *(element("td", cell, class_=kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows
    ))  # fmt: skip
    return element("table", element("caption", caption), element("thead", element("tr", heads)),
                   element("tbody", body))  # fmt: skip


def link(href: str, *children: Any) -> Html:
    return element("a", *children, href=href)
