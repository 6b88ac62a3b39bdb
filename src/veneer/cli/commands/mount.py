"""`veneer mount` and `veneer unmount`: an image or a container at a directory."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.units import ago, local_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.store.mounts import HeldMount


def run(app: App, given: Parsed) -> None:
    """Mount, or list what is mounted."""
    if not given.arguments:
        mounts = app.engine.mounts.list()
        _listing(app).show(app, mounts, given.text("format"), ("Target", "Shown", "Kind", "Mode", "Driver", "Created"))
        for each in app.engine.mounts.dead(mounts):
            app.warn(f"Warning: {each.target} is served by nobody any more: its FUSE server was killed")
            app.hint(f"veneer unmount {each.target}, and mount it again")
        return
    if len(given.arguments) == 1:
        from veneer.cli.usage import wrong_count

        raise wrong_count(app.path, MOUNT.usage, "requires 2 arguments, or none")
    name, directory = given.arguments
    made = app.engine.mounts.add(name, directory, writable=given.flag("rw"), ids=given.texts("idmap"))
    app.line(made.target)
    if not made.lease:
        app.warn(f"Warning: {app.engine.config.root} is read-only: the mount is in no list, and umount(8) undoes it")


def run_unmount(app: App, given: Parsed) -> None:
    """Unmount each directory, or whatever is mounted here."""
    if given.flag("all") == bool(given.arguments):
        from veneer.cli.usage import wrong_count

        problem = "requires directories or --all, and not both" if given.arguments else "requires at least 1 argument"
        raise wrong_count(app.path, UNMOUNT.usage, problem)
    if given.flag("all"):
        for held in app.engine.mounts.remove_all(lazy=given.flag("lazy")):
            app.line(held.target)
    for directory in given.arguments:
        app.line(app.engine.mounts.remove(directory, lazy=given.flag("lazy")).target)


def _listing(app: App) -> Listing[HeldMount]:
    return Listing("mount", (
        Column("Target", "TARGET", lambda held: held.target),
        Column("Shown", "SHOWS", lambda held: held.shown),
        Column("Kind", "KIND", lambda held: held.kind),
        Column("Mode", "MODE", lambda held: "rw" if held.writable else "ro"),
        Column("Driver", "DRIVER", lambda held: held.driver),
        Column("ChainID", "CHAIN ID", lambda held: str(held.top or "")),
        Column("Namespace", "NAMESPACE", lambda held: str(held.place.namespace)),
        Column("Created", "MOUNTED", lambda held: ago(held.created, app.now)),
        Column("CreatedAt", "MOUNTED AT", lambda held: local_rfc3339(held.created)),
    ))  # fmt: skip


MOUNT = Command(
    run,
    "Mount the merged file system of an image or container, or list what is mounted",
    "[OPTIONS] [IMAGE|CONTAINER DIRECTORY]",
    most=2,
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("idmap", "list", "Show the files of these owners as others': INSIDE:OUTSIDE:COUNT", many=True),
        Option("rw", "bool", "Let it be written to: what is written goes away with the mount"),
    ),
    only_looks=True,  # a namespace of the command's own would take the mount with it
)
UNMOUNT = Command(
    run_unmount,
    "Unmount what was mounted by veneer mount",
    "[OPTIONS] [DIRECTORY...]",
    names=("unmount", "umount"),
    most=None,
    options=(
        Option("a,all", "bool", "Whatever was mounted in this mount namespace"),
        Option("l,lazy", "bool", "Even if somebody is in it: it ends when the last one has left"),
    ),
    only_looks=True,
)
