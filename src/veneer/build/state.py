"""What a build knows between two steps, and what each instruction makes of it: pure functions, nothing touched.

`apply` takes a state and an instruction whose words are resolved already, and gives the next state with the text
docker's classic builder writes into the history.  Sources: moby builder/dockerfile/{dispatchers,buildargs}.go; where
outcomes differ BuildKit's counts: frontend/dockerfile/dockerfile2llb/convert.go.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence

from veneer.build import classic
from veneer.build.language import instructions as i
from veneer.build.language.ports import exposed_ports
from veneer.build.language.quoting import quoted_list
from veneer.build.language.signals import check_signal
from veneer.build.runconfig import RunConfig
from veneer.errors import InvalidRequest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
PROXIES = frozenset(name for word in _PROXIES for name in (word, word.upper()))
"""Arguments every step may see without an ARG, and that are no reason to do one again."""


class InvalidStep(InvalidRequest):
    """An instruction that is well-formed and still cannot be carried out."""


class Scope(Value):
    """Where ARG values come from: `given` on the command line, `meta` from before the first FROM, and `declared` in
    the stage, as names with their defaults (None: none)."""

    given: Mapping[str, str]
    meta: Mapping[str, str]
    declared: tuple[tuple[str, str | None], ...] = ()

    def value(self, name: str, default: str | None) -> str | None:
        if name in self.given:
            return self.given[name]
        return self.meta.get(name) if default is None else default

    def declare(self, pairs: Iterable[tuple[str, str | None]]) -> Scope:
        """The scope after `ARG name[=default]`."""
        return self.replaced(declared=tuple({**dict(self.declared), **dict(pairs)}.items()))

    def visible(self, env: Sequence[str]) -> dict[str, str]:
        """Names and values a step sees beside `env`, which wins."""
        found = {name: value for name, default in self.declared if (value := self.value(name, default)) is not None}
        for name in PROXIES & self.given.keys():
            found.setdefault(name, self.given[name])
        taken = {pair.partition("=")[0] for pair in env}
        return {name: value for name, value in found.items() if name not in taken}

    def shown(self, env: Sequence[str]) -> dict[str, str]:
        """Those that stand in a RUN's history, and decide whether it is done again: what the stage declared."""
        declared = dict(self.declared)
        return {name: value for name, value in self.visible(env).items() if name in declared}


class BuildState(Value):
    """`run` is the configuration the next image gets; `author` is MAINTAINER's; `has_cmd`: CMD stands in this stage;
    `escape` is the Dockerfile's."""

    run: RunConfig
    scope: Scope
    author: str = ""
    has_cmd: bool = False
    escape: str = "\\"

    @property
    def names(self) -> dict[str, str]:
        """What `${...}` may stand for here."""
        env = dict(pair.partition("=")[::2] for pair in self.run.env)
        return {**self.scope.visible(self.run.env), **env}

    def with_run(self, **changes: Any) -> BuildState:
        return self.replaced(run=self.run.replaced(**changes))


Applied = tuple[BuildState, str]


def apply(state: BuildState, step: i.Instruction) -> Applied:
    """The state after a step that needs no files, and its history text without shell and mark.

    Raises InvalidStep, Syntax.
    """
    return _APPLIED[type(step)](state, step)


def is_metadata(step: i.Instruction) -> bool:
    """Whether `apply` takes it: everything but RUN, COPY, ADD and WORKDIR (which also makes a directory)."""
    return type(step) in _APPLIED


