"""What happens around every driver: a full disk, a read-only one, a server that is killed, a device nobody may open."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import veneer
from tests.support import leaks
from tests.support.loop import NoLoopMounts, loop_mounted
from tests.support.programs import needs, run
from veneer.drivers import treecopy
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.driver import load, new_snapshot_id
from veneer.drivers.fuse import start
from veneer.drivers.protocol import StorageDriver
from veneer.errors import VeneerError
from veneer.testing.driver_bench import Bench, write

_DRIVERS: dict[str, Callable[[Path], StorageDriver]] = {
    "overlay2": lambda root: load("overlay2", root),
    "vfs": lambda root: load("vfs", root),
    "erofs": lambda root: load("erofs", root),
    "fuse-overlayfs": lambda root: load("fuse-overlayfs", root),
    "aufs by overlay": lambda root: Aufs(root / "aufs", "overlay-shim"),
    "aufs by FUSE": lambda root: Aufs(root / "aufs", "fuse"),
}
_SERVED = ("fuse-overlayfs", "aufs by FUSE")
_BIG = bytes(range(256)) * 12_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    with contextlib.ExitStack() as held:
        try:
            place = held.enter_context(loop_mounted(tmp_path / "loop", 64 << 20, options=("-m0", "-O", "^has_journal")))
        except NoLoopMounts as error:
            pytest.skip(str(error))
        yield place
        _until_unused(place)


@pytest.fixture(params=list(_DRIVERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _bench(name: str, disk: Path, tmp_path: Path) -> Bench:
    driver = _DRIVERS[name](disk)
    support = driver.probe()
    if not support.usable:
        pytest.skip(support.reason)
    return Bench(driver, tmp_path)


def _lowest(root: Path) -> None:
    (root / "big").write_bytes(_BIG)
    write(root, "d/file", "lower")


def _fill(disk: Path, left: int) -> Path:
    """A file that leaves about so many bytes of the file system."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - left)
    return filler


def test_a_full_disk_is_told_and_every_layer_is_as_it_was(name: str, disk: Path, tmp_path: Path) -> None:
    bench = _bench(name, disk, tmp_path)
    base = bench.layers(_lowest, lambda root: write(root, "d/file", "nearer"))
    own, seen = bench.own_facts(base), bench.facts(base)
    with bench.writing(base) as (stack, root):
        filler = _fill(disk, 2 << 20)
        with pytest.raises(OSError, match="No space left"):
            (root / "new").write_bytes(_BIG)
        with contextlib.suppress(OSError), (root / "big").open("ab") as file:
            file.write(b"more")  # to copy it up there is no room; who has a copy already may write
        assert (root / "big").read_bytes() in (_BIG, _BIG + b"more")
        assert (root / "d" / "file").read_text() == "nearer"
        filler.unlink()
        (root / "new").write_bytes(_BIG)
    assert (bench.own_facts(base), bench.facts(base)) == (own, seen)
    bench.driver.commit(stack[0])
    assert bench.facts(stack)[b"new"][6] == _BIG


def test_a_read_only_disk_shows_its_layers_and_takes_no_more(name: str, disk: Path, tmp_path: Path) -> None:
    bench = _bench(name, disk, tmp_path)
    base = bench.layers(_lowest, lambda root: (root / "big").unlink())
    before = bench.facts(base)
    _until_unused(disk)
    run("mount", "-o", "remount,ro", disk)
    try:
        later = Bench(_DRIVERS[name](disk), tmp_path)
        support = later.driver.probe()
        if support.usable:
            assert later.facts(base) == before
        else:
            assert "read-only" in support.reason.lower()
        with pytest.raises((OSError, VeneerError), match=r"(?i)read-only"):
            later.driver.create(new_snapshot_id(), base)
    finally:
        _until_unused(disk)
        run("mount", "-o", "remount,rw", disk)
    assert bench.facts(base) == before


