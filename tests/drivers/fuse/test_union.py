"""The FUSE union as a file system: what POSIX and the kernel expect of one."""

from __future__ import annotations

import errno
import mmap
import os
import stat
import struct
import subprocess
from pathlib import Path

import pytest

from tests.drivers.fuse.conftest import Mounted
from veneer.testing.driver_bench import append, write


def fill(root: Path) -> None:
    write(root, "f", "lower")
    write(root, "d/sub/g", "deep")
    write(root, "one", "linked")
    os.link(root / "one", root / "d/two")
    (root / "setuid").write_text("x")
    (root / "setuid").chmod(0o4755)


def test_a_file_that_lost_its_name_lives_as_long_as_it_is_open(mounted: Mounted) -> None:
    root = mounted.root
    for name in ("f", "new"):
        with (root / name).open("a+") as file:
            file.write("+")
            file.flush()
            (root / name).unlink()
            file.write("more")
            file.seek(0)
            assert file.read().endswith("+more")
            assert os.fstat(file.fileno()).st_nlink == 0
            os.fchmod(file.fileno(), 0o600)
            os.ftruncate(file.fileno(), 2)
            assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        assert not (root / name).exists()


def test_a_lower_file_deleted_while_it_is_open_can_be_written_to_and_leaves_nothing(mounted: Mounted) -> None:
    root = mounted.root
    with (root / "f").open("r+") as file:
        (root / "f").unlink()
        file.write("up")
        file.flush()
        file.seek(0)
        assert file.read() == "upwer"
    assert sorted(os.listdir(mounted.own)) == [".wh..wh.aufs", ".wh.f"]


def test_a_mapping_is_written_and_read(mounted: Mounted) -> None:
    root = mounted.root
    with (root / "f").open("r+b") as file, mmap.mmap(file.fileno(), 5) as mapping:
        mapping[:5] = b"MAPPD"
    assert (root / "f").read_bytes() == b"MAPPD"


def test_all_names_of_a_lower_file_stay_one_file(mounted: Mounted) -> None:
    root = mounted.root
    append(root, "d/two", "!")
    assert (root / "one").read_text() == "linked!"
    assert (root / "one").stat().st_ino == (root / "d/two").stat().st_ino
    os.link(root / "one", root / "three")
    (root / "one").unlink()
    append(root, "three", "?")
    assert (root / "d/two").read_text() == "linked!?"
    assert (mounted.own / "d/two").stat().st_ino == (mounted.own / "three").stat().st_ino


def test_a_name_of_a_file_with_several_in_a_hidden_place_does_not_come_back(mounted: Mounted) -> None:
    root = mounted.root
    (root / "d/two").unlink()
    append(root, "one", "!")
    assert sorted(os.listdir(root / "d")) == ["h", "sub"]


def test_who_writes_without_privileges_takes_set_user_id_away(mounted: Mounted) -> None:
    root = mounted.root
    (root / "setuid").chmod(0o6777)
    with (root / "setuid").open("rb") as file:
        subprocess.run(
            ["setpriv", "--reuid=1234", "--clear-groups", "sh", "-c", f"printf y >> /proc/self/fd/{file.fileno()}"],
            pass_fds=[file.fileno()], check=True,
        )  # fmt: skip
    assert stat.S_IMODE((root / "setuid").stat().st_mode) == 0o777


def test_permissions_are_the_kernels_business(mounted: Mounted) -> None:
    root = mounted.root
    (root / "f").chmod(0o600)
    with (root / "f").open("rb") as file:
        done = subprocess.run(
            ["setpriv", "--reuid=1234", "--clear-groups", "cat", f"/proc/self/fd/{file.fileno()}"],
            pass_fds=[file.fileno()], capture_output=True, check=False,
        )  # fmt: skip
    assert b"ermission denied" in done.stderr


def test_what_is_made_in_a_set_group_id_directory_has_its_group(mounted: Mounted) -> None:
    root = mounted.root
    os.chown(root / "d", -1, 77)
    (root / "d").chmod(0o2755)
    (root / "d/new").mkdir()
    (root / "d/file").touch()
    assert ((root / "d/new").stat().st_gid, (root / "d/file").stat().st_gid) == (77, 77)
    assert (root / "d/new").stat().st_mode & stat.S_ISGID


def test_a_directory_is_listed_whole_while_it_is_emptied(mounted: Mounted) -> None:
    root = mounted.root
    (root / "many").mkdir()
    for number in range(600):
        (root / "many" / f"file-with-a-rather-long-name-{number}").touch()
    with os.scandir(root / "many") as entries:
        found = 0
        for entry in entries:
            Path(entry.path).unlink()
            found += 1
    assert found == 600
    (root / "many").rmdir()


def test_two_files_change_places(mounted: Mounted) -> None:
    import ctypes

    root = mounted.root
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(-100, bytes(root / "f"), -100, bytes(root / "d/h"), 2)
    assert (done, (root / "f").read_text(), (root / "d/h").read_text()) == (0, "second", "lower")
    assert libc.renameat2(-100, bytes(root / "f"), -100, bytes(root / "one"), 1) == -1
    assert ctypes.get_errno() == errno.EEXIST


