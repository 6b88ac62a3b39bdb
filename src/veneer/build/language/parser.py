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
from veneer.build.language.errors import DockerfileError, excerpt, nearest
from veneer.build.language.instructions import (
    Add,
    Arg,
    Cmd,
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
    Workdir,
)
from veneer.build.language.lines import Lines, Logical, heredoc_of, read
from veneer.build.language.mounts import run_mount
from veneer.build.language.words import Flags, Syntax

if TYPE_CHECKING:
    from veneer.build.language.instructions import Heredoc

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")


class _One:
    """One instruction being read."""

    def __init__(self, logical: Logical, escape: str) -> None:
        self.logical = logical
        self.escape = escape
        self.word, self.rest = w.head(logical.text)
        self.keyword = self.word.upper()
        self.location = Location(logical.first, logical.last)
        self.text = self.word + (f" {self.rest}" if self.rest else "")
        self.flags = Flags(self.keyword, ())
        self.given: list[str] = []

    def take_flags(self) -> None:
        self.given, self.rest = w.take_flags(self.rest)
        self.flags = Flags(self.keyword, self.given)

    def need(self, least: int = 1, found: int | None = None) -> None:
        if (found if found is not None else int(bool(self.rest))) < least:
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
    found = w.words(one.rest)
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
    if network not in _NETWORKS:
        raise Syntax(f"unsupported network mode: {network}", hint=f"one of {', '.join(_NETWORKS)}", at="--network")
    if security not in _SECURITY:
        raise Syntax(f"security {security!r} is not valid", hint=f"one of {', '.join(_SECURITY)}", at="--security")
    one.need()
    command = w.command(one.rest)
    heredocs = one.logical.heredocs
    if heredocs and not command.shell:
        raise Syntax("a here-document needs the shell form of RUN")
    if not command.shell and not command.words:
        raise Syntax("RUN requires at least one argument")
    return Run(*one.place, command, mounts, network, security, heredocs, tuple(one.given))


def _files(one: _One) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Sources, here-documents and destination of COPY and ADD."""
    found = w.words(one.rest)
    if not found:
        raise Syntax(f"{one.keyword} requires at least two arguments, but none were provided")
    if len(found) == 1:
        raise Syntax(
            f"{one.keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    docs = {each.name for each in one.logical.heredocs}
    sources = [word for word in found[:-1] if not ((doc := heredoc_of(word)) and doc[0] in docs)]
    return tuple(sources), one.logical.heredocs, found[-1]


def _copy(one: _One) -> Instruction:
    flags = one.flags
    origin = flags.text("from")
    if "$" in origin:
        raise Syntax(
            "variable expansion is not supported for --from",
            hint="define a new stage with FROM using ARG from global scope, and copy from that stage",
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
        bool(flags.flag("link")), bool(flags.flag("parents")), tuple(flags.texts("exclude")), tuple(one.given),
        flags.text("checksum"), flags.flag("unpack"), bool(flags.flag("keep-git-dir")),
    )  # fmt: skip


def _cmd(one: _One) -> Instruction:
    return Cmd(*one.place, w.command(one.rest))


def _entrypoint(one: _One) -> Instruction:
    return Entrypoint(*one.place, w.command(one.rest))


def _expose(one: _One) -> Instruction:
    one.need()
    return Expose(*one.place, tuple(w.words(one.rest)))


def _user(one: _One) -> Instruction:
    return User(*one.place, one.single())


def _workdir(one: _One) -> Instruction:
    return Workdir(*one.place, one.single())


def _volume(one: _One) -> Instruction:
    found = w.words(one.rest)
    if not found:
        raise Syntax("VOLUME requires at least one argument")
    if any(not path.strip() for path in found):
        raise Syntax("VOLUME specified can not be an empty string")
    return Volume(*one.place, tuple(found))


def _stopsignal(one: _One) -> Instruction:
    return StopSignal(*one.place, one.single())


def _shell(one: _One) -> Instruction:
    listed = w.json_list(one.rest)
    if listed is None:
        raise Syntax("SHELL requires the arguments to be in JSON form", hint='as in SHELL ["/bin/sh", "-c"]')
    if not listed:
        raise Syntax("SHELL requires at least one argument")
    return Shell(*one.place, tuple(listed))


def _maintainer(one: _One) -> Instruction:
    return Maintainer(*one.place, one.single())


def _healthcheck(one: _One) -> Instruction:
    times = [_time(one.flags.text(name), name) for name in ("interval", "timeout", "start-period", "start-interval")]
    retries = one.flags.text("retries")
    kind, rest = w.head(one.rest) if one.rest else ("", "")
    if not kind:
        raise Syntax("HEALTHCHECK requires at least one argument", hint="HEALTHCHECK CMD ... or HEALTHCHECK NONE")
    if kind.upper() == "NONE":
        if rest or one.given:
            raise Syntax("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(*one.place, ("NONE",))
    if kind.upper() != "CMD":
        raise Syntax(f"Unknown type {kind.upper()!r} in HEALTHCHECK (try CMD)", at=kind)
    if not rest:
        raise Syntax("Missing command after HEALTHCHECK CMD")
    if retries and not (retries.isascii() and retries.isdigit()):
        raise Syntax(f"--retries {retries!r} is not a number of at least 0", at="--retries")
    command = w.command(rest)
    test = ("CMD-SHELL" if command.shell else "CMD", *command.words)
    interval, timeout, start_period, start_interval = times
    return Healthcheck(*one.place, test, interval, timeout, start_period, start_interval, int(retries or 0))


def _time(text: str, name: str) -> int:
    if not text:
        return 0
    nanoseconds = duration_ns(text)
    if nanoseconds is None:
        raise Syntax(f"--{name}: invalid duration {text!r}", hint="as in 30s or 1m30s", at=f"--{name}")
    if 0 < nanoseconds < 1_000_000:
        raise Syntax(f'Interval "{name}" cannot be less than 1ms', at=f"--{name}")
    return nanoseconds


def _onbuild(one: _One) -> Instruction:
    one.need()
    keyword = w.head(one.rest)[0].upper()
    if keyword == "ONBUILD":
        raise Syntax("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise Syntax(f"{keyword} isn't allowed as an ONBUILD trigger")
    if keyword not in _READERS:
        raise _unknown(keyword)
    docs = "".join(f"\n{doc.content}{doc.name}" for doc in one.logical.heredocs)
    return Onbuild(*one.place, one.rest + docs)


_READERS: Mapping[str, Callable[[_One], Instruction]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _onbuild,
    "RUN": _run, "SHELL": _shell, "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
KEYWORDS = tuple(sorted(_READERS))
CHANGES = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME",
           "WORKDIR")  # fmt: skip
"""What `import --change` and `commit --change` take."""


def _unknown(keyword: str) -> Syntax:
    near = nearest(keyword, KEYWORDS)
    return Syntax(f"unknown instruction: {keyword}" + (f" (did you mean {near}?)" if near else ""), at=keyword)


def _instruction(logical: Logical, escape: str) -> Instruction:
    one = _One(logical, escape)
    reader = _READERS.get(one.keyword)
    if reader is None:
        raise _unknown(one.keyword)
    one.take_flags()
    made = reader(one)
    one.flags.done()
    return made


def parse(source: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Read a Dockerfile.  Raises DockerfileError, naming line and place."""
    lines = read(source, name)
    if not lines.logical:
        raise DockerfileError("file with no instructions", name=name, hint="a Dockerfile begins with FROM")
    shown = source.decode("utf-8", "replace").split("\n")
    building = _Stages(lines, name, shown)
    for logical in lines.logical:
        try:
            building.add(_instruction(logical, lines.directives.escape))
        except Syntax as error:
            raise _located(error, logical, name, shown) from None
    return building.finish(source)


