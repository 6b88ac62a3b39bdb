"""The pictures of the README can be taken anew, and show what is there."""

from __future__ import annotations

from pathlib import Path

from tests.view.browser import pictures
from tests.view.browser.visit import Visit

README = Path(__file__).parents[3] / "README.md"
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


def test_the_readme_shows_what_the_command_said_of_the_same_images() -> None:
    said = (pictures.FOLDER / "history.txt").read_text()
    assert f"```text\n$ veneer history --layers node:22-slim\n{said}```\n" in README.read_text()
