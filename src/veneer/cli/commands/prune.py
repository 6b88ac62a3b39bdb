"""`veneer image prune`, `veneer system prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.units import human_size

if TYPE_CHECKING:
    from veneer.store.removal import Pruned

SURE = "Are you sure you want to continue?"
UNUSED = "all images without at least one container associated to them"
DANGLING = "all dangling images"


def _tell(app: App, pruned: Pruned, *, dry_run: bool) -> None:
    if pruned.removals:
        app.line("Would delete images:" if dry_run else "Deleted Images:")
        for removal in pruned.removals:
            app.line(f"{removal.kind}: {removal.text}")
        app.line("")


def _total(app: App, size: int, *, dry_run: bool) -> None:
    app.line(f"{'Would reclaim' if dry_run else 'Total reclaimed space'}: {human_size(size, 4)}")


def run_images(app: App, given: Parsed) -> None:
    dry_run, everything = given.flag("dry_run"), given.flag("all")
    what = UNUSED if everything else DANGLING
    if not (dry_run or given.flag("force")) and not app.confirm(f"WARNING! This will remove {what}.\n{SURE}"):
        return
    pruned = app.engine.images.prune(all=everything, filters=given.filters("filter"), dry_run=dry_run)
    _tell(app, pruned, dry_run=dry_run)
    _total(app, pruned.bytes, dry_run=dry_run)


def run_system(app: App, given: Parsed) -> None:
    dry_run, everything = given.flag("dry_run"), given.flag("all")
    if not (dry_run or given.flag("force")):
        doomed = [UNUSED if everything else DANGLING, "downloads, layers and scratch files that nothing needs"]
        listed = "".join(f"  - {each}\n" for each in doomed)
        if not app.confirm(f"WARNING! This will remove:\n{listed}\n{SURE}"):
            return
    pruned = app.engine.images.prune(all=everything, filters=given.filters("filter"), dry_run=dry_run)
    _tell(app, pruned, dry_run=dry_run)
    collected = app.engine.system.collect(dry_run=dry_run)
    if collected.items:
        app.line("Would delete from the store:" if dry_run else "Deleted from the store:")
        for item in collected.items:
            app.line(f"deleted: {item}")
        app.line("")
    _total(app, pruned.bytes + collected.bytes, dry_run=dry_run)


_DRY_RUN = Option("dry-run", "bool", "Only show what would be removed")
_FORCE = Option("f,force", "bool", "Do not prompt for confirmation")
PRUNE_IMAGES = Command(
    run_images,
    "Remove unused images",
    "[OPTIONS]",
    options=(
        Option("a,all", "bool", "Remove all unused images, not just dangling ones"),
        _DRY_RUN,
        Option("filter", "filter", 'Provide filter values (e.g. "until=<timestamp>")', many=True),
        _FORCE,
    ),
)
PRUNE_SYSTEM = Command(
    run_system,
    "Remove unused data",
    "[OPTIONS]",
    options=(
        Option("a,all", "bool", "Remove all unused images not just dangling ones"),
        _DRY_RUN,
        Option("filter", "filter", 'Provide filter values (e.g. "label=<key>=<value>")', many=True),
        _FORCE,
    ),
)
