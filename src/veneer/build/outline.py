"""What a Dockerfile offers and wants: its targets, and the arguments, secrets and sockets one of them takes.

Nothing is built or fetched, so a variable that only the base image sets stays as it is written.
Source: moby/buildkit frontend/subrequests/{outline,targets}, dockerfile2llb/outline.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from veneer.build import state as s
from veneer.build.language import comments
from veneer.build.language import instructions as i
from veneer.build.language.errors import ExpansionError
from veneer.build.language.expand import names_used
from veneer.build.language.resolve import resolve, resolved_args
from veneer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from veneer.build.stages import Plan, PlannedStage

_Either = TypeVar("_Either", i.Env, i.Run)


class Target(Value):
    """A stage that can be built: `base` and `platform` as its FROM has them, `description` from the comment above."""

    __slots__ = ()
    name: str
    default: bool
    description: str
    base: str
    platform: str
    place: i.Location


class Argument(Value):
    """A build argument: `value` is what it has without anybody giving another, or was given; "" for none."""

    __slots__ = ()
    name: str
    value: str
    description: str
    place: i.Location


class Wanted(Value):
    """Something RUN mounts by its ID: a secret, an ssh agent, a cache.  `required`: without it the step fails."""

    __slots__ = ()
    id: str
    required: bool
    place: i.Location


class Outline(Value):
    """All that building one target takes, each in the order of the file."""

    __slots__ = ()
    name: str
    description: str
    arguments: tuple[Argument, ...]
    secrets: tuple[Wanted, ...]
    ssh: tuple[Wanted, ...]
    caches: tuple[Wanted, ...]


def targets(dockerfile: i.Dockerfile) -> list[Target]:
    """Every stage of a file."""
    lines, last = dockerfile.lines, len(dockerfile.stages) - 1
    return [
        Target(stage.name, stage.index == last, _said(dockerfile, lines, stage.base, stage.name), stage.base.image,
               stage.base.platform, stage.base.location)
        for stage in dockerfile.stages
    ]  # fmt: skip


def outline(plan: Plan, given: Mapping[str, str]) -> Outline:
    """What the target of a plan takes, with all the stages it needs; `given` are the build's arguments."""
    seen = _Seen(plan, given)
    for planned in plan.stages:
        seen.stage(planned)
    target = plan.dockerfile.stages[plan.target]
    kinds = {
        kind: tuple(sorted(found.values(), key=lambda each: each.place)) for kind, found in seen.mounted.items()
    }  # fmt: skip
    return Outline(
        target.name, _said(plan.dockerfile, seen.lines, target.base, target.name),
        tuple(sorted(seen.arguments.values(), key=lambda each: each.place)), kinds["secret"], kinds["ssh"],
        kinds["cache"],
    )  # fmt: skip


def _said(dockerfile: i.Dockerfile, lines: Sequence[str], instruction: i.Instruction, name: str) -> str:
    return comments.description(comments.above(lines, instruction.location, dockerfile.directives), name)


class _Seen:
    """What was found in the stages so far; a stage comes after those it needs."""

    def __init__(self, plan: Plan, given: Mapping[str, str]) -> None:
        self._plan = plan
        self._given = given
        self._escape = plan.dockerfile.directives.escape
        self._global = {name: arg for arg in plan.dockerfile.global_args for name, _ in arg.pairs}
        self._states: dict[int, tuple[s.Scope, tuple[str, ...]]] = {}
        self.lines = plan.dockerfile.lines
        self.arguments: dict[str, Argument] = {}
        self.mounted: dict[str, dict[str, Wanted]] = {"secret": {}, "ssh": {}, "cache": {}}

    def stage(self, planned: PlannedStage) -> None:
        base = planned.stage.base
        self._of_all(names_used(base.image) | names_used(base.platform))
        fresh = s.Scope(self._given, self._plan.meta), ()
        scope, env = self._states[planned.base] if planned.base is not None else fresh
        for instruction in planned.stage.instructions:
            names = {**scope.visible(env), **dict(pair.partition("=")[::2] for pair in env)}
            if isinstance(instruction, i.Arg):
                scope = self._declared(instruction, scope, names)
            elif isinstance(instruction, i.Env):
                env = s.merged_env(env, self._resolved(instruction, names).pairs)
            elif isinstance(instruction, i.Run):
                for mount in self._resolved(instruction, names).mounts:
                    self._mount(mount, instruction)
        self._states[planned.index] = scope, env

    def _resolved(self, instruction: _Either, names: Mapping[str, str]) -> _Either:
        try:
            return cast("_Either", resolve(instruction, names, self._escape))
        except ExpansionError:
            return instruction  # the base image may set what is missing

    def _of_all(self, names: Iterable[str]) -> None:
        """Note arguments from before the first FROM, and those that their defaults are made of."""
        for name in names:
            arg = self._global.get(name)
            if arg is None or name in self.arguments:
                continue
            self._note(name, self._plan.meta.get(name), arg)
            self._of_all(names_used(dict(arg.pairs)[name] or ""))

    def _declared(self, arg: i.Arg, scope: s.Scope, names: Mapping[str, str]) -> s.Scope:
        try:
            pairs = resolved_args(arg, names, self._escape, self._given)
        except ExpansionError:
            pairs = arg.pairs
        for name, default in pairs:
            if default is None and name in self._global:
                self._of_all([name])
            else:  # the nearest to the target counts
                self._note(name, scope.value(name, default), arg)
        return scope.declare(pairs)

    def _note(self, name: str, value: str | None, arg: i.Arg) -> None:
        said = _said(self._plan.dockerfile, self.lines, arg, name)
        self.arguments[name] = Argument(name, value or "", said, arg.location)

    def _mount(self, mount: i.RunMount, run: i.Run) -> None:
        found = self.mounted.get(mount.type)
        if found is None:
            return
        name = mount.id or mount.target
        before = found.get(name)
        if before is None or (mount.required and not before.required):
            place = run.location if before is None else before.place
            found[name] = Wanted(name, mount.required, place)
