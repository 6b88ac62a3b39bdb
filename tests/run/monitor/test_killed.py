"""kill -9 of whoever it may be, at any moment: what is said of the container is true, and nothing of it stays."""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.monitor.conftest import Box, lines_of, until
from veneer.run.cgroups import hierarchies
from veneer.run.monitor import client, groups, state
from veneer.run.monitor.launch import Launch
from veneer.run.monitor.stream import MonitorGone, ask
from veneer.store.locks import is_locked, locked

Boxes = Callable[..., Box]
LIVELY = ("sh", "-c", "setsid sleep 100 & echo up; i=0; while [ $((i+=1)) -lt 6000 ]; do sleep 0.01; done")


def gone(pids: list[int]) -> bool:
    """Whether these processes, of a moment ago, have all ended."""
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def nothing_stays(one: Box) -> None:
    """Whoever looks next, as veneer does, takes the group away; then there is nothing."""
    written = state.last_written(one.folder)
    assert not one.state.is_live
    groups.remove(written.cgroup or groups.path_of("", one.id))
    assert not [path for each in hierarchies() if os.path.exists(path := f"{each}/veneer-{one.id}")]
    assert one.id not in Path("/proc/self/mountinfo").read_text()
    # The kernel ends those of a killed monitor's namespace one after the other, when its files are closed already.
    until(lambda: not who_has_it_mounted(one))


def who_has_it_mounted(one: Box) -> list[str]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if one.id in Path(f"/proc/{name}/mountinfo").read_text():
                found.append(name)
    return found


def test_the_monitor(box: Boxes) -> None:
    one = box()
    with one.attached(*LIVELY) as stream:
        next(lines_of(stream))
        pids = [*one.client.pids(), one.state.monitor]
        assert len(pids) >= 3
        os.kill(one.state.monitor, signal.SIGKILL)
        with pytest.raises(MonitorGone):
            while stream.read():
                pass
    until(lambda: gone(pids))
    found = one.state
    assert (found.status, found.exit_code, found.error, found.pid) == ("exited", 137, "the monitor was killed", 0)
    assert found.finished_at >= found.started_at
    nothing_stays(one)
    assert one.run("echo", "again")[:2] == (0, b"again\n"), "and it can be started anew"


def test_the_monitor_of_one_that_is_paused(box: Boxes) -> None:
    one = box()
    with one.attached(*LIVELY) as stream:
        next(lines_of(stream))
        pids = [*one.client.pids(), one.state.monitor]
        one.client.pause()
        os.kill(one.state.monitor, signal.SIGKILL)
        with pytest.raises(MonitorGone):
            while stream.read():
                pass
    until(lambda: one.state.status == "exited" and gone(pids))
    assert one.run("echo", "again")[:2] == (0, b"again\n")


def test_the_containers_first_process(box: Boxes) -> None:
    one = box()
    with one.attached(*LIVELY) as stream:
        next(lines_of(stream))
        pids = one.client.pids()
        os.kill(one.state.pid, signal.SIGKILL)
        assert list(lines_of(stream)) == []
    until(lambda: gone(pids))
    assert (one.state.status, one.state.exit_code, one.state.error) == ("exited", 137, "")
    nothing_stays(one)


def test_a_machine_that_was_restarted(box: Boxes) -> None:
    one = box()
    state.write(one.folder, state.State("running", pid=1, boot_id="another", started_at=state.rfc3339()))
    found = one.state
    assert (found.status, found.exit_code, found.error) == ("exited", 255, "the machine was restarted")


_CALLER = """
import json, sys
from veneer.run.monitor.launch import Launch
from veneer.run.monitor.stream import Streams
with Launch() as launch:
    print(launch._pid, flush=True)
    stream = launch.start(json.load(sys.stdin), attach=Streams())
    print("up", flush=True)
    while stream.read():
        pass
"""


Mark = tuple[int, int]


def caller(one: Box) -> tuple[subprocess.Popen[bytes], Mark]:
    """Another process that starts the container and reads what it prints; what its monitor can be known by."""
    started = subprocess.Popen(
        [sys.executable, "-c", _CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert started.stdin is not None and started.stdout is not None
    mark = mark_of(int(started.stdout.readline()))
    assert mark is not None
    started.stdin.write(json.dumps({**one.job, "args": list(LIVELY)}).encode())
    started.stdin.close()
    return started, mark


def mark_of(pid: int) -> Mark | None:
    """The numbers of the file in memory that a monitor has from its first moment on as its standard error."""
    try:
        status = os.stat(f"/proc/{pid}/fd/2")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return status.st_dev, status.st_ino


def end(started: subprocess.Popen[bytes]) -> None:
    started.kill()
    started.wait()
    assert started.stdout is not None
    started.stdout.close()


def test_the_caller_who_was_attached_and_the_container_goes_on(box: Boxes) -> None:
    one = box()
    started, _ = caller(one)
    assert started.stdout is not None and started.stdout.readline() == b"up\n"
    end(started)
    assert one.exec("echo", "alive")[1] == b"alive\n"
    one.client.stop(0)
    nothing_stays(one)


@pytest.mark.parametrize("victim", ["caller", "monitor", "child"])
def test_somebody_at_any_moment_of_a_start(box: Boxes, victim: str) -> None:
    """The caller, the monitor, or whatever it has started, the runtime mostly: at a random moment, again and again."""
    for seed in range(8):
        chance = random.Random(seed)
        one = box()
        started, mark = caller(one)
        time.sleep(chance.uniform(0, 0.1))
        for monitor in monitors(mark) if victim != "caller" else ():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
                if victim == "monitor":
                    os.kill(monitor, signal.SIGKILL)
                elif children:
                    os.kill(int(chance.choice(children)), signal.SIGKILL)
        end(started)
        until(lambda: has_ended(one, mark))  # noqa: B023 - called here and now
        nothing_stays(one)


def has_ended(one: Box, mark: Mark) -> bool:
    """Whether nobody has to do with it any more; if it came up after all, it is told to end."""
    if one.state.is_live:
        with contextlib.suppress(client.NotRunning, MonitorGone):
            one.client.stop(0)
    # Twice: a process that was just listed may have left a child in its place.
    return not monitors(mark) and not monitors(mark)


def monitors(mark: Mark) -> list[int]:
    """The processes of the monitor that is known by this."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and mark_of(int(name)) == mark]


def test_a_caller_who_has_just_handed_over_the_job_and_the_containers_lock_is_held(box: Boxes, tmp_path: Path) -> None:
    """First by what is under way to the monitor, then by that, until everybody can see that there is one."""
    ours, theirs = socket.socketpair()
    lock = tmp_path / "locks"
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), locked(lock, ["container"]) as fd:
            ask(ours, {"do": "start", "job": {}}, fds=[fd])
        os._exit(1)
    ours.close()
    assert select.select([theirs], [], [], 60)[0]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert is_locked(lock, "container")
    theirs.close()
    assert not is_locked(lock, "container")
    one = box()
    with locked(lock, ["container"]) as fd, Launch() as launch:
        launch.start({**one.job, "args": ["sleep", "1000"]}, lock=fd)
    assert not is_locked(lock, "container") and state.is_held(one.folder, state.ALIVE)
    one.client.stop(0)
    nothing_stays(one)


def test_a_launch_that_is_given_no_job_leaves_nothing(root_only: None) -> None:
    with Launch() as launch:
        pid = launch._pid
        pidfd = os.pidfd_open(pid)
    try:
        assert select.select([pidfd], [], [], 60)[0]
    finally:
        os.close(pidfd)
