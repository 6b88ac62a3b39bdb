"""How long a FUSE server stays awake for the next request, and what it costs when there is none."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

from tests.support import leaks
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.mounters import FUSE
from veneer.drivers.fuse.lookout import Lookout
from veneer.testing.driver_bench import Bench, usable


def test_where_nothing_comes_it_is_looked_ever_more_rarely() -> None:
    reading, writing = os.pipe()
    try:
        lookout = Lookout(reading)
        pauses = [lookout.look() for _ in range(16)]
        assert pauses[:3] == [0, 0, 0]
        assert pauses[3:12] == [1 << number for number in range(4, 13)]
        assert pauses[12:] == [4096] * 4
    finally:
        os.close(reading)
        os.close(writing)


def test_where_something_is_there_already_nobody_has_to_look() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"request")
        lookout = Lookout(reading)
        assert [lookout.look() for _ in range(5)] == [0, 0, 0, 16, 32]
    finally:
        os.close(reading)
        os.close(writing)


def test_a_server_that_nobody_asks_sleeps(tmp_path: Path) -> None:
    bench = Bench(usable(Aufs(tmp_path / "aufs", FUSE)), tmp_path)
    with bench.writing(bench.layer(lambda root: (root / "f").touch())) as (_, root):
        server = _server_of(tmp_path)
        for number in range(100):
            assert not (root / f"absent-{number}").exists()
        assert any(_rests(server) for _ in range(20)), "it never sleeps"


def _server_of(folder: Path) -> Path:
    """The process that has a branch below the folder open."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or is about to
            if b"veneer.drivers.fuse.process" in (process / "cmdline").read_bytes() and any(
                path.startswith(f"{folder}/aufs/") for path in leaks.opened_by(process)
            ):
                return process
    raise AssertionError("nobody serves the mount")


def _rests(server: Path) -> bool:
    """Whether it takes as good as nothing of a core for a while; on a busy machine it may still be at work."""
    before = _ran(server)
    threading.Event().wait(0.3)
    return _ran(server) - before < 1_000_000


def _ran(process: Path) -> int:
    """Nanoseconds that the process has had of a core."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in (process / "task").iterdir())
