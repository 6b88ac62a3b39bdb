"""`veneer image prune`, `veneer system prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.commands import builder
from veneer.cli.flags import Option, Parsed
from veneer.cli.units import human_size

if TYPE_CHECKING:
    from veneer.store.build_prune import BuildPruned
    from veneer.store.removal import Pruned

SURE = "Are you sure you want to continue?"
UNUSED = "all images without at least one container associated to them"
DANGLING = "all dangling images"
CACHE_FILTERS = {"until"}
"""Filters that say something of the build cache too; with others it is left alone."""


def _tell(app: App, pruned: Pruned, *, dry_run: bool) -> None:
    if pruned.removals:
        app.line("Would delete images:" if dry_run else "Deleted Images:")
        for removal in pruned.removals:
            app.line(f"{removal.kind}: {removal.text}")
        app.line("")


def total(app: App, size: int, *, dry_run: bool) -> None:
    """Say how much that was."""
    app.line(f"{'Would reclaim' if dry_run else 'Total reclaimed space'}: {human_size(size, 4)}")


def run_images(app: App, given: Parsed) -> None:
    dry_run, everything = given.flag("dry_run"), given.flag("all")
    what = UNUSED if everything else DANGLING
    if not (dry_run or given.flag("force")) and not app.confirm(f"WARNING! This will remove {what}.\n{SURE}"):
        return
    pruned = app.engine.images.prune(all=everything, filters=given.filters("filter"), dry_run=dry_run)
    _tell(app, pruned, dry_run=dry_run)
    total(app, pruned.bytes, dry_run=dry_run)


def _tell_cache(app: App, found: BuildPruned, pruned: Pruned, *, dry_run: bool) -> int:
    """What went of the build cache; the bytes that freed."""
    # Before it is done, the images that the first prune would take are still there, and steps of the cache.
    gone = {removal.text for removal in pruned.removals} if dry_run else set()
    records = [record for record in found.records if record.name not in gone]
    builder.tell_pruned(app, records, dry_run=dry_run)
    return sum(record.size for record in records if not record.shared) if gone else found.bytes


def _doomed(given: Parsed) -> str:
    """What `system prune` asks about first, as docker does."""
    from veneer.cli.commands.container import STOPPED
    from veneer.cli.commands.volume import ANONYMOUS

    everything, filters = given.flag("all"), given.filters("filter")
    doomed = [STOPPED, "all networks not used by at least one container"]
    doomed += [f"all {ANONYMOUS.replace('local ', '')}"] if given.flag("volumes") else []
    doomed.append(UNUSED if everything else DANGLING)
    if set(filters) <= CACHE_FILTERS:
        doomed.append(builder.EVERYTHING if everything else builder.DANGLING)
    doomed.append("downloads, layers and scratch files that nothing needs")
    listed = "".join(f"  - {each}\n" for each in doomed)
    if filters:
        listed += "\n  Items to be pruned will be filtered with:\n"
        listed += "".join(f"  - {text}\n" for text in given.texts("filter"))
    return f"WARNING! This will remove:\n{listed}\n{SURE}"


def run_system(app: App, given: Parsed) -> None:
    dry_run, everything, filters = given.flag("dry_run"), given.flag("all"), given.filters("filter")
    if given.flag("volumes") and "until" in filters:
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"')
    if not (dry_run or given.flag("force")) and not app.confirm(_doomed(given)):
        return
    freed = _containers_and_theirs(app, given)
    pruned = app.engine.images.prune(all=everything, filters=filters, dry_run=dry_run)
    _tell(app, pruned, dry_run=dry_run)
    if set(filters) <= CACHE_FILTERS:
        found = app.engine.builds.prune(all=everything, filters=filters, dry_run=dry_run)
        freed += _tell_cache(app, found, pruned, dry_run=dry_run)
    collected = app.engine.system.collect(dry_run=dry_run)
    if collected.items:
        app.line("Would delete from the store:" if dry_run else "Deleted from the store:")
        for item in collected.items:
            app.line(f"deleted: {item}")
        app.line("")
    total(app, freed + pruned.bytes + collected.bytes, dry_run=dry_run)


def _containers_and_theirs(app: App, given: Parsed) -> int:
    """Containers, networks and, if asked for, volumes; first, as what they use is needed by nobody then."""
    from veneer.cli.commands import container, network, volume

    dry_run, filters = given.flag("dry_run"), given.filters("filter")
    freed = container.tell_pruned(app, filters, dry_run=dry_run)
    names = app.engine.networks.prune(filters, dry_run=dry_run)
    if names:
        app.line("Would delete networks:" if dry_run else "Deleted Networks:")
        for name in names:
            app.line(name)
        app.line("")
    network.tell_cleared(app, filters, dry_run=dry_run)
    if given.flag("volumes"):
        freed += volume.tell_pruned(app, filters, everything=False, dry_run=dry_run)
    return freed


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
        Option("volumes", "bool", "Prune anonymous volumes"),
    ),
)
