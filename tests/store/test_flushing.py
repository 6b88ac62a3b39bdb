"""What was begun early is waited for, and its errors are told."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from tests.support.built import make_layer, writing
from veneer.changeset import syscalls
from veneer.store.catalog import DiskFailed
from veneer.store.flushing import WORTHWHILE, Flusher
from veneer.store.store import Store


class _Disk:
    """Stands for syncfs: waits until `let_go` is set, fails with `failures` first."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.let_go = threading.Event()

    def __call__(self, fd: int) -> None:
        assert self.let_go.wait(20)
        self.calls += 1
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))


def test_what_is_begun_is_begun_once_and_the_end_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk()
    monkeypatch.setattr(syscalls, "syncfs", disk)
    flusher = Flusher(tmp_path)
    flusher.begin()
    flusher.begin()
    disk.let_go.set()
    flusher.flush()
    assert disk.calls == 2  # the early one, and the one for what was written since


def test_an_error_of_what_was_begun_is_told_by_the_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = _Disk(errno.EIO)
    disk.let_go.set()
    monkeypatch.setattr(syscalls, "syncfs", disk)
    flusher = Flusher(tmp_path)
    flusher.begin()
    with pytest.raises(DiskFailed):
        flusher.flush()
    flusher.flush()  # the kernel tells of an error once, too
    assert disk.calls == 2


def test_a_layer_is_called_durable_only_if_all_of_it_got_to_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = _Disk(errno.EIO)
    disk.let_go.set()
    monkeypatch.setattr(syscalls, "syncfs", disk)
    with store.lease("test") as lease:
        layer = make_layer(store, lease, writing(f=b"x"))
        store.layers.begin_flush(WORTHWHILE)
        with pytest.raises(DiskFailed):
            store.layers.settle_built()
        assert not store.layers.get(layer.chain_id).durable
        store.layers.settle_built()
        assert store.layers.get(layer.chain_id).durable
