"""What mounts of each storage driver cost, and what is done in them: measured in turns, on one fresh file system."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Measure, Series
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.driver import SnapshotID, load, new_snapshot_id
from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.drivers.mount import mounted
from veneer.drivers.protocol import StorageDriver

OURS = ("aufs by FUSE", "fuse-overlayfs by veneer")
"""What veneer's own process serves."""
PROGRAM = "fuse-overlayfs by the program"
SERVED = (*OURS, PROGRAM)
"""What a process serves: measured on one core, too."""
LOWERS = (1, 10, 100, 400)
FILES = 2000
_FOLDER = 100
"""Files in a directory."""
_PAGE = b"x" * 4096
_LARGE = 64 << 20
_FEW = 400

OPERATIONS = (
    "lookup", "stat again", "name not there", "list, per entry", "open, read, close: first", "open, read, close: again",
    "write 4 KiB", "create, close, unlink", "mkdir, rmdir", "chmod", "rename", "symlink, unlink", "set attribute",
)  # fmt: skip
CACHED = "cached read, GB/s"
METADATA = ("lookup", "name not there", "list, per entry", "create, close, unlink", "mkdir, rmdir", "chmod", "rename",
            "symlink, unlink", "set attribute")  # fmt: skip


@dataclass
class Taken:
    """By (what, driver): seconds, one measure a round."""

    series: dict[tuple[str, str], Series] = field(default_factory=dict)

    def add(self, what: str, driver: str, seconds: float) -> None:
        self.series.setdefault((what, driver), Series()).taken.append(Measure(seconds, 0))

    def best(self, what: str, driver: str) -> float:
        return self.series[what, driver].best


def drivers(root: Path) -> tuple[dict[str, StorageDriver], dict[str, str]]:
    """The drivers that can be measured in the directory `root`, by their names in the table; why not the rest."""
    made: dict[str, StorageDriver] = {
        "overlay2": load("overlay2", root),
        "aufs by overlay": Aufs(root / "aufs-overlay", "overlay-shim"),
        "erofs": load("erofs", root),
        "aufs by FUSE": Aufs(root / "aufs-fuse", "fuse"),
        "fuse-overlayfs by veneer": FuseOverlayfs(root / "fuse-overlayfs-veneer", "veneer"),
        PROGRAM: FuseOverlayfs(root / "fuse-overlayfs-program", "program"),
    }
    found = {name: driver.probe() for name, driver in made.items()}
    absent = {name: support.reason for name, support in found.items() if not support.usable}
    return {name: driver for name, driver in made.items() if name not in absent}, absent


def layer(driver: StorageDriver, on: Sequence[SnapshotID], fill: Callable[[Path], object]) -> list[SnapshotID]:
    """A committed snapshot whose own directory `fill` fills; the stack, nearest first."""
    snapshot = new_snapshot_id()
    fill(driver.create(snapshot, on))
    driver.commit(snapshot)
    return [snapshot, *on]


# ---- mounts


