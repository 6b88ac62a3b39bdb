"""Stages as a graph: what a build needs, in which order, side by side."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.builds import base, build, with_programs
from veneer.build.events import BaseResolved, Event, StepStarted
from veneer.build.failure import StageError, StepFailed
from veneer.build.language.errors import DockerfileError
from veneer.build.language.parser import parse
from veneer.build.stages import Plan, plan
from veneer.engine.engine import Engine
from veneer.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")


def planned(text: str, target: str = "", **given: Any) -> Plan:
    dockerfile = parse(text.encode(), "Dockerfile")
    contexts = given.pop("contexts", {})
    return plan(dockerfile, target=target, given=given, contexts=contexts, platform=AMD64)


def needed(text: str, target: str = "", **given: Any) -> list[int]:
    return [stage.index for stage in planned(text, target, **given).stages]


FOUR = """FROM a AS one
FROM b AS two
COPY --from=one /x /x
FROM c AS unused
RUN false
FROM two
RUN --mount=type=bind,from=one,target=/m true
"""


def test_only_the_stages_that_the_target_needs_are_built() -> None:
    assert needed(FOUR) == [0, 1, 3]
    assert needed(FOUR, "two") == needed(FOUR, "TWO") == needed(FOUR, "1") == [0, 1]
    assert needed(FOUR, "unused") == [2]


def test_a_named_context_stands_before_a_stage_of_its_name() -> None:
    assert needed(FOUR, "two", contexts={"one": "docker-image://x"}) == [1]


def test_a_target_that_is_not_there_is_told_with_the_nearest_name() -> None:
    with pytest.raises(StageError, match='target stage "unusd" could not be found') as told:
        planned(FOUR, "unusd")
    assert told.value.hint == "did you mean unused?"
    with pytest.raises(StageError) as told:
        planned(FOUR, "production")
    assert told.value.hint == "Dockerfile has the stages one, two, unused, 3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM a AS one\nCOPY --from=one /x /\n", "refers to current build stage"),
        ("FROM a\nCOPY --from=0 /x /\n", "refers to current build stage"),
        ("FROM a\nCOPY --from=1 /x /\nFROM b\n", "refers to a later build stage"),
        ("FROM a\nCOPY --from=7 /x /\n", "there are only 1 stages"),
        ("FROM ${NOTHING}\n", "should not be blank"),
    ],
)
def test_stages_that_cannot_be_put_in_order_are_told_with_their_line(text: str, message: str) -> None:
    with pytest.raises((StepFailed, DockerfileError), match=message) as told:
        planned(text, "0")
    assert "Dockerfile:" in told.value.message


def test_a_platform_in_from_is_that_stages_alone() -> None:
    stages = planned(
        "FROM --platform=$BUILDPLATFORM a AS one\nFROM --platform=linux/arm64 b\nCOPY --from=one / /\n"
    ).stages
    assert str(stages[1].platform) == "linux/arm64"


def test_independent_stages_are_worked_on_side_by_side(engine: Engine) -> None:
    base(engine)
    text = "FROM base:1 AS one\nLABEL a=1\nFROM base:1 AS two\nLABEL b=1\nFROM base:1\n"
    text += "COPY --from=one /etc/release /1\nCOPY --from=two /etc/release /2\n"
    meeting = threading.Barrier(2, timeout=60)

    def meet(event: Event) -> None:
        # Each of the two waits in its first step for the other one to be in its own.
        if isinstance(event, StepStarted) and event.step.text.startswith("LABEL"):
            meeting.wait()

    built = engine.build(dockerfile=text.encode(), on_event=meet).result()
    assert built.image is not None and not meeting.broken


def test_a_failure_of_one_stage_stops_the_others_and_is_the_one_told(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    text = "FROM busybox:1 AS bad\nRUN exit 3\nFROM busybox:1 AS slow\nRUN sleep 600\nFROM scratch\n"
    text += "COPY --from=bad / /\nCOPY --from=slow / /\n"
    with pytest.raises(StepFailed, match="non-zero code: 3"):
        build(engine, text)


def test_many_stages_in_a_row_and_in_a_star_end(engine: Engine) -> None:
    row = "FROM scratch AS s0\nLABEL n=0\n" + "".join(f"FROM s{n - 1} AS s{n}\nLABEL n={n}\n" for n in range(1, 60))
    assert len(build(engine, row).rows) == 60
    base(engine)
    star = "".join(f"FROM base:1 AS t{n}\nLABEL n={n}\n" for n in range(30)) + "FROM scratch\n"
    star += "".join(f"COPY --from=t{n} /etc/release /r{n}\n" for n in range(30))
    assert len(build(engine, star).rows) == 30


def test_a_stage_goes_on_with_the_arguments_of_the_stage_below(engine: Engine) -> None:
    done = build(engine, "FROM scratch AS one\nARG V=1\nLABEL a=$V\nFROM one\nLABEL b=$V\n")
    assert done.image.labels == {"a": "1", "b": "1"}


# ---- triggers


def test_triggers_are_run_once_and_are_not_inherited_by_grandchildren(engine: Engine) -> None:
    build(engine, "FROM scratch\nONBUILD LABEL triggered=1\nONBUILD ENV T=1\nLABEL own=1\n", tags="parent:1")
    child = build(engine, "FROM parent:1\nLABEL child=1\n", tags="child:1")
    assert child.image.labels == {"own": "1", "triggered": "1", "child": "1"}
    steps = [each.step for each in child.events if isinstance(each, StepStarted)]
    assert [(step.number, step.text) for step in steps] == [
        (1, "FROM parent:1"), (1, "ONBUILD LABEL triggered=1"), (1, "ONBUILD ENV T=1"), (2, "LABEL child=1"),
    ]  # fmt: skip
    assert not child.image.config.run.get("OnBuild")
    assert [row for row in build(engine, "FROM child:1\nLABEL more=1\n").rows if "triggered" in row] == [
        "/bin/sh -c #(nop)  ONBUILD LABEL triggered=1", "/bin/sh -c #(nop)  LABEL triggered=1",
    ]  # fmt: skip


@pytest.mark.parametrize("trigger", ["ONBUILD LABEL a=1", "FROM scratch", "MAINTAINER me"])
def test_a_trigger_that_would_go_round_is_refused(engine: Engine, trigger: str) -> None:
    with pytest.raises(DockerfileError, match=r"ONBUILD|not allowed"):
        build(engine, f"FROM scratch\nONBUILD {trigger}\n")


def test_a_trigger_takes_from_a_stage_of_the_file_it_comes_into(engine: Engine) -> None:
    base(engine)
    build(engine, "FROM base:1\nONBUILD COPY --from=tool /etc/release /taken\n", tags="parent:1")
    done = build(engine, "FROM base:1 AS tool\nLABEL t=1\nFROM parent:1\n")
    assert "/taken" in done.rows[-1]
    later = "FROM parent:1 AS first\nLABEL a=1\nFROM base:1 AS tool\nFROM first\nCOPY --from=tool /etc/release /\n"
    with pytest.raises(StepFailed, match="refers to a later build stage"):
        build(engine, later)


def test_a_name_that_is_no_stage_is_told_to_be_taken_for_an_image(engine: Engine) -> None:
    base(engine)
    with pytest.raises(StepFailed, match=r"^NoStage is no stage before this one, and was taken for an image: "):
        build(engine, "FROM base:1\nCOPY --from=NoStage /etc/release /\n")


def test_a_trigger_may_need_a_stage_that_nothing_else_needs(engine: Engine) -> None:
    base(engine)
    build(engine, "FROM base:1\nONBUILD COPY --from=0 /etc/release /taken\n", tags="parent:1")
    events: list[Event] = []
    built = engine.build(
        dockerfile=b"FROM base:1\nLABEL only=here\nFROM parent:1\nLABEL a=1\n", on_event=events.append
    ).result()
    assert built.image is not None
    assert {event.name for event in events if isinstance(event, BaseResolved)} == {"base:1", "parent:1"}
