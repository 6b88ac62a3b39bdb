"""Badges: what each kind says, how it is drawn, and that nobody's text becomes markup."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.view.badge_widths import text_width
from veneer.view.badges import (
    COLOURS,
    STYLES,
    Badge,
    Facts,
    UnknownBadge,
    badge,
    endpoint,
    kinds,
    not_found,
    svg,
)

GOLDEN = Path(__file__).with_name("golden")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    '"><script>alert(1)</script>',
    "a\x1b[2Jb\x00",
    "\u202egnp.exe",
    "\ud800half",
    "x" * 5000,
    "]]>&lt;",
    "'\n\t'",
)
FACTS = Facts(
    layers=9, pull=18_600_000, stored=55_300_000, efficiency=0.8997, age=40 * 86400, base="debian:12-slim",
    tags=("1", "1.27", "1.27.3", "latest"),
    labels={"org.opencontainers.image.revision": "8f3c2a1b99", "org.label-schema.license": "BSD-2-Clause"},
)  # fmt: skip
SAID = {
    "size": ("size", "18.6MB", "blue"),
    "disk": ("on disk", "55.3MB", "blue"),
    "layers": ("layers", "9", "blue"),
    "image": ("18.6MB", "9 layers", "blue"),
    "version": ("version", "1.27.3", "blue"),
    "commit": ("commit", "8f3c2a1", "blue"),
    "license": ("license", "BSD-2-Clause", "blue"),
    "efficiency": ("efficiency", "89.9%", "yellow"),
    "base": ("base", "debian:12-slim", "blue"),
    "age": ("age", "5 weeks", "blue"),
}


def drawn(document: str) -> ElementTree.Element:
    return ElementTree.fromstring(document)


@pytest.mark.parametrize("kind", kinds())
def test_what_each_kind_says(kind: str) -> None:
    assert badge(kind, FACTS) == Badge(*SAID[kind])
    said = endpoint(badge(kind, FACTS))
    assert said == {"schemaVersion": 1, "label": SAID[kind][0], "message": SAID[kind][1], "color": SAID[kind][2]}
    unknown = badge(kind, Facts())
    assert unknown.color == ("blue" if kind in ("layers", "image") else "lightgrey")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["image", "efficiency"])
def test_the_pictures_are_as_they_were(kind: str, style: str) -> None:
    assert svg(badge(kind, FACTS), style) == (GOLDEN / f"{kind}-{style}.svg").read_text()


@pytest.mark.parametrize(("share", "color", "text"), [
    (0.5, "red", "50%"), (0.7999, "red", "79.9%"), (0.8, "yellow", "80%"), (0.9, "green", "90%"),
    (1.0, "green", "100%"), (0.94781, "green", "94.8%"), (0.9997, "green", "99.9%"),
])  # fmt: skip
def test_efficiency_has_its_colours(share: float, color: str, text: str) -> None:
    assert badge("efficiency", Facts(efficiency=share)) == Badge("efficiency", text, color)


def test_the_version_is_the_longest_tag_but_latest() -> None:
    assert badge("version", Facts(tags=("latest",))).message == "latest"
    assert badge("version", Facts(tags=("latest", "b", "a"))).message == "a"
    label = {"org.opencontainers.image.version": "7.1"}
    assert badge("version", Facts(tags=("latest",), labels=label)).message == "7.1"


def test_label_and_colour_can_be_chosen() -> None:
    assert badge("layers", FACTS, label="depth", color="#F0a") == Badge("depth", "9", "#ff00aa")
    assert badge("image", FACTS, label="mine").message == "18.6MB | 9 layers"
    for wrong in ("url(x)", "#12", "12345g", '"/><'):
        with pytest.raises(UnknownBadge, match="no colour"):
            badge("layers", FACTS, color=wrong)
    with pytest.raises(UnknownBadge, match="no badge 'stars'"):
        badge("stars", FACTS)
    with pytest.raises(UnknownBadge, match="no badge style"):
        svg(not_found(), "plastic")


def test_what_is_not_there_is_grey_and_an_error() -> None:
    assert endpoint(not_found()) == {
        "schemaVersion": 1, "label": "image", "message": "not found", "color": "lightgrey", "isError": True,
    }  # fmt: skip
    assert COLOURS["lightgrey"] in svg(not_found())


def check_picture(document: str, label: str, message: str) -> None:
    """It is XML of these elements alone, its text fits, and says what it should."""
    root = drawn(document)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        "svg", "title", "g", "rect", "text", "linearGradient", "stop", "clipPath",
    }  # fmt: skip
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    texts = [element for element in root.iter(f"{SVG}text") if "aria-hidden" not in element.attrib]
    rects = list(root.iter(f"{SVG}rect"))[-3 if "url(#s)" in document else -2 :][:2]
    assert [element.text or "" for element in texts] == [label, message]
    assert sum(int(rect.attrib["width"]) for rect in rects) == int(root.attrib["width"])
    for element, rect in zip(texts, rects, strict=True):
        width = int(rect.attrib["width"])
        assert width % 2 == 1 and width - 10 >= text_width(element.text or "")
        assert int(element.attrib["textLength"]) == 10 * (width - 10)
        assert int(element.attrib["x"]) == round(10 * (int(rect.attrib.get("x", 0)) + width / 2))
    assert root.attrib["role"] == "img"
    title = root.find(f"{SVG}title")
    assert title is not None and title.text == root.attrib["aria-label"] == f"{label}: {message}"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_are_texts(hostile: str, style: str) -> None:
    said = badge("license", Facts(labels={"org.opencontainers.image.licenses": hostile}), label=hostile)
    told = endpoint(said)
    check_picture(svg(said, style), told["label"], told["message"])
    assert len(told["message"]) <= 60 and all(char.isprintable() or char == "\ufffd" for char in told["message"])
    json.dumps(told).encode()
    assert "<script" not in svg(said, style)


@given(st.text(), st.text(), st.sampled_from(STYLES))
def test_any_text_gives_a_picture_that_fits(label: str, message: str, style: str) -> None:
    said = Badge(label, message)
    told = endpoint(said)
    check_picture(svg(said, style), told["label"], told["message"])


def test_widths_are_those_of_the_letters() -> None:
    assert text_width("0" * 2048, 1) == 1303 and text_width("e\u0301") == text_width("e") and text_width("字", 8) == 8
    assert text_width("iiii") < text_width("mmmm")