def mounts(folder: Path, some: dict[str, StorageDriver], rounds: int) -> Taken:
    """Seconds until a writable mount on so many layers is there: `"100"`; that it takes to go: `"100, unmount"`.

    Of aufs by overlay also with a deletion in every layer, as "aufs by overlay, deletions".
    """
    stacks: dict[str, list[SnapshotID]] = {}
    for name, driver in some.items():
        stack: list[SnapshotID] = []
        for number in range(min(max(LOWERS), driver.max_lowers)):
            stack = layer(driver, stack, lambda root, number=number: _one_file(root, number))  # type: ignore[misc]
        stacks[name] = stack
    shim = "aufs by overlay"
    named = dict(some)
    if shim in some:
        stack = []
        for number in range(some[shim].max_lowers):
            stack = layer(some[shim], stack, lambda root, number=number: _deletion(root, number))  # type: ignore[misc]
        stacks[f"{shim}, deletions"], named[f"{shim}, deletions"] = stack, some[shim]
    target = folder / "target"
    target.mkdir()
    taken = Taken()
    for turn in range(rounds + 1):
        for count in LOWERS:
            for name in _turned(list(named), turn):
                below = stacks[name][-count:]
                if len(below) == count or (count == max(LOWERS) and len(below) > count // 4):
                    begun, ended = _once(named[name], below, target)
                    if turn:  # the first makes what is made once, and fills caches
                        taken.add(str(count), name, begun)
                        taken.add(f"{count}, unmount", name, ended)
    return taken


def _turned(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


def _once(driver: StorageDriver, below: Sequence[SnapshotID], target: Path) -> tuple[float, float]:
    snapshot = new_snapshot_id()
    driver.create(snapshot, below)
    begun = time.perf_counter()
    with mounted(driver.mounts(snapshot, below), target):
        there = time.perf_counter()
        os.stat(target / "0")
        leaving = time.perf_counter()
    gone = time.perf_counter()
    driver.remove(snapshot)
    return there - begun, gone - leaving


def _one_file(root: Path, number: int) -> None:
    (root / str(number)).write_bytes(b"x")


def _deletion(root: Path, number: int) -> None:
    _one_file(root, number)
    (root / f".wh.gone-{number}").touch()


# ---- files


def on_one_core(name: str) -> str:
    """What a driver is called where its server and the program that asks it have one core for both."""
    return f"{name}, one core"


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keep this process, and all that it starts meanwhile, to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def files(folder: Path, some: dict[str, StorageDriver], rounds: int) -> Taken:
    """Seconds of one of each of OPERATIONS, and bytes a second of CACHED, in a mount on two layers with FILES files.

    Of what is SERVED wherever the scheduler puts the two processes, and on one core.
    """
    stacks = {}
    for name, driver in some.items():
        stack = layer(driver, [], lambda root: _many_files(root, 0))
        stacks[name] = layer(driver, stack, lambda root: _many_files(root, 1))
    target = folder / "target-files"
    target.mkdir()
    taken = Taken()
    for turn in range(rounds):
        for name in _turned(list(some), turn):
            _worked(some[name], stacks[name], target, name, taken)
            if name in SERVED:
                with one_core():
                    _worked(some[name], stacks[name], target, on_one_core(name), taken)
    return taken


def _worked(driver: StorageDriver, stack: Sequence[SnapshotID], target: Path, name: str, taken: Taken) -> None:
    snapshot = new_snapshot_id()
    driver.create(snapshot, stack)
    with mounted(driver.mounts(snapshot, stack), target):
        for what, seconds in _work(target):
            taken.add(what, name, seconds)
    with mounted(driver.mounts(snapshot, stack), target):
        taken.add("list, per entry", name, _listing(target))
    driver.remove(snapshot)


def _many_files(root: Path, half: int) -> None:
    for number in range(half, FILES, 2):
        folder = root / f"d{number // _FOLDER}"
        folder.mkdir(exist_ok=True)
        (folder / f"f{number}").write_bytes(_PAGE)
    if half:
        with (root / "large").open("wb") as file:
            for _ in range(_LARGE >> 20):
                file.write(os.urandom(1 << 20))


def _names() -> list[str]:
    return [f"d{number // _FOLDER}/f{number}" for number in range(FILES)]


@contextlib.contextmanager
def _timed(found: list[tuple[str, float]], what: str, count: int) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    found.append((what, (time.perf_counter() - begun) / count))


def _work(root: Path) -> list[tuple[str, float]]:
    """All but listing, in a mount that nobody has looked into."""
    found: list[tuple[str, float]] = []
    here = os.fspath(root)
    paths = [f"{here}/{name}" for name in _names()]
    for what in ("lookup", "stat again"):
        with _timed(found, what, len(paths)):
            for path in paths:
                os.stat(path)
    with _timed(found, "name not there", len(paths)):
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.stat(path + "-not")
    for what in ("first", "again"):
        with _timed(found, f"open, read, close: {what}", len(paths)):
            for path in paths:
                _read(path)
    _changes(here, found)
    _read_whole(f"{here}/large")
    fastest = min(_read_whole(f"{here}/large") for _ in range(4))
    found.append((CACHED, fastest / _LARGE))
    return found


def _changes(here: str, found: list[tuple[str, float]]) -> None:
    new = [f"{here}/d0/new-{number}" for number in range(_FEW)]
    with _timed(found, "create, close, unlink", _FEW):
        for path in new:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            os.unlink(path)
    with _timed(found, "mkdir, rmdir", _FEW // 4):
        for path in new[: _FEW // 4]:
            os.mkdir(path)  # noqa: PTH102 - a Path takes as long as the call
            os.rmdir(path)  # noqa: PTH106 - a Path takes as long as the call
    with _timed(found, "symlink, unlink", _FEW):
        for path in new:
            os.symlink("target", path)
            os.unlink(path)
    for path in new:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    with _timed(found, "chmod", _FEW):
        for path in new:
            os.chmod(path, 0o600)
    with _timed(found, "set attribute", _FEW):
        for path in new:
            os.setxattr(path, "user.note", b"value")
    with _timed(found, "rename", _FEW):
        for path in new:
            os.rename(path, path + "-moved")  # noqa: PTH104 - as above
    fd = os.open(f"{here}/d0/written", os.O_CREAT | os.O_WRONLY, 0o644)
    with _timed(found, "write 4 KiB", FILES):
        for _ in range(FILES):
            os.write(fd, _PAGE)
    os.close(fd)


def _read(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, 8192)
    os.close(fd)


def _read_whole(path: str) -> float:
    buffer = bytearray(1 << 20)
    fd = os.open(path, os.O_RDONLY)
    begun = time.perf_counter()
    while os.readv(fd, [buffer]):
        pass
    seconds = time.perf_counter() - begun
    os.close(fd)
    return seconds


def _listing(root: Path) -> float:
    """`ls -l` of every directory, seconds an entry."""
    begun = time.perf_counter()
    count = 0
    for folder in os.listdir(root):
        if folder != "large":
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    entry.stat(follow_symlinks=False)
                    count += 1
    return (time.perf_counter() - begun) / count
