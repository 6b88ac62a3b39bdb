"""`veneer export`, of a container or an image; `veneer container export`, `veneer image export`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed


def run(app: App, given: Parsed) -> None:
    from veneer.cli.outfile import archive_out

    with archive_out(app, given.text("output")) as out:
        app.engine.images.export(given.arguments[0], out)


def run_either(app: App, given: Parsed) -> None:
    """docker's `export` takes a container; here an image will do, where no container has the name."""
    from veneer.errors import NotFound

    try:
        app.engine.containers.get(given.arguments[0])
    except NotFound as missing:
        try:
            app.engine.images.get(given.arguments[0])
        except NotFound:
            raise missing from None
        run(app, given)
    else:
        run_container(app, given)


def run_container(app: App, given: Parsed) -> None:
    from veneer.cli.outfile import archive_out
    from veneer.engine.containers.layering import export

    container = app.engine.containers.get(given.arguments[0])
    with archive_out(app, given.text("output")) as out:
        export(app.engine, container, out)


EXPORT_EITHER = Command(
    run_either,
    "Export a container's (or an image's) filesystem as a tar archive",
    "[OPTIONS] CONTAINER|IMAGE",
    least=1,
    most=1,
    names=("export",),
    options=(Option("o,output", "string", "Write to a file, instead of STDOUT"),),
)
EXPORT_CONTAINER = Command(
    run_container,
    "Export a container's filesystem as a tar archive",
    "[OPTIONS] CONTAINER",
    least=1,
    most=1,
    names=("container export",),
    options=(Option("o,output", "string", "Write to a file, instead of STDOUT"),),
)
EXPORT = Command(
    run,
    "Export an image's filesystem as a tar archive",
    "[OPTIONS] IMAGE",
    least=1,
    most=1,
    names=("image export",),
    options=(Option("o,output", "string", "Write to a file, instead of STDOUT"),),
)
