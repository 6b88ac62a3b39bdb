"""`veneer import-store`: images out of docker's, podman's or containerd's data root."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.foreign import tell_faults
from veneer.engine.foreign import require
from veneer.progress import silent


def run(app: App, given: Parsed) -> None:
    directory, *names = given.arguments
    progress = app.progress() if app.on_terminal and not given.flag("quiet") else silent
    root = require(directory)
    tell_faults(app, root)
    for each in app.engine.images.import_store(root, names, progress=progress):
        app.line(
            f"Imported image: {each.reference.familiar}" if each.reference else f"Imported image ID: {each.image_id}"
        )


IMPORT_STORE = Command(
    run,
    "Take images out of docker's, podman's or containerd's root",
    "[OPTIONS] DIRECTORY [IMAGE...]",
    least=1,
    most=None,
    options=(Option("q,quiet", "bool", "Do not show what is going on"),),
)
