"""The pictures of the README can be taken anew, and show what is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.view.browser import pictures
from tests.view.browser.pictures import README
from tests.view.browser.visit import Visit
from veneer.engine.engine import Engine

MOST = 250_000


def width_and_height(picture: Path) -> tuple[int, int]:
    head = picture.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_the_readmes_pictures_are_taken_by_this_run_too(visit: Visit, artefacts: Path) -> None:
    pictures.take(visit, artefacts)
    for name, size in pictures.SIZES.items():
        kept = pictures.FOLDER / f"{name}.png"
        assert width_and_height(artefacts / f"{name}.png") == width_and_height(kept) == size
        assert kept.stat().st_size < MOST
        assert f"(docs/pictures/{name}.png)" in README.read_text()


def plain(text: str) -> str:
    """Without what differs from store to store: IDs, sizes, ages, and how wide they make the columns."""
    for pattern in (r"\b[0-9a-f]{12,64}\b", r"\b[\d.]+[kM]?B\b", r"\b\S+ \w+ ago\b"):
        text = re.sub(pattern, "<...>", text)
    return " ".join(text.split())


def test_the_readme_shows_what_the_command_says_of_the_same_images(shop: Engine) -> None:
    (shown,) = pictures.SHOWN.findall(README.read_text())
    assert plain(shown) == plain(pictures.history(shop.store.root))
