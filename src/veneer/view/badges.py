"""Badges: one fact of an image as a small picture for a README, and the same as JSON for badge services.

Pure: `badge` says what a kind of badge tells of some facts, `svg` draws it, `endpoint` writes it for shields' endpoint
badges.  What is told may be anybody's text (labels, tags): it is made printable, cut, and escaped; nothing in it can
become markup.  Geometry as shields' flat badges have it, so that badges of both stand well in one row: 20 pixels high,
11-pixel letters, 5 pixels of padding, widths rounded up to odd numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from veneer.errors import InvalidRequest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STYLES = ("flat", "flat-square")
COLOURS = {
    "brightgreen": "#44cc11", "green": "#97ca00", "yellowgreen": "#a4a61d", "yellow": "#dfb317", "orange": "#fe7d37",
    "red": "#e05d44", "blue": "#007ec6", "grey": "#555555", "lightgrey": "#9f9f9f",
}  # fmt: skip
"""The names of colours that badge services know; three or six hexadecimal digits are a colour too."""
NOT_GIVEN = "not given"
NOT_FOUND = "not found"
MOST_LETTERS = 60
"""Longer texts are cut."""
_LEFT = "#555555"
_HEIGHT, _PADDING, _BASELINE = 20, 5, 14
_COMMIT = 7
_LABELS = {"size": "size", "disk": "on disk", "layers": "layers", "image": "size", "version": "version",
           "commit": "commit", "license": "license", "efficiency": "efficiency", "base": "base",
           "age": "age"}  # fmt: skip
_SAID = {
    "version": ("org.opencontainers.image.version", "org.label-schema.version"),
    "commit": ("org.opencontainers.image.revision", "org.label-schema.vcs-ref"),
    "license": ("org.opencontainers.image.licenses", "org.label-schema.license"),
}


class UnknownBadge(InvalidRequest):
    """A kind, style or colour of badge that there is not."""


class Badge(Value):
    """What a badge says: `label` on the left, `message` on the right, `color` a name of COLOURS or `#rrggbb`."""

    __slots__ = ()
    label: str
    message: str
    color: str = "blue"


class Facts(Value):
    """What badges can tell of an image; None is what nobody knows or nobody asked for.

    `pull` and `stored` are bytes, `age` seconds, `efficiency` from 0 to 1; `tags` those of the same repository that
    name the image; `labels` its labels and annotations; `base` the name of what it stands on.  With `pull_at_most` less
    than `pull` is to be downloaded: some layers are not compressed yet.
    """

    __slots__ = ()
    layers: int = 0
    pull: int | None = None
    pull_at_most: bool = False
    stored: int | None = None
    efficiency: float | None = None
    age: float | None = None
    base: str | None = None
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


def kinds() -> tuple[str, ...]:
    """The kinds of badges, as `badge` takes them."""
    return tuple(_LABELS)


def badge(kind: str, facts: Facts, *, label: str = "", color: str = "") -> Badge:
    """The badge of `kind`; `label` and `color` replace what it would have.

    Raises UnknownBadge.
    """
    told = _told(kind, facts)
    if label and kind == "image":
        told = told.replaced(message=f"{told.label} | {told.message}")  # the size would be lost with its place
    return told.replaced(label=label or told.label, color=_colour(color) if color else told.color)


def not_found(label: str = "image") -> Badge:
    """What is shown where there is no such image."""
    return Badge(label, NOT_FOUND, "lightgrey")


def _told(kind: str, facts: Facts) -> Badge:
    tell = _TELLERS.get(kind)
    if tell is None:
        raise UnknownBadge(f"no badge {kind!r}", hint=f"there are: {', '.join(_LABELS)}")
    return tell(facts)


def _amount(kind: str, number: int | None) -> Badge:
    from veneer.view.amounts import size

    return Badge(_LABELS[kind], size(number)) if number is not None else Badge(_LABELS[kind], "unknown", "lightgrey")


def _layers(facts: Facts) -> str:
    return f"{facts.layers} layer{'' if facts.layers == 1 else 's'}"


def _image(facts: Facts) -> Badge:
    from veneer.view.amounts import size

    # The size on the left, as MicroBadger had it.
    return Badge(_mark(facts) + size(facts.pull) if facts.pull is not None else "image", _layers(facts))


def _size(facts: Facts) -> Badge:
    found = _amount("size", facts.pull)
    return found.replaced(message=_mark(facts) + found.message) if facts.pull is not None else found


def _mark(facts: Facts) -> str:
    return "≤" if facts.pull_at_most else ""


def _said(kind: str, facts: Facts) -> str:
    return next((text for key in _SAID[kind] if (text := facts.labels.get(key, "").strip())), "")


def _text(kind: str, text: str) -> Badge:
    return Badge(_LABELS[kind], text) if text else Badge(_LABELS[kind], NOT_GIVEN, "lightgrey")


def _version(facts: Facts) -> Badge:
    # Of 1, 1.27 and 1.27.3 the longest says most; `latest` says nothing.
    tags = sorted((tag for tag in facts.tags if tag != "latest"), key=lambda tag: (-len(tag), tag))
    return _text("version", next(iter(tags), "") or _said("version", facts) or next(iter(facts.tags), ""))


def _efficiency(facts: Facts) -> Badge:
    if facts.efficiency is None:
        return Badge("efficiency", "unknown", "lightgrey")
    share = facts.efficiency
    shown = round(share * 1000)
    if any(shown >= 1000 * limit > share * 1000 for limit in (0.8, 0.9, 1)):
        shown -= 1  # 89.97 % is not green
    return Badge("efficiency", f"{shown / 10:g}%",
                 "red" if share < 0.8 else "yellow" if share < 0.9 else "green")  # fmt: skip


def _age(facts: Facts) -> Badge:
    from veneer.view.amounts import span

    return Badge("age", span(facts.age)) if facts.age is not None else Badge("age", "unknown", "lightgrey")


_TELLERS: Mapping[str, Callable[[Facts], Badge]] = {
    "size": _size,
    "disk": lambda facts: _amount("disk", facts.stored),
    "layers": lambda facts: Badge("layers", str(facts.layers)),
    "image": _image,
    "version": _version,
    "commit": lambda facts: _text("commit", _said("commit", facts)[:_COMMIT]),
    "license": lambda facts: _text("license", _said("license", facts)),
    "efficiency": _efficiency,
    "base": lambda facts: _text("base", facts.base or ""),
    "age": _age,
}


def endpoint(badge: Badge) -> dict[str, Any]:
    """The badge as shields' endpoint schema, version 1, has it."""
    told = {"schemaVersion": 1, "label": printable(badge.label), "message": printable(badge.message),
            "color": badge.color}  # fmt: skip
    return told | {"isError": True} if badge.message == NOT_FOUND else told


