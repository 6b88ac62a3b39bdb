"""`veneer stop`, `restart`, `kill`, `pause`, `unpause`, `wait`, and all of them below `veneer container`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.several import for_each


def whole_number(text: str) -> None:
    """Raise ValueError in pflag's words for what is no number."""
    try:
        int(text)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def _timeout(given: Parsed) -> float | None:
    """Seconds; None for the container's own."""
    return float(given.text("time")) if "time" in given.given else None


def stop(app: App, given: Parsed) -> int:
    containers, seconds, signal = app.engine.containers, _timeout(given), given.text("signal")
    return for_each(app, given.arguments, lambda name: containers.stop(name, seconds, signal=signal), at_once=True)


def restart(app: App, given: Parsed) -> int:
    containers, seconds, signal = app.engine.containers, _timeout(given), given.text("signal")
    return for_each(app, given.arguments, lambda name: containers.restart(name, seconds, signal=signal))


def kill(app: App, given: Parsed) -> int:
    containers, signal = app.engine.containers, given.text("signal") or "KILL"
    return for_each(app, given.arguments, lambda name: containers.kill(name, signal))


def pause(app: App, given: Parsed) -> int:
    return for_each(app, given.arguments, app.engine.containers.pause)


def unpause(app: App, given: Parsed) -> int:
    return for_each(app, given.arguments, app.engine.containers.unpause)


def wait(app: App, given: Parsed) -> int:
    containers = app.engine.containers
    return for_each(app, given.arguments, lambda name: str(containers.wait(name)))


_SEVERAL = "CONTAINER [CONTAINER...]"
_SIGNAL = Option("s,signal", "string", "Signal to send to the container")
_TIME = Option("t,time", "int", "Seconds to wait before killing the container", check=whole_number)

STOP = Command(
    stop,
    "Stop one or more running containers",
    f"[OPTIONS] {_SEVERAL}",
    least=1,
    most=None,
    names=("container stop", "stop"),
    options=(_SIGNAL, _TIME),
)
RESTART = Command(
    restart,
    "Restart one or more containers",
    f"[OPTIONS] {_SEVERAL}",
    least=1,
    most=None,
    names=("container restart", "restart"),
    options=(_SIGNAL, _TIME),
)
KILL = Command(
    kill,
    "Kill one or more running containers",
    f"[OPTIONS] {_SEVERAL}",
    least=1,
    most=None,
    names=("container kill", "kill"),
    options=(_SIGNAL,),
)
PAUSE = Command(
    pause,
    "Pause all processes within one or more containers",
    _SEVERAL,
    least=1,
    most=None,
    names=("container pause", "pause"),
)
UNPAUSE = Command(
    unpause,
    "Unpause all processes within one or more containers",
    _SEVERAL,
    least=1,
    most=None,
    names=("container unpause", "unpause"),
)
WAIT = Command(
    wait,
    "Block until one or more containers stop, then print their exit codes",
    _SEVERAL,
    least=1,
    most=None,
    names=("container wait", "wait"),
)
