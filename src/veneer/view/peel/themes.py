"""How meanings look: three themes of our own.  Without colours (NO_COLOR) letters, bars and brackets say it all."""

from __future__ import annotations

from rich.style import Style
from textual.theme import Theme

NAMES = ("dark", "light", "contrast")
_COLOURS: dict[str, dict[str, str]] = {
    "dark": {
        "A": "#6fd08c", "M": "#e6c067", "P": "#c4a1f0", "D": "#ff8a80", "O": "#f0a35e", "waste": "#ff8a80",
        "dim": "#8b96a3", "here": "#7cc4ff", "range": "#6aa9e9", "bar": "#6aa9e9", "good": "#6fd08c", "bad": "#ff8a80",
        "match": "#ffd866", "layer0": "#6aa9e9", "layer1": "#e6a95c", "layer2": "#7fcf8f", "layer3": "#d08ad6",
        "layer4": "#63c7c0", "layer5": "#e08585", "cursor-bg": "#2d4561", "cursor-fg": "#ffffff",
    },
    "light": {
        "A": "#116329", "M": "#7a5200", "P": "#6639a6", "D": "#b3261e", "O": "#953800", "waste": "#b3261e",
        "dim": "#57606a", "here": "#0550ae", "range": "#0550ae", "bar": "#2f6fb3", "good": "#116329", "bad": "#b3261e",
        "match": "#7a5200", "layer0": "#2f6fb3", "layer1": "#9a5b00", "layer2": "#1a7f37", "layer3": "#8a3f96",
        "layer4": "#0b7285", "layer5": "#b3363b", "cursor-bg": "#cfe3f7", "cursor-fg": "#0a1a2a",
    },
    "contrast": {
        "A": "#00ff66", "M": "#ffff00", "P": "#ff99ff", "D": "#ff6666", "O": "#ffaa00", "waste": "#ff6666",
        "dim": "#d0d0d0", "here": "#00ffff", "range": "#00ffff", "bar": "#ffffff", "good": "#00ff66", "bad": "#ff6666",
        "match": "#ffff00", "layer0": "#66b3ff", "layer1": "#ffcc00", "layer2": "#00ff66", "layer3": "#ff99ff",
        "layer4": "#00ffff", "layer5": "#ff9999", "cursor-bg": "#ffff00", "cursor-fg": "#000000",
    },
}  # fmt: skip
_GROUNDS = {
    "dark": ("#10151b", "#e6e9ed", "#171e26", "#6aa9e9", True),
    "light": ("#ffffff", "#1b1f24", "#f3f5f7", "#2f6fb3", False),
    "contrast": ("#000000", "#ffffff", "#000000", "#ffff00", True),
}


def theme(name: str) -> Theme:
    """The theme called `name`, one of NAMES."""
    background, foreground, surface, accent, dark = _GROUNDS[name]
    colours = {f"peel-{meaning}": colour for meaning, colour in _COLOURS[name].items()}
    return Theme(
        name=f"veneer-{name}", primary=accent, accent=accent, secondary=accent, background=background,
        foreground=foreground, surface=surface, panel=surface, dark=dark, variables=colours,
    )  # fmt: skip


def contrast(style: Style) -> float:
    """How well a style's text can be read on its ground: 1 (not at all) to 21, as WCAG defines it."""
    lights = []
    for colour in (style.color, style.bgcolor):
        assert colour is not None
        parts = [part / 255 for part in colour.get_truecolor()]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(lights) + 0.05) / (min(lights) + 0.05)


class Palette:
    """The styles of a theme.  `pane` and `words`: of plain text in a pane, and in the lines around the panes."""

    def __init__(self, name: str) -> None:
        background, foreground, surface, _, _ = _GROUNDS[name]
        colours = _COLOURS[name]
        self.pane = Style(color=foreground, bgcolor=background)
        self.words = Style(color=foreground, bgcolor=surface)
        self.cursor = Style(color=colours["cursor-fg"], bgcolor=colours["cursor-bg"], bold=True)
        self._meanings = {meaning: Style(color=colour) for meaning, colour in colours.items()} | {
            "": Style(), "strong": Style(bold=True), "here": Style(color=colours["here"], bold=True, reverse=True),
            "match": Style(color=colours["match"], bold=True, underline=True),
        }  # fmt: skip
        self._least = 7.0 if name == "contrast" else 4.5  # what WCAG asks for, as AAA and AA
        self._known: dict[tuple[Style, str], Style] = {}

    def style(self, base: Style, meaning: str) -> Style:
        """Text of a meaning on a base; what could not be read there has the base's colour."""
        known = self._known.get((base, meaning))
        if known is None:
            known = base + self._meanings[meaning]
            if contrast(known) < self._least:
                known += Style(color=base.color)
            self._known[base, meaning] = known
        return known
