"""What the commands that make a new image of another one share: `-t`, `-q`, `--format`, and how they tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from veneer.cli.app import App
from veneer.cli.command import INSPECT_FORMAT
from veneer.cli.flags import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.store.image import Image

FORMAT = Option("format", "string", INSPECT_FORMAT)
QUIET = Option("q,quiet", "bool", "Only show the new image's ID")
TAG = Option("t,tag", "string", 'Name of the new image ("name:tag")')
OUTPUT_OPTIONS = (FORMAT, QUIET, TAG)


def tell(app: App, given: Parsed, image: Image | None, document: dict[str, Any], story: Sequence[str]) -> None:
    """Show what was made: its ID alone, as `--format` says, or in words with the ID as the last line.

    `image` None: nothing was made (a dry run).
    """
    format = given.text("format")
    if format:
        from veneer.cli.commands.inspect import show_one

        show_one(app, format, document)
        return
    if not given.flag("quiet"):
        for line in story:
            app.line(line)
        if image is not None:
            for reference in image.tags:
                app.line(f"Tagged {reference.familiar}")
    if image is not None:
        app.line(str(image.id))


def counted(number: int, one: str, many: str = "") -> str:
    """`1 layer`, `3 layers`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def joined(texts: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = texts
    return f"{', '.join(most)} and {last}" if most else last


def path_text(path: bytes) -> str:
    """A path in an image as people write it."""
    return "/" + path.decode("utf-8", "backslashreplace")


def name_of(image: Image) -> str:
    """What to call an image on a command line."""
    return image.references[0].familiar if image.references else image.id.short
