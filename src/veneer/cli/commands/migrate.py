"""`veneer system migrate`."""

from __future__ import annotations

from typing import Any

from veneer.cli.app import App, Failure
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.units import human_size
from veneer.progress import silent
from veneer.store.moving import Moved


def run(app: App, given: Parsed) -> int:
    to, format, dry_run = given.text("to"), given.text("format"), given.flag("dry_run")
    if not to:
        raise Failure("say where to: --to DRIVER; veneer info names the drivers that work here")
    if format:
        from veneer.cli.commands.inspect import require_template, show_one

        # Before anything moves: what cannot be shown is not begun.
        require_template(format, _document(Moved(to, 0, (), (), 0, 0, 0, 0), dry_run=dry_run))
    quiet = given.flag("quiet") or bool(format) or dry_run
    progress = silent if quiet else app.progress()
    moved = app.engine.system.migrate(to, keep=given.flag("keep"), dry_run=dry_run, progress=progress)
    if format:
        show_one(app, format, _document(moved, dry_run=dry_run))
    elif not given.flag("quiet"):
        for line in _lines(moved, dry_run=dry_run):
            app.line(line)
    app.out.flush()
    for left in moved.left:
        app.warn(f"{left.kind} {left.name} stays: {left.reason}; {app.spelled(left.hint)}")
    asked = app.engine.config.storage_driver
    if asked and asked != to and not dry_run:
        app.warn(f"Warning: new layers go to {asked} as long as that is asked for "
                 f"({app.engine.config.origins['storage_driver']})")  # fmt: skip
    return 1 if moved.left and not dry_run else 0


def _lines(moved: Moved, *, dry_run: bool) -> list[str]:
    what = f"{_several(moved.layers, 'layer')} and {_several(len(moved.containers), 'container')} to {moved.to}"
    if dry_run:
        return [
            f"Would move {what}",
            f"On the disk: {_size(moved.before)} now, and up to {_size(moved.needed)} more meanwhile",
            f"Free: {_size(moved.free)}",
        ]
    change = moved.before - moved.after
    return [
        f"Moved {what}",
        f"On the disk: {_size(moved.before)} before, {_size(moved.after)} after"
        + (f" ({_size(abs(change))} {'less' if change > 0 else 'more'})" if change else ""),
    ]


def _document(moved: Moved, *, dry_run: bool) -> dict[str, Any]:
    return {
        "To": moved.to,
        "DryRun": dry_run,
        "Layers": moved.layers,
        "Containers": list(moved.containers),
        "Left": [
            {"Kind": left.kind, "Name": left.name, "Reason": left.reason, "Hint": left.hint} for left in moved.left
        ],
        "BytesBefore": moved.before,
        "BytesAfter": None if dry_run else moved.after,
        "BytesNeeded": moved.needed,
        "BytesFree": moved.free,
    }


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _size(size: int) -> str:
    return human_size(size, 4)


MIGRATE = Command(
    run,
    "Move all layers and stopped containers to another storage driver",
    "[OPTIONS] --to DRIVER",
    options=(
        Option("dry-run", "bool", "Only show what would be moved, and the room that takes"),
        Option("format", "string", INSPECT_FORMAT),
        Option("keep", "bool", "Keep the layers with the old driver as well: the way back is then short"),
        Option("q,quiet", "bool", "Print nothing but what stays, and why"),
        Option("to", "string", "The storage driver to move to"),
    ),
)
