"""overlay2: what is its own, beside what every driver must do."""

from __future__ import annotations

import io
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings

from veneer.drivers import mount_syscalls, overlay_probe, treecopy
from veneer.drivers.driver import SnapshotID, new_snapshot_id
from veneer.drivers.mount import LayerMissing, TooManyLayers, mounted
from veneer.drivers.overlay2 import Overlay2
from veneer.testing.driver_bench import NOBODY, Bench, Stack, append, one_of_everything, write
from veneer.testing.trees import Tree, change_tree, changes


@pytest.fixture
def driver(tmp_path: Path) -> Overlay2:
    return Overlay2(tmp_path / "overlay2")


@pytest.fixture
def bench(driver: Overlay2, tmp_path: Path) -> Bench:
    return Bench(driver, tmp_path)


def naive(driver: Overlay2) -> Overlay2:
    """The same driver where the kernel's own record of changes cannot be trusted."""
    other = Overlay2(driver.root)
    other._abilities = driver.abilities.replaced(native_diff=False)
    return other


def test_the_layout_is_docker_s(driver: Overlay2) -> None:
    snapshot = new_snapshot_id()
    created = driver.create(snapshot, [])
    assert created == driver.root / snapshot / "diff"
    assert sorted(os.listdir(driver.root / snapshot)) == ["diff", "work"]
    assert stat.S_IMODE((driver.root / snapshot).stat().st_mode) == 0o710


def test_graph_data_has_docker_s_keys_and_lowers_nearest_first(driver: Overlay2) -> None:
    base, middle, top = (new_snapshot_id() for _ in range(3))
    root = driver.root
    assert driver.graph_data(base, []) == {
        "MergedDir": f"{root}/{base}/merged",
        "UpperDir": f"{root}/{base}/diff",
        "WorkDir": f"{root}/{base}/work",
    }
    data = driver.graph_data(top, [middle, base])
    assert data is not None
    assert list(data) == ["LowerDir", "MergedDir", "UpperDir", "WorkDir"]
    assert data["LowerDir"] == f"{root}/{middle}/diff:{root}/{base}/diff"


def test_deletions_are_kept_as_the_kernel_s_whiteouts(bench: Bench) -> None:
    def change(root: Path) -> None:
        (root / "file").unlink()
        treecopy.delete_tree(root / "d")
        (root / "d").mkdir()

    stack = bench.layers(one_of_everything, change)
    upper = bench.driver.directory(stack[0])
    found = os.lstat(upper / "file")
    assert stat.S_ISCHR(found.st_mode)
    assert found.st_rdev == 0
    assert os.getxattr(upper / "d", "trusted.overlay.opaque") == b"y"


