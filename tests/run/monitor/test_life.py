"""A container's life under its monitor: what it prints, how it ends, and what is said of that."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.run.monitor.conftest import Box, lines_of, talk, until
from veneer.run.failures import CannotExecute, ContainerFailed, NoSuchCommand
from veneer.run.monitor import client, state
from veneer.run.monitor.stream import ask
from veneer.run.users import UnknownUser
from veneer.store import events

Boxes = Callable[..., Box]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_streams_are_apart_the_code_is_the_commands_and_the_state_says_it(box: Boxes, runtime: str) -> None:
    one = box(runtime)
    assert one.run("sh", "-c", "echo out; echo err >&2; exit 7") == (7, b"out\n", b"err\n")
    found = one.state
    assert (found.status, found.exit_code, found.pid, found.error, found.cgroup) == ("exited", 7, 0, "", "")
    assert state.NEVER < found.started_at < found.finished_at
    assert not one.folder.joinpath("socket").exists() and not one.folder.joinpath("bundle").exists()


def test_input_is_passed_on_and_ends(box: Boxes) -> None:
    data = os.urandom(1 << 20)
    assert box().run("cat", stdin=data) == (0, data, b"")


def test_without_input_it_is_empty(box: Boxes) -> None:
    assert box().run("cat") == (0, b"", b"")


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_terminal_is_one_stream_with_a_size(box: Boxes, runtime: str) -> None:
    one = box(runtime)
    one.config |= {"Tty": True, "OpenStdin": True}
    one.host_config |= {"ConsoleSize": [40, 120]}
    with one.attached("sh", "-c", "test -t 0 && test -t 2 && stty size; echo err >&2; read a; stty size; echo $a",
                      stdin=True) as stream:  # fmt: skip
        lines = lines_of(stream)
        assert [next(lines), next(lines)] == [b"40 120\r", b"err\r"]
        stream.resize(10, 20)
        stream.write(b"word\n")
        assert list(lines) == [b"word\r", b"10 20\r", b"word\r"]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
@pytest.mark.parametrize(
    ("words", "kind", "text"),
    [
        (["nosuch"], NoSuchCommand, 'exec: "nosuch": executable file not found in $PATH'),
        (["/no/such"], NoSuchCommand, 'exec: "/no/such": stat /no/such: no such file or directory'),
        (["/etc/passwd"], CannotExecute, 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_what_cannot_be_run_is_told_as_docker_tells_it_and_nothing_stays(
    box: Boxes, runtime: str, words: list[str], kind: type[Exception], text: str
) -> None:
    one = box(runtime)
    with pytest.raises(kind) as caught:
        one.run(*words)
    assert str(caught.value) == text
    found = one.state
    assert (found.status, found.exit_code, found.error) == ("created", caught.value.exit_code, text)  # type: ignore[attr-defined]
    assert set(os.listdir(one.folder)) == {"alive", f"{one.id}-json.log", "state.json"}


def test_a_user_whom_the_image_does_not_know(box: Boxes) -> None:
    one = box()
    one.config["User"] = "nobody-knows"
    with pytest.raises(UnknownUser):
        one.run("true")
    assert one.state.exit_code == 128


def test_what_the_runtime_cannot_do_is_told_in_its_words(box: Boxes) -> None:
    with pytest.raises(ContainerFailed, match="/not/there"):
        box().run("true", binds=[{"type": "bind", "source": "/not/there", "target": "/x"}])


def test_whoever_is_detached_runs_on_and_can_be_waited_for(box: Boxes) -> None:
    one = box()
    assert one.start("sh", "-c", "read a </dev/zero; sleep 1000") is None
    assert one.state.status == "running"
    # The runtime says "started" when its own program is about to become the command.
    name = Path(f"/proc/{one.state.pid}/cmdline")
    until(lambda: name.read_bytes().startswith(b"sh\0"), "the host's number")
    one.client.kill(signal.SIGKILL)
    assert until(lambda: one.state.status == "exited") and one.state.exit_code == 137


def test_who_waits_gets_the_code(box: Boxes) -> None:
    one = box()
    one.config |= {"OpenStdin": True, "StdinOnce": True}
    with one.attached("sh", "-c", "read a; exit 5", stdin=True) as stream, one.client.connection() as waiting:
        waiting.sendall(_request({"do": "wait", "condition": "not-running"}))
        stream.close_input()
        assert talk(stream)[0] == 5
        assert b'"code": 5' in waiting.recv(1000)


def _request(content: dict[str, object]) -> bytes:
    from veneer.run.monitor import protocol

    return protocol.message(protocol.REQUEST, content)


def test_stop_asks_first_and_kills_then(box: Boxes) -> None:
    polite, deaf = box(), box()
    with polite.attached("sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done") as stream:
        next(lines_of(stream))
        polite.client.stop(30)
        assert talk(stream)[:2] == (3, b"bye\n")
    deaf.config["StopTimeout"] = 1000
    deaf.start("sleep", "1000")  # the first process of a PID namespace, which minds no signal it has no handler for
    began = time.monotonic()
    deaf.client.stop(0.2)
    assert 0.2 <= time.monotonic() - began < 500
    assert deaf.state.exit_code == 137
    with pytest.raises(client.NotRunning, match=f"Container {deaf.id} is not running"):
        deaf.client.stop()


def test_the_stop_signal_is_the_images(box: Boxes) -> None:
    one = box()
    one.config["StopSignal"] = "SIGUSR1"
    with one.attached("sh", "-c", "trap 'exit 4' USR1; echo up; while :; do sleep 0.01; done") as stream:
        next(lines_of(stream))
        one.client.stop()
        assert talk(stream)[0] == 4


def test_pause_and_unpause(box: Boxes) -> None:
    one = box()
    with one.attached("sh", "-c", "while :; do echo tick; sleep 0.01; done") as stream:
        lines = lines_of(stream)
        next(lines)
        one.client.pause()
        assert one.state.status == "paused"
        with pytest.raises(client.AlreadyPaused):
            one.client.pause()
        with pytest.raises(client.IsPaused):
            one.exec("true")
        one.client.unpause()
        assert one.state.status == "running" and next(lines) == b"tick"
        with pytest.raises(client.NotPaused):
            one.client.unpause()
        with one.client.freeze():
            assert one.state.status == "paused"
        until(lambda: one.state.status == "running")
        one.client.pause()
        one.client.kill(signal.SIGKILL)
        assert talk(stream)[0] == 137


@pytest.mark.parametrize("paused", [False, True])
def test_nobody_lets_it_go_on_while_it_is_frozen(box: Boxes, paused: bool) -> None:
    one = box()
    one.start("sleep", "1000")
    if paused:
        one.client.pause()
    with one.client.connection() as asking:
        with one.client.freeze():
            asking.sendall(_request({"do": "unpause"}))
            assert not select.select([asking], [], [], 0.3)[0], "he waits"
            assert one.state.status == "paused"
        asking.settimeout(60)
        assert b"error" not in asking.recv(1 << 10)
    assert one.state.status == "running"


def test_what_cannot_be_put_away_at_its_end_keeps_nobody_from_knowing_its_code(box: Boxes) -> None:
    one = box()
    one.config |= {"OpenStdin": True, "StdinOnce": True}
    with one.attached("sh", "-c", "echo up; read a; exit 3", stdin=True) as stream:
        next(lines_of(stream))
        (one.folder / "bundle" / "somebodys").touch()
        assert talk(stream, b"x\n")[0] == 3
    found = until(lambda: one.state if not one.state.is_live else None)
    assert (found.status, found.exit_code, found.error) == ("exited", 3, "")


def test_one_that_ran_before_keeps_its_past_when_it_cannot_be_started(box: Boxes) -> None:
    one = box()
    one.run("true")
    before = one.state
    with pytest.raises(NoSuchCommand):
        one.run("nosuch")
    found = one.state
    assert (found.status, found.exit_code) == ("exited", 127)
    assert (found.started_at, found.finished_at) == (before.started_at, before.finished_at)


def test_one_that_is_to_be_started_again_is_not_while_it_is_frozen(box: Boxes, tmp_path: Path) -> None:
    one = box()
    log = tmp_path / "layer-0/upper/log"
    words = "i=0; while test $((i += 1)) -le 50; do echo line >>/log; done; echo end >>/log; exit 1"
    one.start("sh", "-c", words, restart={"name": "always", "count": 0})
    is_held = False
    while not is_held:  # a busy machine may have started it again before it is frozen
        until(lambda: one.state.status == "restarting")
        with one.client.connection() as asking:
            with one.client.freeze():
                count = one.state.restart_count
                is_held = one.state.status == "restarting"
                asking.sendall(_request({"do": "wait", "condition": "next-exit"}))
                if is_held:
                    assert not select.select([asking], [], [], 0.4)[0], "the policy's wait is over, and nothing has run"
                    assert (one.state.status, one.state.restart_count) == ("restarting", count)
                    assert log.read_text() == ("line\n" * 50 + "end\n") * (count + 1)
            assert select.select([asking], [], [], 60)[0]
    while one.state.restart_count < 3:  # wherever it is just then
        with one.client.freeze():
            before, status = log.read_bytes(), one.state.status
            assert status in ("paused", "restarting")
            assert status == "paused" or before.endswith(b"end\n")
            assert not select.select([], [], [], 0.01)[0]
            assert log.read_bytes() == before
            assert one.state.status in (status, "restarting"), "it may have been at its end, and not be started"
    with one.client.freeze():
        one.client.stop(0)
    assert one.state.status == "exited", "a stop waits for nobody"


@pytest.mark.parametrize("seconds", [30, 0.2])
def test_a_stop_lets_who_looks_at_its_files_see_one_moment_of_them(box: Boxes, tmp_path: Path, seconds: float) -> None:
    """It waits for him as long as it would wait for the container, which then dies as it stands."""
    one = box()
    log = tmp_path / "layer-0/upper/log"
    one.start("sh", "-c", "trap 'echo told >>/log; exit 7' TERM; while :; do echo line >>/log; done")
    until(log.exists)
    with one.client.connection() as asking:
        with one.client.freeze():
            before = log.read_bytes()
            asking.sendall(_request({"do": "stop", "timeout": seconds}))
            has_stopped = bool(select.select([asking], [], [], 0.3 if seconds > 1 else 60)[0])
            assert has_stopped == (seconds < 1)
            if os.path.exists("/sys/fs/cgroup/cgroup.controllers") or not has_stopped:
                assert log.read_bytes() == before
        assert select.select([asking], [], [], 60)[0]
    assert (one.state.status, one.state.exit_code) == ("exited", 7 if seconds > 1 else 137)
    assert log.read_bytes().endswith(b"told\n") == (seconds > 1)


def test_events_tell_the_name_that_it_has_by_then(box: Boxes) -> None:
    one = box()
    one.start("sleep", "1000")
    one.client.rename("other")
    one.client.stop(0)
    lines = [json.loads(line) for line in (one.root / "events.jsonl").read_text().splitlines()]
    named = {each["Action"]: each["Actor"]["Attributes"]["name"] for each in lines}
    assert (named["start"], named["die"], named["stop"]) == ("box", "other", "other")


def test_a_start_that_is_under_way_is_waited_for_by_who_freezes_it(box: Boxes, tmp_path: Path) -> None:
    one = box()
    waits, go = _second_start_waits(one, tmp_path)
    one.start("sh", "-c", "test -e /before && exec sleep 1000; : >/before", restart={"name": "always", "count": 0})
    until(waits.exists)
    with one.client.connection() as asking:
        asking.sendall(_request({"do": "freeze"}))
        assert not select.select([asking], [], [], 0.1)[0]
        go.touch()
        assert select.select([asking], [], [], 60)[0]
        assert (one.state.status, one.state.restart_count) == ("paused", 1)
    until(lambda: one.state.status == "running")


def _second_start_waits(one: Box, folder: Path) -> tuple[Path, Path]:
    """What is there when the container is being started the second time, and what that start then waits for."""
    wrapper, waits, go = folder / "runtime", folder / "waits", folder / "go"
    real = one.job["runtime"]["path"]
    wrapper.write_text(f"""#!/bin/sh
