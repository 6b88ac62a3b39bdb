"""`veneer rmi`, `veneer image rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.errors import NotFound, VeneerError

if TYPE_CHECKING:
    from veneer.store.removal import Removal

DONE = {"untagged": "Untagged", "deleted": "Deleted"}
WOULD = {"untagged": "Would untag", "deleted": "Would delete"}


def tell(app: App, removals: list[Removal], *, dry_run: bool) -> None:
    """One line each, in docker's words."""
    verbs = WOULD if dry_run else DONE
    for removal in removals:
        app.line(f"{verbs[removal.kind]}: {removal.text}")
    app.out.flush()


def run(app: App, given: Parsed) -> int:
    from veneer.cli.main import say

    force, dry_run = given.flag("force"), given.flag("dry_run")
    problems: list[VeneerError] = []
    for name in given.arguments:
        try:
            removals = app.engine.images.remove(name, force=force, prune=not given.flag("no_prune"), dry_run=dry_run)
        except VeneerError as error:
            problems.append(error)
        else:
            tell(app, list(removals), dry_run=dry_run)
    for problem in problems:
        say(app, problem)
    # As with rm -f, what is already gone is no failure; everything else is.
    return max((0 if force and isinstance(p, NotFound) else p.exit_code for p in problems), default=0)


REMOVE = Command(
    run,
    "Remove one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    least=1,
    most=None,
    names=("image rm", "image remove", "rmi"),
    options=(
        Option("dry-run", "bool", "Only show what would be removed"),
        Option("f,force", "bool", "Force removal of the image"),
        Option("no-prune", "bool", "Do not delete untagged parents"),
    ),
)
