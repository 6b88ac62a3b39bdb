"""`veneer image dockerfile`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import WHERE, image_and, looked_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.rework.dockerfile import Recovered


def document(found: Recovered) -> dict[str, Any]:
    """What `--format` shows; rows and layers count from 1, oldest first, 0 stands for none."""
    return {
        "Base": found.base,
        "FoundBy": found.found,
        "Args": found.args,
        "Notes": list(found.notes),
        "Steps": [
            {"Instruction": line.text, "Comment": list(line.comment), "Row": line.row or 0, "Layer": line.layer or 0,
             "CreatedBy": line.history}
            for line in found.lines
        ],
        "Dockerfile": found.text,
    }  # fmt: skip


def run(app: App, given: Parsed) -> None:
    name, _ = image_and(app, given, 0)
    with looked_at(app, given, name, contents=False) as subject:
        found = app.engine.looking.dockerfile(subject, base=given.text("base") or None)
    if format := given.text("format"):
        from veneer.cli.commands.inspect import show_one

        show_one(app, format, document(found))
        return
    app.write_foreign(found.text)


DOCKERFILE = Command(
    run,
    "Show the Dockerfile of an image, from its history",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("base", "string", 'The image behind FROM, or "scratch" (default: found by labels, parents or layers)'),
        Option("f,format", "string", INSPECT_FORMAT),
        *WHERE,
    ),
    only_looks=True,
)
