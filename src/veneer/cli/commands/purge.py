"""`veneer image purge`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.reworked import OUTPUT_OPTIONS, counted, joined, name_of, path_text, tell
from veneer.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from veneer.engine.rework.purging import Purged


def document(made: Purged) -> dict[str, Any]:
    """What `--format` shows; sizes are bytes."""
    return {
        "Id": str(made.image.id),
        "Source": str(made.source.id),
        "Paths": [path_text(path) for path in made.paths],
        "OtherNames": [path_text(path) for path in made.names],
        "Size": made.size,
        "Layers": [
            {"Layer": layer.number, "Old": str(layer.old), "New": str(layer.new or ""), "Members": layer.members}
            for layer in made.layers
        ],
        "Mentions": list(made.mentions),
        "Copies": [{"Layer": layer, "Path": path_text(path)} for layer, path in made.copies],
        "Holders": [{"Id": str(image.id), "Names": [name.familiar for name in image.references]}
                    for image in made.holders],
    }  # fmt: skip


def story(app: App, made: Purged) -> Iterator[str]:
    """What changed and what did not, in words."""
    other = f", also by the name {joined(map(path_text, made.names))}," if made.names else ""
    yield f"Purged {joined(map(path_text, made.paths))}{other} {human_size(made.size, 4)} of content"
    for layer in made.layers:
        taken = f"{counted(layer.members, 'member')} taken out"
        if layer.new is None:
            yield f"Layer {layer.number} ({layer.old.short}): {taken}, nothing else was in it, so it is gone"
        else:
            yield f"Layer {layer.number} ({layer.old.short}) was written anew as {layer.new.short}: {taken}"
    same = len(made.source.config.diff_ids) - len(made.layers)
    yield f"{counted(same, 'other layer is', 'other layers are')} the same to the byte"
    yield "Read again: no layer and no blob of the new image has it"
    yield "History texts, build arguments in them, environment and labels are as they were" + (
        "; these name it:" if made.mentions else ""
    )
    for mention in made.mentions:
        yield f"  {mention}"
    for layer_number, path in made.copies:
        yield f"WARNING: {path_text(path)} in layer {layer_number} of the new image has the same content and stays"
    yield from _elsewhere(app, made)


def _elsewhere(app: App, made: Purged) -> Iterator[str]:
    names = [name_of(image) for image in made.holders]
    if names:
        remedy = app.spelled(f"veneer rmi {names[0]}")
        yield f"Still held by {joined(names[:10])}{', and more' if len(names) > 10 else ''}: {remedy}"
    pushed = [digest.familiar for digest in made.source.digests]
    if pushed:
        yield f"A registry has it as {joined(pushed)}: delete it there; whoever pulled it has it too"


def run(app: App, given: Parsed) -> None:
    image, *paths = given.arguments
    made = app.engine.images.purge(image, paths, tag=given.text("tag") or None, message=given.text("message"))
    tell(app, given, made.image, document(made), list(story(app, made)))


PURGE = Command(
    run,
    "Make a new image with files taken out of every layer",
    "[OPTIONS] IMAGE PATH [PATH...]",
    least=2,
    most=None,
    options=(*OUTPUT_OPTIONS, Option("m,message", "string", "Comment of the history row that tells of it")),
)
