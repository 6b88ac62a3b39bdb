"""What the driver erofs makes of equal contents, and how long its images and a plain user's namespace take."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.driver_work import layer
from tests.support.plain_user import plain_user
from veneer.drivers.driver import SnapshotID, load
from veneer.drivers.erofs.driver import Erofs
from veneer.drivers.erofs.stacks import make

INODES = 9000
VERSIONS = 10
_CHANGED = 20
"""Every how many-th file of the application another version changes."""
_LIBRARY = Path(os.__file__).parent

_ENTER = """
import os, sys, time
from veneer.drivers import userns_enter, mount_syscalls
ranges, why = userns_enter.further_ids()
assert ranges, why
mount_syscalls.load()
def once(work):
    pid = os.fork()
    if pid == 0:
        begun = time.perf_counter()
        work()
        os.write(told, b"%f " % ((time.perf_counter() - begun) * 1e3))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
def held(work):
    reading, writing = os.pipe()
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        userns_enter.enter(ranges)
        os.write(done, b"x")
        os.read(reading, 1)
        os._exit(0)
    os.read(ready, 1)
    try:
        work(pid)
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
told = 1
for _ in range(20):
    once(lambda: userns_enter.enter(ranges))
os.write(told, b"\\n")
held(lambda pid: [once(lambda: userns_enter.join(pid)) for _ in range(20)])
os.write(told, b"\\n")
for _ in range(20):
    once(lambda: userns_enter.enter(None))
"""


@dataclass(frozen=True)
class Image:
    """Of INODES inodes in `layers` layers: seconds to commit them (all is hashed), to write the image, its bytes."""

    layers: int
    hashing: float
    writing: float
    size: int


def images(folder: Path, layers: int) -> Image:
    """Make `layers` layers that are INODES inodes together, and their image, three times: the fastest."""
    driver = Erofs(folder / f"erofs-{layers}")
    stack: list[SnapshotID] = []
    begun = time.perf_counter()
    for number in range(layers):
        stack = layer(driver, stack, lambda root, number=number: _inodes(root, number, layers))  # type: ignore[misc]
    hashing = time.perf_counter() - begun
    parts = [(driver.root / lower / "index", driver.directory(lower)) for lower in reversed(stack)]
    times = []
    for number in range(3):
        path = driver.root / "stacks" / f"{number}.erofs"
        begun = time.perf_counter()
        make(path, "", parts)
        times.append(time.perf_counter() - begun)
    return Image(layers, hashing, min(times), path.stat().st_size)


def _inodes(root: Path, number: int, layers: int) -> None:
    count = INODES // layers
    for at in range(count // 25):
        folder = root / f"d{(at * layers + number) % 400}" / f"l{number}-{at}"
        folder.mkdir(parents=True)
        for file in range(24):
            (folder / f"file-{file}").write_bytes(b"%d %d %d" % (number, at, file))


def versions(folder: Path) -> tuple[dict[str, int], int, int]:
    """Bytes that VERSIONS images of one application take in each driver; the files and bytes of one version.

    The application is Python's library here: one layer, copied whole into each image as `COPY app /app` does.
    """
    app = folder / "application"
    shutil.copytree(_LIBRARY, app, ignore=shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__"))
    paths = sorted(path for path in app.rglob("*") if path.is_file() and not path.is_symlink())
    size = sum(path.stat().st_size for path in paths)
    taken = {}
    for name in ("overlay2", "erofs"):
        driver = load(name, folder)
        assert driver.probe().usable, driver.probe().reason
        os.sync()
        before = _used(folder)
        base = layer(driver, [], lambda root: (root / "base").write_bytes(b"base"))
        for version in range(VERSIONS):
            layer(driver, base, lambda root, version=version: _version(app, root, paths, version))  # type: ignore[misc]
        os.sync()
        taken[name] = _used(folder) - before
    return taken, len(paths), size


def _version(app: Path, root: Path, paths: Sequence[Path], version: int) -> None:
    target = root / "app"
    shutil.copytree(app, target, symlinks=True)
    for path in paths[version % _CHANGED :: _CHANGED]:
        with (target / path.relative_to(app)).open("a") as file:
            file.write(f"# version {version}\n")
    (target / "VERSION").write_text(f"{version}\n")


def _used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def namespaces(folder: Path) -> dict[str, tuple[float, float]]:
    """Milliseconds (best, median) until a plain user's process is in a user namespace, by the way it goes."""
    folder.mkdir(parents=True)
    with plain_user(folder, further_ids=True) as user:
        said = user.python(_ENTER).out.splitlines()
    names = ("by newuidmap and newgidmap", "by joining one that is there", "with one id")
    return {
        name: (min(times), statistics.median(times))
        for name, times in zip(names, ([float(word) for word in line.split()] for line in said), strict=True)
    }
