"""What is copied up for fuse-overlayfs before it starts, and put right when it has ended: by way of the driver."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.testing.driver_bench import Bench, append, usable, write


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(usable(FuseOverlayfs(tmp_path / "driver", "program")), tmp_path)


def _odd(root: Path) -> None:
    (root / "d").mkdir()
    os.mkfifo(root / "d/fifo")
    (root / "d/setgid").mkdir()
    (root / "d/setgid").chmod(0o2755)
    write(root, "d/tool", "x")
    os.chown(root / "d/tool", 7, 7)
    (root / "d/tool").chmod(0o4755)
    write(root, "d/" + "x" * 255, "")
    os.utime(root / "d", ns=(0, 10**18))


def _odd_and_a_socket(root: Path) -> None:
    _odd(root)
    with socket.socket(socket.AF_UNIX) as one:
        folder = os.open(root / "d", os.O_PATH)
        one.bind(f"/proc/self/fd/{folder}/socket")
        os.close(folder)


def test_what_the_program_makes_files_of_or_refuses_can_be_changed_moved_and_deleted(bench: Bench) -> None:
    def change(root: Path) -> None:
        (root / "d/fifo").rename(root / "fifo")
        (root / "fifo").chmod(0o600)
        (root / "d/socket").unlink()
        (root / "d/setgid/new").touch()
        os.setxattr(root / "d/tool", "user.note", b"1")
        (root / ("d/" + "x" * 255)).unlink()

    base = bench.layer(_odd_and_a_socket)
    seen = bench.facts(bench.layer(change, base))
    assert {path: seen[path][0] for path in (b"fifo", b"d/setgid", b"d/tool")} == {
        b"fifo": "prw-------", b"d/setgid": "drwxr-sr-x", b"d/tool": "-rwsr-xr-x",
    }  # fmt: skip
    assert sorted(seen) == [b"", b"d", b"d/setgid", b"d/setgid/new", b"d/tool", b"fifo"]


def test_what_was_copied_up_and_not_touched_is_no_change(bench: Bench) -> None:
    base = bench.layer(_odd)
    before = bench.facts(base)
    top = bench.layer(lambda root: None, base)
    assert bench.diff(top)[1].entries == 0
    seen = bench.facts(top)
    assert {**seen, b"": ()} == {**before, b"": ()}
    assert seen[b"d"][5] == 10**18


def test_what_a_layer_above_deleted_hid_or_replaced_is_not_copied_up(bench: Bench) -> None:
    def below(root: Path) -> None:
        for name in ("deleted", "replaced", "gone/in", "hidden/in"):
            (root / name).parent.mkdir(exist_ok=True)
            os.mkfifo(root / name)

    def above(root: Path) -> None:
        for name in ("deleted", "replaced", "gone/in", "hidden/in"):
            (root / name).unlink()
        write(root, "replaced", "file")
        for name in ("gone", "hidden"):
            (root / name).rmdir()
        (root / "hidden").mkdir()

    stack = bench.layers(below, above, lambda root: None)
    assert sorted(bench.facts(stack)) == [b"", b"hidden", b"replaced"]
    assert bench.facts(stack)[b"replaced"][6] == b"file"


@pytest.mark.parametrize("written", ["a", "b", "d/c"])
def test_what_is_written_to_one_name_of_a_file_is_in_all_of_them_and_in_the_layer(bench: Bench, written: str) -> None:
    def names(root: Path) -> None:
        write(root, "a", "old")
        (root / "b").hardlink_to(root / "a")
        (root / "d").mkdir()
        (root / "d/c").hardlink_to(root / "a")

    base = bench.layer(names)
    top = bench.layer(lambda root: append(root, written, "+new"), base)
    seen = bench.facts(top)
    assert {seen[name][6] for name in (b"a", b"b", b"d/c")} == {b"old+new"}
    assert seen[b"a"][8] == (b"a", b"b", b"d/c")
    assert bench.facts(base)[b"a"][6] == b"old"


def test_one_that_is_packed_in_between_loses_nothing_that_was_written(bench: Bench) -> None:
    """As a running container's layer is by commit."""

    def names(root: Path) -> None:
        write(root, "a", "old")
        (root / "b").hardlink_to(root / "a")

    base = bench.layer(names)
    with bench.writing(base) as (top, root):
        append(root, "a", "+new")
        packed = bench.facts(bench.apply(bench.diff(top)[0], base))
        (root / "b").rename(root / "c")
    assert {packed[name][6] for name in (b"a", b"b")} == {b"old+new"}
    seen = bench.facts(top)
    assert {seen[name][6] for name in (b"a", b"c")} == {b"old+new"}


def test_a_name_of_a_file_that_was_deleted_does_not_come_back(bench: Bench) -> None:
    def names(root: Path) -> None:
        write(root, "a", "old")
        (root / "b").hardlink_to(root / "a")

    def change(root: Path) -> None:
        (root / "a").unlink()
        append(root, "b", "+new")

    seen = bench.facts(bench.layer(change, bench.layer(names)))
    assert sorted(seen) == [b"", b"b"]
    assert seen[b"b"][6] == b"old+new"


def test_layers_from_before_there_were_notes_are_looked_through_when_they_are_stood_upon(bench: Bench) -> None:
    base = bench.layer(lambda root: os.mkfifo(root / "fifo"))
    (bench.driver.directory(base[0]).parent / "work/copied-up-first").unlink()
    with bench.writing(base) as (_, root):
        (root / "fifo").chmod(0o600)
        assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


def test_nothing_of_the_kernel_s_overlay_is_said_of_it(bench: Bench) -> None:
    assert isinstance(bench.driver, FuseOverlayfs)
    assert [name for name, _ in bench.driver.status] == [
        "Backing Filesystem", "Native Overlay Diff", "Backing Mount",
    ]  # fmt: skip