def test_a_layer_that_goes_while_it_is_mounted_makes_errors_and_the_mount_lives_on(
    name: str, disk: Path, tmp_path: Path
) -> None:
    bench = _bench(name, disk, tmp_path)
    base = bench.layers(_lowest, lambda root: write(root, "d/nearer/file", "nearer"))
    lowest = bench.own_facts(base[1:])
    with bench.writing(base) as (_, root):
        os.listdir(root / "d")
        treecopy.delete_tree(bench.driver.directory(base[0]))
        for folder, _, names in os.walk(root):
            for each in names:
                with contextlib.suppress(OSError):
                    Path(folder, each).read_bytes()
                with contextlib.suppress(OSError):
                    Path(folder, each).chmod(0o600)
        try:
            (root / "new").write_text("new")
        except FileNotFoundError:
            assert name == "fuse-overlayfs"  # that program looks into every layer before it makes a name
        assert (root / "big").read_bytes() == _BIG
    assert bench.own_facts(base[1:]) == lowest


@pytest.mark.parametrize("name", _SERVED)
def test_when_a_server_is_killed_its_mount_says_so_and_what_was_written_is_there(
    name: str, disk: Path, tmp_path: Path
) -> None:
    bench = _bench(name, disk, tmp_path)
    base = bench.layer(_lowest)
    own = bench.own_facts(base)
    with bench.writing(base) as (stack, root):
        write(root, "d/new", "written")
        (root / "big").unlink()
        os.kill(_server(bench.driver.directory(base[0])), signal.SIGKILL)
        _until_disconnected(root)
    assert bench.own_facts(base) == own
    with bench.mounted(stack[0], base) as root:
        assert (root / "d" / "new").read_text() == "written"
        assert sorted(path.name for path in root.rglob("*")) == ["d", "file", "new"]


def _server(layer: Path) -> int:
    """The process that serves a mount of the layer: it has the directory open."""
    (found,) = _open_below(layer)
    return found


def _open_below(folder: Path) -> set[int]:
    """Other processes that have something of the directory open."""
    found = set()
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            with contextlib.suppress(OSError):
                opened = [os.readlink(process / "cwd"), *leaks.opened_by(process)]
                if any(f"{path}/".startswith(f"{folder}/") for path in opened):
                    found.add(int(process.name))
    return found


def _until_unused(disk: Path) -> None:
    """A server ends when its mount is gone, but by itself; until then the disk is in use."""
    end = time.monotonic() + 60
    while _open_below(disk):
        assert time.monotonic() < end, "a server of a mount that is gone did not end"
        time.sleep(0.01)


def _until_disconnected(root: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            os.listdir(root)
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return
        assert time.monotonic() < end, "it is still served"


def test_a_fuse_device_that_may_not_be_opened_is_the_reason(tmp_path: Path) -> None:
    """A plain user where /dev/fuse belongs to root alone."""
    needs("unshare", "setpriv", "fuse-overlayfs")
    device = tmp_path / "fuse"
    os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(10, 229))
    code = (
        f"import sys; sys.path.insert(0, {str(Path(veneer.__file__).parents[1])!r})\n"
        "from veneer.drivers.aufs.driver import Aufs\n"
        "from veneer.drivers.driver import load\n"
        "from pathlib import Path\n"
        "for driver in (Aufs('/nowhere/aufs', 'fuse'), load('fuse-overlayfs', Path('/nowhere'))):\n"
        "    print(driver.probe().usable, driver.probe().reason)\n"
    )
    said = run(
        "unshare", "--mount", "--propagation=private", "sh", "-ec",
        'mount --bind "$1" /dev/fuse; shift; exec setpriv --reuid=1234 --regid=1234 --clear-groups "$@"',
        "sh", device, str(getattr(sys, "_base_executable", sys.executable)), "-c", code,
    ).out.splitlines()  # fmt: skip
    assert [line.partition(" ")[0] for line in said] == ["False", "False"]
    assert all("cannot open /dev/fuse: permission denied" in line for line in said), said


def test_something_else_in_the_place_of_fuse_s_device_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "DEVICE", str(tmp_path / "fuse"))
    (tmp_path / "fuse").touch()
    for driver in (Aufs(tmp_path / "aufs", "fuse"), load("fuse-overlayfs", tmp_path)):
        support = driver.probe()
        assert not support.usable
        assert f"{tmp_path}/fuse is not FUSE's device, but something else in its place" in support.reason
