"""`veneer attach` and `veneer exec`, also below `veneer container`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.errors import NotExecutable, VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NOT_ATTACHABLE = {
    "paused": "You cannot attach to a paused container, unpause it first",
    "restarting": "You cannot attach to a restarting container, wait until it is running",
}
_STOPPED = "You cannot attach to a stopped container, start it first"


def attach(app: App, given: Parsed) -> int:
    from veneer.cli.terminal import Detached, check_tty, parsed_keys, proxy_to, session

    containers = app.engine.containers
    container = containers.get(given.arguments[0])
    found = containers.state(container)
    if found.status != "running":
        raise Failure(_NOT_ATTACHABLE.get(found.status, _STOPPED))
    config = container.document["Config"]
    reads = bool(config.get("OpenStdin")) and not given.flag("no_stdin")
    tty = bool(config.get("Tty"))
    if keys := given.text("detach_keys"):
        parsed_keys(keys)
    check_tty(stdin=reads, tty=tty)

    with containers.attach(container.id, stdin=reads) as stream:
        try:
            return session(
                stream, out=app.out, err=app.err, stdin=app.stdin.fileno() if reads else None, tty=tty,
                detach_keys=keys, proxy=proxy_to(app, container.id) if given.flag("sig_proxy") else None,
            )  # fmt: skip
        except Detached:
            return 0


def exec_(app: App, given: Parsed) -> int:
    from veneer.cli.terminal import Detached, check_tty, parsed_keys, session

    name, *words = given.arguments
    detached, tty = given.flag("detach"), given.flag("tty")
    reads = given.flag("interactive") and not detached
    if keys := given.text("detach_keys"):
        parsed_keys(keys)
    if not detached:
        check_tty(stdin=reads, tty=tty)
    try:
        stream = app.engine.containers.exec(name, _request(given, words, reads=reads, detached=detached))
    except VeneerError as error:
        return _not_executed(app, error)
    with stream:
        if detached:
            return 0
        try:
            return session(stream, out=app.out, err=app.err, stdin=app.stdin.fileno() if reads else None, tty=tty,
                           detach_keys=keys)  # fmt: skip
        except Detached:
            return 0


def _not_executed(app: App, error: VeneerError) -> int:
    """As with docker, whatever is wrong with the command itself is 126, and not ours."""
    from veneer.cli.main import say
    from veneer.run.failures import ContainerFailed
    from veneer.run.monitor.assembly import BadWorkingDirectory
    from veneer.run.users import UnknownUser

    if not isinstance(error, ContainerFailed | BadWorkingDirectory | UnknownUser):
        raise error
    say(app, error)
    return NotExecutable.exit_code


def _request(given: Parsed, words: list[str], *, reads: bool, detached: bool) -> dict[str, Any]:
    """Docker's ExecConfig."""
    made: dict[str, Any] = {
        "Cmd": words, "User": given.text("user"), "WorkingDir": given.text("workdir"),
        "Privileged": given.flag("privileged"), "Tty": given.flag("tty"), "Detach": detached, "AttachStdin": reads,
        "AttachStdout": not detached, "AttachStderr": not detached, "Env": _environment(given),
    }  # fmt: skip
    if made["Tty"]:
        from veneer.cli.terminal import size

        made["ConsoleSize"] = size()
    return made


def _environment(given: Parsed) -> list[str]:
    if not given.texts("env") and not given.texts("env_file"):
        return []
    from veneer.cli.container_files import environment
    from veneer.config import environment as outside

    return environment(given.texts("env_file"), given.texts("env"), outside())


_KEYS = Option("detach-keys", "string", "Override the key sequence for detaching a container")

ATTACH = Command(
    attach,
    "Attach local standard input, output, and error streams to a running container",
    "[OPTIONS] CONTAINER",
    least=1,
    most=1,
    names=("container attach", "attach"),
    options=(
        _KEYS,
        Option("no-stdin", "bool", "Do not attach STDIN"),
        Option("sig-proxy", "bool", "Proxy all received signals to the process", default=True, shown_default="true"),
    ),
)
EXEC = Command(
    exec_,
    "Execute a command in a running container",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    least=2,
    most=None,
    names=("container exec", "exec"),
    options=(
        Option("d,detach", "bool", "Detached mode: run command in the background"),
        _KEYS,
        Option("e,env", "list", "Set environment variables", many=True),
        Option("env-file", "list", "Read in a file of environment variables", many=True),
        Option("i,interactive", "bool", "Keep STDIN open even if not attached"),
        Option("privileged", "bool", "Give extended privileges to the command"),
        Option("t,tty", "bool", "Allocate a pseudo-TTY"),
        Option("u,user", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        Option("w,workdir", "string", "Working directory inside the container"),
    ),
    interspersed=False,
)
