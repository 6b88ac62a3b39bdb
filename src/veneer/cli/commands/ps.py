"""`veneer ps`, `veneer container ls`."""

from __future__ import annotations

from veneer.cli import units
from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.container_words import created_at, ports, status
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.tables import shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.containers.listing import Summary

_SHORT_ID = 12
_COMMAND_WIDTH, _MOUNT_WIDTH = 20, 15


def listing(app: App, *, truncate: bool) -> Listing[Summary]:
    """The columns of a list of containers.  Source: docker/cli formatter/container.go."""

    def id(row: Summary) -> str:
        return row.container.id[:_SHORT_ID] if truncate else row.container.id

    def command(row: Summary) -> str:
        from veneer.cli.golexer import quoted

        return quoted(shorten(row.command, _COMMAND_WIDTH) if truncate else row.command)

    def mounts(row: Summary) -> str:
        return ",".join(shorten(name, _MOUNT_WIDTH) if truncate else name for name in row.mounts)

    def local_volumes(row: Summary) -> str:
        return str(sum(point["Type"] == "volume" for point in row.container.document["Mounts"]))

    def size(row: Summary) -> str:
        own = units.human_size(max(row.size, 0))
        return f"{own} (virtual {units.human_size(row.root_size)})" if row.root_size > 0 else own

    return Listing("*formatter.ContainerContext", (
        Column("ID", "CONTAINER ID", id),
        Column("Names", "NAMES", lambda row: row.container.name),
        Column("Image", "IMAGE", lambda row: image(row, truncate=truncate)),
        Column("Command", "COMMAND", command),
        Column("CreatedAt", "CREATED AT", lambda row: created_at(row.container.created)),
        Column("RunningFor", "CREATED", lambda row: units.human_duration(app.now - row.container.created) + " ago"),
        Column("Ports", "PORTS", lambda row: ports(row.ports)),
        Column("State", "STATE", lambda row: row.state.status),
        Column("Status", "STATUS", lambda row: status(row.state, app.now)),
        Column("Size", "SIZE", size),
        Column("Labels", "LABELS", lambda row: ",".join(f"{k}={v}" for k, v in sorted(row.labels.items()))),
        Column("Mounts", "MOUNTS", mounts),
        Column("LocalVolumes", "LOCAL VOLUMES", local_volumes),
        Column("Networks", "NETWORKS", lambda row: ",".join(row.networks)),
    ), labels=lambda row: row.labels)  # fmt: skip


def image(row: Summary, *, truncate: bool) -> str:
    """What the container was made of: without the digest of a name that has a tag, too, and with a short ID."""
    if not truncate:
        return row.image or "<no image>"
    text = row.image.removeprefix("sha256:") if row.image.startswith("sha256:") else row.image
    if text and row.container.image.removeprefix("sha256:").startswith(text[:_SHORT_ID]) and len(text) >= _SHORT_ID:
        return text[:_SHORT_ID]
    name, at, _ = text.partition("@")
    return (name if at and ":" in name.rpartition("/")[2] else text) or "<no image>"


def run(app: App, given: Parsed) -> None:
    from veneer.cli.container_words import number

    format = given.text("format")
    last = 1 if given.flag("latest") else number(given.text("last") or "-1", "-n, --last")
    with_size = given.flag("size") or ".Size" in format or format == "json"
    if with_size:
        app.enter_namespace()  # whose files they are, a plain user cannot read
    rows = app.engine.containers.summaries(
        all=given.flag("all"), filters=given.filters("filter"), last=max(last, 0), size=with_size
    )
    kind = listing(app, truncate=not given.flag("no_trunc"))
    if given.flag("quiet") and format in ("", "table"):
        app.write("".join(kind.columns["ID"].text(row) + "\n" for row in rows))
        return
    size = ("Size",) if given.flag("size") else ()
    kind.show(app, rows, format, ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", *size))


PS = Command(
    run,
    "List containers",
    "[OPTIONS]",
    names=("container ls", "container list", "container ps", "ps"),
    options=(
        Option("a,all", "bool", "Show all containers (default shows just running)"),
        Option("f,filter", "filter", "Filter output based on conditions provided", many=True),
        Option("format", "string", LIST_FORMAT),
        Option("n,last", "int", "Show n last created containers (includes all states)", shown_default="-1"),
        Option("l,latest", "bool", "Show the latest created container (includes all states)"),
        Option("no-trunc", "bool", "Don't truncate output"),
        Option("q,quiet", "bool", "Only display container IDs"),
        Option("s,size", "bool", "Display total file sizes"),
    ),
    only_looks=True,
)
