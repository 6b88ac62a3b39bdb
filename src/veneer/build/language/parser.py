"""A Dockerfile's text becomes stages of instructions.

What classic docker accepts means the same here; the rest is docker/dockerfile:1.
Source: moby/buildkit frontend/dockerfile/{parser,instructions}; docker 20.10 (classic and BuildKit) as seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from veneer.build.language import words as w
from veneer.build.language.durations import duration_ns
from veneer.build.language.errors import DockerfileError, Syntax, did_you_mean, pointed
from veneer.build.language.instructions import (
    NETWORKS,
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Location,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stage,
    StopSignal,
    User,
    Volume,
    Warning,
    Workdir,
)
from veneer.build.language.lines import Lines, Logical, heredoc_of, read
from veneer.build.language.mounts import run_mount
from veneer.build.language.words import SPACES, Flags

if TYPE_CHECKING:
    from veneer.build.language.instructions import Heredoc

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ONBUILD = re.compile(r"ONBUILD\s*", re.IGNORECASE)
_SECURITY = ("sandbox", "insecure")
_NO_FLAGS = Flags("", ())


class _One:
    """One instruction being read."""

    def __init__(self, logical: Logical, escape: str) -> None:
        self.logical = logical
        self.escape = escape
        self.text = logical.text.strip(SPACES)
        self.word, self.rest = w.head(self.text)
        self.keyword = self.word.upper()
        self.location = Location(logical.first, logical.last)
        self.flags = _NO_FLAGS
        self.given: list[str] = []
        if self.rest.startswith("--"):
            self.given, self.rest = w.take_flags(self.rest)
            self.flags = Flags(self.keyword, self.given)

    def need(self) -> None:
        if not self.rest:
            raise Syntax(f"{self.keyword} requires at least one argument")

    def single(self) -> str:
        """The rest, which must be something."""
        if not self.rest:
            raise Syntax(f"{self.keyword} requires exactly one argument")
        return self.rest

    @property
    def place(self) -> tuple[Location, str]:
        return self.location, self.text


def _from(one: _One) -> Instruction:
    platform = one.flags.text("platform")
    found = w.plain_words(one.rest)
    if len(found) == 3 and found[1].lower() == "as":
        alias = found[2]
        if not _STAGE_NAME.fullmatch(alias.lower()):
            raise Syntax(
                f'invalid name for build stage: "{alias}", name can\'t start with a number or contain symbols', at=alias
            )
        return From(*one.place, found[0], platform, alias)
    if len(found) != 1:
        raise Syntax("FROM requires either one or three arguments", hint="FROM IMAGE, or FROM IMAGE AS NAME")
    return From(*one.place, found[0], platform, "")


def _arg(one: _One) -> Instruction:
    one.need()
    found: list[tuple[str, str | None]] = []
    for word in w.quoted_words(one.rest, one.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise Syntax("ARG names can not be blank", at=word)
        found.append((name, value if equals else None))
    return Arg(*one.place, tuple(found))


def _env(one: _One) -> Instruction:
    return Env(*one.place, *w.pairs(one.rest, "ENV", one.escape))


def _label(one: _One) -> Instruction:
    return Label(*one.place, *w.pairs(one.rest, "LABEL", one.escape))


def _run(one: _One) -> Instruction:
    mounts = tuple(run_mount(text) for text in one.flags.texts("mount"))
    network, security = one.flags.text("network") or "default", one.flags.text("security") or "sandbox"
    if network not in NETWORKS:
        meant = did_you_mean(network, NETWORKS)
        raise Syntax(f'unsupported network mode: "{network}"{meant}', hint=f"one of {', '.join(NETWORKS)}",
                     at="--network")  # fmt: skip
    if security not in _SECURITY:
        meant = did_you_mean(security, _SECURITY)
        raise Syntax(f'security "{security}" is not valid{meant}', hint=f"one of {', '.join(_SECURITY)}",
                     at="--security")  # fmt: skip
    command = w.command(one.rest)
    if not command.words:
        raise Syntax("RUN requires at least one argument")
    heredocs = one.logical.heredocs if command.shell else ()
    only = heredoc_of(one.rest) if heredocs else None
    alone = only is not None and only.name == heredocs[0].name
    return Run(*one.place, command, mounts, network, security, heredocs, tuple(one.given), alone)


def _files(one: _One) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Sources, here-documents and destination of COPY and ADD."""
    found = w.words(one.rest)
    if len(found) < 2:
        raise Syntax(
            f"{one.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            hint=f"{one.keyword} SOURCE DESTINATION",
        )
    if not one.logical.heredocs:
        return tuple(found[:-1]), (), found[-1]
    documents = {each.name: each for each in one.logical.heredocs}
    used: list[Heredoc] = []
    sources: list[str] = []
    words = iter(found)
    for word in words:
        if word in ("<<", "<<-"):
            word += next(words, "")
        begun = heredoc_of(word)
        if begun and begun.name in documents:
            used.append(documents[begun.name])
            destination = ""
        else:
            sources.append(word)
            destination = word
    if not destination:
        raise Syntax(f"{one.keyword} cannot accept a heredoc as a destination", at=found[-1])
    return tuple(sources[:-1]), tuple(used), destination


def _copy(one: _One) -> Instruction:
    flags = one.flags
    origin = flags.text("from")
    if "$" in origin.rstrip("$"):
        raise Syntax(
            "variable expansion is not supported for --from, "
            "define a new stage with FROM using ARG from global scope as a workaround",
            at="--from",
        )
    sources, heredocs, destination = _files(one)
    return Copy(
        one.location, one.text, sources, heredocs, destination, origin, flags.text("chown"), flags.text("chmod"),
        bool(flags.flag("link")), bool(flags.flag("parents")), tuple(flags.texts("exclude")), tuple(one.given),
    )  # fmt: skip


