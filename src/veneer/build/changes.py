"""Dockerfile instructions given on a command line: `import --change 'CMD ["sh"]'`.

Only what changes the run configuration may be given.  Source: moby builder/dockerfile BuildFromConfig.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from veneer.build import state as s
from veneer.build.language import instructions as i
from veneer.build.language.errors import DockerfileError, Syntax
from veneer.build.language.parser import CHANGES, trigger
from veneer.build.language.resolve import resolve
from veneer.build.runconfig import RunConfig
from veneer.errors import InvalidRequest

_KEYS = {
    "user": "User", "ports": "ExposedPorts", "env": "Env", "cmd": "Cmd", "healthcheck": "Healthcheck",
    "volumes": "Volumes", "working_dir": "WorkingDir", "entrypoint": "Entrypoint", "onbuild": "OnBuild",
    "labels": "Labels", "stop_signal": "StopSignal", "shell": "Shell",
}  # fmt: skip


class InvalidInstruction(InvalidRequest):
    """A change that is no instruction, or one that cannot be given here."""


def instructions() -> tuple[str, ...]:
    """The instructions that may be given."""
    return CHANGES


def apply_changes(run: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """`run` after each instruction in order.  Raises InvalidInstruction, naming it."""
    result = dict(run)
    before = RunConfig.from_json(run)
    state = s.BuildState(before, s.Scope({}, {}))
    for change in changes:
        for line in filter(None, map(str.strip, change.replace("\\\n", "").splitlines())):
            state = _applied(state, line)
    after = state.run
    for name, key in _KEYS.items():
        if getattr(before, name) != getattr(after, name):
            written = after.to_json().get(key)
            if written is None:
                result.pop(key, None)
            else:
                result[key] = written
    return result


def _applied(state: s.BuildState, line: str) -> s.BuildState:
    try:
        step = resolve(trigger(line, what="change", allowed=CHANGES), state.names)
        if isinstance(step, i.Workdir):
            return s.workdir(state, step)[0]
        return s.apply(state, step)[0]
    except DockerfileError as error:
        raise InvalidInstruction(error.message, hint=error.hint) from None
    except (Syntax, s.InvalidStep) as error:
        raise InvalidInstruction(f"{error.message}: {line}", hint=error.hint) from None
