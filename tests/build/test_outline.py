"""What a Dockerfile offers and wants, told without building."""

from __future__ import annotations

from veneer.build.language.parser import parse
from veneer.build.outline import Outline, outline, targets
from veneer.build.stages import plan
from veneer.oci.platform import host

FILE = b"""\
# syntax=docker/dockerfile:1
# ONE is used by FROM
ARG ONE=1
ARG TWO=${ONE}2
ARG NEVER=3
# not about anything
FROM base:${TWO} AS a
ENV HERE=env
# X is one, and
# Y is two
ARG X=$HERE Y=$FROM_THE_BASE
RUN --mount=type=secret,id=s true
FROM scratch AS unused
ARG Z
FROM a AS last
ARG ONE
ARG X=again
RUN --mount=type=secret,id=s,required=true --mount=type=cache,target=/c/ --mount=type=ssh,id=$X true
"""


def outlined(target: str = "", **given: str) -> Outline:
    found = plan(parse(FILE), target=target, given=given, contexts={}, platform=host())
    return outline(found, given)


def test_each_stage_is_a_target_with_its_base_and_the_comment_that_begins_with_its_name() -> None:
    found = targets(parse(FILE.replace(b"# not about", b"# a is")))
    assert [(each.name, each.base, each.default, each.description) for each in found] == [
        ("a", "base:${TWO}", False, "is anything"), ("unused", "scratch", False, ""), ("last", "a", True, ""),
    ]  # fmt: skip
    assert targets(parse(FILE))[0].description == ""


def test_the_arguments_are_those_that_reach_the_target_with_the_values_they_would_have() -> None:
    found = outlined().arguments
    assert [(each.name, each.value, each.description) for each in found] == [
        ("ONE", "1", "is used by FROM"), ("TWO", "12", ""), ("Y", "", "is two"), ("X", "again", ""),
    ]  # fmt: skip
    assert [each.place.line for each in found] == [3, 4, 11, 17]
    assert [each.value for each in outlined("a").arguments if each.name == "X"] == ["env"]


def test_given_arguments_count_and_a_stage_that_is_not_needed_does_not() -> None:
    assert {each.name: each.value for each in outlined(ONE="7", X="mine").arguments} == {
        "ONE": "7", "TWO": "72", "X": "mine", "Y": "",
    }  # fmt: skip
    assert [each.name for each in outlined("unused").arguments] == ["Z"]


def test_what_is_mounted_is_told_once_and_required_if_any_step_requires_it() -> None:
    found = outlined()
    assert [(each.id, each.required, each.place.line) for each in found.secrets] == [("s", True, 12)]
    assert [each.id for each in found.caches] == ["/c"]
    assert [each.id for each in found.ssh] == ["again"]
    assert not outlined("a").ssh