case " $* " in *" run "*-2*) : >{waits}; until test -e {go}; do sleep 0.01; done;; esac
exec {real} "$@"
""")
    wrapper.chmod(0o755)
    one.job["runtime"] = one.job["runtime"] | {"path": str(wrapper)}
    return waits, go


def test_limits_and_policy_can_be_changed(box: Boxes) -> None:
    one = box()
    one.start("sh", "-c", "while :; do sleep 1; done")
    names = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max"
    one.client.update({"memory": {"limit": 64 << 20}}, {"name": "always", "count": 0})
    assert one.exec("sh", "-c", names)[1].strip() == str(64 << 20).encode()
    one.client.stop(0)


def test_its_root_and_its_processes_are_the_hosts_to_see(box: Boxes) -> None:
    one = box()
    with one.attached("sh", "-c", "echo hi >/new; sleep 1000 & echo up; wait") as stream:
        next(lines_of(stream))
        root = one.client.root()
        try:
            fd = os.open("new", os.O_RDONLY, dir_fd=root)
            assert os.read(fd, 10) == b"hi\n"
            os.close(fd)
        finally:
            os.close(root)
        pids = one.client.pids()
        assert one.state.pid in pids and len(pids) == 2
        until(lambda: {Path(f"/proc/{pid}/comm").read_text() for pid in pids} == {"sh\n", "sleep\n"})


def test_policies_start_it_again(box: Boxes) -> None:
    failing, always = box(), box()
    failing.start("sh", "-c", "echo again; exit 1", restart={"name": "on-failure", "count": 2})
    until(lambda: failing.state.status == "exited")
    assert (failing.state.restart_count, failing.state.exit_code) == (2, 1)
    log = failing.folder.joinpath(f"{failing.id}-json.log").read_text()
    assert log.count("again") == 3
    always.start("sh", "-c", "echo x >>/kept", restart={"name": "always", "count": 0})
    until(lambda: always.state.restart_count >= 3)
    always.client.stop(5)
    assert always.state.status == "exited", "a stop ends it"


def test_one_that_is_killed_while_it_is_started_again_stays_down(box: Boxes, tmp_path: Path) -> None:
    one = box()
    waits, go = _second_start_waits(one, tmp_path)
    one.start("sh", "-c", "test -e /before && exec sleep 1000; : >/before", restart={"name": "always", "count": 0})
    until(waits.exists)
    one.client.kill(signal.SIGKILL)
    go.touch()
    until(lambda: one.state.status == "exited")
    assert (one.state.restart_count, one.state.exit_code) == (1, 137)


def test_a_killed_one_stays_down(box: Boxes) -> None:
    one = box()
    one.start("sleep", "1000", restart={"name": "always", "count": 0})
    one.client.kill(signal.SIGKILL)
    assert until(lambda: one.state.status == "exited")
    assert (one.state.restart_count, one.state.exit_code) == (0, 137)


def test_what_happened_is_told(box: Boxes) -> None:
    one = box()
    one.run("sh", "-c", "exit 3")
    told = [json.loads(line) for line in one.root.joinpath(events.FILE).read_text().splitlines()]
    assert [each["Action"] for each in told] == ["start", "die"]
    assert told[1]["Actor"] == {
        "ID": one.id, "Attributes": {"l": "1", "image": "busybox", "name": "box", "exitCode": "3"}
    }  # fmt: skip


def test_memory_that_runs_out_is_noticed(box: Boxes) -> None:
    one = box()
    one.host_config["Memory"] = 8 << 20
    one.host_config["MemorySwap"] = 8 << 20
    code, _, _ = one.run("sh", "-c", "x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done")
    assert code == 137 and one.state.oom_killed
    told = one.root.joinpath(events.FILE).read_text()
    assert '"Action":"oom"' in told


def test_a_container_can_have_the_hosts_processes_and_still_leaves_nothing(box: Boxes) -> None:
    one = box()
    one.host_config["PidMode"] = "host"
    code, out, _ = one.run("sh", "-c", "(exec setsid sleep 1234) & echo $$; readlink /proc/self/ns/pid; exit 2")
    assert code == 2 and out.splitlines()[1].decode() == os.readlink("/proc/self/ns/pid")
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            assert b"sleep\x001234\0" not in Path(f"/proc/{name}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_where_nothing_holds_its_processes_together_none_is_forgotten() -> None:
    script = """import ctypes, os, subprocess
