"""`veneer container inspect`, `rename`, `rm`, and `container prune`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.flags import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STOPPED = "all stopped containers"


def run_inspect(app: App, given: Parsed) -> int:
    from veneer.cli.commands.inspect import show_all
    from veneer.cli.inspected import typed_container

    size = given.flag("size")
    if size:
        app.enter_namespace()

    def find(name: str) -> dict[str, Any]:
        return dict(app.engine.containers.inspect(name, size=size))

    return show_all(app, given.arguments, given.text("format"), find, typed_container)


def run_rename(app: App, given: Parsed) -> int:
    from veneer.cli.main import say
    from veneer.errors import VeneerError

    old, new = (name.strip() for name in given.arguments)
    if not old or not new:
        raise Failure("Neither old nor new names may be empty")
    try:
        app.engine.containers.rename(old, new)
    except VeneerError as error:
        say(app, error)
        raise Failure(f"failed to rename container named {old}") from None
    return 0


def run_remove(app: App, given: Parsed) -> int:
    from veneer.cli.several import for_each
    from veneer.errors import NotFound

    if given.flag("link"):
        from veneer.engine.network_plan import NoLinks

        raise NoLinks("links are a legacy feature that veneer does not have", hint="use networks: veneer network")
    force, volumes = given.flag("force"), given.flag("volumes")

    def remove(name: str) -> None:
        app.engine.containers.remove(name.strip("/"), force=force, volumes=volumes)

    names = [name for name in given.arguments if not force or _is_here(app, name, NotFound)]
    return for_each(app, names, remove)


def _is_here(app: App, name: str, absent: type[Exception]) -> bool:
    """Whether there is such a container; said as docker does where there is none, which for -f is no failure."""
    from veneer.cli.main import say

    try:
        app.engine.containers.get(name)
    except absent as error:
        say(app, error)  # type: ignore[arg-type]
        return False
    return True


def run_prune(app: App, given: Parsed) -> None:
    from veneer.cli.commands.prune import SURE, total

    if not given.flag("force") and not app.confirm(f"WARNING! This will remove {STOPPED}.\n{SURE}"):
        return
    total(app, tell_pruned(app, given.filters("filter"), dry_run=given.flag("dry_run")), dry_run=given.flag("dry_run"))


def tell_pruned(app: App, filters: dict[str, list[str]], *, dry_run: bool = False) -> int:
    """Remove containers that do not run and say which; the bytes that freed."""
    pruned = app.engine.containers.prune(filters, dry_run=dry_run)
    if pruned.names:
        app.line("Would delete containers:" if dry_run else "Deleted Containers:")
        for name in pruned.names:
            app.line(name)
        app.line("")
    return pruned.bytes


INSPECT_CONTAINER = Command(
    run_inspect,
    "Display detailed information on one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    least=1,
    most=None,
    options=(
        Option("f,format", "string", INSPECT_FORMAT),
        Option("s,size", "bool", "Display total file sizes"),
    ),
    only_looks=True,
)
RENAME = Command(run_rename, "Rename a container", "CONTAINER NEW_NAME", least=2, most=2,
                 names=("container rename", "rename"))  # fmt: skip
REMOVE = Command(
    run_remove,
    "Remove one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    least=1,
    most=None,
    names=("container rm", "container remove", "rm"),
    options=(
        Option("f,force", "bool", "Force the removal of a running container (uses SIGKILL)"),
        Option("l,link", "bool", "Remove the specified link"),
        Option("v,volumes", "bool", "Remove anonymous volumes associated with the container"),
    ),
)
PRUNE_CONTAINERS = Command(
    run_prune,
    "Remove all stopped containers",
    "[OPTIONS]",
    options=(
        Option("dry-run", "bool", "Only show what would be removed"),
        Option("filter", "filter", 'Provide filter values (e.g. "until=<timestamp>")', many=True),
        Option("f,force", "bool", "Do not prompt for confirmation"),
    ),
)
