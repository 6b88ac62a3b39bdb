"""`veneer cp`, `veneer container cp`."""

from __future__ import annotations

import contextlib
import os

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.store.containers import Container


def _split(text: str) -> tuple[str, str]:
    """A container's name and a path in it; "" and a path of the host.  A colon behind a slash is part of a path."""
    if text.startswith(("/", ".")) or text == "-":
        return "", text
    name, colon, path = text.partition(":")
    return (name, path) if colon and "/" not in name else ("", text)


def run(app: App, given: Parsed) -> None:
    (source, from_), (target, to) = (_split(word) for word in given.arguments)
    if source and target:
        raise Failure("copying between containers is not supported")
    if not source and not target:
        raise Failure("must specify at least one container source")
    if source:
        _out(app, given, source, from_, to)
    else:
        _in(app, given, target, from_, to)


def _own(given: Parsed) -> tuple[int, int] | None:
    return None if given.flag("archive") else (os.geteuid(), os.getegid())


def _out(app: App, given: Parsed, name: str, path: str, to: str) -> None:
    from veneer.engine.containers import copying

    follow = given.flag("follow_link")
    container = _found(app, name, path)
    place = path or "/"
    with copying.container_side(app.engine, container, name, place, follow=follow, reading=True) as (inside, inner):
        if to == "-":
            if app.on_terminal:
                raise Failure("refusing to write an archive to a terminal: redirect it, or name a directory")
            copying.tar_out(inside, inner, app.binary_out(), follow=follow)
            return
        with copying.host_side() as host:
            copying.copy(inside, inner, host, to, follow=follow, own=_own(given))
    _say(app, given, f"Successfully copied {name}:{path} to {to}")


def _in(app: App, given: Parsed, name: str, from_: str, path: str) -> None:
    from veneer.engine.containers import copying

    container = _found(app, name, path)
    if not path:
        raise Failure("no such directory: name a path in the container")
    if from_ == "-":
        from veneer.engine.containers import spooling

        spooling.tar_in(app.engine, container, name, path, app.binary_in())
        return
    with copying.container_side(app.engine, container, name, path) as (inside, inner):
        copying.check_writable(inside)
        with copying.host_side() as host:
            copying.copy(host, from_, inside, inner, follow=given.flag("follow_link"), own=None)
    _say(app, given, f"Successfully copied {from_} to {name}:{path}")


def _found(app: App, name: str, path: str) -> Container:
    from veneer.errors import NotFound

    try:
        found = app.engine.containers.get(name)
        app.enter_namespace(found.id)
        return found
    except NotFound:
        raise Failure(
            f"No such container:path: {name}:{path or '/'}",
            hint=f"there is no container {name}: veneer ps --all lists those there are",
        ) from None


def _say(app: App, given: Parsed, text: str) -> None:
    # docker says so on a terminal only.
    if not given.flag("quiet") and app.err.isatty():
        with contextlib.suppress(BrokenPipeError):
            app.warn(text)


COPY = Command(
    run,
    """Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.""",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-",
    least=2,
    most=2,
    names=("container cp", "cp"),
    only_looks=True,  # until it is known whether the container runs, and in which namespace
    options=(
        Option("a,archive", "bool", "Archive mode (copy all uid/gid information)"),
        Option("L,follow-link", "bool", "Always follow symbol link in SRC_PATH"),
        Option("q,quiet", "bool", "Suppress progress output during copy. Progress output is automatically suppressed"
               " if no terminal is attached"),
    ),
)  # fmt: skip
