"""`veneer run`, `veneer create`, and both below `veneer container`."""

from __future__ import annotations

import contextlib
import os

from veneer.cli.app import USAGE_EXIT, App, Failure
from veneer.cli.command import Command
from veneer.cli.container_options import CREATE_OPTIONS, RUN_OPTIONS
from veneer.cli.flags import Parsed
from veneer.errors import CommandMissing, NotExecutable, NotFound, VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from veneer.engine.containers.creating import ContainerRequest
    from veneer.run.monitor.launch import Launch
    from veneer.run.monitor.stream import Stream, Streams
    from veneer.store.containers import Container

FAILED = 125
"""docker's exit status for what is the engine's failure, not the container's."""


def create(app: App, given: Parsed) -> int:
    from veneer.cli.container_flags import request
    from veneer.config import environment

    with _cid_file(given, code=1) as write:
        made = _made(app, request(given, environment(), detached=False), quiet=given.flag("quiet"))
        _warn(app, made)
        write(made.id)
    app.line(made.id)
    return 0


def run(app: App, given: Parsed) -> int:
    from veneer.run.monitor.launch import Launch

    try:
        # Its interpreter starts while we find out what it is to do.
        with Launch(by_fork=app.may_fork) as launch:
            return _run(app, given, launch)
    except (CommandMissing, NotExecutable):
        raise
    except VeneerError as error:
        from veneer.cli.terminal import NotATerminal

        if isinstance(error, NotATerminal):
            raise
        from veneer.cli.main import say

        say(app, error)
        return FAILED


def _run(app: App, given: Parsed, launch: Launch) -> int:
    from veneer.cli.container_flags import request
    from veneer.cli.terminal import check_tty, parsed_keys
    from veneer.config import environment

    detached = given.flag("detach")
    wanted = request(given, environment(), detached=detached)
    keys = given.text("detach_keys")
    if keys:
        parsed_keys(keys)
    if not detached:
        check_tty(stdin=bool(wanted.config["AttachStdin"]), tty=bool(wanted.config["Tty"]))
    with contextlib.ExitStack() as stack:
        with _cid_file(given) as write:
            if wanted.host_config["AutoRemove"]:
                from veneer.engine.containers.leftovers import being_run

                wanted = stack.enter_context(being_run(app.engine.store, wanted))
            container = _made(app, wanted, quiet=given.flag("quiet"))
            _warn(app, container)
            write(container.id)
        if detached:
            _started(app, container, launch)
            app.line(container.id)
            return 0
        return _foreground(app, given, container, launch)


def _foreground(app: App, given: Parsed, container: Container, launch: Launch) -> int:
    from veneer.cli.terminal import Detached, session
    from veneer.run.monitor import state
    from veneer.run.monitor.stream import Streams

    config, host = container.document["Config"], container.document["HostConfig"]
    streams = Streams(config["AttachStdin"], config["AttachStdout"], config["AttachStderr"])
    folder = app.engine.store.containers.folder(container.id)
    with contextlib.ExitStack() as stack:
        if host["AutoRemove"]:
            # While we hold this the removal is ours; if we are killed the kernel lets go, and it is the monitor's.
            held = state.hold(folder, state.CARETAKER)
            if held is not None:
                stack.callback(os.close, held)
        stream = _started(app, container, launch, streams)
        assert stream is not None
        stack.enter_context(stream)
        try:
            code = session(
                stream, out=app.out, err=app.err, stdin=app.stdin.fileno() if streams.stdin else None,
                tty=config["Tty"], detach_keys=given.text("detach_keys"),
                proxy=(lambda number: _pass_on(app, container, number)) if given.flag("sig_proxy") else None,
            )  # fmt: skip
        except Detached:
            return 0
        if host["AutoRemove"]:
            app.engine.containers.remove(container.id, force=True, volumes=True)
    return code


def _started(app: App, container: Container, launch: Launch, streams: Streams | None = None) -> Stream | None:
    """Start it; one that cannot be started is removed again if it was to be removed at its end."""
    try:
        return app.engine.containers.start(container.id, launch=launch, attach=streams)
    except VeneerError:
        if container.document["HostConfig"]["AutoRemove"]:
            app.engine.containers.remove(container.id, force=True, volumes=True)
        raise


def _pass_on(app: App, container: Container, number: int) -> None:
    from veneer.errors import Conflict

    with contextlib.suppress(Conflict, NotFound):  # it has just ended
        app.engine.containers.kill(container.id, str(number))


def _made(app: App, wanted: ContainerRequest, *, quiet: bool) -> Container:
    from veneer.progress import silent

    if quiet or wanted.pull == "never":
        return app.engine.containers.create(wanted, progress=silent)
    # What is pulled is told on standard error: standard output is the container's.
    from veneer.cli.progress import Lines

    missing = wanted.pull == "missing" and not _is_here(app, wanted.image)
    if missing:
        app.warn(f"Unable to find image '{_familiar(wanted.image)}' locally")
    if not missing and wanted.pull != "always":
        return app.engine.containers.create(wanted)
    progress = Lines(app.err, live=app.err.isatty(), columns=app.columns)
    return app.engine.containers.create(wanted, progress=progress)


def _warn(app: App, container: Container) -> None:
    from veneer.engine.containers.creating import warnings

    for text in warnings(container.document["HostConfig"]):
        app.warn(f"WARNING: {text}")


def _is_here(app: App, name: str) -> bool:
    try:
        app.engine.images.get(name)
    except NotFound:
        return False
    return True


def _familiar(name: str) -> str:
    from veneer.oci.reference import Reference

    return Reference.parse(name).tagged().familiar


@contextlib.contextmanager
def _cid_file(given: Parsed, *, code: int = USAGE_EXIT) -> Iterator[Callable[[str], object]]:
    """Gives what writes the id into --cidfile, which must not be there before."""
    path = given.text("cidfile")
    if not path:
        yield lambda id: None
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Failure(
            f"Container ID file found, make sure the other container isn't running or delete {path}", code
        ) from None
    except OSError as error:
        raise Failure(f"failed to create the container ID file: open {path}: {(error.strerror or '').lower()}",
                      code) from None  # fmt: skip
    try:
        yield lambda id: os.write(fd, id.encode())
    finally:
        empty = os.fstat(fd).st_size == 0
        os.close(fd)
        if empty:
            os.unlink(path)


RUN = Command(
    run,
    "Create and run a new container from an image",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    least=1,
    most=None,
    names=("container run", "run"),
    options=RUN_OPTIONS,
    interspersed=False,
)
CREATE = Command(
    create,
    "Create a new container",
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    least=1,
    most=None,
    names=("container create", "create"),
    options=CREATE_OPTIONS,
    interspersed=False,
)