from veneer.run.monitor import groups
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
words = ["sh", "-c", "sleep 1000 >&2 & echo $!; wait"]
child = subprocess.Popen(words, stdout=subprocess.PIPE)
grandchild = int(child.stdout.readline())
groups.end_children()
print(os.waitpid(grandchild, os.WNOHANG)[1], child.wait())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("9 -9\n", "")


def test_one_that_is_to_go_is_removed_by_the_monitor_unless_somebody_cares(
    box: Boxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, kept = box(), box()
    for one in (left, kept):
        one.config["OpenStdin"] = True
    mark = tmp_path / "removed"
    words: dict[str, Any] = {"auto_remove": True, "remove": ["/bin/touch", str(mark)]}
    lock = state.hold(kept.folder, state.CARETAKER)
    assert lock is not None
    assert kept.run("true", **words)[0] == 0
    os.close(lock)
    assert not mark.exists()
    left.start("sleep", "1000", **words)
    pid = left.state.pid

    class Killing:
        """A connection that kills the container as soon as it was asked what comes of it."""

        def __init__(self, connection: socket.socket) -> None:
            self.recv, self._send = connection.recv, connection.sendall

        def sendall(self, data: bytes) -> None:
            self._send(data)
            os.kill(pid, signal.SIGKILL)

    monkeypatch.setattr(client, "ask", lambda connection, request: ask(cast("Any", Killing(connection)), request))
    assert left.client.wait("removed") == 137
    assert mark.exists()
