"""kill -9 while everything moves to another storage driver: nothing is lost, and doing it again goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import migrate_worker, store_worker
from tests.support.built import make_image, make_layer, writing
from veneer.config import Config
from veneer.drivers.driver import load
from veneer.drivers.mount import mounted
from veneer.oci.digest import Digest, ImageID
from veneer.oci.reference import Reference
from veneer.store.containers import new_id
from veneer.store.moving_plan import held
from veneer.store.store import Store

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("root_only")]

Trees = dict[str, dict[str, object]]


@pytest.fixture
def config(config: Config) -> Config:
    return config.replaced(durability="none", unpack_workers=1)


@pytest.fixture
def root(config: Config) -> Iterator[Path]:
    """A data root with images that share layers, one that was built here, and a container that wrote something."""
    with Store.open(config.replaced(storage_driver="overlay2")) as store:
        if not load("erofs", store.root).probe().usable:
            pytest.skip("erofs does not work here")
        for number, sample in enumerate(store_worker.IMAGES):
            with store.lease("test") as lease:
                store_worker.feed_all(store, lease, sample)
                store.images.add(
                    lease, sample.config, manifest=sample.manifest.raw, manifest_type=sample.manifest.media_type
                )
            store.images.tag(sample.image_id, Reference.parse(f"moved/image:{number}"))
        with store.lease("test") as lease:
            below = store.layers.stack(store_worker.IMAGES[1].parsed.chain_ids[-1])
            made = make_layer(store, lease, writing(app_main=b"main" * 5000), below[-1].chain_id)
            make_image(store, lease, [*below, made], tag="moved/built:1")
            container = store.containers.create(
                lease, id=new_id(), name="one", image=ImageID(Digest.of(b"config")), image_name="built",
                top=made.chain_id, document={"Config": {}},
            )  # fmt: skip
        view = config.root.parent / "view"
        view.mkdir()
        with mounted(store.containers.mounts(container), view):
            (view / "app/main").unlink()
            (view / "app/new").write_bytes(b"new")
    yield config.root


def start(root: Path, *words: str) -> subprocess.Popen[str]:
    """A worker that has begun."""
    worker = subprocess.Popen(
        [sys.executable, migrate_worker.__file__, str(root), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert worker.stdout is not None
    worker.stdout.readline()
    return worker


def seen(store: Store) -> Trees:
    """What every image, and the container, shows."""
    view = store.root.parent / "view"
    mounts = {each.tags[0].familiar: store.layers.mounts(each.top) for each in store.images.list()}
    mounts["container"] = store.containers.mounts(store.containers.get("one"), readonly=True)
    found: Trees = {}
    for name, described in mounts.items():
        with mounted(described, view):
            found[name] = {
                str(path.relative_to(view)): path.read_bytes()
                if path.is_file() and not path.is_symlink()
                else path.lstat().st_mode
                for path in view.rglob("*")
            }
    return found


def assert_whole(config: Config, expected: Trees) -> None:
    """Nothing is damaged, everything shows what it showed."""
    with Store.open(config) as store:
        assert [finding for finding in store.check(deep=True) if finding.damage] == []
        assert seen(store) == expected


def finish(config: Config, to: str, expected: Trees) -> None:
    """Migrate to the end; nothing is with another driver, nothing left behind."""
    worker = start(config.root, to)
    _, errors = worker.communicate()
    assert worker.returncode == 0, errors
    with Store.open(config) as store:
        store.collect()
        assert store.check(deep=True) == []
        assert [each.driver for each in held(store)] == [to]
        assert list(store.driver_named("overlay2" if to == "erofs" else "erofs").snapshots()) == []
        assert seen(store) == expected
        for folder in ("ingest", "partial", "trash"):
            assert os.listdir(store.root / folder) == []


@pytest.mark.parametrize("point", migrate_worker.CRASHPOINTS)
def test_killed_at_a_boundary_everything_is_there_and_moves_on(config: Config, root: Path, point: str) -> None:
    with Store.open(config) as store:
        expected = seen(store)
    worker = start(root, "erofs", point, "1" if point in ("copies-committed", "lease-dropped") else "0")
    _, errors = worker.communicate()
    assert worker.returncode == -signal.SIGKILL, errors
    assert_whole(config, expected)
    finish(config, "erofs", expected)


def test_killed_at_random_moments_going_to_and_fro(config: Config, root: Path, request: pytest.FixtureRequest) -> None:
    with Store.open(config) as store:
        expected = seen(store)
    rng = random.Random(7)
    for _ in range(request.config.getoption("--kills") // 2):
        worker = start(root, rng.choice(("erofs", "overlay2")))
        try:
            worker.communicate(timeout=rng.uniform(0.0, 0.3))
        except subprocess.TimeoutExpired:
            worker.kill()
        _, errors = worker.communicate()
        assert worker.returncode in (0, -signal.SIGKILL), errors
        assert_whole(config, expected)
    finish(config, "overlay2", expected)


def test_whoever_goes_back_half_way_has_everything_where_it_was(config: Config, root: Path) -> None:
    with Store.open(config) as store:
        expected = seen(store)
    worker = start(root, "erofs", "migrate-served")
    worker.communicate()
    assert worker.returncode == -signal.SIGKILL
    finish(config, "overlay2", expected)
