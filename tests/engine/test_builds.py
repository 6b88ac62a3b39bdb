"""A build from Python: its events as they come, its result, and how it is given up."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from tests.support.builds import base, with_programs
from veneer.build.events import BaseResolved, Event, Finished, Output, StepDone, StepStarted
from veneer.build.request import SecretSource
from veneer.build.validation import BadRequest
from veneer.engine.builds import requested
from veneer.engine.engine import Engine
from veneer.progress import Cancelled

TEXT = b"FROM base:1\nLABEL a=1\nENV b=2\n"


def test_events_come_in_order_and_the_result_after_them(engine: Engine) -> None:
    base(engine)
    build = engine.build(dockerfile=TEXT, tags="x:1")
    kinds = [type(event) for event in build]
    assert kinds[:3] == [StepStarted, BaseResolved, StepDone]
    assert kinds[-1] is Finished
    built = build.result()
    assert built.image == engine.images.get("x:1").id
    assert build.result() is built


def test_nothing_happens_before_it_is_asked_for(engine: Engine) -> None:
    base(engine)
    engine.build(dockerfile=TEXT, tags="x:1")
    assert {tag.familiar for image in engine.images.list() for tag in image.tags} == {"base:1"}


def test_what_fails_is_raised_by_the_loop_and_by_the_result(engine: Engine) -> None:
    build = engine.build(dockerfile=b"FROM base:1 AS\n")
    for ask in (lambda: list(build), build.result):
        with pytest.raises(Exception, match="FROM requires") as told:
            ask()
        assert "Dockerfile" in str(told.value)


def test_a_listener_that_wants_to_leave_the_program_ends_the_loop(engine: Engine) -> None:
    base(engine)

    def leave(event: Event) -> None:
        raise SystemExit(3)

    build = engine.build(dockerfile=TEXT, on_event=leave)
    with pytest.raises(SystemExit):
        list(build)


def test_leaving_the_loop_ends_a_command_that_runs(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    build = engine.build(dockerfile=b"FROM busybox:1\nENV done=1\nRUN echo asleep; sleep 600\n")
    for event in build:
        if isinstance(event, Output):
            break
    with pytest.raises(Cancelled):
        build.result()
    # What was done is in the cache.
    steps = [each for each in engine.build(dockerfile=b"FROM busybox:1\nENV done=1\n") if isinstance(each, StepDone)]
    assert steps[-1].cached


def test_a_build_can_be_cancelled_from_another_thread(engine: Engine, busybox: Path) -> None:
    with_programs(engine, busybox)
    asleep = threading.Event()

    def heard(event: Event) -> None:
        if isinstance(event, Output):
            asleep.set()

    build = engine.build(dockerfile=b"FROM busybox:1\nRUN echo asleep; sleep 600\n", on_event=heard)

    def cancel() -> None:
        asleep.wait(120)
        build.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled, match="cancelled"):
        build.result()
    thread.join()


def test_builds_of_one_engine_go_on_side_by_side(engine: Engine) -> None:
    base(engine)
    text = "FROM base:1 AS one\nWORKDIR /w\nFROM base:1\nENV who={}\nCOPY --from=one /etc/release /x\n"
    builds = [engine.build(dockerfile=text.format(n % 2).encode(), tags=f"x:{n}") for n in range(4)]
    threads = [threading.Thread(target=build.result) for build in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [build.result().tags for build in builds] == [(f"x:{n}",) for n in range(4)]
    assert engine.system.check(deep=True) == []
    assert list((engine.store.root / "ingest").iterdir()) == []


def test_a_request_is_written_as_people_write_it() -> None:
    request = requested(
        args={"A": 1}, labels={"l": "x"}, contexts={"c": "/x"}, tags="x", platforms=["a/b"], secrets={"id": b"s"},
        add_hosts={"h": "::1"}, ulimits="nofile=9",
    )  # fmt: skip
    assert request.args == (("A", "1"),) and request.labels == (("l", "x"),)
    assert (request.contexts, request.add_hosts) == ((("c", "/x"),), (("h", "::1"),))
    assert request.ulimits == ("nofile=9",)
    assert (request.tags, request.platforms) == (("x",), ("a/b",))
    assert request.secrets == (SecretSource("id", b"s"),)


def test_a_check_is_asked_for_elsewhere(engine: Engine) -> None:
    with pytest.raises(BadRequest, match="builds nothing"):
        engine.build(dockerfile=TEXT, check=True).result()
    assert engine.builds.check(requested(dockerfile=b"FROM scratch\nMAINTAINER me\n")).findings


def test_a_network_that_there_is_not_is_refused_before_anything_is_done(engine: Engine) -> None:
    with pytest.raises(BadRequest, match="unknown network 'bridge'"):
        engine.build(dockerfile=TEXT, network="bridge").result()


def test_a_tar_is_written_to_the_stream_given(engine: Engine) -> None:
    from veneer.build.request import OutputSpec

    base(engine)
    out = io.BytesIO()
    engine.builds.run(requested(dockerfile=TEXT, outputs=(OutputSpec("tar", "-"),)), stdout=out)
    assert b"etc/release" in out.getvalue()
