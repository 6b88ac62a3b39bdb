"""`veneer image squash`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.reworked import OUTPUT_OPTIONS, counted, tell
from veneer.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.rework.squashing import Squashed


def document(made: Squashed) -> dict[str, Any]:
    """What `--format` shows; sizes are bytes."""
    return {
        "Id": str(made.image.id),
        "Source": str(made.source.id),
        "FirstLayer": made.first,
        "LastLayer": made.last,
        "DiffID": str(made.diff_id or ""),
        "SizeBefore": made.before,
        "SizeAfter": made.after,
        "Saved": made.saved,
        "EntriesBefore": made.entries_before,
        "EntriesAfter": made.entries_after,
    }


def story(made: Squashed) -> list[str]:
    """What changed, in words."""
    count = made.last - made.first + 1
    lines = [f"Layers {made.first} to {made.last} of {len(made.source.config.diff_ids)} ({count} layers)"]
    if made.diff_id is None:
        lines[0] += " changed nothing in the end: the new image does without them"
    else:
        lines[0] += f" became one, {made.diff_id.short}"
    lines.append(
        f"{human_size(made.before, 4)} in {counted(made.entries_before, 'entry', 'entries')} became "
        f"{human_size(made.after, 4)} in {counted(made.entries_after, 'entry', 'entries')}: "
        f"{human_size(made.saved, 4)} had been hidden by later layers"
    )
    lines.append("The old image still has its layers: they go when it is removed and nothing else uses them")
    return lines


def run(app: App, given: Parsed) -> None:
    made = app.engine.images.squash(
        given.arguments[0],
        first=given.text("from"),
        last=given.text("to"),
        tag=given.text("tag") or None,
        message=given.text("message"),
    )
    tell(app, given, made.image, document(made), story(made))


SQUASH = Command(
    run,
    "Make a new image with a range of an image's layers as one",
    "[OPTIONS] IMAGE",
    least=1,
    most=1,
    options=(
        *OUTPUT_OPTIONS,
        Option("from", "string", "First layer: its number (the base is 1), row:N, a diff ID, or an image below it "
               "(default: the first above the image it was built on)"),
        Option("m,message", "string", "Comment of the history row that has the new layer"),
        Option("to", "string", "Last layer, named the same way (default: the top)"),
    ),
)  # fmt: skip
