"""The driver suite's sentences on the life of a snapshot, and on stacks as deep as they get."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from veneer.drivers.driver import SnapshotID, Usage, new_snapshot_id
from veneer.drivers.mount import TooManyLayers
from veneer.drivers.protocol import StorageDriver
from veneer.testing.driver_bench import Bench, DriverFixtures, write


class LifeCycleSuite(DriverFixtures):
    """Snapshots come, are listed, and go without a trace."""

    def test_its_probe_says_in_words_what_it_found(self, driver: StorageDriver) -> None:
        assert driver.probe().usable
        assert driver.probe().reason

    def test_a_new_snapshot_is_an_empty_directory_of_mode_755(self, driver: StorageDriver) -> None:
        snapshot = new_snapshot_id()
        before = os.umask(0o077)
        try:
            created = driver.create(snapshot, [])
        finally:
            os.umask(before)
        assert created == driver.directory(snapshot)
        assert list(created.iterdir()) == []
        assert stat.S_IMODE(created.stat().st_mode) == 0o755

    def test_what_is_written_into_its_directory_is_in_the_view(self, bench: Bench) -> None:
        snapshot = new_snapshot_id()
        (bench.driver.create(snapshot, []) / "file").write_text("content")
        bench.driver.commit(snapshot)
        with bench.view((snapshot,)) as root:
            assert (root / "file").read_text() == "content"

    def test_a_snapshot_cannot_be_created_twice(self, driver: StorageDriver) -> None:
        snapshot = new_snapshot_id()
        (driver.create(snapshot, []) / "kept").touch()
        with pytest.raises(FileExistsError):
            driver.create(snapshot, [])
        assert (driver.directory(snapshot) / "kept").exists()

    def test_a_snapshot_is_listed_until_it_is_removed(self, bench: Bench) -> None:
        base = bench.layer(lambda root: (root / "a").touch())
        top = bench.layer(lambda root: (root / "b").touch(), base)
        assert sorted(bench.driver.snapshots()) == sorted(top)
        bench.driver.remove(top[0])
        assert list(bench.driver.snapshots()) == list(base)
        assert list(bench.facts(base)) == [b"", b"a"]

    def test_removing_what_is_not_there_is_no_error(self, bench: Bench) -> None:
        [snapshot] = bench.layer(lambda root: (root / "a").touch())
        bench.driver.remove(snapshot)
        bench.driver.remove(snapshot)
        bench.driver.remove(new_snapshot_id())
        assert list(bench.driver.snapshots()) == []

    def test_a_crash_between_create_and_commit_leaves_a_snapshot_that_can_be_removed(
        self, bench: Bench, tmp_path: Path
    ) -> None:
        base = bench.layer(lambda root: (root / "a").touch())
        unfinished = new_snapshot_id()
        (bench.driver.create(unfinished, base) / "half").touch()
        after_crash = self.make_driver(tmp_path / "driver")
        assert sorted(after_crash.snapshots()) == sorted([*base, unfinished])
        after_crash.remove(unfinished)
        assert list(after_crash.snapshots()) == list(base)

    def test_a_removal_cut_off_half_way_is_listed_and_finished_by_the_next(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fill(root: Path) -> None:
            for number in range(20):
                (root / f"d{number}").mkdir()
                (root / f"d{number}" / "file").touch()

        before = _names(tmp_path / "driver")
        [snapshot] = bench.layer(fill)
        real, left = os.unlink, iter(range(10))

        def unlink(*args: object, **kwargs: object) -> None:
            if next(left, None) is None:
                raise _Killed
            real(*args, **kwargs)  # type: ignore[arg-type]

        with monkeypatch.context() as patch, pytest.raises(_Killed):
            patch.setattr(os, "unlink", unlink)
            bench.driver.remove(snapshot)
        after_crash = self.make_driver(tmp_path / "driver")
        assert list(after_crash.snapshots()) == [snapshot]
        after_crash.remove(snapshot)
        assert list(after_crash.snapshots()) == []
        assert _names(tmp_path / "driver") == before

    def test_a_snapshot_half_removed_is_never_taken_for_a_whole_one(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [snapshot] = bench.layer(lambda root: write(root, "d/file", ""))

        def unlink(*_: object, **__: object) -> None:
            raise _Killed

        with monkeypatch.context() as patch, pytest.raises(_Killed):
            patch.setattr(os, "unlink", unlink)
            bench.driver.remove(snapshot)
        assert not bench.driver.directory(snapshot).exists()

    def test_trees_deep_sealed_and_oddly_named_are_removed(self, bench: Bench, tmp_path: Path) -> None:
        before = _names(tmp_path / "driver")

        def fill(root: Path) -> None:
            here = os.open(root, os.O_RDONLY)
            for _ in range(1200):  # some 240,000 bytes of path
                os.mkdir("d" * 200, dir_fd=here)
                below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
                os.close(here)
                here = below
            os.close(here)
            for name in (b"x" * 255, b"\xff\xfe", b"new\nline", b" ", b"-rf", b"*"):
                Path(os.fsdecode(os.fsencode(root) + b"/" + name)).touch()
            (root / "sealed" / "below").mkdir(parents=True)
            (root / "sealed" / "below").chmod(0)
            (root / "sealed").chmod(0)

        [snapshot] = bench.layer(fill)
        bench.driver.remove(snapshot)
        assert _names(tmp_path / "driver") == before

    def test_two_instances_on_one_folder_see_the_same_snapshots(self, bench: Bench, tmp_path: Path) -> None:
        other = Bench(self.make_driver(tmp_path / "driver"), tmp_path)
        base = bench.layer(lambda root: (root / "a").touch())
        top = other.layer(lambda root: (root / "b").touch(), base)
        assert sorted(bench.driver.snapshots()) == sorted(other.driver.snapshots()) == sorted(top)
        assert bench.facts(top) == other.facts(top)

    def test_usage_counts_a_hard_link_once_and_no_directory_sizes(self, bench: Bench) -> None:
        def fill(root: Path) -> None:
            (root / "d").mkdir()
            (root / "d" / "file").write_bytes(b"x" * 1000)
            os.link(root / "d" / "file", root / "link")
            os.symlink("d/file", root / "symlink")

        assert bench.usage(fill) == Usage(size=1006, inodes=4)

    def test_what_inspect_shows_names_absolute_paths_below_its_folder(self, bench: Bench, tmp_path: Path) -> None:
        stack = bench.layers(lambda root: (root / "a").touch(), lambda root: (root / "b").touch())
        data = bench.driver.graph_data(stack[0], stack[1:])
        for value in (data or {}).values():
            assert all(path.startswith(f"{tmp_path}/driver/") for path in value.split(":"))


class DepthSuite(DriverFixtures):
    """Stacks as deep as they get."""

    def test_128_layers_make_one_tree(self, bench: Bench) -> None:
        stack: tuple[SnapshotID, ...] = ()
        for number in range(128):
            stack = (new_snapshot_id(), *stack)
            root = bench.driver.create(stack[0], stack[1:])
            (root / str(number)).touch()
            (root / "same").write_text(str(number))
            bench.driver.commit(stack[0])
        with bench.view(stack) as root:
            assert sorted(os.listdir(root)) == sorted([*map(str, range(128)), "same"])
            assert (root / "same").read_text() == "127"

    def test_as_many_layers_as_it_says_and_one_more_is_refused_in_words(self, bench: Bench) -> None:
        limit = bench.driver.max_lowers
        count = min(limit, 300)  # nobody waits for a driver without a limit
        stack: tuple[SnapshotID, ...] = ()
        for _ in range(limit + 1 if limit < 2000 else count):
            stack = (new_snapshot_id(), *stack)
            bench.driver.create(stack[0], stack[1:])
        with bench.mounted(stack[0], stack[1:]) as root:
            (root / "works").touch()
        with bench.mounted(stack[0], stack[1:], readonly=True) as root:
            assert os.listdir(root) == ["works"]
        if limit < 2000:
            with pytest.raises(TooManyLayers, match=f"{bench.driver.name} can stand on {limit}"):
                bench.driver.create(new_snapshot_id(), stack)
            with pytest.raises(TooManyLayers, match=str(limit)):
                bench.driver.mounts(None, stack)


class _Killed(BaseException):
    """Stands for the process dying at this very point."""


def _names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))
