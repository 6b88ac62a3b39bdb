"""Damaged layers are made anew, by whoever brings them and by `repair`; what cannot be made is said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.built import make_image, make_layer, writing
from veneer.config import Config
from veneer.drivers.driver import load
from veneer.drivers.mount import mounted
from veneer.oci.reference import Reference
from veneer.run.monitor import state
from veneer.store.containers import Container, new_id
from veneer.store.layers import Layer, LayerLost
from veneer.store.moving import migrate
from veneer.store.store import Store
from veneer.testing.images import directory, file, image

pytestmark = pytest.mark.usefixtures("root_only")

DRIVERS = ("overlay2", "vfs", "erofs", "aufs")
SAMPLE = image(
    {"bin": directory(), "bin/tool": b"tool\n", "gone": b"", "deep/er": b"low\n", "twin": b"name\n"},
    {".wh.gone": b"", "etc": directory(0o711), "etc/name": file(b"name\n", 0o600)},
    {"deep/top": b"top\n"},
)


@pytest.fixture
def view(tmp_path: Path) -> Path:
    (tmp_path / "view").mkdir()
    return tmp_path / "view"


@pytest.fixture
def store(driver: str, config: Config) -> Iterator[Store]:
    """A store with one image in it, and a container that wrote something."""
    with Store.open(config.replaced(storage_driver=driver, unpack_workers=1, durability="none")) as opened:
        support = load(driver, opened.root).probe()
        if not support.usable:
            pytest.skip(support.reason)
        bring(opened)
        yield opened


def bring(store: Store) -> list[int]:
    """Take the image in, as pull and load do; which layers had to be brought."""
    with store.lease("test") as lease:
        blobs = [store.blobs.put(lease, each.blob) for each in SAMPLE.layers]
        with store.layers.intake(lease, SAMPLE.parsed.diff_ids) as intake:
            missing = intake.missing
            for position in missing:
                intake.feed(position, blobs[position], SAMPLE.layers[position].descriptor().media_type)
            intake.commit()
        manifest = SAMPLE.manifest
        store.images.add(lease, SAMPLE.config, manifest=manifest.raw, manifest_type=manifest.media_type)
    store.images.tag(SAMPLE.image_id, Reference.parse("check/me:1"))
    return missing


def layer(store: Store, position: int) -> Layer:
    return store.layers.get(SAMPLE.parsed.chain_ids[position])


def make_container(store: Store, view: Path) -> Container:
    with store.lease("test") as lease:
        made = store.containers.create(
            lease, id=new_id(), name="one", image=SAMPLE.image_id, image_name="one", top=SAMPLE.parsed.chain_ids[-1],
            document={"Config": {}},
        )  # fmt: skip
    with mounted(store.containers.mounts(made), view):
        (view / "etc/name").write_text("mine\n")
    return made


def remove(store: Store) -> None:
    shutil.rmtree(store.layers.directory(layer(store, 1)))


def change(store: Store) -> None:
    """Another content of the same length, in place: where contents are shared, in all that have it."""
    path = store.layers.directory(layer(store, 1)) / "etc/name"
    with open(path, "r+b") as changed:
        changed.write(b"NAME\n")


def seen(store: Store, view: Path) -> dict[str, str]:
    """What the image's files hold."""
    with mounted(store.layers.mounts(SAMPLE.parsed.chain_ids[-1]), view):
        return {str(path.relative_to(view)): path.read_text() for path in view.rglob("*") if path.is_file()}


WHOLE = {"bin/tool": "tool\n", "deep/er": "low\n", "twin": "name\n", "etc/name": "name\n", "deep/top": "top\n"}


def lose_blobs(store: Store) -> None:
    for each in SAMPLE.layers:
        store.blobs.path(each.digest).unlink()


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("harm", [remove, change])
def test_a_damaged_layer_is_made_anew_from_its_blob_also_under_a_container(
    store: Store, view: Path, harm: Callable[[Store], None]
) -> None:
    container = make_container(store, view)
    harm(store)
    findings = store.check(deep=True)
    assert {each.code for each in findings} <= {"snapshot-missing", "snapshot-differs"}
    answers = store.repair(findings)
    assert [(each.done, each.how) for each in answers] == [(True, "made anew")] * len(findings) != []
    assert store.check(deep=True) == []
    assert seen(store, view) == WHOLE
    with mounted(store.containers.mounts(container, readonly=True), view):
        assert (view / "etc/name").read_text() == "mine\n"
        assert (view / "deep/top").read_text() == "top\n"
    assert store.collect().items == []


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_whoever_brings_a_layer_whose_directory_is_gone_makes_it_anew(store: Store, view: Path) -> None:
    lose_blobs(store)
    remove(store)
    assert bring(store)[0] == 1
    assert bring(store) == []
    store.collect()
    assert store.check(deep=True) == [] == [each for each in store.check() if each.damage]
    assert seen(store, view) == WHOLE


