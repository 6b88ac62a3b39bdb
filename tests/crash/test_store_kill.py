"""kill -9 at any moment: the store opens, every row has its file whole, and nothing is left after collection."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash import store_worker
from veneer.config import Config
from veneer.store.catalog import DiskFailed
from veneer.store.store import Store

PROCESSES = 3


def environment() -> dict[str, str]:
    """For a process that imports what this one does."""
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"]}


def start(root: Path, seed: str) -> subprocess.Popen[str]:
    """A worker that has begun."""
    worker = subprocess.Popen(
        [sys.executable, store_worker.__file__, str(root), seed],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert worker.stdout is not None
    worker.stdout.readline()
    return worker


def kill_after(worker: subprocess.Popen[str], seconds: float) -> None:
    """Kill the worker unless its crash point is faster; fail if it ended in any other way."""
    try:
        worker.wait(seconds)
    except subprocess.TimeoutExpired:
        worker.kill()
    _, errors = worker.communicate()
    assert worker.returncode == -signal.SIGKILL, errors


def damage(store: Store) -> list[str]:
    return [f"{finding.code} {finding.subject}: {finding.fact}" for finding in store.check(deep=True) if finding.damage]


def assert_whole(config: Config) -> None:
    """The store opens and has everything its rows say; each tag leads to a whole image."""
    with Store.open(config) as store:
        assert damage(store) == []
        for image in store.images.list(all=True):
            assert image.config.image_id == image.id
            assert image.top is None or [layer.diff_id for layer in store.layers.stack(image.top)] == list(
                image.config.diff_ids
            )
        store.images.layout.refresh()
        store.collect()
        assert store.check(deep=True) == []
        for folder in ("ingest", "partial", "trash"):
            assert os.listdir(store.root / folder) == []


@pytest.mark.crash
@pytest.mark.usefixtures("root_only")
def test_killed_at_random_moments_the_store_stays_whole(config: Config, request: pytest.FixtureRequest) -> None:
    kills = request.config.getoption("--kills")
    rng = random.Random(20)
    for number in range(0, kills, PROCESSES):
        workers = [start(config.root, f"{number}.{n}") for n in range(min(PROCESSES, kills - number))]
        try:
            for worker in workers:
                kill_after(worker, rng.uniform(0.02, 0.25))
        finally:
            for worker in workers:
                worker.kill()
                worker.communicate()
        assert_whole(config)


@pytest.mark.crash
@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("point", store_worker.CRASHPOINTS)
def test_killed_at_a_boundary_the_store_stays_whole(config: Config, point: str) -> None:
    died = subprocess.run([sys.executable, store_worker.__file__, point, config.root], env=environment(), check=False)
    assert died.returncode == -signal.SIGKILL
    assert_whole(config)


@pytest.mark.crash
@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("point", ["gc-rows-gone", "gc-renamed", "gc-swept"])
def test_the_next_operation_ends_a_killed_collection(config: Config, point: str) -> None:
    died = subprocess.run([sys.executable, store_worker.__file__, point, config.root], env=environment(), check=False)
    assert died.returncode == -signal.SIGKILL
    with Store.open(config) as store:
        with store.lease("next"):
            pass
        assert [finding for finding in store.check() if finding.code.startswith("stray-")] == []
        assert list((config.root / "trash").iterdir()) == []


class Injected(OSError):
    """A failure of the disk."""


FAILURES = (Injected, DiskFailed)


@contextlib.contextmanager
def failing_at(monkeypatch: pytest.MonkeyPatch, call: int) -> Iterator[None]:
    """Let the `call`-th call (from 0) that changes or syncs a file fail."""
    left = [call]

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def function(*arguments: Any, **keywords: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                raise Injected(errno.EIO, "injected")
            return real(*arguments, **keywords)

        return function

    with monkeypatch.context() as patch:
        for name in ("pwrite", "fdatasync", "fsync", "link", "rename", "replace", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield


@pytest.mark.usefixtures("root_only")
@pytest.mark.parametrize("driver", ["overlay2", "vfs"])
def test_whatever_write_fails_nothing_is_half_stored(
    config: Config, monkeypatch: pytest.MonkeyPatch, driver: str
) -> None:
    """Fail the first write, then the second, and so on, until none fails."""
    sample = store_worker.IMAGES[2]
    config = config.replaced(storage_driver=driver)
    failed = True
    with Store.open(config) as store:
        _ = store.driver  # probing has its own tests
        call = 0
        while failed:
            failed = True
            with (
                contextlib.suppress(*FAILURES),
                failing_at(monkeypatch, call),
                store.lease("fails") as lease,
            ):
                store_worker.feed_all(store, lease, sample)
                store.images.add(
                    lease, sample.config, manifest=sample.manifest.raw, manifest_type=sample.manifest.media_type
                )
                failed = False
            assert damage(store) == []
            assert failed or len(store.images.list(all=True)) == 1
            call += 1
    assert call > 10
    assert_whole(config)
