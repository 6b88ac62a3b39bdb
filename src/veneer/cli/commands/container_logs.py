"""`veneer logs`, `veneer container logs`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from veneer.engine.containers.logs import Line


def run(app: App, given: Parsed) -> None:
    tail = given.text("tail")
    lines = app.engine.containers.logs(
        given.arguments[0], since=moment(app, given, "since"), until=moment(app, given, "until"),
        # Anything but a number stands for all, as with docker.
        tail=int(tail) if tail.isdigit() else None, follow=given.flag("follow"),
    )  # fmt: skip
    buffers = {1: app.binary_out(), 2: app.err.buffer}
    before = _before(timestamps=given.flag("timestamps"), details=given.flag("details"))
    follows = given.flag("follow")
    # What a container printed is given back byte for byte; who follows sees it at once.
    last = 0
    for line in lines:
        if line.stream != last and last:
            buffers[last].flush()
        last = line.stream
        buffers[last].write((before(line) + line.text).encode("utf-8", "surrogateescape"))
        if follows:
            buffers[last].flush()
    for buffer in buffers.values():
        buffer.flush()


def _before(*, timestamps: bool, details: bool) -> Callable[[Line], str]:
    def before(line: Line) -> str:
        text = nanoseconds(line.time) + " " if timestamps else ""
        if details:
            text += ",".join(f"{name}={line.attributes[name]}" for name in sorted(line.attributes)) + " "
        return text

    return before


def nanoseconds(time: str) -> str:
    """A time with all of its nine digits."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}Z"


def moment(app: App, given: Parsed, key: str) -> float | None:
    """The Unix seconds of an option that names a time, or how long ago it was; None if it was not given."""
    if not given.text(key):
        return None
    from veneer.store.filters import InvalidFilter
    from veneer.store.filters import moment as parsed

    try:
        return parsed(given.text(key), app.now)
    except InvalidFilter as error:
        raise Failure(f'invalid value for "{key}": {error.message}') from None


LOGS = Command(
    run,
    "Fetch the logs of a container",
    "[OPTIONS] CONTAINER",
    least=1,
    most=1,
    names=("container logs", "logs"),
    options=(
        Option("details", "bool", "Show extra details provided to logs"),
        Option("f,follow", "bool", "Follow log output"),
        Option(
            "since",
            "string",
            'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
        ),
        Option("n,tail", "string", "Number of lines to show from the end of the logs", shown_default='"all"'),
        Option("t,timestamps", "bool", "Show timestamps"),
        Option(
            "until",
            "string",
            'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
        ),
    ),
    only_looks=True,
)
