"""Stages as a graph: which a build needs, and which another has to be done before.

Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence

from veneer.build.failure import StageError, located
from veneer.build.language import instructions as i
from veneer.build.language.errors import ExpansionError, nearest
from veneer.build.language.expand import names_used
from veneer.build.language.resolve import resolve, resolved_args
from veneer.errors import VeneerError
from veneer.oci.platform import Platform, host
from veneer.values import Value

SCRATCH = "scratch"
_SHOWN_STAGES = 10
MAX_STEPS = 5_000
"""Steps of one stage.  Each step's image has the rows of all before it, so that ten times as many take a hundred times
the room."""


class PlannedStage(Value):
    """A stage with its FROM resolved: it goes on from the stage `base`, or (None) from the image `image`."""

    stage: i.Stage
    image: str
    platform: Platform
    base: int | None
    needs: frozenset[int]

    @property
    def index(self) -> int:
        return self.stage.index


class Plan(Value):
    """`stages` are those that are needed, in the order of the file; `target` is the last one's number.

    `named` are all of the file's by name.
    """

    dockerfile: i.Dockerfile
    stages: tuple[PlannedStage, ...]
    target: int
    meta: Mapping[str, str]
    labels: tuple[i.Label, ...]
    named: Named

    def steps(self, planned: PlannedStage) -> tuple[i.Instruction, ...]:
        """The instructions of a stage after its FROM; `--label` adds some to the target."""
        added = self.labels if planned.index == self.target else ()
        return (*planned.stage.instructions, *added)


def platform_args(target: Platform, stage: str = "") -> dict[str, str]:
    """The arguments that are there without an ARG before the first FROM."""
    found = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("BUILD", host()), ("TARGET", target)):
        found |= {
            f"{prefix}PLATFORM": str(platform), f"{prefix}OS": platform.os, f"{prefix}ARCH": platform.architecture,
            f"{prefix}VARIANT": platform.variant,
        }  # fmt: skip
    return found


def meta_args(dockerfile: i.Dockerfile, given: Mapping[str, str], builtin: Mapping[str, str]) -> dict[str, str]:
    """What ARG before the first FROM gives, with the platform's arguments."""
    scope = {**builtin, **{name: given[name] for name in builtin if name in given}}
    for arg in dockerfile.global_args:
        try:
            pairs = resolved_args(arg, scope, dockerfile.directives.escape)
        except ExpansionError as error:
            raise located(error, dockerfile, arg, None) from None
        for name, default in pairs:
            value = given.get(name, default)
            if value is not None:
                scope[name] = value
    return scope


class Named:
    """A file's stages by name.  Of several with one name, an instruction means the nearest before it."""

    def __init__(self, stages: Sequence[i.Stage]) -> None:
        self.stages = stages
        self._by_name: dict[str, list[int]] = {}
        for stage in stages:
            if stage.name:
                self._by_name.setdefault(stage.name, []).append(stage.index)

    def before(self, name: str, index: int) -> int | None:
        """The last stage of that name before number `index`, else the first one after; None if there is none."""
        indexes = self._by_name.get(name.lower())
        if indexes is None:
            return None
        at = bisect.bisect_left(indexes, index)
        return indexes[at - 1] if at else indexes[0]

    def names(self) -> Iterable[str]:
        return self._by_name.keys()


def find_stage(stages: Named, word: str, before: int) -> int | None:
    """The stage that `--from=word` means in stage number `before`; None if it is no stage.  Raises StageError."""
    found = stages.before(word, before)
    if found is None and word.isascii() and word.isdigit() and len(word) < 6:
        found = int(word)
        if found >= len(stages.stages):
            raise StageError(f"invalid from flag value {word}: there are only {len(stages.stages)} stages, from 0")
    return None if found is None else _earlier(found, word, before)


def _earlier(index: int, word: str, before: int) -> int:
    if index == before:
        raise StageError(f"invalid from flag value {word}: refers to current build stage")
    if index > before:
        raise StageError(f"invalid from flag value {word}: refers to a later build stage", hint="move that stage up")
    return index


def sources(instruction: i.Instruction) -> Iterator[str]:
    """What an instruction takes from elsewhere: names in --from and in from= of mounts."""
    if isinstance(instruction, i.Copy) and instruction.from_:
        yield instruction.from_
    elif isinstance(instruction, i.Run):
        yield from (mount.from_ for mount in instruction.mounts if mount.from_)


