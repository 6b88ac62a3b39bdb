"""`veneer image rebase`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.reworked import OUTPUT_OPTIONS, counted, name_of, tell

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from veneer.engine.rework.rebasing import Rebased
    from veneer.engine.rework.three_way import Change

MOST = 20
"""Lines of one kind that the words show; `--format json` has them all."""
_HOW = {"": "as you say", "label": "by its labels", "parent": "by its parents", "layers": "by its layers"}


def document(made: Rebased) -> dict[str, Any]:
    """What `--format` shows; `Id` is "" after a dry run."""
    count = len(made.old.image.config.diff_ids)
    return {
        "Id": str(made.image.id) if made.image else "",
        "Source": str(made.source.id),
        "OldBase": {"Id": str(made.old.image.id), "Name": made.old.name, "FoundBy": made.old.how or "option"},
        "NewBase": {"Id": str(made.new.id), "Name": name_of(made.new)},
        "Layers": made.layers,
        "Rows": made.rows,
        "Changed": _changes(made.config.changes),
        "Kept": _changes(made.config.kept),
        "Hazards": [
            {"Kind": each.kind, "Path": "/" + each.path.decode("utf-8", "backslashreplace"),
             "Layer": each.layer + count + 1, "Severe": each.is_severe}
            for each in made.hazards
        ],
        "Triggers": list(made.triggers),
    }  # fmt: skip


def _changes(changes: Sequence[Change]) -> list[dict[str, str]]:
    return [{"Key": each.key, "Old": each.old, "New": each.new} for each in changes]


def story(made: Rebased) -> Iterator[str]:
    """What changed, in words."""
    from veneer.engine.rework.three_way import sentence

    would = "would go" if made.image is None else "went"
    yield (
        f"{counted(made.layers, 'layer')} and {counted(made.rows, 'history row')} {would} from {made.old.name}"
        f" (the base {_HOW[made.old.how]}) to {name_of(made.new)}"
    )
    yield from _limited([f"Follows the new base: {sentence(each)}" for each in made.config.changes])
    yield from _limited([
        f"Stays the image's own: {each.key} is {each.old or 'nothing'}, the new base has {each.new or 'nothing'}"
        for each in made.config.kept
    ])  # fmt: skip
    yield from _limited([f"WARNING: {each.text}" for each in made.hazards])
    for trigger in made.triggers:
        yield f"WARNING: the new base's ONBUILD {trigger} would be carried out by a build, and was not"
    if not made.hazards:
        yield "Nothing that the image's layers change or delete is different in the new base"


def _limited(lines: Sequence[str]) -> list[str]:
    if len(lines) <= MOST:
        return list(lines)
    return [*lines[:MOST], f"... and {len(lines) - MOST} more like that: --format json has all"]


def run(app: App, given: Parsed) -> None:
    image, new_base = given.arguments
    made = app.engine.images.rebase(
        image,
        new_base,
        base=given.text("base") or None,
        tag=given.text("tag") or None,
        message=given.text("message"),
        force=given.flag("force"),
        dry_run=given.flag("dry_run"),
    )
    tell(app, given, made.image, document(made), list(story(made)))


REBASE = Command(
    run,
    "Make a new image with an image's own layers on another base",
    "[OPTIONS] IMAGE NEW-BASE",
    least=2,
    most=2,
    options=(
        *OUTPUT_OPTIONS,
        Option("base", "string", "The image it was built on (default: found by labels, parents or layers)"),
        Option("dry-run", "bool", "Only show what would change"),
        Option("f,force", "bool", "Go on where a directory of the image hides a link or file of the new base"),
        Option("m,message", "string", "Comment of a history row that tells of it (default: no such row)"),
    ),
)