def merged_env(present: Sequence[str], added: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """`present` with pairs replaced in their places, or put at the end."""
    env = list(present)
    places: dict[str, int] = {}
    for place, pair in enumerate(env):
        places.setdefault(pair.partition("=")[0], place)
    for name, value in added:
        place = places.setdefault(name, len(env))
        env[place : place + 1] = [f"{name}={value}"]
    return tuple(env)


def _env(state: BuildState, step: i.Env) -> Applied:
    if any(not name for name, _ in step.pairs):
        raise InvalidStep("ENV names can not be blank")
    shown = "".join(f" {name}={value}" for name, value in step.pairs)
    return state.with_run(env=merged_env(state.run.env, step.pairs)), f"ENV{shown}"


def _label(state: BuildState, step: i.Label) -> Applied:
    if any(not name for name, _ in step.pairs):
        raise InvalidStep("LABEL names can not be blank")
    shown = "".join(f" {name}={value}" for name, value in step.pairs)
    labels = {**dict(state.run.labels or ()), **dict(step.pairs)}
    return state.with_run(labels=tuple(labels.items())), f"LABEL{shown}"


def _arg(state: BuildState, step: i.Arg) -> Applied:
    shown = "".join(f" {name}" if value is None else f" {name}={value}" for name, value in step.pairs)
    return state.replaced(scope=state.scope.declare(step.pairs)), f"ARG{shown}"


def command_line(run: RunConfig, command: i.Command) -> tuple[str, ...]:
    """The words a command stands for, with the shell before a shell form."""
    return (*(run.shell or classic.DEFAULT_SHELL), *command.words) if command.shell else command.words


def _cmd(state: BuildState, step: i.Cmd) -> Applied:
    words = command_line(state.run, step.command)
    made = state.with_run(cmd=words).replaced(has_cmd=state.has_cmd or bool(step.command.words))
    return made, f"CMD {quoted_list(words)}"


def _entrypoint(state: BuildState, step: i.Entrypoint) -> Applied:
    words = command_line(state.run, step.command)
    # An inherited command was meant for another entry point.
    made = state.with_run(entrypoint=words, cmd=state.run.cmd if state.has_cmd else None)
    return made, f"ENTRYPOINT {quoted_list(words)}"


def _expose(state: BuildState, step: i.Expose) -> Applied:
    ports = {*(state.run.ports or ()), *exposed_ports(step.words)}
    return state.with_run(ports=tuple(sorted(ports))), f"EXPOSE {' '.join(step.words)}"


def _volume(state: BuildState, step: i.Volume) -> Applied:
    paths = [path.strip() for path in step.paths]
    if not all(paths):
        raise InvalidStep("VOLUME specified can not be an empty string")
    volumes = tuple(sorted({*(state.run.volumes or ()), *paths}))
    return state.with_run(volumes=volumes), f"VOLUME {classic.plain_list(step.paths)}"


def _user(state: BuildState, step: i.User) -> Applied:
    return state.with_run(user=step.user), f"USER {step.user}"


def _stopsignal(state: BuildState, step: i.StopSignal) -> Applied:
    check_signal(step.signal)
    return state.with_run(stop_signal=step.signal), f"STOPSIGNAL {step.signal}"


def _shell(state: BuildState, step: i.Shell) -> Applied:
    return state.with_run(shell=step.words), f"SHELL {classic.plain_list(step.words)}"


def _healthcheck(state: BuildState, step: i.Healthcheck) -> Applied:
    check: dict[str, Any] = {"Test": list(step.test)}
    for key, value in (
        ("Interval", step.interval_ns), ("Timeout", step.timeout_ns), ("StartPeriod", step.start_period_ns),
        ("StartInterval", step.start_interval_ns), ("Retries", step.retries),
    ):  # fmt: skip
        if value:
            check[key] = value
    return state.with_run(healthcheck=check), f"HEALTHCHECK {classic.healthcheck(step)}"


def _onbuild(state: BuildState, step: i.Onbuild) -> Applied:
    return state.with_run(onbuild=(*(state.run.onbuild or ()), step.trigger)), f"ONBUILD {step.trigger}"


def _maintainer(state: BuildState, step: i.Maintainer) -> Applied:
    return state.replaced(author=step.name), f"MAINTAINER {step.name}"


_APPLIED: Mapping[type[i.Instruction], Callable[[BuildState, Any], Applied]] = {
    i.Arg: _arg, i.Cmd: _cmd, i.Entrypoint: _entrypoint, i.Env: _env, i.Expose: _expose, i.Healthcheck: _healthcheck,
    i.Label: _label, i.Maintainer: _maintainer, i.Onbuild: _onbuild, i.Shell: _shell, i.StopSignal: _stopsignal,
    i.User: _user, i.Volume: _volume,
}  # fmt: skip


def workdir(state: BuildState, step: i.Workdir) -> Applied:
    """The state after WORKDIR: a relative path goes on from where it was, an absolute one stands as it was written."""
    if not step.path:
        raise InvalidStep("WORKDIR needs a path: it is empty after replacing its variables")
    path = step.path
    if not path.startswith("/"):
        path = posixpath.normpath(posixpath.join("/", state.run.working_dir, path))
    return state.with_run(working_dir=path), f"WORKDIR {path}"
