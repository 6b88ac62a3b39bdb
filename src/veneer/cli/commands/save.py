"""`veneer save`, `veneer image save`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed

FORMATS = ("docker", "oci", "docker-legacy")


def run(app: App, given: Parsed) -> None:
    from veneer.cli.outfile import archive_out

    format = given.text("format") or FORMATS[0]
    if format not in FORMATS:
        raise Failure(f"no archive format {format!r}: there are {', '.join(FORMATS)}")
    with archive_out(app, given.text("output")) as out:
        app.engine.images.save(given.arguments, out, format=format)


SAVE = Command(
    run,
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    "[OPTIONS] IMAGE [IMAGE...]",
    least=1,
    most=None,
    names=("image save", "save"),
    options=(
        Option("format", "string", 'Layout of the archive: "docker" (read by every docker), "oci" or "docker-legacy"',
               shown_default='"docker"'),
        Option("o,output", "string", "Write to a file, instead of STDOUT"),
    ),
)  # fmt: skip