def test_a_file_made_without_a_name_is_given_one_or_is_gone(mounted: Mounted) -> None:
    root = mounted.root
    for name in ("named", ""):
        fd = os.open(root / "d", os.O_TMPFILE | os.O_RDWR, 0o640)
        try:
            os.write(fd, b"content")
            assert (os.fstat(fd).st_nlink, stat.S_IMODE(os.fstat(fd).st_mode), os.pread(fd, 9, 0)) == (
                0, 0o640, b"content",
            )  # fmt: skip
            if name:
                # With a directory descriptor, though the path is absolute: else Python does not have links followed.
                os.link(f"/proc/self/fd/{fd}", root / "d" / name, src_dir_fd=fd, follow_symlinks=True)
                assert os.fstat(fd).st_nlink == 1
        finally:
            os.close(fd)
    assert sorted(os.listdir(root / "d")) == ["h", "named", "sub", "two"]
    append(root, "d/named", "!")
    assert (root / "d/named").read_text() == "content!"
    fd = os.open(root / "d/named", os.O_RDONLY)
    (root / "d/named").unlink()
    with pytest.raises(FileNotFoundError):
        os.link(f"/proc/self/fd/{fd}", root / "again", src_dir_fd=fd, follow_symlinks=True)
    os.close(fd)


def test_holes_are_punched_and_room_is_kept_without_growing(mounted: Mounted) -> None:
    import ctypes

    root = mounted.root
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    with (root / "f").open("r+b") as file:
        assert libc.fallocate(file.fileno(), 1, 0, 100_000) == 0
        assert libc.fallocate(file.fileno(), 3, 1, 2) == 0
    assert ((root / "f").stat().st_size, (root / "f").read_bytes()) == (5, b"l\0\0er")


def _acl(mask: int, *users: tuple[int, int]) -> bytes:
    """An ACL as the kernel takes it: rwx for owner and group, `users` (uid, rights), nothing for others."""
    entries = [(0x01, 7, 0xFFFFFFFF), *((0x02, rights, uid) for uid, rights in users), (0x04, 7, 0xFFFFFFFF),
               (0x10, mask, 0xFFFFFFFF), (0x20, 0, 0xFFFFFFFF)]  # fmt: skip
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_acls_are_obeyed_and_inherited(mounted: Mounted) -> None:
    root = mounted.root
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o644
    os.setxattr(root / "f", "system.posix_acl_access", _acl(4, (1234, 7)))
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o740  # at once: the mask shows as the group's rights

    def may(what: str) -> bool:
        words = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "sh", "-c", what]
        return subprocess.run(words, cwd=root, capture_output=True, check=False).returncode == 0

    assert may("cat f")
    assert not may("echo >> f")
    os.removexattr(root / "f", "system.posix_acl_access")
    assert not may("cat f")
    os.setxattr(root / "d", "system.posix_acl_default", _acl(5, (1234, 7)))
    before = os.umask(0o077)
    try:
        (root / "d/file").touch(0o666)
        (root / "d/folder").mkdir()
        (root / "file").touch(0o666)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((root / name).stat().st_mode) for name in ("d/file", "d/folder", "file")]
    assert modes == [0o640, 0o750, 0o600]
    assert os.getxattr(root / "d/folder", "system.posix_acl_default") == _acl(5, (1234, 7))


def test_what_is_made_after_a_touch_is_not_older(mounted: Mounted) -> None:
    """Programs that make one file out of another compare them, to the nanosecond."""
    root = mounted.root
    for each in range(20):
        os.utime(root / "f")
        (root / f"new{each}").mkdir()
        assert (root / f"new{each}").stat().st_mtime_ns >= (root / "f").stat().st_mtime_ns


def test_one_of_two_times_is_now(mounted: Mounted) -> None:
    root = mounted.root
    for option, other in (("-a", "st_mtime_ns"), ("-m", "st_atime_ns")):
        os.utime(root / "f", ns=(1, 2))
        subprocess.run(["touch", option, root / "f"], check=True)
        found = (root / "f").stat()
        assert sorted([found.st_atime_ns, found.st_mtime_ns])[0] == getattr(found, other) < 3
        assert max(found.st_atime_ns, found.st_mtime_ns) > 10**18


@pytest.mark.parametrize("flag", [os.O_TRUNC, os.O_APPEND, 0])
def test_a_lower_file_is_opened_in_every_way(mounted: Mounted, flag: int) -> None:
    root = mounted.root
    fd = os.open(root / "d/sub/g", os.O_RDWR | flag)
    try:
        os.write(fd, b"XY")
    finally:
        os.close(fd)
    assert (root / "d/sub/g").read_text() == {os.O_TRUNC: "XY", os.O_APPEND: "deepXY", 0: "XYep"}[flag]


def test_names_that_would_delete_are_refused(mounted: Mounted) -> None:
    root = mounted.root
    attempts = (
        lambda: (root / ".wh.x").touch(),
        lambda: (root / ".wh..wh.x").mkdir(),
        lambda: (root / "f").rename(root / ".wh.f"),
        lambda: os.link(root / "f", root / ".wh.f"),
        lambda: (root / ".wh.s").symlink_to("f"),
        lambda: os.mknod(root / "null", stat.S_IFCHR, 0),
    )
    for attempt in attempts:
        with pytest.raises(PermissionError):
            attempt()
    assert not (root / ".wh.f").exists()


def test_extended_attributes_come_up_with_the_file(mounted: Mounted) -> None:
    root = mounted.root
    os.setxattr(root / "d", "user.a", b"1")
    os.setxattr(root / "f", "user.b", b"x" * 3000)
    assert (os.listxattr(root / "d"), os.getxattr(root / "f", "user.b")) == (["user.a"], b"x" * 3000)
    os.removexattr(root / "d", "user.a")
    with pytest.raises(OSError, match="No data"):
        os.removexattr(root / "d", "user.a")