def _add(one: _One) -> Instruction:
    flags = one.flags
    sources, heredocs, destination = _files(one)
    return Add(
        one.location, one.text, sources, heredocs, destination, "", flags.text("chown"), flags.text("chmod"),
        bool(flags.flag("link")), False, tuple(flags.texts("exclude")), tuple(one.given),
        flags.text("checksum"), flags.flag("unpack"), bool(flags.flag("keep-git-dir")),
    )  # fmt: skip


def _cmd(one: _One) -> Instruction:
    return Cmd(*one.place, w.command(one.rest))


def _entrypoint(one: _One) -> Instruction:
    return Entrypoint(*one.place, w.command(one.rest))


def _expose(one: _One) -> Instruction:
    one.need()
    return Expose(*one.place, tuple(sorted(w.plain_words(one.rest))))


def _user(one: _One) -> Instruction:
    return User(*one.place, one.single())


def _workdir(one: _One) -> Instruction:
    return Workdir(*one.place, one.single())


def _volume(one: _One) -> Instruction:
    found = [path.strip(SPACES) for path in w.words(one.rest)]
    if not found:
        raise Syntax("VOLUME requires at least one argument")
    if not all(found):
        raise Syntax("VOLUME specified can not be an empty string")
    return Volume(*one.place, tuple(found))


def _stopsignal(one: _One) -> Instruction:
    return StopSignal(*one.place, one.single())


def _shell(one: _One) -> Instruction:
    one.need()
    listed = w.json_list(one.rest)
    if listed is None:
        raise Syntax("SHELL requires the arguments to be in JSON form", hint='as in SHELL ["/bin/sh", "-c"]')
    if not listed:
        raise Syntax("SHELL requires at least one argument")
    return Shell(*one.place, tuple(listed))


def _maintainer(one: _One) -> Instruction:
    return Maintainer(*one.place, one.single())


def _healthcheck(one: _One) -> Instruction:
    kind, rest = _kind(one.rest)
    if not kind:
        raise Syntax("HEALTHCHECK requires at least one argument", hint="HEALTHCHECK CMD ... or HEALTHCHECK NONE")
    if kind.upper() == "NONE":
        if rest:
            raise Syntax("HEALTHCHECK NONE takes no arguments")
        one.flags = _NO_FLAGS  # docker does not look at them
        return Healthcheck(*one.place, ("NONE",))
    times = [_time(one.flags.text(name), name) for name in ("interval", "timeout", "start-period", "start-interval")]
    retries = one.flags.text("retries")
    if kind.upper() != "CMD":
        raise Syntax(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)', at=kind)
    command = w.command(rest) if rest else Command(True, ())
    if not command.words:
        raise Syntax("Missing command after HEALTHCHECK CMD")
    test = ("CMD-SHELL" if command.shell else "CMD", *command.words)
    interval, timeout, start_period, start_interval = times
    return Healthcheck(*one.place, test, interval, timeout, start_period, start_interval, _count(retries))


def _kind(rest: str) -> tuple[str, str]:
    """The first word and what follows; any white space ends it."""
    kind = rest.split(None, 1)[0] if rest else ""
    return kind, rest[len(kind) :].strip(SPACES)


def _count(text: str) -> int:
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not text:
        return 0
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) < 1 << 31):
        raise Syntax(f'--retries "{text}" is not a number', at="--retries")
    if int(text) < 0:
        raise Syntax(f"--retries cannot be negative ({int(text)})", at="--retries")
    return int(text)


def _time(text: str, name: str) -> int:
    if not text:
        return 0
    nanoseconds = duration_ns(text)
    if nanoseconds is None:
        raise Syntax(f'--{name}: invalid duration "{text}"', hint="as in 30s or 1m30s", at=f"--{name}")
    if nanoseconds < 1_000_000 and nanoseconds != 0:
        raise Syntax(f'Interval "{name}" cannot be less than 1ms', at=f"--{name}")
    return nanoseconds


def _onbuild(one: _One) -> Instruction:
    one.need()
    keyword = w.head(one.rest)[0].upper()
    if keyword == "ONBUILD":
        raise Syntax("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise Syntax(f"{keyword} isn't allowed as an ONBUILD trigger")
    if keyword in ("CMD", "ENTRYPOINT", "RUN", "SHELL", "ADD", "COPY", "VOLUME"):
        w.json_list(w.head(one.rest)[1])  # a list of numbers is wrong here and now
    documents = "".join(f"\n{doc.raw}{doc.name}" for doc in one.logical.heredocs)
    # Docker keeps the blanks at its end.
    return Onbuild(*one.place, _ONBUILD.sub("", one.logical.text, count=1) + documents)


_READERS: Mapping[str, Callable[[_One], Instruction]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _onbuild,
    "RUN": _run, "SHELL": _shell, "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
KEYWORDS = tuple(sorted(_READERS))
CHANGES = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME",
           "WORKDIR")  # fmt: skip
"""What `import --change` and `commit --change` take."""


_TAKE_ANY_FLAG = ("ARG", "ONBUILD", "STOPSIGNAL")
"""Docker does not look at their flags."""


def _instruction(logical: Logical, escape: str) -> Instruction:
    one = _One(logical, escape)
    reader = _READERS.get(one.keyword)
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
            if keyword.upper() not in _READERS:
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
