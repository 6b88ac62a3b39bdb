"""The union where something is odd: what users ask for that nobody needs, what runs out, what changes meanwhile, and
what a server that was killed has left."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shlex
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from tests.drivers.fuse.conftest import Mounted, drivers
from veneer.drivers import mount_syscalls as sys_mount
from veneer.drivers import treecopy
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.mounters import FUSE
from veneer.drivers.driver import new_snapshot_id
from veneer.drivers.fuse import start, wire
from veneer.drivers.fuse.changes import WritableUnion
from veneer.drivers.fuse.server import Server
from veneer.testing.driver_bench import Bench, append, usable, write

OWN = ("trusted.overlay.opaque", "trusted.overlay.origin", "user.overlay.opaque", "user.fuseoverlayfs.origin")


def fill(root: Path) -> None:
    for name in ("f", "many/a", "many/z", "sub/in"):
        write(root, name, name)
    (root / "empty").mkdir()
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    for number in range(1, 5):
        write(root, f"{number}", "linked")
        (root / f"d{number}").mkdir()
        os.link(root / f"{number}", root / f"d{number}/other")


# -- what users ask for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whence", [os.SEEK_DATA, os.SEEK_HOLE])
def test_data_before_the_beginning_of_a_file_is_refused_and_the_server_goes_on(mounted: Mounted, whence: int) -> None:
    with (mounted.root / "f").open("rb") as file:
        for offset in (-1, -(1 << 63), (1 << 63) - 1):
            with pytest.raises(OSError, match="No such device or address"):
                os.lseek(file.fileno(), offset, whence)
    assert (mounted.root / "f").read_text() == "f"


def test_what_has_no_name_keeps_its_attributes_and_can_be_given_more(mounted: Mounted) -> None:
    root = mounted.root
    (root / "new").touch()
    opened = [os.open(root, os.O_TMPFILE | os.O_RDWR), *(os.open(root / name, os.O_RDWR) for name in ("f", "new"))]
    opened.append(os.open(root / "empty", os.O_RDONLY))
    for name in ("f", "new"):
        (root / name).unlink()
    (root / "empty").rmdir()
    try:
        for fd in opened:
            assert os.listxattr(fd) == []
            os.setxattr(fd, "user.note", b"1")
            os.fchmod(fd, 0o751)
            os.fchown(fd, 7, 8)
            os.utime(fd, ns=(0, 10**18))
            assert (os.listxattr(fd), os.getxattr(fd, "user.note")) == (["user.note"], b"1")
            found = os.fstat(fd)
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns) == (0o751, 7, 8, 10**18)
            os.removexattr(fd, "user.note")
            assert os.listxattr(fd) == []
    finally:
        for fd in opened:
            os.close(fd)


def test_a_device_without_a_name_is_changed_and_not_opened(mounted: Mounted) -> None:
    for name in ("fifo", "null"):
        fd = os.open(mounted.root / name, os.O_PATH | os.O_NOFOLLOW)
        try:
            (mounted.root / name).unlink()
            os.chown(f"/proc/self/fd/{fd}", 7, 7)
            assert os.fstat(fd).st_uid == 7
        finally:
            os.close(fd)


def test_attributes_of_overlay_are_nobody_s(mounted: Mounted) -> None:
    for path in (mounted.root / "sub", mounted.root / "f"):
        for name in OWN:
            with pytest.raises(OSError, match="not supported"):
                os.setxattr(path, name, b"y")
            with pytest.raises(OSError, match="No data"):
                os.getxattr(path, name)
            with pytest.raises(OSError, match="No data"):
                os.removexattr(path, name)


def test_a_file_with_several_names_comes_up_whatever_its_names(mounted: Mounted) -> None:
    """Those of scratch directories, too."""
    for number in range(1, 5):
        append(mounted.root, f"{number}", "!")
        assert (mounted.root / f"d{number}/other").read_text() == "linked!"


# -- what runs out -----------------------------------------------------------------------------------------------


@pytest.fixture
def few_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Call it with how many files servers that are started from now on, and this process, may have open at once."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def allow(count: int) -> None:
        interpreter = tmp_path / "python"
        interpreter.write_text(f'#!/bin/sh\nulimit -n {count}\nexec {shlex.quote(sys.executable)} "$@"\n')
        interpreter.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(interpreter))
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))

    yield allow
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_more_directories_and_files_than_descriptors(tmp_path: Path, few_descriptors: Callable[[int], None]) -> None:
    bench = Bench(usable(Aufs(tmp_path / "aufs", FUSE)), tmp_path)

    def many(root: Path) -> None:
        for number in range(150):
            write(root, f"{number}/f", f"{number}")

    base = bench.layer(many)
    few_descriptors(128)
    with bench.writing(base) as (_, root):
        assert [(root / f"{number}/f").read_text() for number in range(150)] == [f"{number}" for number in range(150)]
        with contextlib.ExitStack() as held:
            nameless = [held.enter_context(_nameless(root / "0/new")) for _ in range(64)]
            for number in range(150):
                append(root, f"{number}/f", "!")
            for number, file in enumerate(nameless):
                file.write(f"{number}")
                file.flush()
                file.seek(0)
                assert file.read() == f"{number}"
        assert (root / "0/f").read_text() == "0!"


def _nameless(path: Path) -> TextIO:
    """A new file that the server has to keep open, as it has no name any more."""
    file = path.open("x+")
    path.unlink()
    return file


def test_500_layers_are_served_with_1024_descriptors(tmp_path: Path, few_descriptors: Callable[[int], None]) -> None:
    bench = Bench(usable(drivers(tmp_path)["fuse-overlayfs"]), tmp_path)
    stack = [new_snapshot_id() for _ in range(500)]
    for number, snapshot in enumerate(stack):
        (bench.driver.create(snapshot, []) / f"{number}").touch()
    for snapshot in stack[::2]:
        (bench.driver.directory(snapshot) / "d/e").mkdir(parents=True)
        (bench.driver.directory(snapshot) / f"d/e/{snapshot}").touch()
    few_descriptors(1024)
    with bench.view(tuple(stack)) as root:
        assert (len(os.listdir(root)), len(os.listdir(root / "d/e"))) == (501, 250)


def test_a_full_disk_is_told_and_the_branch_and_its_room_are_as_they_were(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    sys_mount.mount(b"tmpfs", os.fsencode(small), b"tmpfs", 0, b"size=2m")
    try:
        bench = Bench(usable(Aufs(small / "aufs", FUSE)), tmp_path)
        base = bench.layer(lambda root: (root / "big").write_bytes(bytes(range(256)) * 5000))
        with bench.writing(base) as (stack, root):
            room = os.statvfs(root).f_bfree
            with pytest.raises(OSError, match="No space"), (root / "big").open("ab") as file:
                file.write(b"x")
            assert (root / "big").stat().st_size == 1_280_000
            assert os.statvfs(root).f_bfree == room
        assert bench.diff(stack)[1].entries == 0
    finally:
        sys_mount.umount2(os.fsencode(small), 0)


def test_a_file_that_finds_room_for_some_of_its_names_comes_up_later_by_all(tmp_path: Path) -> None:
    """What was linked already would be in the way for ever, and outlive the name it is a copy of."""
    sys_mount.mount(b"tmpfs", os.fsencode(tmp_path), b"tmpfs", 0, b"size=2m,nr_inodes=32")
    try:
        for name in ("upper", "work", "lower"):
            (tmp_path / name).mkdir()
        (tmp_path / "lower/a").write_text("linked")
        for name in ("b", "c"):
            os.link(tmp_path / "lower/a", tmp_path / "lower" / name)
        filling: list[Path] = []
        while os.statvfs(tmp_path).f_ffree > 2:  # a copy and one name more: here links count as files
            filling.append(tmp_path / f"{len(filling)}")
            filling[-1].touch()
        with contextlib.ExitStack() as opened:
            upper, work, lower = (
                opened.enter_context(treecopy.directory(tmp_path / name)) for name in ("upper", "work", "lower")
            )
            union = WritableUnion([upper, lower], work, descriptors=16)
            node, _ = union.child(union.root, b"a")
            with pytest.raises(OSError, match="No space"):
                union.copy_up(node)
            assert os.listdir(upper) == os.listdir(work) == []
            for path in filling:
                path.unlink()
            union.copy_up(node)
        assert (tmp_path / "upper/a").stat().st_nlink == 3
        assert os.listdir(tmp_path / "work") == []
    finally:
        sys_mount.umount2(os.fsencode(tmp_path), 0)


def test_a_copy_that_is_in_its_place_is_known_though_there_is_no_room_for_its_directory_s_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would come back when it is deleted, as nobody deleted it from the upper branch."""
    real = os.utime

    def no_room(target: int, *words: Any, **how: Any) -> None:
        if stat.S_ISDIR(os.fstat(target).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(target, *words, **how)

    for name in ("upper", "work", "lower"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/a").touch()
    os.utime(tmp_path / "upper", ns=(0, 0))
    with contextlib.ExitStack() as opened:
        upper, work, lower = (
            opened.enter_context(treecopy.directory(tmp_path / name)) for name in ("upper", "work", "lower")
        )
        union = WritableUnion([upper, lower], work, descriptors=16)
        with monkeypatch.context() as patch:
            patch.setattr(os, "utime", no_room)
            with pytest.raises(OSError, match="No space"):
                union.copy_up(union.child(union.root, b"a")[0])
        assert os.listdir(upper) == ["a"]
        union.remove(union.root, b"a", directory=False)
        assert sorted(os.listdir(upper)) == [".wh..wh.aufs", ".wh.a"]


@pytest.mark.parametrize("mode", [stat.S_IFREG, stat.S_IFIFO])
def test_what_cannot_be_given_to_who_makes_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    """Its name would be in the way of the next try, and in the layer."""

    def over_quota(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "")

    (tmp_path / "upper").mkdir()
    with (
        treecopy.directory(tmp_path / "upper") as upper,
        (tmp_path / "device").open("x+b") as nobody,
        contextlib.ExitStack() as undone,
    ):
        undone.callback(os.umask, os.umask(0))  # a server has a process of its own, and that for itself
        server = Server(nobody.fileno(), WritableUnion([upper], -1, descriptors=16))
        request = memoryview(struct.pack("=III4x", mode | 0o644, 0, 0) + b"new\0")
        with monkeypatch.context() as patch:
            for call in ("chown", "fchown"):
                patch.setattr(os, call, over_quota)
            with pytest.raises(OSError, match=f"Errno {errno.EDQUOT}"):
                server.handlers[wire.MKNOD](server.union.root, request, (7, 7))
        assert os.listdir(upper) == []
        server.handlers[wire.MKNOD](server.union.root, request, (7, 7))
        assert (tmp_path / "upper/new").stat().st_uid == 7


@pytest.mark.parametrize("name", ["aufs", "fuse-overlayfs"])
def test_a_device_that_cannot_be_opened_is_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(start, "DEVICE", str(tmp_path / "fuse"))
    support = drivers(tmp_path)[name].probe()
    assert not support.usable
    assert f": cannot open {tmp_path}/fuse: no such file or directory (" in support.reason


# -- what changes meanwhile, and what was left --------------------------------------------------------------------


def test_a_view_of_what_is_written_to_goes_on_where_names_go_and_become_other_things(mounted: Mounted) -> None:
    root = mounted.root
    for name in ("many/a", "many/b", "many/c", "e"):
        write(root, name, name[-1])
    with mounted.bench.mounted(mounted.stack[0], mounted.stack[1:], readonly=True) as view:
        assert not (view / "many/listed now").exists()
        (root / "many/a").unlink()
        (root / "many/b").unlink()
        (root / "many/b").mkdir()
        assert sorted(os.listdir(view / "many")) == ["c", "z"]
        assert not (view / "many/b/in").exists()
        assert (view / "e").stat().st_size == 1
        (root / "e").unlink()
        os.mknod(root / "e", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        with pytest.raises(OSError, match="Stale"):
            (view / "e").read_bytes()
        with (view / "many/c").open() as file:
            assert (file.read(), stat.S_ISREG(os.fstat(file.fileno()).st_mode), os.listxattr(file.fileno())) == (
                "c", True, [],
            )  # fmt: skip


def test_what_was_being_made_when_a_server_was_killed_is_in_nobody_s_way(layers: tuple[Bench, tuple[str, ...]]) -> None:
    bench, below = layers
    snapshot = new_snapshot_id()
    own = bench.driver.create(snapshot, below)  # type: ignore[arg-type]
    acl = struct.pack("<IHHIHHIHHI", 2, 1, 7, 0xFFFFFFFF, 4, 5, 0xFFFFFFFF, 0x20, 0, 0xFFFFFFFF)
    os.setxattr(own, "system.posix_acl_default", acl)
    for number in range(1, 9):
        write(own, f".wh..wh.{number}/in", "")
    with bench.mounted(snapshot, below) as root:  # type: ignore[arg-type]
        (root / "empty").rmdir()
        (root / "empty").mkdir()
        assert stat.S_IMODE((root / "empty").stat().st_mode) == 0o750
        assert not [name for name in os.listdir(root) if name.startswith(".wh.")]


def test_what_overlay_says_of_a_layer_is_not_said_of_what_is_copied_from_it(
    layers: tuple[Bench, tuple[str, ...]],
) -> None:
    """An opaque directory that came up would hide what its own layer has."""
    bench, below = layers
    marked = bench.layer(lambda root: write(root, "sub/new", "new"), below)  # type: ignore[arg-type]
    own = bench.driver.directory(marked[0])
    for path in (own / "sub", own / "sub/new"):
        for name in OWN:
            os.setxattr(path, name, b"y")
    with bench.writing(marked) as (stack, root):
        shown = sorted(os.listdir(root / "sub"))
        append(root, "sub/new", "+")
        above = bench.driver.directory(stack[0])
        assert os.listxattr(above / "sub") == os.listxattr(above / "sub/new") == []
    assert (
        sorted(os.path.basename(os.fsdecode(path)) for path in bench.facts(stack) if path.startswith(b"sub/")) == shown
    )


def test_a_file_whose_copy_was_cut_off_when_it_had_some_of_its_names_shows_the_same_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emptied, too: that is done to the copy."""
    real = os.link
    made: list[Any] = []

    def killed(*words: Any, **how: Any) -> None:
        if made:
            raise KeyboardInterrupt
        made.append(words[1])
        real(*words, **how)

    for name in ("upper", "work", "lower"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower/a").write_text("linked")
    for name in ("b", "c"):
        os.link(tmp_path / "lower/a", tmp_path / "lower" / name)
    with contextlib.ExitStack() as opened:
        upper, work, lower = (
            opened.enter_context(treecopy.directory(tmp_path / name)) for name in ("upper", "work", "lower")
        )
        union = WritableUnion([upper, lower], work, descriptors=16)
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", killed)
            with pytest.raises(KeyboardInterrupt):
                union.copy_up(union.child(union.root, b"a")[0], content=False)
        assert [(tmp_path / "upper" / os.fsdecode(name)).read_text() for name in made] == ["linked"]