def _located(error: Syntax, logical: Logical, name: str, shown: list[str]) -> DockerfileError:
    first, column = logical.first, 0
    if error.at:
        for number in range(logical.first, min(logical.last, logical.first + 50) + 1):
            at = shown[number - 1].upper().find(error.at.upper())
            if at >= 0:
                first, column = number, at + 1
                break
    place = excerpt(shown, first, max(first, min(logical.last, first + 3)), column)
    return DockerfileError(error.reason, name=name, line=first, excerpt=place, hint=error.hint)


class _Stages:
    def __init__(self, lines: Lines, name: str, shown: list[str]) -> None:
        self._lines, self._name, self._shown = lines, name, shown
        self._args: list[Arg] = []
        self._stages: list[tuple[From, list[Instruction]]] = []
        self._names: dict[str, int] = {}

    def add(self, made: Instruction) -> None:
        if isinstance(made, From):
            if made.alias and made.alias.lower() in self._names:
                raise Syntax(f"duplicate name {made.alias.lower()}", hint="every stage needs a name of its own")
            if made.alias:
                self._names[made.alias.lower()] = len(self._stages)
            self._stages.append((made, []))
        elif self._stages:
            self._stages[-1][1].append(made)
        elif isinstance(made, Arg):
            self._args.append(made)
        else:
            raise Syntax("no build stage in current context", hint="a stage begins with FROM")

    def finish(self, source: bytes) -> Dockerfile:
        if not self._stages:
            raise DockerfileError("file with no instructions" if not self._args else "dockerfile contains no stages to "
                                  "build", name=self._name, hint="a Dockerfile begins with FROM")  # fmt: skip
        stages = tuple(
            Stage(index, base.alias.lower(), base, tuple(instructions))
            for index, (base, instructions) in enumerate(self._stages)
        )
        directives = self._lines.directives
        return Dockerfile(self._name, source, directives, tuple(self._args), stages, self._lines.warnings)


def trigger(text: str, *, what: str = "ONBUILD trigger", allowed: tuple[str, ...] = ()) -> Instruction:
    """One instruction from elsewhere: an ONBUILD trigger, or a `--change`.  Raises DockerfileError."""
    lines = read(text.encode("utf-8", "surrogateescape"), what)
    if len(lines.logical) != 1:
        raise DockerfileError(f"{what}: want one instruction: {text[:100]!r}", name=what)
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
