"""Trees copied, measured and deleted, however hostile they are."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.loop import loop_mounted
from tests.support.programs import needs, run
from veneer.drivers import treecopy
from veneer.drivers.driver import Usage
from veneer.drivers.mount import Mount, mounted
from veneer.drivers.treecopy import TreeChanged, copy_tree, delete_tree, usage


def descend(root: Path, depth: int, name: str = "d" * 100) -> int:
    """Make `depth` directories one in the other; a descriptor of the last.  The path is far beyond PATH_MAX."""
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    return here


def snapshot(root: Path) -> dict[str, tuple[object, ...]]:
    """All there is to know about a tree but inode numbers, by path."""
    found: dict[str, tuple[object, ...]] = {}
    names: dict[tuple[int, int], list[str]] = {}
    paths = [root, *root.rglob("*")]
    for path in paths:
        st = os.lstat(path)
        names.setdefault((st.st_dev, st.st_ino), []).append(str(path.relative_to(root)))
        content: bytes | str = b""
        if stat.S_ISREG(st.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(st.st_mode):
            content = os.readlink(path)
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
        found[str(path.relative_to(root))] = (
            oct(st.st_mode), st.st_uid, st.st_gid, st.st_rdev, size, st.st_mtime_ns, content, attributes,
        )  # fmt: skip
    links = {name: tuple(sorted(same)) for same in names.values() for name in same}
    return {name: (*facts, links[name]) for name, facts in found.items()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """One of everything."""
    root = tmp_path / "tree"
    (root / "dir" / "sub").mkdir(parents=True)
    (root / "file").write_bytes(b"content" * 1000)
    (root / "empty").touch()
    (root / "dir" / "linked").write_bytes(b"once")
    os.link(root / "dir" / "linked", root / "dir" / "sub" / "again")
    os.link(root / "dir" / "linked", root / "third")
    os.symlink("../nowhere", root / "dir" / "dangling")
    os.link(root / "dir" / "dangling", root / "dangling2", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "block", 0o600 | stat.S_IFBLK, os.makedev(7, 200))
    (root / ("x" * 255)).touch()
    (root / b"\xff\xfe \n".decode(errors="surrogateescape")).touch()
    (root / ".wh.name").touch()
    for name, mode in (("file", 0o4755), ("dir", 0o1777), ("dir/sub", 0o2000), ("empty", 0)):
        (root / name).chmod(mode)
    os.chown(root / "file", 1234, 4_000_000_000)
    (root / "file").chmod(0o6711)
    os.chown(root / "dir" / "dangling", 5, 6, follow_symlinks=False)
    os.setxattr(root / "file", "user.note", b"\0\xffbinary")
    os.setxattr(root / "dir", "trusted.note", b"")
    os.setxattr(root / "dir" / "dangling", "trusted.note", b"link", follow_symlinks=False)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(root / "file", "security.capability", capability)
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_500_000_000_123_456_789 + number), follow_symlinks=False)
    os.utime(root, ns=(0, 999_999_999))
    return root


def test_a_copy_has_everything_the_original_has(tree: Path, tmp_path: Path) -> None:
    before = snapshot(tree)
    target = tmp_path / "copy"
    target.mkdir()
    copy_tree(tree, target)
    assert snapshot(target) == before
    assert snapshot(tree) == before


def test_a_socket_is_copied_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        copy_tree(tmp_path / "tree", tmp_path / "copy")
    assert stat.S_ISSOCK(os.lstat(tmp_path / "copy" / "socket").st_mode)


def test_holes_stay_holes(tmp_path: Path) -> None:
    for name in ("tree", "copy"):
        (tmp_path / name).mkdir()
    with (tmp_path / "tree" / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"in the middle")
    (tmp_path / "tree" / "hole").touch()
    os.truncate(tmp_path / "tree" / "hole", 1 << 20)
    copy_tree(tmp_path / "tree", tmp_path / "copy")
    copied = os.stat(tmp_path / "copy" / "sparse")
    assert copied.st_size == 64 << 20
    assert copied.st_blocks * 512 < 1 << 20
    assert (tmp_path / "copy" / "sparse").read_bytes() == (tmp_path / "tree" / "sparse").read_bytes()
    assert os.stat(tmp_path / "copy" / "hole").st_size == 1 << 20


@pytest.mark.parametrize("missing", ["FICLONE", "FICLONE and copy_file_range"])
def test_content_is_copied_whatever_the_file_system_offers(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def absent(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "ioctl", absent)
    if "copy_file_range" in missing:
        monkeypatch.setattr(os, "copy_file_range", absent)
    (tree / "large").write_bytes(os.urandom(1 << 20) * 3 + b"end")
    (tmp_path / "copy").mkdir()
    copy_tree(tree, tmp_path / "copy")
    assert snapshot(tmp_path / "copy") == snapshot(tree)


def test_a_copy_shares_its_blocks_where_the_file_system_can(tmp_path: Path) -> None:
    needs("mkfs.xfs")
    with loop_mounted(tmp_path / "disk", 512 << 20, kind="xfs", options=("-m", "reflink=1")) as disk:
        (disk / "tree").mkdir()
        (disk / "copy").mkdir()
        (disk / "tree" / "large").write_bytes(os.urandom(1 << 20) * 64)
        os.sync()
        free = os.statvfs(disk).f_bfree
        copy_tree(disk / "tree", disk / "copy")
        os.sync()
        assert (free - os.statvfs(disk).f_bfree) * os.statvfs(disk).f_bsize < 8 << 20
        assert (disk / "copy" / "large").read_bytes() == (disk / "tree" / "large").read_bytes()


def test_a_tree_5000_directories_deep_is_copied_measured_and_deleted(tmp_path: Path) -> None:
    for name in ("tree", "copy"):
        (tmp_path / name).mkdir()
    bottom = descend(tmp_path / "tree", 5000)
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=bottom))
    os.link("file", "link", src_dir_fd=bottom, dst_dir_fd=bottom)
    os.close(bottom)
    copy_tree(tmp_path / "tree", tmp_path / "copy")
    assert usage(tmp_path / "copy") == usage(tmp_path / "tree") == Usage(0, 5002)
    delete_tree(tmp_path / "copy")
    delete_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


def test_everything_is_deleted_and_symlinks_are_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    os.symlink(outside, tree / "to-directory")
    (tree / "dir" / "sealed").mkdir()
    (tree / "dir" / "sealed").chmod(0)
    delete_tree(tree)
    assert sorted(os.listdir(tmp_path)) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_immutable_and_append_only_things_are_deleted(tree: Path) -> None:
    needs("chattr")
    (tree / "frozen").mkdir()
    (tree / "frozen" / "file").touch()
    if run("chattr", "+a", tree / "frozen" / "file", check=False).code != 0:
        pytest.skip("this file system has no immutable attribute")
    run("chattr", "+i", tree / "file")
    run("chattr", "+i", tree / "frozen")
    run("chattr", "+i", tree)
    delete_tree(tree)
    assert not tree.exists()


def test_deleting_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    delete_tree(tmp_path / "nothing")
    delete_tree(tmp_path / "no" / "such" / "folder")


def test_deleting_a_file_or_a_symlink_deletes_just_that(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    os.symlink("kept", tmp_path / "link")
    delete_tree(tmp_path / "link")
    assert os.listdir(tmp_path) == ["kept"]
    delete_tree(tmp_path / "kept")
    assert os.listdir(tmp_path) == []


def test_a_mount_inside_is_told_and_what_is_mounted_stays(tmp_path: Path) -> None:
    (tmp_path / "tree" / "d").mkdir(parents=True)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    with (
        mounted([Mount.bind(tmp_path / "precious", readonly=True)], tmp_path / "tree" / "d"),
        pytest.raises((TreeChanged, OSError)),
    ):
        delete_tree(tmp_path / "tree")
    assert os.listdir(tmp_path / "precious") == ["file"]


def test_usage_counts_every_inode_once_and_no_directory_sizes(tree: Path) -> None:
    expected = {}
    for path in tree.rglob("*"):
        found = os.lstat(path)
        expected[found.st_ino] = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    assert usage(tree) == Usage(sum(expected.values()), len(expected) + 1)


def test_a_directory_moved_meanwhile_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with treecopy.directory(tmp_path) as root, treecopy.Cursor(root) as cursor:
        cursor.enter("a")
        cursor.enter("b")
        (tmp_path / "a" / "b").rename(tmp_path / "b")
        with pytest.raises(TreeChanged, match="'b' was moved"):
            cursor.leave()


def test_two_deletions_of_one_tree_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in "abc":
        for number in range(3):
            (tmp_path / "tree" / folder / str(number)).mkdir(parents=True)
            (tmp_path / "tree" / folder / str(number) / "file").touch()
    real: Callable[..., None] = os.unlink
    other = iter([True])

    def unlink(name: str, *, dir_fd: int) -> None:
        if next(other, False):
            delete_tree(tmp_path / "tree" / "b")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", unlink)
    delete_tree(tmp_path / "tree")
    assert os.listdir(tmp_path) == []


def test_the_mode_of_what_has_become_a_link_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "outside").touch(0o600)
    (tmp_path / "link").symlink_to("outside")
    os.mkfifo(tmp_path / "pipe")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        treecopy.set_mode(folder, "pipe", 0o642)
        with pytest.raises(OSError, match="not supported"):
            treecopy.set_mode(folder, "link", 0o777)
    finally:
        os.close(folder)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("pipe", "outside")]
    assert modes == [0o642, 0o600]