@settings(max_examples=15)
@given(story=changes(2))
def test_where_the_native_record_is_unsafe_comparing_trees_gives_the_same_bytes(
    story: list[Tree], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("story")
    driver = Overlay2(folder / "overlay2")
    bench = Bench(driver, folder)
    stack = NOBODY
    for old, new in zip([Tree({}), *story], story, strict=False):
        stack = _grown(bench, stack, old, new)
        native, compared = io.BytesIO(), io.BytesIO()
        native_index, compared_index = io.BytesIO(), io.BytesIO()
        packed = driver.diff(stack[0], stack[1:], native, index=native_index)
        again = naive(driver).diff(stack[0], stack[1:], compared, index=compared_index)
        assert native.getvalue() == compared.getvalue()
        assert native_index.getvalue() == compared_index.getvalue()
        assert packed == again
    treecopy.delete_tree(folder)


def _grown(bench: Bench, stack: Stack, old: Tree, new: Tree) -> Stack:
    def change(root: Path) -> None:
        with treecopy.directory(root) as fd:
            change_tree(fd, old, new)

    return bench.layer(change, stack)


def test_a_kernel_that_keeps_renames_by_reference_is_compared_and_not_believed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With redirect_dir=on a renamed directory is an empty one with a note of its old name."""
    monkeypatch.setattr(overlay_probe, "_OPTIONS", ("index=off", "redirect_dir=on", "metacopy=on"))
    stack = bench.layers(
        lambda root: write(root, "d/sub/f", "content"), lambda root: (root / "d").rename(root / "e")
    )  # fmt: skip
    assert not isinstance(bench.driver, Overlay2) or not bench.driver.abilities.native_diff
    tar, _ = bench.diff(stack)
    monkeypatch.undo()
    again = Bench(Overlay2(bench.driver.directory(stack[0]).parents[2] / "second"), bench.folder)
    applied = again.apply_all([bench.diff(stack[1:])[0], tar])
    assert sorted(again.facts(applied)) == [b"", b"e", b"e/sub", b"e/sub/f"]


def test_a_first_layer_s_own_whiteouts_do_not_show_as_devices(bench: Bench) -> None:
    snapshot = new_snapshot_id()
    root = bench.driver.create(snapshot, [])
    (root / "f").touch()
    os.mknod(root / "gone", stat.S_IFCHR, 0)
    bench.driver.commit(snapshot)
    for mounts in (bench.driver.mounts(None, [snapshot]), bench.driver.mounts(snapshot, [], readonly=True)):
        (bench.folder / "t").mkdir(exist_ok=True)
        with mounted(mounts, bench.folder / "t") as target:
            assert os.listdir(target) == ["f"]
    tar, packed = bench.diff((snapshot,))
    assert packed.entries == 1
    assert b".wh.gone" not in tar


def test_the_same_layer_twice_in_a_stack_is_mounted_once(bench: Bench) -> None:
    first = bench.layer(lambda root: write(root, "f", "1"))
    second = bench.layer(lambda root: write(root, "f", "2"))
    assert bench.facts((*first, *second, *first)) == bench.facts((*first, *second))
    assert bench.facts((*first, *first)) == bench.facts(first)


def test_500_layers_and_a_writable_one_on_top(bench: Bench) -> None:
    stack: list[SnapshotID] = []
    for number in range(500):
        stack.insert(0, new_snapshot_id())
        (bench.driver.create(stack[0], stack[1:]) / str(number)).touch()
    with bench.writing(tuple(stack)) as (_, root):
        assert len(os.listdir(root)) == 500
        write(root, "499", "changed")
        (root / "0").unlink()
        assert len(os.listdir(root)) == 499
    with pytest.raises(TooManyLayers, match="500 layers, not on 501"):
        bench.driver.create(new_snapshot_id(), [*stack, new_snapshot_id()])


def test_a_layer_that_is_gone_is_named(bench: Bench) -> None:
    stack = bench.layers(lambda root: write(root, "f", ""), lambda root: write(root, "g", ""))
    bench.driver.remove(stack[1])
    with pytest.raises(LayerMissing, match=stack[1]), bench.view(stack):
        pass


def test_two_instances_work_side_by_side(tmp_path: Path) -> None:
    """Each probes, creates, mounts and removes on the same folder, with nothing between them but the disk."""
    failures: list[BaseException] = []
    start = threading.Barrier(4)

    def work(name: str) -> None:
        try:
            start.wait(timeout=60)
            bench = Bench(Overlay2(tmp_path / "overlay2"), tmp_path)
            for _ in range(5):
                stack = bench.layers(lambda root: write(root, "d/f", name), lambda root: append(root, "d/f", name))
                with bench.view(stack) as root:
                    assert (root / "d/f").read_text() == name * 2
                for snapshot in stack:
                    bench.driver.remove(snapshot)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(Overlay2(tmp_path / "overlay2").snapshots()) == []


def test_without_the_new_mount_calls_it_all_works_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> int:
        raise OSError(38, "Function not implemented")

    stack = bench.layers(one_of_everything, lambda root: append(root, "file", "x"))
    expected = bench.diff(stack)
    monkeypatch.setattr(mount_syscalls, "fsopen", missing)
    monkeypatch.setattr(mount_syscalls, "open_tree_clone", missing)
    assert overlay_probe.try_out(bench.folder).usable
    assert bench.diff(stack) == expected


def test_a_mount_that_died_half_way_leaves_no_mount(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    stack = bench.layers(lambda root: write(root, "f", ""), lambda root: write(root, "g", ""))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), bench.view(stack):
        patch.setattr(mount_syscalls, "move_mount", dies)
        with bench.view(stack):
            pass
