"""`veneer volume create`, `ls`, `inspect`, `rm`, `prune`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import INSPECT_FORMAT, LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.store.volumes import Volume

ANONYMOUS = "anonymous local volumes not used by at least one container"
UNUSED = "all local volumes not used by at least one container"
_NOT_AVAILABLE = "N/A"


def run_create(app: App, given: Parsed) -> None:
    name = given.arguments[0] if given.arguments else ""
    if "name" in given.given:
        if name:
            raise Failure("Conflicting options: either specify --name or provide positional arg, not both")
        name = given.text("name")
    labels = dict(text.partition("=")[::2] for text in given.texts("label"))
    options = dict(text.partition("=")[::2] for text in given.texts("opt"))
    made = app.engine.volumes.create(name, driver=given.text("driver") or "local", labels=labels, options=options)
    app.line(made.name)


def listing(app: App) -> Listing[Volume]:
    """The columns of a list of volumes.  Source: docker/cli formatter/volume.go."""
    return Listing("*formatter.volumeContext", (
        Column("Driver", "DRIVER", lambda volume: volume.driver),
        Column("Name", "VOLUME NAME", lambda volume: volume.name),
        Column("Labels", "LABELS", lambda volume: ",".join(f"{k}={v}" for k, v in sorted(volume.labels.items()))),
        Column("Links", "LINKS", lambda volume: _NOT_AVAILABLE),
        Column("Mountpoint", "MOUNTPOINT", lambda volume: app.engine.volumes.directory(volume.name)),
        Column("Scope", "SCOPE", lambda volume: "local"),
        Column("Size", "SIZE", lambda volume: _NOT_AVAILABLE),
    ), labels=lambda volume: volume.labels)  # fmt: skip


def run_list(app: App, given: Parsed) -> None:
    volumes = app.engine.volumes.list(given.filters("filter"))
    format = given.text("format")
    if given.flag("quiet") and format in ("", "table"):
        app.write("".join(volume.name + "\n" for volume in volumes))
        return
    listing(app).show(app, volumes, format, ("Driver", "Name"))


def typed(document: dict[str, Any]) -> Any:
    """A volume's document as templates see it."""
    from veneer.cli.gofunctions import GoMap

    return document | {"Labels": GoMap(document["Labels"] or {}), "Options": GoMap(document["Options"] or {})}


def run_inspect(app: App, given: Parsed) -> int:
    from veneer.cli.commands.inspect import show_all

    return show_all(app, given.arguments, given.text("format"), app.engine.volumes.inspect, typed)


def run_remove(app: App, given: Parsed) -> int:
    from veneer.cli.several import for_each

    force = given.flag("force")
    return for_each(app, given.arguments, lambda name: app.engine.volumes.remove(name, force=force))


def run_prune(app: App, given: Parsed) -> None:
    from veneer.cli.commands.prune import SURE, total

    dry_run, everything = given.flag("dry_run"), given.flag("all")
    what = UNUSED if everything else ANONYMOUS
    if not (dry_run or given.flag("force")) and not app.confirm(f"WARNING! This will remove {what}.\n{SURE}"):
        return
    total(app, tell_pruned(app, given.filters("filter"), everything=everything, dry_run=dry_run), dry_run=dry_run)


def tell_pruned(app: App, filters: dict[str, list[str]], *, everything: bool, dry_run: bool) -> int:
    """Remove volumes that no container uses and say which; the bytes that freed."""
    pruned = app.engine.volumes.prune(all=everything, filters=filters, dry_run=dry_run)
    if pruned.names:
        app.line("Would delete volumes:" if dry_run else "Deleted Volumes:")
        for name in pruned.names:
            app.line(name)
        app.line("")
    return pruned.bytes


_FORCE = Option("f,force", "bool", "Do not prompt for confirmation")
CREATE_VOLUME = Command(
    run_create,
    "Create a volume",
    "[OPTIONS] [VOLUME]",
    most=1,
    options=(
        Option("d,driver", "string", "Specify volume driver name", shown_default='"local"'),
        Option("label", "list", "Set metadata for a volume", many=True),
        Option("name", "string", "Specify volume name", hidden=True),
        Option("o,opt", "map", "Set driver specific options", many=True),
    ),
)
LIST_VOLUMES = Command(
    run_list,
    "List volumes",
    "[OPTIONS]",
    names=("volume ls", "volume list"),
    options=(
        Option("f,filter", "filter", 'Provide filter values (e.g. "dangling=true")', many=True),
        Option("format", "string", LIST_FORMAT),
        Option("q,quiet", "bool", "Only display volume names"),
    ),
    only_looks=True,
)
INSPECT_VOLUME = Command(
    run_inspect,
    "Display detailed information on one or more volumes",
    "[OPTIONS] VOLUME [VOLUME...]",
    least=1,
    most=None,
    options=(Option("f,format", "string", INSPECT_FORMAT),),
    only_looks=True,
)
REMOVE_VOLUMES = Command(
    run_remove,
    "Remove one or more volumes that no container uses",
    "[OPTIONS] VOLUME [VOLUME...]",
    least=1,
    most=None,
    names=("volume rm", "volume remove"),
    options=(Option("f,force", "bool", "Force the removal of one or more volumes"),),
)
PRUNE_VOLUMES = Command(
    run_prune,
    "Remove unused volumes",
    "[OPTIONS]",
    options=(
        Option("a,all", "bool", "Remove all unused volumes, not just anonymous ones"),
        Option("dry-run", "bool", "Only show what would be removed"),
        Option("filter", "filter", 'Provide filter values (e.g. "label=<label>")', many=True),
        _FORCE,
    ),
)
