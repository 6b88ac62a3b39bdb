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

    from veneer.engine.containers.usage import ContainersUsage, VolumeUsage
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


def totals(usage: DiskUsage, live: ContainersUsage, cache: Sequence[Record]) -> list[Total]:
    """docker's four lines, and one for the blobs, which docker does not keep; one more for copies of layers with
    another driver, where there are any.

    Of the build cache only what no image with a name has counts as its size: the rest is the images'.
    """
    own = [record for record in cache if not record.shared]
    copies = [Total("Layer Copies", None, None, usage.copies, usage.copies_kept)] if usage.copies else []
    return [
        Total("Images", len(usage.images), usage.active, usage.layers, usage.layers_reclaimable),
        Total(
            "Containers",
            len(live.containers),
            sum(each.state.is_live for each in live.containers),
            live.size,
            live.reclaimable,
        ),
        Total(
            "Local Volumes",
            len(live.volumes),
            sum(each.links > 0 for each in live.volumes),
            live.volumes_size,
            live.volumes_reclaimable,
        ),
        Total(
            "Build Cache",
            len(cache),
            sum(record.in_use for record in cache),
            sum(record.size for record in own),
            sum(record.size for record in own if record.reclaimable),
        ),
        Total("Blobs", None, None, usage.blobs, usage.blobs_reclaimable),
        *copies,
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


def _volumes() -> Listing[VolumeUsage]:
    return Listing("*formatter.diskUsageVolumeContext", (
        Column("Name", "VOLUME NAME", lambda row: row.name),
        Column("Links", "LINKS", lambda row: str(row.links)),
        Column("Size", "SIZE", lambda row: units.human_size(row.size)),
    ))  # fmt: skip


def _verbose(app: App, usage: DiskUsage, live: ContainersUsage, cache: Sequence[Record], format: str) -> None:
    from veneer.cli.commands import ps

    images = _images(app)
    if format not in ("", "table"):
        images.show(app, _rows(usage), format, ())
        return
    app.write("Images space usage:\n\n")
    images.show(app, _rows(usage), "", tuple(images.columns))
    app.write("\nContainers space usage:\n\n")
    containers = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    ps.listing(app, truncate=True).show(app, live.containers, "", containers)
    app.write("\nLocal Volumes space usage:\n\n")
    volumes = _volumes()
    volumes.show(app, live.volumes, "", tuple(volumes.columns))
    own = sum(record.size for record in cache if not record.shared)
    hidden = f" + {_size(usage.hidden)} of intermediate images" if usage.hidden else ""
    copies = f"Copies of layers with another driver: {_size(usage.copies)}\n" if usage.copies else ""
    written = live.size + live.volumes_size
    app.write(
        f"\nBuild cache usage: {_size(own)}\n"
        f"\nLayers usage: {_size(usage.layers)} = {_size(usage.unique)} unique + {_size(usage.shared)} shared{hidden}\n"
        f"Blobs usage: {_size(usage.blobs)}\n{copies}"
        f"Containers usage: {_size(live.size)}, volumes usage: {_size(live.volumes_size)}\n"
        f"Total: {_size(usage.total + written)}, reclaimable: "
        f"{_size(usage.reclaimable + live.reclaimable + live.volumes_reclaimable)}\n"
    )


def run(app: App, given: Parsed) -> None:
    from veneer.engine.containers.usage import usage as used

    usage, live, cache = app.engine.system.df(), used(app.engine), app.engine.builds.du()
    format = given.text("format")
    if unfinished := app.engine.system.migration_cut_off():
        app.hint(unfinished)
    if given.flag("verbose"):
        _verbose(app, usage, live, cache, format)
        return
    SUMMARY.show(app, totals(usage, live, cache), format, ("Type", "TotalCount", "Active", "Size", "Reclaimable"))


DISK_USAGE = Command(
    run,
    "Show disk usage",
    "[OPTIONS]",
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("v,verbose", "bool", "Show detailed information on space usage"),
    ),
)
