"""`veneer builder prune`, `veneer builder du`: the build cache.

The prune's words are docker's, the table of `du` is buildx's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli import units
from veneer.cli.app import App, Failure
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.tables import align_columns, all_harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from veneer.store.build_usage import Record

SURE = "Are you sure you want to continue?"
EVERYTHING = "all build cache"
DANGLING = "all dangling build cache"
_DEFAULT = ("ID", "Reclaimable", "Size", "LastUsedAt")


def size_of(size: int) -> str:
    return units.human_size(size, 4)


def _yes(value: bool) -> str:
    return "true" if value else "false"


def run_prune(app: App, given: Parsed) -> None:
    from veneer.cli.build_flags import size_bytes

    dry_run, everything = given.flag("dry_run"), given.flag("all")
    wanted = given.text("keep_storage")
    keep = size_bytes(wanted, "keep-storage") if wanted else 0
    what = EVERYTHING if everything else DANGLING
    if not (dry_run or given.flag("force")) and not app.confirm(f"WARNING! This will remove {what}. {SURE}"):
        return
    pruned = app.engine.builds.prune(
        all=everything, filters=given.filters("filter"), keep_storage=keep, dry_run=dry_run
    )
    tell_pruned(app, pruned.records, dry_run=dry_run)
    app.line(f"{'Would reclaim' if dry_run else 'Total reclaimed space'}: {size_of(pruned.bytes)}")


def tell_pruned(app: App, records: Sequence[Record], *, dry_run: bool) -> None:
    """The list of what went; before it is done with what each is and takes."""
    if not records:
        return
    app.line("Would delete build cache objects:" if dry_run else "Deleted build cache objects:")
    columns = [[record.id for record in records]]
    if dry_run:
        columns += [
            [size_of(0 if record.shared else record.size) for record in records],
            all_harmless([record.description for record in records]),
        ]
    app.write(align_columns(columns) + "\n")


def _listing(app: App) -> Listing[Record]:
    return Listing("*formatter.diskUsageContext", (
        Column("ID", "ID", lambda record: record.id + "*" * record.mutable),
        Column("Reclaimable", "RECLAIMABLE", lambda record: _yes(record.reclaimable)),
        Column("Size", "SIZE", lambda record: size_of(record.size) + "*" * record.shared),
        Column("LastUsedAt", "LAST ACCESSED", lambda record: units.ago(record.used, app.now)),
        Column("Parents", "PARENTS", lambda record: ",".join(record.parents)),
        Column("CreatedAt", "CREATED AT", lambda record: units.local_time(record.created)),
        Column("Mutable", "MUTABLE", lambda record: _yes(record.mutable)),
        Column("Shared", "SHARED", lambda record: _yes(record.shared)),
        Column("InUse", "IN USE", lambda record: _yes(record.in_use)),
        Column("Description", "DESCRIPTION", lambda record: record.description),
        Column("UsageCount", "USAGE COUNT", lambda record: str(record.uses)),
        Column("Type", "TYPE", lambda record: record.type),
    ))  # fmt: skip


def run_du(app: App, given: Parsed) -> None:
    filters = given.filters("filter")
    records = app.engine.builds.du(filters)
    format = given.text("format")
    if given.flag("verbose"):
        if format:
            raise Failure("--format and --verbose are mutually exclusive")
        for record in records:
            for name, value in _told(app, record):
                app.line(f"{name}:".ljust(15) + value)
            app.line("")
    else:
        _listing(app).show(app, records, format, _DEFAULT)
    if not filters and format in ("", "table"):
        _tell_sums(app, records)


def _told(app: App, record: Record) -> Iterator[tuple[str, str]]:
    yield "ID", record.id
    if record.parents:
        yield "Parents", ",".join(record.parents)
    yield "Created at", units.local_time(record.created)
    yield "Mutable", _yes(record.mutable)
    yield "Reclaimable", _yes(record.reclaimable)
    yield "Shared", _yes(record.shared)
    yield "Size", size_of(record.size)
    if record.description:
        yield "Description", record.description
    yield "Usage count", str(record.uses)
    yield "Last used", units.ago(record.used, app.now)
    yield "Type", record.type


def _tell_sums(app: App, records: Sequence[Record]) -> None:
    shared = sum(record.size for record in records if record.shared)
    total = sum(record.size for record in records)
    sums = [("Shared", shared), ("Private", total - shared)] if shared else []
    sums += [("Reclaimable", sum(record.size for record in records if record.reclaimable)), ("Total", total)]
    for name, size in sums:
        app.line(f"{name}:".ljust(15) + size_of(size))


_FILTER = Option("filter", "filter", 'Provide filter values (e.g. "until=24h")', many=True)
PRUNE_BUILDER = Command(
    run_prune,
    "Remove build cache",
    "[OPTIONS]",
    options=(
        Option("a,all", "bool", "Remove all unused build cache, not just dangling ones"),
        Option("dry-run", "bool", "Only show what would be removed"),
        _FILTER,
        Option("f,force", "bool", "Do not prompt for confirmation"),
        Option("keep-storage", "bytes", "Amount of disk space to keep for cache"),
    ),
)
DISK_USAGE_BUILDER = Command(
    run_du,
    "Show what the build cache takes",
    "[OPTIONS]",
    options=(
        _FILTER,
        Option("format", "string", LIST_FORMAT),
        Option("verbose", "bool", "Show every fact about every record"),
    ),
)
