"""Mount points are made where there are none, and nothing of them is left."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.run.mountpoints import BadMountPoint, MountPoints


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "tree").mkdir()
    fd = os.open(tmp_path / "tree", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def tree(tmp_path: Path, root: int) -> Path:
    return tmp_path / "tree"


def old(path: Path) -> int:
    os.utime(path, ns=(7, 7))
    return path.stat().st_mtime_ns


def test_a_missing_place_is_made_with_its_parents_and_all_of_it_is_gone_after(root: int, tree: Path) -> None:
    with MountPoints(root) as points:
        assert points.make("/a/b/c", directory=True) == "/a/b/c"
        assert points.make("/a/file", directory=False) == "/a/file"
        assert (tree / "a/b/c").is_dir() and (tree / "a/file").is_file()
    assert list(tree.iterdir()) == []


def test_a_place_that_is_there_stays(root: int, tree: Path) -> None:
    (tree / "a").mkdir()
    (tree / "f").write_text("kept")
    with MountPoints(root) as points:
        points.make("/a", directory=True)
        points.make("/f", directory=False)
    assert (tree / "a").is_dir() and (tree / "f").read_text() == "kept"


def test_times_of_directories_are_what_they_were_while_it_lasts_and_after(root: int, tree: Path) -> None:
    (tree / "etc").mkdir()
    before = old(tree / "etc"), old(tree)
    with MountPoints(root) as points:
        points.make("/etc/hosts", directory=False)
        points.make("/proc", directory=True)
        assert ((tree / "etc").stat().st_mtime_ns, tree.stat().st_mtime_ns) == before
    assert ((tree / "etc").stat().st_mtime_ns, tree.stat().st_mtime_ns) == before


def test_a_directory_that_was_changed_meanwhile_keeps_the_time_of_that(root: int, tree: Path) -> None:
    (tree / "etc").mkdir()
    with MountPoints(root) as points:
        points.make("/etc/hosts", directory=False)
        (tree / "etc/new").write_text("")
        os.utime(tree / "etc", ns=(9, 9))
    assert (tree / "etc").stat().st_mtime_ns == 9
    assert [path.name for path in (tree / "etc").iterdir()] == ["new"]


def test_a_place_that_was_put_to_use_belongs_to_the_tree(root: int, tree: Path) -> None:
    with MountPoints(root) as points:
        points.make("/run/secrets/x", directory=False)
        (tree / "run/mine").write_text("")
    assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["run", "run/mine"]


def test_a_place_moved_away_and_replaced_by_a_link_is_found_and_nothing_else_touched(
    root: int, tree: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (outside / "b").mkdir(parents=True)
    with MountPoints(root) as points:
        points.make("/a/b", directory=True)
        (tree / "a").rename(tree / "moved")
        (tree / "a").symlink_to(outside)
    assert (outside / "b").is_dir()
    assert sorted(path.name for path in tree.rglob("*")) == ["a", "moved"]


def test_links_are_followed_inside_the_tree_only(root: int, tree: Path) -> None:
    (tree / "var").mkdir()
    (tree / "var/run").symlink_to("/run")
    (tree / "up").symlink_to("../../../etc")
    with MountPoints(root) as points:
        assert points.make("/var/run/x", directory=False) == "/run/x"
        assert points.make("/up/y", directory=False) == "/etc/y"
        assert (tree / "run/x").is_file() and (tree / "etc/y").is_file()
    assert sorted(path.name for path in tree.rglob("*")) == ["run", "up", "var"]


def test_what_a_dangling_link_points_to_is_made(root: int, tree: Path) -> None:
    (tree / "etc").mkdir()
    (tree / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    with MountPoints(root) as points:
        assert points.make("/etc/resolv.conf", directory=False) == "/run/resolve/stub.conf"
    assert sorted(path.name for path in tree.rglob("*")) == ["etc", "resolv.conf"]


@pytest.mark.parametrize(
    ("target", "directory"), [("/file", True), ("/file/x", False), ("/dir", False), ("/loop", True)]
)
def test_a_place_that_cannot_be_is_refused(root: int, tree: Path, target: str, *, directory: bool) -> None:
    (tree / "file").write_text("")
    (tree / "dir").mkdir()
    (tree / "loop").symlink_to("loop")
    with MountPoints(root) as points, pytest.raises(BadMountPoint, match=f"cannot mount on {target}"):
        points.make(target, directory=directory)


def test_what_lies_in_a_mount_is_left_to_the_runtime(root: int, tree: Path) -> None:
    with MountPoints(root) as points:
        points.make("/dev", directory=True)
        assert points.make("/dev/pipes/x", directory=False) == "/dev/pipes/x"
        assert list((tree / "dev").iterdir()) == []
