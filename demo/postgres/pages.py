"""The story's output in its page: between two marks for each scene, as it was printed, with what changes every time
said in words that do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from demo.postgres.story import Scene


def write(page: Path, scenes: Sequence[Scene]) -> None:
    """Put each scene between its marks in the page."""
    text = page.read_text()
    for scene in scenes:
        begin, end = f"<!-- scene {scene.name}: begin -->", f"<!-- scene {scene.name}: end -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{page} has no place for the scene {scene.name}")
        text = f"{head}{begin}\n```text\n{scene}\n```\n{end}{tail}"
    page.write_text(text)


def commands(page: Path) -> list[str]:
    """The commands the page shows, in order."""
    return [line for line in page.read_text().splitlines() if line.startswith("$ ")]


def told(scenes: Sequence[Scene]) -> list[str]:
    """The commands of scenes, in order."""
    return [line for scene in scenes for line in scene.lines if re.match(r"\$ ", line)]
