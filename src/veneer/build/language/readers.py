"""What each instruction of a Dockerfile says, read from its words.

What classic docker accepts means the same here; the rest is docker/dockerfile:1.
Source: moby/buildkit frontend/dockerfile/instructions; docker 20.10 (classic and BuildKit) as seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from veneer.build.language import words as w
from veneer.build.language.durations import duration_ns
from veneer.build.language.errors import Syntax, did_you_mean
from veneer.build.language.instructions import (
    NETWORKS,
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
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
    StopSignal,
    User,
    Volume,
    Workdir,
)
from veneer.build.language.lines import Logical, heredoc_of
from veneer.build.language.mounts import run_mount
from veneer.build.language.words import SPACES, Flags

if TYPE_CHECKING:
    from veneer.build.language.instructions import Heredoc

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ONBUILD = re.compile(r"ONBUILD\s*", re.IGNORECASE)
_SECURITY = ("sandbox", "insecure")
_NO_FLAGS = Flags("", ())


class Reading:
    """An instruction that is being read: its keyword, its flags, and the rest."""

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


def _from(one: Reading) -> Instruction:
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


def _arg(one: Reading) -> Instruction:
    one.need()
    found: list[tuple[str, str | None]] = []
    for word in w.quoted_words(one.rest, one.escape):
        name, equals, value = word.partition("=")
        if not name:
            raise Syntax("ARG names can not be blank", at=word)
        found.append((name, value if equals else None))
    return Arg(*one.place, tuple(found))


def _env(one: Reading) -> Instruction:
    return Env(*one.place, *w.pairs(one.rest, "ENV", one.escape))


def _label(one: Reading) -> Instruction:
    return Label(*one.place, *w.pairs(one.rest, "LABEL", one.escape))


def _run(one: Reading) -> Instruction:
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


def _files(one: Reading) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
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


def _copy(one: Reading) -> Instruction:
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


def _add(one: Reading) -> Instruction:
    flags = one.flags
    sources, heredocs, destination = _files(one)
    return Add(
        one.location, one.text, sources, heredocs, destination, "", flags.text("chown"), flags.text("chmod"),
        bool(flags.flag("link")), False, tuple(flags.texts("exclude")), tuple(one.given),
        flags.text("checksum"), flags.flag("unpack"), bool(flags.flag("keep-git-dir")),
    )  # fmt: skip


def _cmd(one: Reading) -> Instruction:
    return Cmd(*one.place, w.command(one.rest))


def _entrypoint(one: Reading) -> Instruction:
    return Entrypoint(*one.place, w.command(one.rest))


def _expose(one: Reading) -> Instruction:
    one.need()
    return Expose(*one.place, tuple(sorted(w.plain_words(one.rest))))


def _user(one: Reading) -> Instruction:
    return User(*one.place, one.single())


def _workdir(one: Reading) -> Instruction:
    return Workdir(*one.place, one.single())


def _volume(one: Reading) -> Instruction:
    found = [path.strip(SPACES) for path in w.words(one.rest)]
    if not found:
        raise Syntax("VOLUME requires at least one argument")
    if not all(found):
        raise Syntax("VOLUME specified can not be an empty string")
    return Volume(*one.place, tuple(found))


def _stopsignal(one: Reading) -> Instruction:
    return StopSignal(*one.place, one.single())


def _shell(one: Reading) -> Instruction:
    one.need()
    listed = w.json_list(one.rest)
    if listed is None:
        raise Syntax("SHELL requires the arguments to be in JSON form", hint='as in SHELL ["/bin/sh", "-c"]')
    if not listed:
        raise Syntax("SHELL requires at least one argument")
    return Shell(*one.place, tuple(listed))


def _maintainer(one: Reading) -> Instruction:
    return Maintainer(*one.place, one.single())


def _healthcheck(one: Reading) -> Instruction:
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


def _onbuild(one: Reading) -> Instruction:
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


READERS: Mapping[str, Callable[[Reading], Instruction]] = {
    "ADD": _add, "ARG": _arg, "CMD": _cmd, "COPY": _copy, "ENTRYPOINT": _entrypoint, "ENV": _env, "EXPOSE": _expose,
    "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _label, "MAINTAINER": _maintainer, "ONBUILD": _onbuild,
    "RUN": _run, "SHELL": _shell, "STOPSIGNAL": _stopsignal, "USER": _user, "VOLUME": _volume, "WORKDIR": _workdir,
}  # fmt: skip
"""Each keyword with what reads its instruction; they raise Syntax."""
