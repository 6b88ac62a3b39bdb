"""Odd Dockerfiles mean what they mean to docker: its steps, its history, its configuration, its refusals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.build.language.recorded import Recorded, config_of, recorded
from veneer.build import state as s
from veneer.build.language import instructions as i
from veneer.build.language.errors import DockerfileError, Syntax
from veneer.build.language.parser import parse
from veneer.build.language.resolve import resolve, resolved_args
from veneer.build.runconfig import RunConfig

ALL = recorded()
SAID_ANEW = {
    # What docker says today where 20.10 said it otherwise.
    "failed to process \"${x\": missing ':' in substitution": "failed to process \"${x\": syntax error: missing '}'",
    'failed to process "${x:*y}": unsupported modifier (*) in substitution': "unsupported modifier (:*)",
    "Unknown flag: chwon": "unknown flag: --chwon (did you mean chown?)",
    "Unknown flag: foo": "unknown flag: --foo",
    "unknown instruction: RUNN": "unknown instruction: RUNN (did you mean RUN?)",
    "unknown instruction: FOO": "unknown instruction: foo",
}


def accepted() -> list[Recorded]:
    return [each for each in ALL if each.history is not None]


def refused() -> list[Recorded]:
    return [each for each in ALL if each.history is None]


def walk(dockerfile: i.Dockerfile) -> Iterator[i.Instruction]:
    return dockerfile.walk()


@pytest.mark.parametrize("each", accepted(), ids=str)
def test_an_instruction_is_shown_as_docker_shows_it(each: Recorded) -> None:
    texts = [instruction.text for instruction in walk(parse(each.dockerfile))]
    # The client writes some warnings into the line of the first step.
    assert texts[-len(each.steps) :] == list(each.steps)
    assert len(texts) - len(each.steps) <= 1


@pytest.mark.parametrize("each", accepted(), ids=str)
def test_words_come_out_as_docker_replaces_them(each: Recorded) -> None:
    given = dict(pair.partition("=")[::2] for pair in each.args)
    texts, config = _built(parse(each.dockerfile), given)
    assert each.history is not None and each.config is not None
    rows = [row.partition("#(nop)")[2].lstrip(" ") for row in each.history if "#(nop)" in row]
    files = ("ADD", "COPY")
    assert texts == [row for row in rows if not row.startswith(files)]
    assert config_of(config) == config_of(each.config)


@pytest.mark.parametrize("each", refused(), ids=str)
def test_what_docker_refuses_is_refused_in_its_words(each: Recorded) -> None:
    with pytest.raises((DockerfileError, Syntax)) as caught:
        _built(parse(each.dockerfile), {})
    wanted = re.sub(r"dockerfile parse error line \d+: ", "", each.error)
    said = SAID_ANEW.get(wanted, wanted)
    assert said.lower() in caught.value.message.lower()
    if place := re.search(r"dockerfile parse error line (\d+)", each.error):
        assert f"dockerfile parse error on line {place[1]}: " in caught.value.message


def _built(dockerfile: i.Dockerfile, given: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    """The last stage's history texts and configuration; RUN, COPY and ADD only have their words looked at."""
    meta: dict[str, str] = {}
    for arg in dockerfile.global_args:
        for name, default in resolved_args(arg, meta, dockerfile.directives.escape, given):
            value = given.get(name, default)
            if value is not None:
                meta[name] = value
    done: dict[str, tuple[list[str], RunConfig]] = {}
    texts: list[str] = []
    run = RunConfig()
    for stage in dockerfile.stages:
        base = resolve(stage.base, meta, dockerfile.directives.escape)
        assert isinstance(base, i.From)
        texts, run = done.get(base.image.lower(), ([], RunConfig().with_default_path()))
        state, texts = s.BuildState(run, s.Scope(given, meta)), list(texts)
        for instruction in stage.instructions:
            made = resolve(instruction, state.names, dockerfile.directives.escape)
            if isinstance(made, i.Workdir):
                state, text = s.workdir(state, made)
                texts.append(text)
            elif s.is_metadata(made):
                state, text = s.apply(state, made)
                texts.append(text)
        run = state.run
        done[stage.name] = texts, run
    return texts, run.to_json()