def svg(badge: Badge, style: str = "flat") -> str:
    """The badge as an SVG document.  Raises UnknownBadge for a style or colour that there is not."""
    if style not in STYLES:
        raise UnknownBadge(f"no badge style {style!r}", hint=f"there are: {', '.join(STYLES)}")
    named = _colour(badge.color)
    colour = COLOURS.get(named, named)
    label, message = printable(badge.label), printable(badge.message)
    left = _Side(label, 0, _LEFT)
    right = _Side(message, left.width, colour)
    whole = left.width + right.width
    name = escaped(f"{label}: {message}")
    boxes = (f'<rect width="{left.width}" height="{_HEIGHT}" fill="{_LEFT}"/>'
             f'<rect x="{left.width}" width="{right.width}" height="{_HEIGHT}" fill="{colour}"/>')  # fmt: skip
    if style == "flat":
        body = (
            '<linearGradient id="s" x2="0" y2="100%"><stop offset="0" stop-color="#bbb" stop-opacity=".1"/>'
            '<stop offset="1" stop-opacity=".1"/></linearGradient>'
            f'<clipPath id="r{whole}"><rect width="{whole}" height="{_HEIGHT}" rx="3" fill="#fff"/></clipPath>'
            f'<g clip-path="url(#r{whole})">{boxes}<rect width="{whole}" height="{_HEIGHT}" fill="url(#s)"/></g>'
        )
    else:
        body = f'<g shape-rendering="crispEdges">{boxes}</g>'
    shadow = style == "flat"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{_HEIGHT}" role="img" aria-label="{name}">'
        f"<title>{name}</title>{body}"
        '<g text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="110">'
        f"{left.drawn(shadow)}{right.drawn(shadow)}</g></svg>\n"
    )


class _Side:
    """Half a badge: its text, where it begins and how wide it is, in pixels."""

    def __init__(self, text: str, start: int, colour: str) -> None:
        from math import ceil

        from veneer.view.badge_widths import text_width

        self.text = text
        self._length = ceil(text_width(text)) | 1  # odd, so that the middle is on a pixel
        self.width = self._length + 2 * _PADDING
        self._start = start
        self._dark = _contrast_with_white(colour) < 3

    def drawn(self, shadow: bool) -> str:
        """The text as elements, tenfold and scaled down: browsers round positions of small text."""
        middle = round(10 * (self._start + self.width / 2))
        place = f'x="{middle}" transform="scale(.1)" textLength="{10 * self._length}"'
        text = escaped(self.text)
        below = ""
        if shadow:
            light = "#ccc" if self._dark else "#010101"
            below = (f'<text aria-hidden="true" {place} y="{10 * _BASELINE + 10}" fill="{light}" fill-opacity=".3">'
                     f"{text}</text>")  # fmt: skip
        return f'{below}<text {place} y="{10 * _BASELINE}" fill="{"#333" if self._dark else "#fff"}">{text}</text>'


def _colour(text: str) -> str:
    """A colour by name, or as `#rrggbb`.  Raises UnknownBadge."""
    digits = text.removeprefix("#").lower()
    if text in COLOURS:
        return text
    if len(digits) in (3, 6) and all(digit in "0123456789abcdef" for digit in digits):
        return "#" + ("".join(digit * 2 for digit in digits) if len(digits) == 3 else digits)
    hint = f"three or six hexadecimal digits, or one of {', '.join(COLOURS)}"
    raise UnknownBadge(f"no colour {printable(text)!r}", hint=hint)


def _contrast_with_white(colour: str) -> float:
    """The contrast of white letters on `#rrggbb`, 1 to 21.  Source: WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


def printable(text: str) -> str:
    """`text` on one line, without anything that is no letter (controls, marks that reorder, halves of characters)."""
    import unicodedata

    one_line = " ".join(text.split())
    plain = "".join("\ufffd" if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn", "Co") else char
                    for char in one_line)  # fmt: skip
    return plain if len(plain) <= MOST_LETTERS else plain[: MOST_LETTERS - 1] + "…"


def escaped(text: str) -> str:
    """`text` for an element's content or an attribute's value."""
    from html import escape

    return escape(text, quote=True)
