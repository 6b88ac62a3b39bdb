"""Variables replaced in the instructions that have them replaced, and nowhere else.

ADD COPY ENV EXPOSE FROM LABEL STOPSIGNAL USER VOLUME WORKDIR, and the mounts of RUN; never the commands of RUN, CMD,
ENTRYPOINT, SHELL and HEALTHCHECK, which a shell looks at when they run.
Source: docker/dockerfile:1 reference, Environment replacement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

from veneer.build.language.errors import Syntax
from veneer.build.language.expand import expand, expand_document, expand_words
from veneer.build.language.instructions import (
    Add,
    Arg,
    Copy,
    Env,
    Expose,
    From,
    Instruction,
    Label,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from veneer.build.language.mounts import run_mount
from veneer.build.language.ports import exposed_ports
from veneer.build.language.signals import check_signal

Names = Mapping[str, str]
_SYMBOLIC = re.compile(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*")


def resolve(instruction: Instruction, env: Names, escape: str = "\\") -> Instruction:
    """The instruction with its words as they count: quotes off, variables replaced by `env`'s values.

    All pairs of one ENV see the values from before it.  `text` stays as written.
    Raises Syntax and its child ExpansionError.
    """
    replace = _REPLACERS.get(type(instruction))
    if replace is None:
        return instruction
    return replace(instruction, lambda word: expand(word, env, escape), env, escape)


_Expand = Callable[[str], str]


def _run(instruction: Run, each: _Expand, env: Names, escape: str) -> Instruction:
    mounts = tuple(run_mount(mount.text, each) if mount.deferred else mount for mount in instruction.mounts)
    return instruction.replaced(mounts=mounts, flags=_flags(instruction.flags, each))


def _flags(flags: tuple[str, ...], each: _Expand) -> tuple[str, ...]:
    return tuple(each(flag) if "$" in flag else flag for flag in flags)


def _pairs(instruction: Env | Label, each: _Expand, env: Names, escape: str) -> Instruction:
    pairs = tuple((each(name), each(value)) for name, value in instruction.pairs)
    if not all(name for name, _ in pairs):
        raise Syntax(f"{instruction.keyword} names can not be blank")
    return instruction.replaced(pairs=pairs)


def _arg(instruction: Arg, each: _Expand, env: Names, escape: str) -> Instruction:
    return instruction.replaced(pairs=resolved_args(instruction, env, escape))


def resolved_args(
    instruction: Arg, env: Names, escape: str = "\\", given: Collection[str] = ()
) -> tuple[tuple[str, str | None], ...]:
    """Names and defaults; a default sees the ARGs before it on the same line.

    The defaults of the names in `given` do not count and are not looked at: they come back as None.
    """
    scope = dict(env)
    found: list[tuple[str, str | None]] = []
    for name, default in instruction.pairs:
        name = expand(name, scope, escape)
        value = None if default is None or name in given else expand(default, scope, escape)
        found.append((name, value))
        if value is not None:
            scope.setdefault(name, value)
    return tuple(found)


def _expose(instruction: Expose, each: _Expand, env: Names, escape: str) -> Instruction:
    words = tuple(word for written in instruction.words for word in expand_words(written, env, escape))
    exposed_ports(words)
    return instruction.replaced(words=words)


def _volume(instruction: Volume, each: _Expand, env: Names, escape: str) -> Instruction:
    paths = tuple(map(each, instruction.paths))
    if not all(paths):
        raise Syntax("VOLUME specified can not be an empty string")
    return instruction.replaced(paths=paths)


def _user(instruction: User, each: _Expand, env: Names, escape: str) -> Instruction:
    return instruction.replaced(user=each(instruction.user))


def _workdir(instruction: Workdir, each: _Expand, env: Names, escape: str) -> Instruction:
    return instruction.replaced(path=each(instruction.path))


def _stopsignal(instruction: StopSignal, each: _Expand, env: Names, escape: str) -> Instruction:
    signal = each(instruction.signal)
    check_signal(signal)
    return instruction.replaced(signal=signal)


def _from(instruction: From, each: _Expand, env: Names, escape: str) -> Instruction:
    image, platform = each(instruction.image), each(instruction.platform)
    if not image:
        raise Syntax(f"base name ({instruction.image}) should not be blank", at=instruction.image)
    if instruction.platform and not platform:
        raise Syntax(f"empty platform value from expression {instruction.platform}", at=instruction.platform)
    return instruction.replaced(image=image, platform=platform)


def _files(instruction: Copy, each: _Expand, env: Names, escape: str) -> Instruction:
    documents = tuple(
        doc.replaced(content=expand_document(doc.content, env)) if doc.expand else doc for doc in instruction.heredocs
    )
    made = instruction.replaced(
        sources=tuple(map(each, instruction.sources)), heredocs=documents, destination=each(instruction.destination),
        chown=each(instruction.chown), chmod=each(instruction.chmod), excludes=tuple(map(each, instruction.excludes)),
        flags=_flags(instruction.flags, each),
    )  # fmt: skip
    _check_mode(made.chmod)
    return made.replaced(checksum=each(made.checksum)) if isinstance(made, Add) else made


def _check_mode(mode: str) -> None:
    if not mode or _SYMBOLIC.fullmatch(mode) or (re.fullmatch("[0-7]{1,8}", mode) and int(mode, 8) <= 0o7777):
        return
    raise Syntax(
        f"invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777",
        hint="as in 644 or u=rw,go=r", at="--chmod",
    )  # fmt: skip


_REPLACERS: Mapping[type, Callable[..., Instruction]] = {
    Run: _run, Copy: _files, Add: _files, Env: _pairs, Label: _pairs, Arg: _arg, Expose: _expose, Volume: _volume,
    User: _user, Workdir: _workdir, StopSignal: _stopsignal, From: _from,
}  # fmt: skip