@pytest.mark.parametrize("driver", ["overlay2", "erofs"])
def test_what_no_blob_is_left_of_is_served_as_it_is_until_somebody_brings_it(store: Store, view: Path) -> None:
    lose_blobs(store)
    change(store)
    answers = [each for each in store.repair(store.check(deep=True)) if each.finding.code == "snapshot-differs"]
    assert [each.done for each in answers] == [False] * len(answers) != []
    assert "build, pull or load the image again" in answers[0].how
    assert set(seen(store, view)) == set(WHOLE)
    assert 1 in bring(store)
    store.collect()
    assert store.check(deep=True) == []
    assert seen(store, view) == WHOLE


@pytest.mark.crash
@pytest.mark.parametrize("driver", ["erofs"])
@pytest.mark.parametrize("point", ["damage-marked", "layers-unpacked", "layers-committed"])
def test_whoever_is_killed_while_repairing_leaves_what_can_be_gone_on_with(
    store: Store, view: Path, point: str
) -> None:
    change(store)
    script = (
        "import sys; from pathlib import Path; from veneer.config import Config; from veneer.store import durability;"
        " from veneer.store.store import Store; store = Store.open(Config(root=Path(sys.argv[1]), unpack_workers=1));"
        " found = store.check(deep=True); durability.arm(sys.argv[2]); store.repair(found)"
    )
    died = subprocess.run([sys.executable, "-c", script, store.root, point], check=False,
                          env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]})  # fmt: skip
    assert died.returncode == -signal.SIGKILL
    store.repair(store.check(deep=True))
    assert store.check(deep=True) == []
    assert seen(store, view) == WHOLE


@pytest.mark.parametrize("driver", ["overlay2"])
def test_what_is_neither_there_nor_to_be_had_is_served_no_more(store: Store) -> None:
    lose_blobs(store)
    remove(store)
    store.repair(store.check())
    with pytest.raises(LayerLost, match="is damaged, and its blob is not here; needed by check/me:1"):
        store.layers.ensure(SAMPLE.parsed.chain_ids[-1])


@pytest.mark.parametrize("driver", ["overlay2"])
def test_a_damaged_blob_is_taken_away_so_that_it_can_be_brought_again(store: Store) -> None:
    path = store.blobs.path(SAMPLE.layers[0].digest)
    path.write_bytes(bytes(path.stat().st_size))
    [answer] = store.repair(store.check(deep=True))
    assert (answer.done, answer.how) == (False, "taken away; build, pull or load the image again")
    with store.lease("test") as lease:
        store.blobs.put(lease, SAMPLE.layers[0].blob)
    assert store.check(deep=True) == []


@pytest.mark.parametrize("driver", ["overlay2"])
def test_whole_files_with_another_driver_are_as_good_as_a_blob(store: Store, view: Path) -> None:
    with store.lease("test") as lease:
        made = make_layer(store, lease, writing(app_main=b"main"), None)
        make_image(store, lease, [made], tag="built:1")
    migrate(store, "vfs", is_running=lambda folder: False, keep=True)
    store.driver_named("vfs").remove(store.layers.get(made.chain_id).snapshot)
    answers = store.repair(store.check(deep=True))
    assert [(each.finding.code, each.done) for each in answers] == [("snapshot-missing", True)]
    assert store.check(deep=True) == []


@pytest.mark.parametrize("driver", ["overlay2"])
def test_what_runs_on_damaged_files_keeps_them(store: Store, view: Path) -> None:
    container = make_container(store, view)
    old = store.layers.directory(layer(store, 1))
    running = state.hold(store.containers.folder(container.id), state.ALIVE)
    assert running is not None
    change(store)
    [answer] = store.repair(store.check(deep=True))
    assert answer.how == "made anew; what uses it now has the old files until it is started again"
    with store.lease("build") as lease:
        with store.catalog.transaction(durable=False) as transaction:
            lease.hold_layer(transaction, SAMPLE.parsed.chain_ids[-1])
        os.close(running)
        store.collect()
        assert old.is_dir()
        assert store.check(deep=True) == []
    store.collect()
    assert not old.exists()


@pytest.mark.parametrize("driver", ["overlay2"])
def test_what_lies_between_a_container_and_its_image_is_made_anew(store: Store, view: Path) -> None:
    container = make_container(store, view)
    store.driver.remove(container.init)  # type: ignore[arg-type]
    [answer] = store.repair(store.check())
    assert answer.done
    assert store.check() == []
    with mounted(store.containers.mounts(store.containers.get("one"), readonly=True), view):
        assert os.path.exists(view / ".dockerenv")
        assert (view / "etc/name").read_text() == "mine\n"
