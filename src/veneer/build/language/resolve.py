"""Variables replaced in the instructions that have them replaced, and nowhere else.

ADD COPY ENV EXPOSE FROM LABEL STOPSIGNAL USER VOLUME WORKDIR, and the flags of RUN; never the commands of RUN, CMD,
ENTRYPOINT, SHELL and HEALTHCHECK, which a shell looks at when they run.
Source: docker/dockerfile:1 reference, Environment replacement.
"""

from __future__ import annotations

from collections.abc import Mapping

from veneer.build.language.expand import expand, expand_words
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

Names = Mapping[str, str]


def resolve(instruction: Instruction, env: Names, escape: str = "\\") -> Instruction:
    """The instruction with its words as they count: quotes off, variables replaced by `env`'s values.

    All pairs of one ENV see the values from before it.  Raises ExpansionError, Syntax.
    """
    if isinstance(instruction, Run):
        # Read anew: sizes and modes could not be looked at while they were variables.
        mounts = tuple(run_mount(expand(mount.text, env, escape)) if "$" in mount.text else mount
                       for mount in instruction.mounts)  # fmt: skip
        flags = tuple(expand(flag, env, escape) if "$" in flag else flag for flag in instruction.flags)
        return instruction.replaced(mounts=mounts, flags=flags)
    if isinstance(instruction, Copy):
        return _files(instruction, env, escape)
    if isinstance(instruction, Env):
        pairs = tuple((expand(name, env, escape), expand(value, env, escape)) for name, value in instruction.pairs)
        return instruction.replaced(pairs=pairs)
    if isinstance(instruction, Label):
        pairs = tuple((expand(name, env, escape), expand(value, env, escape)) for name, value in instruction.pairs)
        return instruction.replaced(pairs=pairs)
    if isinstance(instruction, Arg):
        return instruction.replaced(pairs=resolved_args(instruction, env, escape))
    if isinstance(instruction, Expose):
        return instruction.replaced(words=tuple(
            word for each in instruction.words for word in expand_words(each, env, escape)
        ))  # fmt: skip
    if isinstance(instruction, Volume):
        return instruction.replaced(paths=tuple(expand(path, env, escape) for path in instruction.paths))
    if isinstance(instruction, User):
        return instruction.replaced(user=expand(instruction.user, env, escape))
    if isinstance(instruction, Workdir):
        return instruction.replaced(path=expand(instruction.path, env, escape))
    if isinstance(instruction, StopSignal):
        return instruction.replaced(signal=expand(instruction.signal, env, escape))
    if isinstance(instruction, From):
        return instruction.replaced(
            image=expand(instruction.image, env, escape), platform=expand(instruction.platform, env, escape)
        )
    return instruction


def resolved_args(instruction: Arg, env: Names, escape: str = "\\") -> tuple[tuple[str, str | None], ...]:
    """Names and defaults; a default sees the ARGs before it on the same line."""
    scope = dict(env)
    found: list[tuple[str, str | None]] = []
    for name, default in instruction.pairs:
        name = expand(name, scope, escape)
        value = None if default is None else expand(default, scope, escape)
        found.append((name, value))
        if value is not None:
            scope.setdefault(name, value)
    return tuple(found)


def _files(instruction: Copy, env: Names, escape: str) -> Copy:
    made = instruction.replaced(
        sources=tuple(expand(source, env, escape) for source in instruction.sources),
        heredocs=tuple(
            doc.replaced(content=_content(doc.content, env, escape)) if doc.expand else doc
            for doc in instruction.heredocs
        ),
        destination=expand(instruction.destination, env, escape),
        chown=expand(instruction.chown, env, escape),
        chmod=expand(instruction.chmod, env, escape),
        excludes=tuple(expand(pattern, env, escape) for pattern in instruction.excludes),
        flags=tuple(expand(flag, env, escape) if "$" in flag else flag for flag in instruction.flags),
    )
    if isinstance(made, Add):
        return made.replaced(checksum=expand(made.checksum, env, escape))
    return made


def _content(text: str, env: Names, escape: str) -> str:
    """A here-document's variables replaced; quotes are content there."""
    if "$" not in text and escape not in text:
        return text
    # Quotes mean nothing in a here-document, so they are escaped for the length of the replacement.
    masked = text.replace('"', escape + '"').replace("'", escape + "'")
    return expand(masked, env, escape)
