"""`veneer import-store`: images out of docker's, podman's or containerd's data root."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.foreign import tell_faults
from veneer.engine.foreign import require
from veneer.progress import silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.errors import VeneerError


def run(app: App, given: Parsed) -> int:
    directory, *names = given.arguments
    progress = app.progress() if app.on_terminal and not given.flag("quiet") else silent
    root = require(directory)
    tell_faults(app, root)
    failed: list[str] = []

    def broken(name: str, error: VeneerError) -> None:
        failed.append(name)
        app.warn(f"Error: {name}: {error.message}")
        if error.hint:
            app.hint(error.hint)

    for each in app.engine.images.import_store(root, names, progress=progress, broken=broken):
        app.line(
            f"Imported image: {each.reference.familiar}" if each.reference else f"Imported image ID: {each.image_id}"
        )
    return 1 if failed else 0


IMPORT_STORE = Command(
    run,
    "Take images out of docker's, podman's or containerd's root",
    "[OPTIONS] DIRECTORY [IMAGE...]",
    least=1,
    most=None,
    options=(Option("q,quiet", "bool", "Do not show what is going on"),),
)
