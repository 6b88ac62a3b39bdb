"""Execs, attaching, health checks: more than one process and more than one reader."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.run.monitor.conftest import Box, lines_of, talk, until
from veneer.run.failures import CannotExecute, NoSuchCommand
from veneer.run.users import UnknownUser

Boxes = Callable[..., Box]
SLEEP = ("sh", "-c", "while :; do sleep 1; done")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_an_exec_has_streams_and_a_code_of_its_own(box: Boxes, runtime: str) -> None:
    one = box(runtime)
    one.start(*SLEEP)
    assert one.exec("sh", "-c", "echo out; echo err >&2; exit 5") == (5, b"out\n", b"err\n")
    assert one.exec("cat", stdin=b"x" * 200_000) == (0, b"x" * 200_000, b"")
    assert one.exec("sh", "-c", "kill -9 $$")[0] == 137
    with pytest.raises(NoSuchCommand) as caught:
        one.exec("nosuch")
    assert str(caught.value) == 'exec: "nosuch": executable file not found in $PATH'
    with pytest.raises(CannotExecute):
        one.exec("/etc/passwd")
    assert one.state.status == "running"


def test_who_where_and_with_what(box: Boxes) -> None:
    one = box()
    one.config |= {"Env": [*one.config["Env"], "A=1"], "WorkingDir": "/tmp"}
    one.start(*SLEEP)
    assert one.exec("sh", "-c", "id -u; pwd; echo $A $B $HOSTNAME")[1] == b"0\n/tmp\n1 box\n"
    asked: dict[str, Any] = {"User": "7:8", "WorkingDir": "/etc", "Env": ["B=2", "A=3"]}
    assert one.exec("sh", "-c", "id -u; id -g; pwd; echo $A $B", **asked)[1] == b"7\n8\n/etc\n3 2\n"
    with pytest.raises(UnknownUser):
        one.exec("true", User="nobody-knows")


def test_a_privileged_exec_has_every_capability_and_others_have_the_containers(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    usual = one.exec("grep", "CapEff", "/proc/self/status")[1].split()[1]
    assert usual == b"00000000a80425fb"
    assert int(one.exec("grep", "CapEff", "/proc/self/status", Privileged=True)[1].split()[1], 16) & 1 << 21


def test_an_exec_with_a_terminal(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    # Of a terminal that has no size yet busybox' stty may say so and end with 0.
    program = "until stty size 2>/dev/null | grep ' '; do :; done; read a; stty size; echo $a >&2; exit 3"
    asked = {"Cmd": ["sh", "-c", program], "Tty": True,
             "ConsoleSize": [30, 90], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}  # fmt: skip
    with one.client.exec(asked) as stream:
        lines = lines_of(stream)
        assert next(lines) == b"30 90\r"
        one.client.resize(5, 6, exec=stream.id)
        assert one.client.execs() == [stream.id]
        stream.write(b"hi\n")
        assert list(lines) == [b"hi\r", b"5 6\r", b"hi\r"]
        assert talk(stream)[0] == 3


def test_a_detached_exec_runs_on(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    assert one.exec("sh", "-c", "echo done >/made", Detach=True) == (0, b"", b"")
    until(lambda: one.exec("cat", "/made")[1] == b"done\n")


def test_what_an_exec_leaves_in_the_background_holds_nobody_up(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    assert one.exec("sh", "-c", "sleep 1000 & echo up") == (0, b"up\n", b"")


def test_many_at_once(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    found: list[tuple[int, bytes, bytes]] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(one.exec("sh", "-c", f"echo {n}; exit {n}")))
        for n in range(12)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(found) == [(n, b"%d\n" % n, b"") for n in range(12)]
    assert one.client.execs() == []


def test_several_readers_get_the_same_and_a_late_one_can_have_what_was_before(box: Boxes) -> None:
    one = box()
    one.config |= {"OpenStdin": True}
    with one.attached("sh", "-c", "echo first; read a; echo $a; exit 2", stdin=True) as stream:
        assert next(lines_of(stream)) == b"first"
        with one.client.attach() as second, one.client.attach(logs=True, stdin=True) as third:
            until(lambda: third.read() == (1, b"first\n"))
            third.write(b"word\n")
            assert talk(stream) == talk(second) == talk(third) == (2, b"word\n", b"")


def test_a_reader_who_goes_is_no_loss_and_his_input_ends_only_if_it_should(box: Boxes) -> None:
    lasting, once = box(), box()
    lasting.config |= {"OpenStdin": True}
    once.config |= {"OpenStdin": True, "StdinOnce": True}
    for one in (lasting, once):
        one.attached("cat", stdin=True).close()
    assert until(lambda: once.state.status == "exited") and once.state.exit_code == 0
    with lasting.client.attach(stdin=True) as stream:
        stream.write(b"here\n")
        assert next(lines_of(stream)) == b"here"


def test_a_slow_reader_slows_it_down_and_fills_nobodys_memory(box: Boxes) -> None:
    one = box()
    total = 64 << 20
    with one.attached("sh", "-c", f"head -c {total} /dev/zero", log={"driver": "none"}) as stream:
        monitor = one.state.monitor
        assert stream.read() is not None
        before = resident(monitor)
        code, out, _ = talk(stream)
        assert code == 0 and total - len(out) <= 65536
    assert before < 24 << 20, "it was not read before somebody wanted it"


def resident(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_health_is_checked(box: Boxes) -> None:
    one = box()
    line = "until test -e /go; do sleep 0.01; done; echo looked; test -e /well"
    check = {"Test": ["CMD-SHELL", line], "Interval": 30_000_000, "Timeout": 60_000_000_000, "Retries": 2}
    one.start(*SLEEP, health=check)
    assert one.state.health is not None and one.state.health["Status"] == "starting"
    one.exec("touch", "/go")
    found = until(lambda: one.state.health and one.state.health["Status"] == "unhealthy" and one.state.health)
    assert found["FailingStreak"] >= 2
    assert {"ExitCode": 1, "Output": "looked\n"}.items() <= found["Log"][-1].items()
    one.exec("touch", "/well")
    found = until(lambda: one.state.health and one.state.health["Status"] == "healthy" and one.state.health)
    assert found["FailingStreak"] == 0 and len(found["Log"]) <= 5
    until(lambda: "health_status: healthy" in (one.root / "events.jsonl").read_text())
    assert "health_status: unhealthy" in (one.root / "events.jsonl").read_text()


def test_a_check_that_takes_too_long_is_ended_and_has_failed(box: Boxes) -> None:
    one = box()
    check = {"Test": ["CMD", "sleep", "1000"], "Interval": 10_000_000, "Timeout": 100_000_000, "Retries": 1}
    one.start(*SLEEP, health=check)
    found = until(lambda: one.state.health and one.state.health["Log"] and one.state.health)
    assert found["Status"] == "unhealthy"
    assert found["Log"][0] | {"Start": "", "End": ""} == {
        "Start": "", "End": "", "ExitCode": -1, "Output": "Health check exceeded timeout (0.1s)"
    }  # fmt: skip


def test_a_check_that_cannot_be_run_has_failed_and_the_next_is_made(box: Boxes) -> None:
    one = box()
    check = {"Test": ["CMD", "/check"], "Interval": 10_000_000, "Timeout": 60_000_000_000, "Retries": 2}
    one.start(*SLEEP, health=check)
    found = until(lambda: one.state.health and one.state.health["Status"] == "unhealthy" and one.state.health)
    assert found["Log"][-1]["ExitCode"] == -1 and "/check" in found["Log"][-1]["Output"]
    assert one.exec("sh", "-c", "printf '#!/bin/sh\\n' >/new; chmod 755 /new; mv /new /check")[0] == 0
    until(lambda: one.state.health and one.state.health["Status"] == "healthy")


def test_checks_go_on_after_a_pause(box: Boxes) -> None:
    one = box()
    check = {"Test": ["CMD", "true"], "Interval": 10_000_000, "Timeout": 60_000_000_000, "Retries": 1}
    one.start(*SLEEP, health=check)
    until(lambda: one.state.health and one.state.health["Status"] == "healthy")
    one.client.pause()
    one.client.unpause()
    before = one.state.health
    until(lambda: one.state.health != before)
