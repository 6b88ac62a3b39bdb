"""A Dockerfile's text becomes stages of instructions.

Source: moby/buildkit frontend/dockerfile/parser; docker 20.10 (classic and BuildKit) as seen.
"""

from __future__ import annotations

from veneer.build.language import words as w
from veneer.build.language.errors import DockerfileError, Syntax, did_you_mean, pointed
from veneer.build.language.instructions import (
    Arg,
    Dockerfile,
    From,
    Instruction,
    Maintainer,
    Onbuild,
    Stage,
    Warning,
)
from veneer.build.language.lines import Lines, Logical, read
from veneer.build.language.readers import READERS, Reading

KEYWORDS = tuple(sorted(READERS))
CHANGES = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME",
           "WORKDIR")  # fmt: skip
"""What `import --change` and `commit --change` take."""


_TAKE_ANY_FLAG = ("ARG", "ONBUILD", "STOPSIGNAL")
"""Docker does not look at their flags."""


def _instruction(logical: Logical, escape: str) -> Instruction:
    one = Reading(logical, escape)
    reader = READERS.get(one.keyword)
    if reader is None:
        raise Syntax(f"unknown instruction: {one.word}{did_you_mean(one.word, KEYWORDS)}", at=one.word)
    made = reader(one)
    if one.given and one.keyword not in _TAKE_ANY_FLAG:
        one.flags.done()
    return made


def parse(source: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile.  Raises DockerfileError, naming line and place."""
    lines = read(source, name)
    if not lines.logical:
        raise DockerfileError("file with no instructions", name=name, hint="a Dockerfile begins with FROM")
    stages = _Stages(lines, name)
    for logical in lines.logical:
        try:
            stages.add(_instruction(logical, lines.directives.escape))
        except Syntax as error:
            raise located(error, source, name, logical.first, logical.last) from None
    return stages.finish(source)


def located(error: Syntax, source: bytes, name: str, first: int, last: int) -> DockerfileError:
    """`error` of the instruction in the lines `first` to `last` with its place shown."""
    line, place = pointed(error, source.decode("utf-8", "replace"), first, last)
    return DockerfileError(error.reason, name=name, line=line, excerpt=place, hint=error.hint)


class _Stages:
    def __init__(self, lines: Lines, name: str) -> None:
        self._lines, self._name = lines, name
        self._args: list[Arg] = []
        self._stages: list[tuple[From, list[Instruction]]] = []
        self._warnings = list(lines.warnings)

    def add(self, made: Instruction) -> None:
        if isinstance(made, From):
            self._stages.append((made, []))
        elif self._stages:
            self._stages[-1][1].append(made)
        elif isinstance(made, Arg):
            self._args.append(made)
        else:
            raise Syntax("no build stage in current context", hint="a stage begins with FROM")
        if isinstance(made, Onbuild):
            keyword = w.head(made.trigger)[0]
            if keyword.upper() not in READERS:
                # Docker takes it, and refuses every build from the image.
                self._warnings.append(Warning("", f"ONBUILD with an unknown instruction: {keyword}", made.line))

    def finish(self, source: bytes) -> Dockerfile:
        if not self._stages:
            raise DockerfileError("dockerfile contains no stages to build", name=self._name,
                                  hint="a stage begins with FROM")  # fmt: skip
        stages = tuple(
            Stage(index, base.alias.lower(), base, tuple(instructions))
            for index, (base, instructions) in enumerate(self._stages)
        )
        directives = self._lines.directives
        return Dockerfile(self._name, source, directives, tuple(self._args), stages, tuple(self._warnings))


def trigger(text: str, *, what: str = "ONBUILD trigger", allowed: tuple[str, ...] = ()) -> Instruction:
    """One instruction from elsewhere: an ONBUILD trigger, or a `--change`.  Raises DockerfileError."""
    lines = read(text.encode("utf-8", "surrogateescape"), what)
    if len(lines.logical) != 1:
        raise DockerfileError(f"{what}: want one instruction: {text[:100]}", name=what)
    [logical] = lines.logical
    keyword = w.head(logical.text)[0]
    if allowed and keyword.upper() not in allowed:
        raise DockerfileError(
            f"{keyword.lower()} is not a valid change command", name=what, hint=f"possible: {' '.join(allowed)}"
        )
    try:
        made = _instruction(logical, lines.directives.escape)
        if isinstance(made, From | Maintainer | Onbuild) and not allowed:
            raise Syntax(f"{made.keyword} isn't allowed as an ONBUILD trigger")
    except Syntax as error:
        raise DockerfileError(f"{what}: {error.reason}: {text[:200]}", name=what, hint=error.hint) from None
    return made
