"""System calls that Python lacks, and names opened beneath a root."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.changeset import safepath, syscalls
from veneer.changeset.limits import Limits
from veneer.changeset.safepath import PathSet, normal, open_beneath, remove_tree


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    base = tmp_path / "root"
    (base / "a/b").mkdir(parents=True)
    (base / "a/b/file").write_text("x")
    (base / "abs").symlink_to("/")
    (base / "up").symlink_to("..")
    (base / "a/in").symlink_to("b")
    fd = os.open(base, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture(params=["openat2", "component walk"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safepath, "_openat2_missing", request.param == "component walk")


def test_a_path_of_directories_is_opened(root: int, either_way: None) -> None:
    for path in (b"", b"a", b"a/b"):
        os.close(open_beneath(root, path))
    os.close(open_beneath(root, b"a/b/file", os.O_RDONLY))


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"abs", errno.ELOOP), (b"up", errno.ELOOP), (b"a/in", errno.ELOOP), (b"abs/etc", errno.ELOOP),
        (b"a/in/file", errno.ELOOP), (b"a/b/file/x", errno.ENOTDIR), (b"a/none/x", errno.ENOENT),
    ],
)  # fmt: skip
def test_no_symlink_is_followed(root: int, either_way: None, path: bytes, number: int) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError) as caught:
        open_beneath(root, path)
    # For a symlink as the last component the kernel may say either, depending on O_DIRECTORY.
    assert caught.value.errno == number or (number == errno.ELOOP and caught.value.errno == errno.ENOTDIR)
    assert len(os.listdir("/proc/self/fd")) <= len(before)


def test_a_kernel_without_openat2_is_noticed_once(root: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSYS, "no")

    monkeypatch.setattr(safepath, "_openat2_missing", False)
    monkeypatch.setattr(syscalls, "openat2", refuse)
    os.close(open_beneath(root, b"a/b"))
    assert safepath._openat2_missing


def test_renaming_without_replacing(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.write_text("2")
    with pytest.raises(FileExistsError):
        syscalls.rename_noreplace(os.fsencode(one), os.fsencode(two))
    assert (one.read_text(), two.read_text()) == ("1", "2")
    two.unlink()
    syscalls.rename_noreplace(os.fsencode(one), os.fsencode(two))
    assert two.read_text() == "1"
    assert not one.exists()


def test_renaming_between_directories_given_by_descriptor(root: int) -> None:
    a = os.open("a", os.O_RDONLY, dir_fd=root)
    try:
        syscalls.rename_noreplace(b"b", b"moved", source_fd=a, target_fd=root)
    finally:
        os.close(a)
    assert "moved" in os.listdir(root)


def test_names_change_places(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1")
    two.mkdir()
    syscalls.exchange(os.fsencode(one), os.fsencode(two))
    assert one.is_dir()
    assert two.read_text() == "1"
    with pytest.raises(FileNotFoundError):
        syscalls.exchange(os.fsencode(one), os.fsencode(tmp_path / "three"))


def test_the_whole_file_system_is_written_out(root: int) -> None:
    syscalls.syncfs(root)
    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.syncfs(1 << 20)


def test_attributes_are_set_on_the_name_itself_byte_for_byte(root: int) -> None:
    syscalls.lsetxattr(root, b"a", b"user.\xff", b"\0\xfe")
    assert os.getxattr(root_path(root) + b"/a", b"user.\xff") == b"\0\xfe"
    syscalls.lsetxattr(root, b"up", b"trusted.on-link", b"1")
    assert os.listxattr(root_path(root) + b"/..") == []


def root_path(fd: int) -> bytes:
    return os.readlink(b"/proc/self/fd/%d" % fd)


@pytest.mark.parametrize(
    ("name", "path"),
    [(b"a", b"a"), (b"./a", b"a"), (b"/a/b/", b"a/b"), (b"a//b", b"a/b"), (b"./", b""), (b"/", b""), (b"a/./b", b"a/b"),
     (b"...", b"..."), (b"..a", b"..a"), (b"a\\..\\b", b"a\\..\\b")],
)  # fmt: skip
def test_names_are_made_relative_and_plain(name: bytes, path: bytes) -> None:
    assert normal(name, Limits()) == path


@pytest.mark.parametrize(
    ("name", "fact"),
    [(b"", "empty"), (b"..", r"'\.\.'"), (b"a/../b", r"'\.\.'"), (b"/../x", r"'\.\.'"), (b"a\0b", "NUL"),
     (b"a/" * 300, "deep"), (b"n" * 256, "longer than 255"), (b"abc/" * 1100, "4399 bytes")],
)  # fmt: skip
def test_names_that_mean_harm_are_refused(name: bytes, fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        normal(name, Limits())


def test_a_path_set_knows_what_it_was_given_and_nothing_else() -> None:
    paths = PathSet()
    for number in range(5000):
        paths.add(b"p%d" % number)
        paths.add(b"p%d" % number)
    assert len(paths) == 5000
    assert all(b"p%d" % number in paths for number in range(5000))
    assert not any(b"q%d" % number in paths for number in range(5000))


def test_a_tree_is_removed_without_following_symlinks(tmp_path: Path, root: int) -> None:
    outside = tmp_path / "outside"
    outside.write_text("stays")
    (tmp_path / "root/a/b/out").symlink_to(outside)
    (tmp_path / "root/a/b/dir").symlink_to(tmp_path)
    removed = remove_tree(root, b"a", b"a")
    assert removed == 1 + len("b") + len(os.fsencode(outside)) + len(os.fsencode(tmp_path))
    assert outside.read_text() == "stays"
    assert sorted(os.listdir(root)) == ["abs", "up"]


def test_what_is_to_be_kept_stays_with_the_directories_above_it(tmp_path: Path, root: int) -> None:
    keep = PathSet()
    keep.add(b"a/b/file")
    (tmp_path / "root/a/other").write_text("goes")
    remove_tree(root, b"a", b"a", keep)
    assert (tmp_path / "root/a/b/file").exists()
    assert sorted(os.listdir(tmp_path / "root/a")) == ["b"]


def test_a_tree_deeper_than_python_recurses_is_removed(tmp_path: Path, root: int) -> None:
    fd = os.dup(root)
    for _ in range(400):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    remove_tree(root, b"d", b"d")
    assert not (tmp_path / "root/d").exists()


@pytest.fixture
def rich(tmp_path: Path) -> Iterator[int]:
    """A tree with links of every kind in it, /secret beside it."""
    base = tmp_path / "rich"
    (base / "a/b").mkdir(parents=True)
    (base / "a/b/f").write_text("f")
    (tmp_path / "secret").write_text("secret")
    for name, target in {
        "up": "../../../..", "a/b/above": "../../..", "abs": "/a/b", "file": "a/b/f", "loop": "loop", "gone": "nosuch",
        "out": "../secret", "chain": "abs/above/a",
    }.items():  # fmt: skip
        (base / name).symlink_to(target)
    fd = os.open(base, os.O_RDONLY)
    yield fd
    os.close(fd)


def opened_as(root: int, path: bytes, flags: int, *, kernel: bool) -> tuple[str, int]:
    """What a path leads to: the error's name, or its inode."""
    from veneer.changeset.root_walk import open_in_root

    try:
        fd = (
            syscalls.openat2(root, path, flags, syscalls.RESOLVE_IN_ROOT) if kernel else open_in_root(root, path, flags)
        )
    except OSError as error:
        return errno.errorcode[error.errno or 0], 0
    found = os.fstat(fd).st_ino
    os.close(fd)
    return "", found


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_RDONLY, os.O_RDONLY | os.O_DIRECTORY, os.O_PATH | os.O_NOFOLLOW])
def test_a_walk_in_a_root_arrives_where_the_kernel_does(rich: int, flags: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in (
        b".", b"/", b"..", b"a", b"/a/b/f", b"a/b/f/", b"a/b/f/.", b"a//b/./f", b"up", b"up/a/b", b"a/b/above/a",
        b"abs", b"abs/", b"abs/f", b"file", b"file/", b"loop", b"loop/x", b"gone", b"gone/x", b"out", b"chain/b/f",
        b"a/b/../../a", b"nosuch", b"nosuch/..", b"a/b/f/..",
    ):  # fmt: skip
        assert opened_as(rich, path, flags, kernel=False) == opened_as(rich, path, flags, kernel=True), path
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.usefixtures("root_only")
def test_a_link_upwards_under_a_mount_that_is_gone_comes_to_an_end(tmp_path: Path) -> None:
    """As when a container ends whose tree is being looked at: the kernel says EAGAIN, however often it is asked."""
    from veneer.drivers.mount import Mount, mounted

    for name in ("lower/a/b", "upper", "work", "target"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lower/a/up").symlink_to("../../../..")
    mount = Mount.overlay([tmp_path / "lower"], upper=tmp_path / "upper", work=tmp_path / "work")
    with mounted([mount], tmp_path / "target", lazy=True):
        root = os.open(tmp_path / "target", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = syscalls.openat2(root, b"a/up/a/b", os.O_PATH, syscalls.RESOLVE_IN_ROOT)
        assert os.fstat(fd).st_ino == os.stat("a/b", dir_fd=root).st_ino
        os.close(fd)
    finally:
        os.close(root)
