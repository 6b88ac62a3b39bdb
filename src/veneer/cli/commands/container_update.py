"""`veneer update`, `veneer container update`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.container_flags import resources
from veneer.cli.container_options import OPTIONS
from veneer.cli.flags import Parsed
from veneer.cli.several import for_each
from veneer.engine.containers import spelling

_CHANGED = (
    "blkio-weight", "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "memory",
    "memory-reservation", "memory-swap", "pids-limit", "restart",
)  # fmt: skip
"""Those options of `run` that may be changed later."""


def run(app: App, given: Parsed) -> int:
    changes = resources(given)
    if "restart" in given.given:
        changes["RestartPolicy"] = spelling.restart_policy(given.text("restart"))
    if not changes:
        raise Failure("you must provide one or more flags when using this command")
    return for_each(app, given.arguments, lambda name: app.engine.containers.update(name, changes))


UPDATE = Command(
    run,
    "Update configuration of one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    least=1,
    most=None,
    names=("container update", "update"),
    options=tuple(option for option in OPTIONS if option.long in _CHANGED),
)
