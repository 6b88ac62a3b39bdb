"""`veneer load`, `veneer image load`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.progress import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.distribution.archive_load import Loaded


def run(app: App, given: Parsed) -> None:
    source = given.text("input")
    platform = given.text("platform") or None
    # docker shows layers only to people: a file or pipe gets the results alone.
    progress = app.progress() if app.on_terminal and not given.flag("quiet") else silent
    images = app.engine.images
    if not source and app.stdin.isatty():
        raise Failure("requested load from stdin, but stdin is empty")
    if not source or source == "-":
        show(app, images.load(app.binary_in(), platform=platform, progress=progress))
    elif Path(source).is_dir():
        show(app, images.load(Path(source), platform=platform, progress=progress))
    else:
        with open(source, "rb") as archive:
            show(app, images.load(archive, platform=platform, progress=progress))


def show(app: App, loaded: Sequence[Loaded]) -> None:
    """A line for each name that came in or moved, and for each image that came without one."""
    for each in loaded:
        if each.reference and each.replaced and each.replaced != each.image_id:
            app.line(
                f"The image {each.reference.familiar} already exists, renaming the old one with ID {each.replaced} "
                "to empty string"
            )
        if each.reference:
            app.line(f"Loaded image: {each.reference.familiar}")
    # As docker: if the last image of the archive has no name, every image is listed by its ID, else those that need it.
    everything = bool(loaded) and loaded[-1].reference is None
    for image_id in dict.fromkeys(each.image_id for each in loaded if everything or not each.reference):
        app.line(f"Loaded image ID: {image_id}")


LOAD = Command(
    run,
    "Load an image from a tar archive or STDIN",
    "[OPTIONS]",
    names=("image load", "load"),
    options=(
        Option("i,input", "string", "Read from tar archive file or OCI layout directory, instead of STDIN"),
        Option("platform", "string", "Load only the given platform variant"),
        Option("q,quiet", "bool", "Suppress the load output"),
    ),
)
