"""vfs: what is its own, beside what every driver must do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.drivers.driver import new_snapshot_id
from veneer.drivers.mount import Mount
from veneer.drivers.vfs import Vfs
from veneer.testing.driver_bench import Bench, facts, one_of_everything, write


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Vfs(tmp_path / "vfs"), tmp_path)


def test_a_snapshot_begins_as_a_whole_copy_of_its_parent(bench: Bench) -> None:
    base = bench.layer(one_of_everything)
    top = new_snapshot_id()
    created = bench.driver.create(top, base)
    assert facts(created) == facts(bench.driver.directory(base[0]))


def test_the_tree_lies_in_the_snapshot_s_folder_itself(bench: Bench, tmp_path: Path) -> None:
    [snapshot] = bench.layer(lambda root: write(root, "f", ""))
    assert (tmp_path / "vfs" / snapshot / "f").exists()


def test_mounts_are_binds_and_views_are_readonly_ones(bench: Bench) -> None:
    stack = bench.layers(lambda root: write(root, "f", ""), lambda root: write(root, "g", ""))
    folder = bench.driver.directory(stack[0])
    assert bench.driver.mounts(stack[0], stack[1:]) == [Mount.bind(folder)]
    assert bench.driver.mounts(None, stack) == [Mount.bind(folder, readonly=True)]


def test_docker_shows_no_graph_data_for_it(bench: Bench) -> None:
    assert bench.driver.graph_data(new_snapshot_id(), []) is None


def test_a_copy_cut_off_half_way_is_listed_and_can_be_removed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    base = bench.layer(one_of_everything)
    half = new_snapshot_id()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "link", full)
        bench.driver.create(half, base)
    assert sorted(bench.driver.snapshots()) == sorted([*base, half])
    bench.driver.remove(half)
    assert list(bench.driver.snapshots()) == list(base)


def test_a_folder_that_cannot_be_made_is_the_reason_it_is_not_usable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    support = Vfs(tmp_path / "file" / "vfs").probe()
    assert not support.usable
    assert "Not a directory" in support.reason
