"""What a container has written: shown, made an image, dropped; the same on every driver."""

from __future__ import annotations

import errno
import io
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.support.built import make_image, make_layer
from veneer.changeset.pack import Packed, ReservedName
from veneer.config import Config
from veneer.drivers.mount import mounted
from veneer.engine.containers import layering
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine
from veneer.store import container_layer
from veneer.store.containers import Container

pytestmark = pytest.mark.usefixtures("root_only")

Writing = Callable[[Callable[[Path], object]], Container]


@pytest.fixture(params=["overlay2", "vfs", "erofs"])
def engine(request: pytest.FixtureRequest, config: Config) -> Iterator[Engine]:
    from veneer.drivers.driver import load

    config.root.parent.mkdir(exist_ok=True)
    support = load(request.param, config.root).probe()
    if not support.usable:
        pytest.skip(support.reason)
    with Engine(config.replaced(storage_driver=request.param)) as opened:
        yield opened


@pytest.fixture
def written(engine: Engine, tmp_path: Path) -> Writing:
    """Makes a container whose tree has been written to, as its processes do: through a mount."""

    def fill(root: Path) -> None:
        for name in ("keep/deep", "gone", "again", "quiet", "mode"):
            (root / name).mkdir(parents=True)
        for name in ("keep/deep/file", "gone/a", "gone/b", "again/old", "file", "same", "touched", "quiet/x"):
            (root / name).write_text("old")
        os.utime(root / "keep/deep/file", (1, 1))

    def make(change: Callable[[Path], object]) -> Container:
        with engine.store.lease("test") as lease:
            image = make_image(engine.store, lease, [make_layer(engine.store, lease, fill)], tag="base:1",
                               config={"Cmd": ["serve"], "Env": ["A=1"]})  # fmt: skip
        container = engine.containers.create(ContainerRequest(str(image.id), {"Cmd": ["sleep", "1000"]}))
        target = tmp_path / f"tree-{container.id[:12]}"
        target.mkdir()
        with mounted(engine.store.containers.mounts(container), target):
            change(target)
        return container

    return make


def everything(root: Path) -> None:
    (root / "keep/deep/file").write_text("new content")
    (root / "new").mkdir()
    (root / "new/file").touch()
    for name in ("gone/a", "gone/b"):
        (root / name).unlink()
    (root / "gone").rmdir()
    (root / "again/old").unlink()
    (root / "again").rmdir()
    (root / "again").mkdir()
    (root / "file").unlink()
    (root / "file").mkdir()
    (root / "mode").chmod(0o700)
    os.utime(root / "touched", (5, 5))
    (root / "same").chmod(0o600)
    (root / "same").chmod(0o644)
    (root / "quiet/y").touch()
    (root / "quiet/y").unlink()


def told(engine: Engine, container: Container) -> list[str]:
    return [f"{each.kind} {os.fsdecode(each.path)}" for each in layering.changes(engine, container)]


def test_changes_are_dockers_and_what_every_container_has_is_none(engine: Engine, written: Writing) -> None:
    assert told(engine, written(everything)) == [
        "C /again", "D /again/old", "C /file", "D /gone", "C /keep", "C /keep/deep", "C /keep/deep/file", "C /mode",
        "A /new", "A /new/file", "C /touched",
    ]  # fmt: skip
    assert told(engine, written(lambda root: None)) == []