def plan(
    dockerfile: i.Dockerfile, *, target: str, given: Mapping[str, str], contexts: Mapping[str, str], platform: Platform,
    labels: Sequence[tuple[str, str]] = (),
) -> Plan:  # fmt: skip
    """Decide what is to be built.  `contexts` are named contexts, which stand before stages and images of that name.

    Raises StageError, DockerfileError, StepFailed (with its place).
    """
    named = Named(dockerfile.stages)
    last = _target(dockerfile, named, target)
    meta = meta_args(dockerfile, given, platform_args(platform, dockerfile.stages[last].name))
    planned: dict[int, PlannedStage] = {}
    todo = [last]
    while todo:
        index = todo.pop()
        if index not in planned:
            planned[index] = _planned(dockerfile, named, index, meta, contexts, platform)
            todo += planned[index].needs
    made = Plan(dockerfile, tuple(planned[index] for index in sorted(planned)), last, meta, _labels(labels), named)
    for each in made.stages:
        if (count := len(made.steps(each))) > MAX_STEPS:
            raise StageError(
                f"stage {each.stage.label} has {count} steps, more than the {MAX_STEPS} an image can have",
                hint="put several values into one ENV or LABEL, several commands into one RUN",
            )
    return made


def _labels(labels: Sequence[tuple[str, str]]) -> tuple[i.Label, ...]:
    # One step for each, in the order of their names, as docker's classic builder does it.
    return tuple(i.Label(i.Location(0, 0), f"LABEL {name}={value}", ((name, value),)) for name, value in sorted(labels))


def _target(dockerfile: i.Dockerfile, named: Named, target: str) -> int:
    return _called(dockerfile, named, target, "target stage") if target else len(dockerfile.stages) - 1


def check_filter(plan: Plan, names: Iterable[str]) -> None:
    """Raise StageError for a name of `--no-cache-filter` that is no stage's: its steps would be the cache's after all.

    Docker takes any name.
    """
    for name in names:
        _called(plan.dockerfile, plan.named, name, "--no-cache-filter: stage")


def _called(dockerfile: i.Dockerfile, named: Named, word: str, what: str) -> int:
    """The last stage of that name, or the one of that number.  Raises StageError with the nearest name."""
    stages = dockerfile.stages
    found = named.before(word, len(stages))
    if found is not None:
        return found
    if word.isascii() and word.isdigit() and len(word) < 6 and int(word) < len(stages):
        return int(word)
    near = nearest(word.lower(), named.names())
    names = [stage.label for stage in stages]
    shown = ", ".join(names[:_SHOWN_STAGES]) + (", ..." if len(names) > _SHOWN_STAGES else "")
    known = f"the stages {shown}" if len(names) > 1 else "one stage"
    raise StageError(
        f'{what} "{word}" could not be found',
        hint=f"did you mean {near}?" if near else f"{dockerfile.name} has {known}",
    )


def _planned(
    dockerfile: i.Dockerfile, named: Named, index: int, meta: Mapping[str, str], contexts: Mapping[str, str],
    platform: Platform,
) -> PlannedStage:  # fmt: skip
    stage = dockerfile.stages[index]
    try:
        base = resolve(stage.base, meta, dockerfile.directives.escape)
        assert isinstance(base, i.From)
        if not base.image:
            missing = ", ".join(sorted(names_used(stage.base.image)))
            raise StageError(f"base name ({stage.base.image}) should not be blank",
                             hint=f"give {missing} a value: ARG before the first FROM, or --build-arg")  # fmt: skip
        own = Platform.parse(base.platform) if base.platform else platform
    except VeneerError as error:
        raise located(error, dockerfile, stage.base, None) from None
    earlier = None if base.image.lower() in contexts else named.before(base.image, index)
    if earlier is not None and earlier >= index:
        earlier = None  # FROM its own name, or a later stage's, is an image
    needs = set() if earlier is None else {earlier}
    for instruction in stage.instructions:
        for word in sources(instruction):
            if word.lower() in contexts:
                continue
            try:
                found = find_stage(named, word, index)
            except StageError as error:
                raise located(error, dockerfile, instruction, None) from None
            if found is not None:
                needs.add(found)
    return PlannedStage(stage, base.image, own, earlier, frozenset(needs))
