"""`veneer diff`, `commit`, `container layers`, `snapshot`, `reset`: what a container has written."""

from __future__ import annotations

import os

from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.containers.layering import StackedLayer


def diff(app: App, given: Parsed) -> None:
    from veneer.engine.containers.layering import changes

    for change in changes(app.engine, app.engine.containers.get(given.arguments[0])):
        app.line(f"{change.kind} {os.fsdecode(change.path)}")


def commit(app: App, given: Parsed) -> None:
    from veneer.engine.containers.layering import commit as committed

    container = app.engine.containers.get(given.arguments[0])
    made = committed(
        app.engine, container, author=given.text("author"), message=given.text("message"),
        changes=given.texts("change"), pause=given.flag("pause"), tag=given.arguments[1] if given.arguments[1:] else "",
    )  # fmt: skip
    app.line(str(made))


def snapshot(app: App, given: Parsed) -> None:
    from veneer.engine.containers.layering import snapshot as made

    app.line(str(made(app.engine, app.engine.containers.get(given.arguments[0]), given.arguments[1])))


def reset(app: App, given: Parsed) -> int:
    from veneer.cli.several import for_each
    from veneer.cli.units import human_size
    from veneer.engine.containers.layering import reset as dropped

    def one(name: str) -> str:
        return f"{name}: dropped {human_size(dropped(app.engine, app.engine.containers.get(name)))}"

    return for_each(app, given.arguments, one)


def layers(app: App, given: Parsed) -> None:
    from veneer.engine.containers.layering import layers as stacked

    stack = stacked(app.engine, app.engine.containers.get(given.arguments[0]))
    shown = _listing(truncate=not given.flag("no_trunc"))
    if given.flag("quiet"):
        for layer in stack:
            app.line(shown.columns["ID"].text(layer))
        return
    shown.show(app, stack, given.text("format"), ("Kind", "ID", "Size", "Files", "CreatedBy", "Directory"))


def _listing(*, truncate: bool) -> Listing[StackedLayer]:
    from veneer.cli.units import human_size

    def made_by(layer: StackedLayer) -> str:
        text = layer.created_by.removeprefix("/bin/sh -c #(nop) ").removeprefix("/bin/sh -c ").strip()
        return text[:44] + "…" if truncate and len(text) > 45 else text

    return Listing("*layerContext", (
        Column("Kind", "KIND", lambda layer: layer.kind),
        Column("ID", "LAYER ID", lambda layer: layer.id.removeprefix("sha256:")[:12] if truncate else layer.id),
        Column("Size", "SIZE", lambda layer: human_size(layer.size)),
        Column("Files", "FILES", lambda layer: str(layer.files) if layer.kind == "rw" else ""),
        Column("CreatedBy", "CREATED BY", made_by),
        Column("Directory", "DIRECTORY", lambda layer: layer.directory),
    ))  # fmt: skip


DIFF = Command(
    diff, "Inspect changes to files or directories on a container's filesystem", "CONTAINER", least=1, most=1,
    names=("container diff", "diff"),
)  # fmt: skip
COMMIT = Command(
    commit,
    "Create a new image from a container's changes",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    least=1,
    most=2,
    names=("container commit", "commit"),
    options=(
        Option("a,author", "string", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Option("c,change", "list", "Apply Dockerfile instruction to the created image", many=True),
        Option("m,message", "string", "Commit message"),
        Option("p,pause", "bool", "Pause container during commit", default=True, shown_default="true"),
    ),
)
SNAPSHOT = Command(
    snapshot, "Make an image of a container as it stands: only its own layer is written", "CONTAINER NAME[:TAG]",
    least=2, most=2, names=("container snapshot",),
)  # fmt: skip
RESET = Command(
    reset, "Drop everything that stopped containers have written", "CONTAINER [CONTAINER...]", least=1, most=None,
    names=("container reset",),
)  # fmt: skip
LAYERS = Command(
    layers,
    "Show the stack of a container: its image's layers, then its own",
    "[OPTIONS] CONTAINER",
    least=1,
    most=1,
    names=("container layers",),
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("no-trunc", "bool", "Don't truncate output"),
        Option("q,quiet", "bool", "Only show layer IDs"),
    ),
)