@pytest.mark.parametrize("engine", ["overlay2", "vfs", "erofs", "aufs"], indirect=True)
def test_names_that_no_layer_can_hold_are_shown_and_not_committed(engine: Engine, written: Writing) -> None:
    """In a layer they would delete what they are named after; to the container they are names like others."""

    def change(root: Path) -> None:
        for name in (".wh.lone", "keep/.wh.deep", "new/.wh.folder/in"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("four")
        (root / "gone/a").unlink()
        os.link(root / ".wh.lone", root / "more")

    container = written(change)
    assert told(engine, container) == [
        "A /.wh.lone", "C /gone", "D /gone/a", "C /keep", "A /keep/.wh.deep", "A /more", "A /new", "A /new/.wh.folder",
        "A /new/.wh.folder/in",
    ]  # fmt: skip
    assert layering.size(engine.store, container) == 12
    tar = io.BytesIO()
    layering.export(engine, container, tar)
    tar.seek(0)
    with tarfile.open(fileobj=tar) as archive:
        assert {".wh.lone", "keep/.wh.deep", "new/.wh.folder/in"} <= set(archive.getnames())
    with pytest.raises(ReservedName, match=r"/\.wh\.lone: a layer cannot hold"):
        layering.commit(engine, container)


def test_a_directorys_time_and_one_more_name_of_a_file_are_no_changes(engine: Engine, written: Writing) -> None:
    assert told(engine, written(lambda root: os.utime(root / "keep/deep", (5, 5)))) == []
    linked = written(lambda root: os.link(root / "keep/deep/file", root / "keep/deep/more"))
    assert told(engine, linked) == ["C /keep", "C /keep/deep", "A /keep/deep/more"]

    def both(root: Path) -> None:
        os.link(root / "keep/deep/file", root / "more")
        before = (root / "more").stat()
        (root / "more").write_text("OLD")
        os.utime(root / "more", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert told(engine, written(both)) == ["C /keep", "C /keep/deep", "C /keep/deep/file", "A /more"]


def test_sockets_are_changes_and_in_no_layer(engine: Engine, written: Writing) -> None:
    def listen(root: Path) -> None:
        (root / "run").mkdir()
        (root / "file").unlink()
        for name in ("run/one", "keep/deep/two", "file"):
            folder = os.open((root / name).parent, os.O_PATH)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(f"/proc/self/fd/{folder}/{Path(name).name}")  # a socket's path has 107 bytes at most
            os.close(folder)

    container = written(listen)
    assert told(engine, container) == [
        "C /file", "C /keep", "C /keep/deep", "A /keep/deep/two", "A /run", "A /run/one",
    ]  # fmt: skip
    out = io.BytesIO()
    engine.images.export(str(layering.commit(engine, container)), out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        names = set(tar.getnames())
    assert "run" in names and not {"run/one", "keep/deep/two", "file"} & names


def test_a_commit_is_an_image_whose_tree_is_the_containers(engine: Engine, written: Writing, tmp_path: Path) -> None:
    container = written(everything)
    made = layering.commit(engine, container, author="me", message="said", tag="made:1",
                           changes=["ENV B=2", 'CMD ["other"]'])  # fmt: skip
    image = engine.images.get("made:1")
    assert image.id == made and image.parent == container.image
    row = image.config.history[-1]
    assert (row.created_by, row.author, row.comment, row.empty_layer) == ("sleep 1000", "me", "said", False)
    run = image.config.run
    assert run["Env"] == ["A=1", "B=2"] and run["Cmd"] == ["other"]
    out = io.BytesIO()
    engine.images.export("made:1", out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        names = {member.name: member for member in tar}
    assert "gone" not in names and "again/old" not in names and ".dockerenv" not in names
    assert names["file"].isdir() and names["new/file"].isfile() and names["mode"].mode == 0o700
    again = layering.commit(engine, container)
    assert engine.images.get(str(again)).config.diff_ids == image.config.diff_ids
    assert engine.system.check(deep=True) == []


def test_a_commit_of_nothing_has_no_layer_of_its_own(engine: Engine, written: Writing) -> None:
    container = written(lambda root: None)
    image = engine.images.get(str(layering.commit(engine, container)))
    assert image.config.history[-1].empty_layer
    assert image.config.diff_ids == engine.images.get(container.image).config.diff_ids


def test_the_same_writes_are_the_same_layer_whatever_the_driver(engine: Engine, written: Writing) -> None:
    """Pinned, for every driver has to arrive at it."""

    def write(root: Path) -> None:
        (root / "new").mkdir()
        (root / "new/file").write_text("x")
        (root / "gone/a").unlink()
        for path in ("new/file", "new", "gone"):
            os.utime(root / path, (1000, 1000))

    container = written(write)
    diff_id = engine.images.get(str(layering.commit(engine, container))).config.diff_ids[-1]
    assert diff_id == "sha256:b89cce7f1103c08279eeb08bfc5e40cb996fa1d0dc1f8f39d6e74d9b642683b9"


def test_a_reset_container_is_as_it_was_made(engine: Engine, written: Writing) -> None:
    container = written(everything)
    assert layering.size(engine.store, container) > 0
    assert layering.reset(engine, container) > 0
    fresh = engine.containers.get(container.id)
    assert fresh.rw != container.rw and told(engine, fresh) == []
    assert container.rw not in set(engine.store.driver.snapshots())
    assert engine.system.check(deep=True) == []


def test_the_stack_has_the_images_layers_and_the_containers_own_last(engine: Engine, written: Writing) -> None:
    container = written(everything)
    *below, init, own = layering.layers(engine, container)
    assert [each.kind for each in below] == ["image"] and init.kind == "init"
    assert own.kind == "rw" and own.size == layering.size(engine.store, container) > 0 and own.files > 0
    assert all(Path(each.directory).is_dir() for each in (*below, init, own))


def test_an_export_has_what_every_container_is_given(engine: Engine, written: Writing) -> None:
    out = io.BytesIO()
    layering.export(engine, written(everything), out)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        names = tar.getnames()
    assert {".dockerenv", "etc/hosts", "new/file"} <= set(names) and "gone" not in names


def test_what_stopped_the_packing_of_a_layer_is_told_and_not_what_it_led_to(engine: Engine, tmp_path: Path) -> None:
    def pack(out: BinaryIO) -> Packed:
        out.write(b"half")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output error"):
        container_layer.poured(pack, tmp_path, engine.store.driver, [])


def test_a_layer_that_has_no_place_to_go_to_leaves_no_thread_behind(engine: Engine, tmp_path: Path) -> None:
    def pack(out: BinaryIO) -> Packed:
        out.write(bytes(4 << 20))  # more than any pipe takes
        raise AssertionError("somebody has read it")

    driver = engine.store.driver
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        container_layer.poured(pack, tmp_path / "nowhere", driver, [])
    assert "veneer-capture" not in [each.name for each in threading.enumerate()]
    assert len(os.listdir("/proc/self/fd")) <= before  # less: earlier garbage went meanwhile
