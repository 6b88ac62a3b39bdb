"""Writers killed while their branch is mounted: whoever looks next finds aufs's format."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.support import leaks
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.live import in_use
from veneer.drivers.aufs.mounters import FUSE, SHIM
from veneer.drivers.driver import new_snapshot_id
from veneer.testing.driver_bench import Bench, Stack, usable, write

_WRITER = """
import os, sys
from pathlib import Path
from veneer.drivers import mount_syscalls
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.mount import attach
root, mounter, snapshot, *lowers = sys.argv[1:]
mount_syscalls.unshare(mount_syscalls.CLONE_NEWNS)
mount_syscalls.mount(b"none", b"/", None, mount_syscalls.MS_REC | mount_syscalls.MS_PRIVATE, None)
driver = Aufs(root, mounter)
target = Path(root).parent / "target"
attach(driver.mounts(snapshot, lowers), target)
for number in range(100_000):
    at = target / f"d{number % 40}"
    if number % 2 and at.exists():
        (at / "f").unlink(missing_ok=True)
        at.rmdir()
    else:
        at.mkdir(exist_ok=True)
        (at / "f").write_text(str(number))
    (target / f"low{number % 100}").unlink(missing_ok=True)
    print(number, flush=True)
"""


@pytest.fixture(params=[SHIM, FUSE])
def mounter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def killed(tmp_path: Path, mounter: str) -> Iterator[tuple[Bench, Stack]]:
    """A stack whose top was being written to when its writer was killed."""
    (tmp_path / "target").mkdir()
    bench = Bench(usable(Aufs(tmp_path / "aufs", mounter)), tmp_path)

    def fill(root: Path) -> None:
        for number in range(100):
            write(root, f"low{number}", "")
            write(root, f"d{number % 40}/f", "")

    base = bench.layer(fill)
    snapshot = new_snapshot_id()
    bench.driver.create(snapshot, base)
    words = [sys.executable, "-c", _WRITER, str(tmp_path / "aufs"), mounter, snapshot, *base]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(Random(tmp_path.name).randint(3, 60)):
            assert writer.stdout.readline(), "the writer failed"
        assert list((tmp_path / "aufs" / "state").iterdir())
        writer.kill()
    yield bench, (snapshot, *base)
    assert not leaks.mounts_below(tmp_path)


def _markers(branch: Path) -> tuple[int, int]:
    found = list(branch.rglob("*"))
    devices = sum(path.is_char_device() for path in found)
    return devices, sum(path.name.startswith(".wh.") for path in found)


def test_tidying_up_turns_the_branch_back(killed: tuple[Bench, Stack], tmp_path: Path) -> None:
    bench, stack = killed
    end = time.monotonic() + 60
    while list((tmp_path / "aufs" / "state").iterdir()):
        assert time.monotonic() < end, "it was never recovered"
        bench.driver.recover()  # type: ignore[attr-defined]
        os.sched_yield()
    devices, markers = _markers(bench.driver.directory(stack[0]))
    assert devices == 0
    assert markers > 0
    assert not [name for path in bench.driver.directory(stack[0]).rglob("*") for name in os.listxattr(path)]


def test_who_mounts_it_next_finds_what_was_written(killed: tuple[Bench, Stack]) -> None:
    bench, stack = killed
    before = None
    for _ in range(2):
        seen = bench.facts(stack)
        assert before in (None, seen)
        before = seen
    with bench.mounted(stack[0], stack[1:]) as root:
        assert {os.fsencode(name) for name in os.listdir(root)} == {path for path in seen if path and b"/" not in path}
        write(root, "after", "")
    after = bench.facts(stack)
    assert set(after) - set(seen) == {b"after"}


def test_packing_it_gives_what_the_view_shows(killed: tuple[Bench, Stack]) -> None:
    bench, stack = killed
    tar, _ = bench.diff(stack)
    again = bench.apply_all([bench.diff(stack[1:])[0], tar])
    assert set(bench.facts(again)) == set(bench.facts(stack))


def test_it_can_be_removed_as_it_is(killed: tuple[Bench, Stack], tmp_path: Path) -> None:
    bench, stack = killed
    end = time.monotonic() + 60
    while in_use(bench.driver.directory(stack[0])):
        assert time.monotonic() < end
        os.sched_yield()
    bench.driver.remove(stack[0])
    assert list(bench.driver.snapshots()) == list(stack[1:])
    assert not list((tmp_path / "aufs" / "state").iterdir())


@pytest.mark.parametrize("mounter", [FUSE])  # the others need no server
def test_a_server_ends_with_the_process_that_mounted(tmp_path: Path, mounter: str) -> None:
    (tmp_path / "target").mkdir()
    bench = Bench(Aufs(tmp_path / "aufs", mounter), tmp_path)
    base = bench.layer(lambda root: write(root, "low0", ""))
    snapshot = new_snapshot_id()
    branch = bench.driver.create(snapshot, base)
    words = [sys.executable, "-c", _WRITER, str(tmp_path / "aufs"), mounter, snapshot, *base]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        servers = [pid for pid in _holders(branch) if pid != writer.pid]
        assert servers
        os.kill(writer.pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}/fd").exists() and pid in _holders(branch) for pid in servers):
        assert time.monotonic() < end, "the server goes on"
        os.sched_yield()


def _holders(directory: Path) -> list[int]:
    """The processes that have a directory open."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if str(directory) in leaks.opened_by(process):
                    found.append(int(process.name))
            except OSError:
                continue  # gone meanwhile
    return found
