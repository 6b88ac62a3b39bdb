"""kill -9 where a container, its layers or a volume come and go: rows have their folders, and nothing else is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.crash import container_worker
from tests.crash.test_store_kill import damage, environment
from veneer.config import Config
from veneer.engine.engine import open_engine
from veneer.store.store import Store

pytestmark = [pytest.mark.crash, pytest.mark.usefixtures("root_only")]


def snapshots(store: Store) -> set[str]:
    """Those that rows name, of layers, init layers and containers."""
    rows = store.catalog.rows(
        "SELECT id FROM snapshot UNION ALL SELECT snapshot FROM init_layer UNION ALL SELECT rw FROM container"
    )
    return {row[0] for row in rows}


def killed(point: str, config: Config, driver: str) -> None:
    """A process that made the containers, until that crash point."""
    died = subprocess.run(
        [sys.executable, container_worker.__file__, point, config.root, driver], env=environment(), check=False,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr


@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
@pytest.mark.parametrize("point", container_worker.CRASHPOINTS)
def test_killed_at_a_boundary_nothing_of_a_container_or_volume_is_left(config: Config, point: str, driver: str) -> None:
    killed(point, config, driver)
    with Store.open(config.replaced(storage_driver=driver)) as store:
        assert damage(store) == []
        assert "old" in {each.name for each in store.containers.list()}
        assert store.volumes.find("kept") is not None
        store.images.layout.refresh()
        store.collect()
        assert store.check(deep=True) == []
        assert {path.name for path in (store.root / "containers").iterdir()} == {x.id for x in store.containers.list()}
        assert {path.name for path in (store.root / "volumes").iterdir()} == {x.name for x in store.volumes.list()}
        assert set(store.driver.snapshots()) == snapshots(store)
        assert store.catalog.rows("SELECT * FROM trash") == []
        for folder in ("ingest", "partial", "trash"):
            assert os.listdir(store.root / folder) == []
        # What was cut off can be done again, under the same names.
        for name in {"new", "other"} - {each.name for each in store.containers.list()}:
            container_worker.create(store, name, store.images.find("second:1"))
        store.volumes.create("going")
        assert store.check() == []


def test_whoever_removes_a_container_also_removes_what_is_left_of_one_that_did_not_come_to_be(config: Config) -> None:
    killed("container-in-place", config, "overlay2")
    with open_engine(config.root) as engine:
        assert [each.name for each in engine.containers.list()] == ["old"]
        engine.containers.remove("old")
        store = engine.store
        assert os.listdir(store.root / "containers") == os.listdir(store.root / "ingest") == []
        assert set(store.driver_named("overlay2").snapshots()) == snapshots(store)
        assert store.check() == []
