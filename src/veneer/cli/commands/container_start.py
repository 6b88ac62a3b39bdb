"""`veneer start`, `veneer container start`."""

from __future__ import annotations

import contextlib
import os

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.several import for_each
from veneer.errors import NotModified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.run.monitor.stream import Stream
    from veneer.store.containers import Container

_POLICY = "restart-policy"


def start(app: App, given: Parsed) -> int:
    if given.flag("all") or given.texts("filter"):
        if given.arguments or given.flag("attach") or given.flag("interactive"):
            raise Failure("--all and --filter choose the containers: name none, and attach to none")
        return _start_all(app, given)
    if not given.arguments:
        from veneer.cli.usage import wrong_count

        raise wrong_count(app.path, START.usage, "requires at least 1 argument")
    if given.flag("attach") or given.flag("interactive"):
        if len(given.arguments) > 1:
            raise Failure("you cannot start and attach multiple containers at once")
        return _attached(app, given)

    def one(name: str) -> None:
        with contextlib.suppress(NotModified):  # docker also says nothing of one that runs
            app.engine.containers.start(name)

    return for_each(app, given.arguments, one, ending="Error: failed to start containers: ")


def _start_all(app: App, given: Parsed) -> int:
    """Those that do not run; with a restart policy to look for, those that it would have go on after a boot."""
    filters = given.filters("filter")
    if unknown := [name for name in filters if name != _POLICY]:
        raise Failure(f"invalid filter '{unknown[0]}'")
    chosen = [each.name for each in app.engine.containers.to_start(filters.get(_POLICY, ()))]
    return for_each(app, chosen, app.engine.containers.start, ending="Error: failed to start containers: ")  # type: ignore[arg-type]


def _attached(app: App, given: Parsed) -> int:
    from veneer.cli.terminal import Detached, check_tty, parsed_keys, proxy_to, session
    from veneer.run.monitor import state

    container = app.engine.containers.get(given.arguments[0])
    config = container.document["Config"]
    reads = given.flag("interactive") and bool(config.get("OpenStdin"))
    tty = bool(config.get("Tty"))
    if keys := given.text("detach_keys"):
        parsed_keys(keys)
    check_tty(stdin=reads, tty=tty)
    removes = bool(container.document["HostConfig"].get("AutoRemove"))
    with contextlib.ExitStack() as stack:
        if removes:
            held = state.hold(app.engine.store.containers.folder(container.id), state.CARETAKER)
            if held is not None:
                stack.callback(os.close, held)
        stream = stack.enter_context(_stream(app, container, stdin=reads))
        try:
            code = session(
                stream,
                out=app.out,
                err=app.err,
                stdin=app.stdin.fileno() if reads else None,
                tty=tty,
                detach_keys=keys,
                proxy=proxy_to(app, container.id) if given.flag("sig_proxy") else None,
            )
        except Detached:
            return 0
        if removes:
            app.engine.containers.remove(container.id, force=True, volumes=True)
    return code


def _stream(app: App, container: Container, *, stdin: bool) -> Stream:
    from veneer.run.monitor.stream import Streams

    containers = app.engine.containers
    try:
        stream = containers.start(container.id, attach=Streams(stdin, True, True))
    except NotModified:
        return containers.attach(container.id, stdin=stdin)
    assert stream is not None
    return stream


START = Command(
    start,
    "Start one or more stopped containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    most=None,
    names=("container start", "start"),
    options=(
        Option("all", "bool", "Start all containers that do not run"),
        Option("a,attach", "bool", "Attach STDOUT/STDERR and forward signals"),
        Option("detach-keys", "string", "Override the key sequence for detaching a container"),
        Option("filter", "filter", "With --all, only those with this restart-policy, as after a boot", many=True),
        Option("i,interactive", "bool", "Attach container's STDIN"),
        Option("sig-proxy", "bool", "Proxy received signals to the process", default=True, hidden=True),
    ),
)
