"""Images and containers mounted for a person: seen, written to, held while they are there, and gone without a trace."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.conftest import Veneer
from tests.support import ways
from tests.support.containers import until
from tests.support.plain_user import plain_user
from tests.support.programs import process_with
from veneer.drivers.mount import Mount, mounted, unmount
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine, open_engine
from veneer.engine.mounts import AlreadyMounted, ContainerRuns, InvalidIds, NoMountPoint, NotAMount
from veneer.run.monitor import state
from veneer.store.layers import LayerLost
from veneer.testing.images import docker_archive, file, image

pytestmark = pytest.mark.usefixtures("root_only")

_DRIVERS = ("overlay2", "vfs", "aufs", "erofs")
ARCHIVE = docker_archive((image({"etc/name": file(b"one"), "old": file(b"x")},
                                {"etc/name": file(b"two"), ".wh.old": file()}), ["demo/image:1"]))  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path / "root") as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        yield engine


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a place").mkdir()
    return tmp_path / "a place"


@pytest.mark.parametrize("driver", [*_DRIVERS, "fuse-overlayfs"])
def test_an_image_is_seen_as_it_is_and_can_be_written_to_if_asked_for(tmp_path: Path, place: Path, driver: str) -> None:
    with open_engine(tmp_path / "root", storage_driver=driver) as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        engine.mounts.add("demo/image:1", str(place))
        assert (sorted(os.listdir(place)), (place / "etc/name").read_text()) == (["etc"], "two")
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()
        engine.mounts.remove(str(place))
        assert os.listdir(place) == []

        engine.mounts.add("demo/image:1", str(place), writable=True)
        (place / "etc/name").write_text("three")
        (place / "new").write_text("new")
        engine.mounts.remove(str(place))
        engine.mounts.add("demo/image:1", str(place))
        assert (sorted(os.listdir(place)), (place / "etc/name").read_text()) == (["etc"], "two")
        engine.mounts.remove(str(place))
        assert engine.system.check(deep=True) == []
        assert engine.system.collect().items == []


@pytest.mark.parametrize("driver", _DRIVERS)
def test_an_image_s_files_are_seen_as_others_if_asked_for(tmp_path: Path, place: Path, driver: str) -> None:
    with open_engine(tmp_path / "root", storage_driver=driver) as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        for writable in (False, True):
            engine.mounts.add("demo/image:1", str(place), writable=writable, ids=["0:100000:65536"])
            seen = [place / "etc/name", place / "etc", *([place] if writable else [])]
            assert {path.stat().st_uid for path in seen} == {100_000}
            engine.mounts.remove(str(place))
        engine.mounts.add("demo/image:1", str(place))
        assert (place / "etc/name").stat().st_uid == 0
        engine.mounts.remove(str(place))
        for ids, fact in ((["0:1"], "'0:1' is no map of ids"), (["0:1000:10", "5:2000:10"], "overlap: .* in the image"),
                          (["0:1000:10", "10:1009:10"], "overlap: .* as they are seen")):  # fmt: skip
            with pytest.raises(InvalidIds, match=fact):
                engine.mounts.add("demo/image:1", str(place), ids=ids)
        assert engine.system.check(deep=True) == []


def test_what_is_mounted_is_listed_and_stays_when_its_image_goes(engine: Engine, place: Path) -> None:
    engine.mounts.add("demo/image:1", str(place), writable=True)
    assert [(held.target, held.shown, held.writable) for held in engine.mounts.list()] == [
        (str(place), "demo/image:1", True)
    ]
    engine.images.remove("demo/image:1")
    engine.system.collect()
    assert (place / "etc/name").read_text() == "two"
    assert len(engine.layers.list()) == 2
    engine.mounts.remove(str(place))
    assert (list(engine.layers.list()), engine.mounts.list()) == ([], [])
    assert list(engine.store.driver.snapshots()) == []


def test_a_mount_that_somebody_else_undid_holds_nothing(engine: Engine, place: Path) -> None:
    engine.mounts.add("demo/image:1", str(place), writable=True)
    engine.images.remove("demo/image:1")
    unmount(place)
    assert engine.mounts.list() == []
    engine.system.collect()
    assert list(engine.store.driver.snapshots()) == []


@pytest.mark.parametrize("driver", ["overlay2", "aufs"])
def test_a_mount_is_undone_whose_layers_are_lost(tmp_path: Path, place: Path, driver: str) -> None:
    with open_engine(tmp_path / "root", storage_driver=driver) as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        engine.mounts.add("demo/image:1", str(place), writable=True)
        with engine.store.catalog.transaction(durable=False) as transaction:  # as if the machine had stopped in between
            transaction.execute("UPDATE snapshot SET durable = 0, boot_id = 'another'")
        shutil.rmtree(engine.config.root / "blobs")
        with pytest.raises(LayerLost):
            engine.store.layers.mounts(engine.images.get("demo/image:1").top)
        engine.mounts.remove(str(place))
        assert (os.listdir(place), engine.mounts.list()) == ([], [])


@pytest.mark.parametrize("driver", ["overlay2", "fuse-overlayfs"])
def test_a_mount_in_another_namespace_is_held_as_long_as_that_lives(tmp_path: Path, place: Path, driver: str) -> None:
    """Nor does a process that serves it make that longer than its other processes do."""
    words = f'{sys.executable} -m veneer --root {tmp_path / "root"} mount demo/image:1 "{place}"'
    with open_engine(tmp_path / "root", **ways.require(driver, tmp_path / "root")) as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        with subprocess.Popen(["unshare", "--mount", "sh", "-ec", f"{words} >&2; echo; read line"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:  # fmt: skip
            assert shell.stdout is not None
            assert shell.stdin is not None
            shell.stdout.readline()
            assert os.listdir(place) == []
            assert [held.target for held in engine.mounts.list()] == [str(place)]
            engine.images.remove("demo/image:1")
            assert len(engine.layers.list()) == 2
            shell.stdin.write(b"\n")
        until(lambda: not engine.mounts.list())
        engine.system.collect()
        assert list(engine.layers.list()) == []


def test_a_container_shows_what_it_has_written(engine: Engine, place: Path) -> None:
    container = engine.containers.create(ContainerRequest("demo/image:1", {"Cmd": ["/x"]}))
    (engine.store.containers.driver(container).directory(container.rw) / "written").write_text("here")
    for writable in (False, True):
        engine.mounts.add(container.name, str(place), writable=writable)
        assert (place / "written").read_text() == "here"
        assert (place / "etc/name").read_text() == "two"
        engine.mounts.remove(str(place))
    engine.containers.remove(container.id)


def test_whoever_mounts_a_container_waits_for_who_is_about_to_start_it(engine: Engine, place: Path) -> None:
    container = engine.containers.create(ContainerRequest("demo/image:1", {"Cmd": ["/x"]}))
    folder = engine.store.containers.folder(container.id)
    inode = f":{(engine.store.root / 'locks').stat().st_ino} "

    def add() -> None:
        with open_engine(engine.store.root) as own:
            own.mounts.add(container.id, str(place))

    with ThreadPoolExecutor() as pool:
        with engine.store.locked(f"container-{container.id}"):
            mounting = pool.submit(add)
            deadline = time.monotonic() + 60
            while not any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()):
                assert not mounting.done() and time.monotonic() < deadline, "nobody waits for the lock"
                time.sleep(0.005)
            alive = state.hold(folder, state.ALIVE)
            assert alive is not None
            state.write(folder, state.State(status=state.RUNNING, boot_id=state.boot_id()))
        with pytest.raises(ContainerRuns):
            mounting.result()
    os.close(alive)
    assert engine.mounts.list() == []


def test_a_mount_that_another_covers_keeps_what_it_shows(engine: Engine, place: Path) -> None:
    inner = place / "etc"
    inner.mkdir()
    engine.mounts.add("demo/image:1", str(inner))
    engine.mounts.add("demo/image:1", str(place))  # has a directory of that name, too
    for lazy in (False, True):
        with pytest.raises(AlreadyMounted, match="something else is mounted over demo/image:1"):
            engine.mounts.remove(str(inner), lazy=lazy)
    assert [each.target for each in engine.mounts.list()] == [str(inner), str(place)]
    engine.mounts.remove(str(place))
    engine.images.remove("demo/image:1")
    assert (inner / "etc/name").read_text() == "two"
    engine.mounts.remove(str(inner))
    assert list(engine.store.driver.snapshots()) == []


def test_nothing_is_mounted_on_the_data_root_in_it_or_above_it(engine: Engine) -> None:
    root = engine.config.root
    refused = {root: "is the data root", root / "overlay2": f"lies in the data root {root}",
               root.parent: f"has the data root {root} in it", Path("/"): "has the data root"}  # fmt: skip
    for target, fact in refused.items():
        with pytest.raises(NoMountPoint, match=fact):
            engine.mounts.add("demo/image:1", str(target))
    assert engine.mounts.list() == []


def test_where_nothing_can_be_mounted_is_said(engine: Engine, place: Path) -> None:
    (place / "file").touch()
    for name, way in (("missing", f"mkdir -p {place}/missing"), ("file", "name a directory")):
        with pytest.raises(NoMountPoint, match=f"{name} is no directory") as refused:
            engine.mounts.add("demo/image:1", str(place / name))
        assert refused.value.hint == way
    with pytest.raises(NotAMount):
        engine.mounts.remove(str(place))
    engine.mounts.add("demo/image:1", str(place))
    with pytest.raises(AlreadyMounted, match="demo/image:1 is mounted"):
        engine.mounts.add("demo/image:1", str(place))
    engine.mounts.remove(str(place))


def test_of_a_data_root_that_is_read_only_all_that_reads_works(tmp_path: Path, place: Path) -> None:
    """As from a rescue disk; what has to write says why it cannot, in one wording."""
    with open_engine(tmp_path / "root", durability="sync") as engine:
        engine.images.load(io.BytesIO(ARCHIVE))
        engine.containers.create(ContainerRequest("demo/image:1", {"Cmd": ["/x"]}, name="box"))
        engine.images.save(["demo/image:1"], tmp_path / "before.tar")
        engine.images.load(io.BytesIO(docker_archive((image({"etc/name": file(b"two")}), ["demo/one:1"]))))
    (tmp_path / "seen").mkdir()
    (tmp_path / "root/overlay2/.probe.json").unlink()  # another kernel tried it out
    with mounted([Mount.bind(tmp_path / "root", readonly=True)], tmp_path / "seen"):
        veneer = Veneer(tmp_path / "seen")
        for name in ("demo/image:1", "demo/one:1", "box"):
            done = veneer("mount", name, str(place))
            assert (done.code, "is read-only: the mount is in no list" in done.err) == (0, True)
            assert (place / "etc/name").read_text() == "two"
            assert f"umount {place}" in veneer("unmount", str(place)).err
            unmount(place)
            assert veneer("export", "-o", str(tmp_path / f"{name[:3]}.tar"), name).code == 0
        assert veneer("save", "-o", str(tmp_path / "after.tar"), "demo/image:1").code == 0
        assert (tmp_path / "after.tar").read_bytes() == (tmp_path / "before.tar").read_bytes()
        assert veneer("system", "check", "--deep").text == "Everything stored is whole.\n"
        assert veneer("info").code == 0
        for words in (("run", "demo/image:1", "x"), ("mount", "--rw", "box", str(place)), ("rm", "box"),
                      ("rmi", "demo/image:1"), ("system", "prune", "-f")):  # fmt: skip
            refused = veneer(*words)
            assert refused.code != 0
            said = f"Error: {tmp_path}/seen is on a read-only file system\nhint: choose another with --root\n"
            assert refused.err == said, words
    with mounted([Mount.bind(place, readonly=True)], tmp_path / "seen"):
        assert Veneer(tmp_path / "seen")("images").err == said, "nor is a new one begun there"


def test_what_was_mounted_is_listed_and_unmounted_at_once(engine: Engine, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("one", "two")]
    for each in places:
        each.mkdir()
        engine.mounts.add("demo/image:1", str(each))
    veneer = Veneer(engine.config.root)
    header, *rows = veneer("mount").text.splitlines()
    assert (header.split()[:5], [row.split()[4] for row in rows]) == (
        ["TARGET", "SHOWS", "KIND", "MODE", "DRIVER"], ["overlay2", "overlay2"],
    )  # fmt: skip
    top = engine.images.get("demo/image:1").top
    assert veneer("mount", "--format", "{{.ChainID}}").text.split() == [top, top]
    for words in (("unmount",), ("umount", "--all", str(places[0]))):
        assert veneer(*words).code == 1
    assert veneer("umount", "--all").text.splitlines() == [str(each) for each in reversed(places)]
    assert (veneer("mount", "-q").code, engine.mounts.list()) == (125, [])


def test_a_mount_whose_server_was_killed_is_told_and_undone(tmp_path: Path, place: Path) -> None:
    with open_engine(tmp_path / "root", storage_driver="aufs", aufs_mounter="fuse") as engine:
        if not engine.store.driver.probe().usable:
            pytest.skip(engine.store.driver.probe().reason)
        engine.images.load(io.BytesIO(ARCHIVE))
        held = engine.mounts.add("demo/image:1", str(place))
        assert engine.mounts.dead([held]) == []
        [layer] = [each for each in engine.layers.list() if each.chain_id == held.top]
        os.kill(process_with(f"# veneer: FUSE server of layers up to {layer.snapshot}\n"), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while not engine.mounts.dead([held]):
            assert time.monotonic() < deadline, "it is still served"
            time.sleep(0.005)
        veneer = Veneer(tmp_path / "root")
        listed = veneer("mount")
        assert (listed.code, "its FUSE server was killed" in listed.err, str(place) in listed.text) == (0, True, True)
        with pytest.raises(AlreadyMounted, match="served by nobody any more") as refused:
            engine.mounts.add("demo/image:1", str(place))
        assert refused.value.hint == f"veneer unmount {place}"
        engine.mounts.remove(str(place))
        assert os.listdir(place) == []


def test_a_plain_user_mounts_in_his_namespace_and_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "archive").write_bytes(ARCHIVE)
    with plain_user(tmp_path / "home", further_ids=True) as user:
        user.veneer("load", "-i", "archive")
        user.run("mkdir", "m")
        outside = user.veneer("mount", "demo/image:1", "m", check=False)
        assert outside.code == 1
        assert "the mount would end with the command" in outside.err
        assert "veneer unshare" in outside.err
        # Outside of it nobody can look into the namespace; what is mounted there is held all the same, until it ends.
        veneer = f"{user.python_words('')[0]} -m veneer"
        script = f"""
            {veneer} mount --rw demo/image:1 m
            cat m/etc/name; touch m/new; echo
            {veneer} mount --format '{{{{.Mode}}}}'; read line"""
        words = user.command("env", "PYTHONPATH=/mnt/.code/src:/mnt/.code/packages", "HOME=/mnt", *veneer.split(),
                             "unshare", "sh", "-ec", script)  # fmt: skip
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
            assert shell.stdout is not None
            assert [shell.stdout.readline() for _ in range(3)] == [b"/mnt/m\n", b"two\n", b"rw\n"]
            user.veneer("rmi", "demo/image:1")
            user.veneer("system", "prune", "-f")
            assert user.veneer("layer", "ls", "-q").out != ""
            assert user.veneer("mount", "--format", "{{.Target}}").out == "/mnt/m\n"
            shell.communicate(b"\n")
        user.veneer("system", "prune", "-f")
        assert user.veneer("layer", "ls", "-q").out == ""
        assert user.veneer("mount", "--format", "{{.Target}}").out == ""
