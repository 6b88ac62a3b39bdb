"""A disk that a container fills: it is told so, what is said of it stays true, and removing it gives the room back."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.containers import Yard, until
from tests.support.leaks import mounts_below
from tests.support.loop import loop_mounted
from tests.support.private_mounts import private_mounts
from veneer.run.monitor import state as states

pytestmark = pytest.mark.usefixtures("root_only")
SIZE = 64 << 20
FILL = "dd if=/dev/zero of=/fill bs=64k count=2000 2>/dev/shm/said"
"""More than there is room for, and no more than that: nobody may be there any more to stop it."""


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    # The blocks of disks, not those that mkfs chooses for diskettes.
    with private_mounts(), loop_mounted(tmp_path / "disk", SIZE, options=("-b", "4096")) as mounted:
        made = Yard(mounted)
        made("ps", "-a")  # which makes what every store has
        yield made
        made.clear()


def free(yard: Yard) -> int:
    os.sync()
    found = os.statvfs(yard.root)
    return found.f_bfree * found.f_frsize


def folder(yard: Yard, id: str) -> Path:
    return yard.root / "containers" / id


def is_full(yard: Yard) -> bool:
    """Whether it has no room for a megabyte; what statvfs(2) calls free is not always to be had."""
    probe = yard.root.parent / "probe"
    try:
        probe.write_bytes(bytes(1 << 20))
        return False
    except OSError:
        return True
    finally:
        probe.unlink(missing_ok=True)


def test_it_sees_the_disk_full_and_everything_said_of_it_is_true(yard: Yard) -> None:
    before = free(yard)
    # More lines than there is room for in its log.
    script = f"{FILL}; cat /dev/shm/said; head -c 1500000 /bin/busybox | base64; echo last; exit 5"
    done = yard("run", "--name", "writer", "--network", "none", "busybox:1", "sh", "-c", script, check=False)
    assert done.code == 5 and "No space left on device" in done.out and done.out.endswith("\nlast\n"), done.err
    assert is_full(yard)
    [found] = json.loads(yard("inspect", "writer").out)
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("exited", 5)
    assert "could not be written to its log: No space left on device" in found["State"]["Error"]
    assert found["State"]["FinishedAt"] > found["State"]["StartedAt"] > states.NEVER
    logged = yard("logs", "writer").out
    printed = iter(done.out.splitlines())  # the disk may have found some room again in the midst of it
    assert all(line in printed for line in logged.splitlines()), "whole lines in their order, as far as there was room"
    assert logged[-1:] in ("", "\n")
    assert "Exited (5)" in yard("ps", "-a").out
    assert yard("diff", "writer").out == "A /fill\n"
    yard("rm", "writer")
    until(lambda: free(yard) > before - (1 << 20))  # the kernel keeps files as long as the last mount of them ends
    assert yard("run", "--rm", "--network", "none", "busybox:1", "echo", "again").out == "again\n"
    with yard.engine() as engine:
        assert engine.store.check(deep=True) == []


def test_while_it_goes_on_writing_it_can_be_looked_at_stopped_and_removed(yard: Yard) -> None:
    before = free(yard)
    other = yard.run("other", "sleep", "1000")
    again = "dd if=/dev/zero bs=64k count=2000 >>/fill 2>/dev/null; echo full; sleep 0.1"
    script = f"trap 'exit 7' TERM; {FILL}; i=0; while [ $((i+=1)) -lt 6000 ]; do {again}; done"
    id = yard.run("writer", "sh", "-c", script, options=["--restart", "on-failure:3"])
    until(lambda: is_full(yard))
    until(lambda: yard("exec", "writer", "dd", "if=/dev/zero", "of=/more", "bs=1M", "count=1", check=False).code != 0)
    done = yard("exec", "writer", "sh", "-c", "echo $(( 6 * 7 )); exit 4", check=False)
    assert (done.code, done.out) == (4, "42\n"), done.err
    assert yard("exec", "other", "true").code == 0
    assert yard.status("writer") == "running"
    # It ends, is restarted, and is stopped: each written over the last.
    os.kill(states.read(folder(yard, id)).pid, signal.SIGKILL)
    until(lambda: states.read(folder(yard, id)).restart_count == 1 and yard.status("writer") == "running")
    yard("stop", "-t", "5", "writer")
    [found] = json.loads(yard("inspect", "writer").out)
    assert (found["State"]["Status"], found["State"]["Running"]) == ("exited", False)
    yard("rm", "-f", "other", "writer")
    assert not folder(yard, other).exists()
    until(lambda: free(yard) > before - (1 << 20))
    assert mounts_below(yard.root) == set()


def test_a_monitor_killed_on_a_full_disk(yard: Yard) -> None:
    id = yard.run("writer", "sh", "-c", f"{FILL}; sleep 1000")
    until(lambda: is_full(yard))
    monitor = states.read(folder(yard, id)).monitor
    os.kill(monitor, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{monitor}"))
    assert yard("wait", "writer").out == "137\n"
    [found] = json.loads(yard("inspect", "writer").out)
    assert (found["State"]["Status"], found["State"]["Error"]) == ("exited", "the monitor was killed")
    assert yard("rm", "writer").out == "writer\n"
    assert not folder(yard, id).exists()
    until(lambda: not is_full(yard))


def test_what_cannot_begin_for_want_of_room_says_so_and_leaves_nothing(yard: Yard) -> None:
    yard("create", "--name", "late", "--network", "none", "busybox:1", "true")
    with (yard.root.parent / "ballast").open("wb") as ballast:
        size = 1 << 20
        while size:
            try:
                ballast.write(bytes(size))
                ballast.flush()
            except OSError:
                size //= 2
        for words in (["start", "late"], ["run", "--name", "new", "--network", "none", "busybox:1", "true"]):
            done = yard(*words, check=False)
            assert done.code == 0 or "no space left" in done.err, done.err
            assert "Traceback" not in done.err and "OSError" not in done.err
        until(lambda: yard.status("late") in ("created", "exited"))
        assert mounts_below(yard.root) == set()
    (yard.root.parent / "ballast").unlink()
    yard("start", "late")
    assert yard("wait", "late").out == "0\n"
