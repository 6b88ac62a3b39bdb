"""`veneer system df`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli import units
from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.commands.images import NONE
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.store.accounting import DiskUsage, ImageUsage
    from veneer.store.build_usage import Record


class Total:
    """One line of the summary; `count` and `active` are None where counting means nothing."""

    __slots__ = ("active", "count", "kind", "reclaimable", "size")

    def __init__(self, kind: str, count: int | None, active: int | None, size: int, reclaimable: int) -> None:
        self.kind = kind
        self.count = count
        self.active = active
        self.size = size
        self.reclaimable = reclaimable


def totals(usage: DiskUsage, cache: Sequence[Record]) -> list[Total]:
    """docker's four lines, and one for the blobs, which docker does not keep.

    Of the build cache only what no image with a name has counts as its size: the rest is the images'.
    """
    own = [record for record in cache if not record.shared]
    return [
        Total("Images", len(usage.images), usage.active, usage.layers, usage.layers_reclaimable),
        Total("Containers", 0, 0, 0, 0),
        Total("Local Volumes", 0, 0, 0, 0),
        Total(
            "Build Cache",
            len(cache),
            sum(record.in_use for record in cache),
            sum(record.size for record in own),
            sum(record.size for record in own if record.reclaimable),
        ),
        Total("Blobs", None, None, usage.blobs, usage.blobs_reclaimable),
    ]


def _size(size: int) -> str:
    return units.human_size(size, 4)


def _reclaimable(total: Total) -> str:
    share = f" ({total.reclaimable * 100 // total.size}%)" if total.size else ""
    return _size(total.reclaimable) + share


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


SUMMARY: Listing[Total] = Listing("*formatter.diskUsageContext", (
    Column("Type", "TYPE", lambda total: total.kind),
    Column("TotalCount", "TOTAL", lambda total: _number(total.count)),
    Column("Active", "ACTIVE", lambda total: _number(total.active)),
    Column("Size", "SIZE", lambda total: _size(total.size)),
    Column("Reclaimable", "RECLAIMABLE", _reclaimable),
))  # fmt: skip


class Row:
    """One line of the images' part: an image under one of its names."""

    __slots__ = ("repository", "tag", "usage")

    def __init__(self, usage: ImageUsage, repository: str, tag: str) -> None:
        self.usage = usage
        self.repository = repository
        self.tag = tag


def _rows(usage: DiskUsage) -> list[Row]:
    rows = []
    for each in usage.images:
        names = [(tag.familiar_name, tag.tag or NONE) for tag in each.image.tags]
        names = names or [(digest.familiar_name, NONE) for digest in each.image.digests[:1]] or [(NONE, NONE)]
        rows += [Row(each, *name) for name in names]
    return rows


def _images(app: App) -> Listing[Row]:
    return Listing("*formatter.diskUsageImagesContext", (
        Column("Repository", "REPOSITORY", lambda row: row.repository),
        Column("Tag", "TAG", lambda row: row.tag),
        Column("ID", "IMAGE ID", lambda row: row.usage.image.id.short),
        Column("CreatedSince", "CREATED", lambda row: units.since(row.usage.image.created, app.now)),
        Column("Size", "SIZE", lambda row: units.human_size(row.usage.size)),
        Column("SharedSize", "SHARED SIZE", lambda row: _size(row.usage.shared)),
        Column("UniqueSize", "UNIQUE SIZE", lambda row: _size(row.usage.unique)),
        Column("Containers", "CONTAINERS", lambda row: str(row.usage.containers)),
    ))  # fmt: skip


def _verbose(app: App, usage: DiskUsage, format: str) -> None:
    images = _images(app)
    if format not in ("", "table"):
        images.show(app, _rows(usage), format, ())
        return
    app.write("Images space usage:\n\n")
    images.show(app, _rows(usage), "", tuple(images.columns))
    hidden = f" + {_size(usage.hidden)} of intermediate images" if usage.hidden else ""
    app.write(
        f"\nLayers usage: {_size(usage.layers)} = {_size(usage.unique)} unique + {_size(usage.shared)} shared{hidden}\n"
        f"Blobs usage: {_size(usage.blobs)}\n"
        f"Total: {_size(usage.total)}, reclaimable: {_size(usage.reclaimable)}\n"
    )


def run(app: App, given: Parsed) -> None:
    usage = app.engine.system.df()
    format = given.text("format")
    if given.flag("verbose"):
        _verbose(app, usage, format)
        return
    SUMMARY.show(
        app, totals(usage, app.engine.builds.du()), format, ("Type", "TotalCount", "Active", "Size", "Reclaimable")
    )


DISK_USAGE = Command(
    run,
    "Show disk usage",
    "[OPTIONS]",
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("v,verbose", "bool", "Show detailed information on space usage"),
    ),
)
