"""`veneer export`, `veneer image export`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed


def run(app: App, given: Parsed) -> None:
    from veneer.cli.outfile import archive_out

    with archive_out(app, given.text("output")) as out:
        app.engine.images.export(given.arguments[0], out)


EXPORT = Command(
    run,
    "Export an image's filesystem as a tar archive",
    "[OPTIONS] IMAGE",
    least=1,
    most=1,
    names=("image export", "export"),
    options=(Option("o,output", "string", "Write to a file, instead of STDOUT"),),
)
