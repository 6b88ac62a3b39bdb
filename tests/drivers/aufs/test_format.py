"""What lies on the disk: aufs's own format, whatever mounts it."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.drivers import treecopy
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.live import LiveView, Places
from veneer.drivers.aufs.mounters import FUSE, KERNEL, SHIM
from veneer.drivers.driver import new_snapshot_id
from veneer.drivers.mount import Mount, MountBusy, TooManyLayers
from veneer.drivers.mounters import NoSuchMounter
from veneer.testing.driver_bench import Bench, append, usable, write


@pytest.fixture(params=[SHIM, FUSE])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(usable(Aufs(tmp_path / "aufs", request.param)), tmp_path)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_deletion_is_a_file_and_a_directory_made_again_has_one_in_it(bench: Bench) -> None:
    def old(root: Path) -> None:
        write(root, "d/gone", "")
        write(root, "again/old", "")

    def change(root: Path) -> None:
        (root / "d/gone").unlink()
        (root / "again/old").unlink()
        (root / "again").rmdir()
        write(root, "again/new", "")

    stack = bench.layers(old, change)
    branch = bench.driver.directory(stack[0])
    assert [name for name in names(branch) if name != ".wh..wh.aufs"] == [
        "again", "again/.wh..wh..opq", "again/new", "d", "d/.wh.gone",
    ]  # fmt: skip
    marker = (branch / "d/.wh.gone").stat()
    assert stat.S_IMODE(marker.st_mode) == 0o444
    assert marker.st_ino == (branch / ".wh..wh.aufs").stat().st_ino


def test_a_layer_in_the_middle_keeps_no_trace_of_what_mounted_it(bench: Bench) -> None:
    stack = bench.layers(lambda root: write(root, "d/f", "x"), lambda root: append(root, "d/f", "y"))
    branch = bench.driver.directory(stack[0])
    for path in (branch, branch / "d", branch / "d/f"):
        assert os.listxattr(path) == []


def test_folders_are_dockers_with_the_parents_written_down(bench: Bench, tmp_path: Path) -> None:
    first = bench.layer(lambda root: write(root, "a", ""))
    second = bench.layer(lambda root: write(root, "b", ""), first)
    third = bench.layer(lambda root: write(root, "c", ""), second)
    layers = tmp_path / "aufs" / "layers"
    assert (layers / third[0]).read_text() == f"{second[0]}\n{first[0]}\n"
    assert (layers / first[0]).read_text() == ""
    assert (tmp_path / "aufs" / "mnt" / third[0]).is_dir()
    assert not list((tmp_path / "aufs" / "state").iterdir())


def test_layers_written_by_one_mounter_are_read_by_the_other(bench: Bench, tmp_path: Path) -> None:
    def change(root: Path) -> None:
        (root / "d/gone").unlink()
        append(root, "f", "!")

    def base(root: Path) -> None:
        write(root, "d/gone", "")
        write(root, "f", "f")

    stack = bench.layers(base, change, lambda root: write(root, "d/gone", "again"))
    for mounter in (SHIM, FUSE):
        other = Bench(Aufs(tmp_path / "aufs", mounter), tmp_path)
        for depth in range(3):
            assert other.facts(stack[depth:]) == bench.facts(stack[depth:])
        assert other.diff(stack) == bench.diff(stack)


def test_a_name_too_long_for_a_whiteout_is_deleted_by_all_that_is_beside_it(bench: Bench) -> None:
    long = "x" * 253

    def base(root: Path) -> None:
        for path in (f"d/{long}", "d/beside", "d/sub/deep", "elsewhere"):
            write(root, path, path[-4:])

    stack = bench.layers(base, lambda root: (root / "d" / long).unlink())
    assert sorted(bench.facts(stack)) == [b"", b"d", b"d/beside", b"d/sub", b"d/sub/deep", b"elsewhere"]
    assert (bench.driver.directory(stack[0]) / "d/.wh..wh..opq").exists()
    assert bench.diff(stack)[1].entries == 2


def test_aufs_own_folders_are_left_alone_and_never_shown(bench: Bench) -> None:
    base = bench.layer(lambda root: write(root, "f", ""))
    snapshot = new_snapshot_id()
    branch = bench.driver.create(snapshot, base)
    write(branch, ".wh..wh.plnk/12.3", "pseudo-link")
    (branch / ".wh..wh.orph").mkdir()
    with bench.mounted(snapshot, base) as root:
        assert os.listdir(root) == ["f"]
        write(root, "g", "")
    assert names(branch) == [".wh..wh.orph", ".wh..wh.plnk", ".wh..wh.plnk/12.3", "g"]
    assert sorted(bench.facts((snapshot, *base))) == [b"", b"f", b"g"]
    assert bench.diff((snapshot, *base))[1].entries == 1


def test_a_branch_opaque_at_its_root_hides_all_below(bench: Bench) -> None:
    base = bench.layer(lambda root: write(root, "f", ""))
    snapshot = new_snapshot_id()
    branch = bench.driver.create(snapshot, base)
    write(branch, ".wh..wh..opq", "")
    write(branch, "own", "")
    assert sorted(bench.facts((snapshot, *base))) == [b"", b"own"]
    with bench.mounted(snapshot, base) as root:
        assert os.listdir(root) == ["own"]


@pytest.mark.parametrize("name", [".wh.f", ".wh..wh..opq", ".wh..wh.aufs"])
def test_a_layer_cannot_hold_a_users_name_that_aufs_would_read(bench: Bench, name: str) -> None:
    base = bench.layer(lambda root: write(root, "f", ""))
    with bench.writing(base) as (stack, root):
        try:
            (root / name).write_text("mine")
        except PermissionError:
            return
    with bench.mounted(stack[0], base) as root:
        assert (root / name).read_text() == "mine"
        assert (root / "f").exists()
    with pytest.raises(Exception, match=r"begins with \.wh\."):
        bench.diff(stack)


def test_a_snapshot_that_is_mounted_is_packed_as_it_is_and_not_mounted_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers that run are committed, too."""
    monkeypatch.setattr("veneer.drivers.aufs.live._PATIENCE", 0.05)

    def old(root: Path) -> None:
        for name in ("f", "gone", "d/old"):
            write(root, name, name)

    base = bench.layer(old)
    with bench.writing(base) as (stack, root):
        write(root, "g", "")
        (root / "gone").unlink()
        (root / "d/old").unlink()
        (root / "d").rmdir()
        (root / "d").mkdir()
        meanwhile = bench.diff(stack)
        with bench.mounted(stack[0], base, readonly=True) as looked:
            assert names(looked) == ["d", "f", "g"]
        with pytest.raises(MountBusy, match="mounted for writing"), bench.mounted(stack[0], base):
            pass
        assert (root / "g").exists()
    after = bench.diff(stack)
    assert after[1].entries == 4
    assert (meanwhile[0], meanwhile[1].diff_id) == (after[0], after[1].diff_id)


def test_too_many_layers_are_refused_in_words(bench: Bench) -> None:
    with pytest.raises(TooManyLayers, match="160"):
        bench.driver.mounts(None, [new_snapshot_id() for _ in range(161)])


def test_a_mounter_there_is_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NoSuchMounter) as caught:
        Aufs(tmp_path, "unionfs").probe()
    assert all(name in caught.value.hint for name in (KERNEL, SHIM, FUSE))


def test_a_forced_mounter_that_cannot_work_says_why(tmp_path: Path) -> None:
    with open("/proc/filesystems", encoding="ascii") as table:
        if "aufs" in table.read():
            pytest.skip("this kernel has aufs")
    support = Aufs(tmp_path, KERNEL).probe()
    assert (support.usable, support.reason) == (
        False, "kernel-aufs: this kernel has no aufs (aufs_mounter, a setting, allows no other)",
    )  # fmt: skip


def test_a_branch_stays_as_it_is_while_one_of_two_views_of_it_is_left(tmp_path: Path) -> None:
    places, snapshot = Places(str(tmp_path), "user.overlay.", ()), "a" * 32
    for folder in (places.branch(snapshot), places.state(snapshot)):
        folder.mkdir(parents=True)
    (places.state(snapshot) / "open").touch()
    view = LiveView(places, snapshot)
    for _ in range(2):
        with view.making(Mount.bind(tmp_path)):
            pass
    with treecopy.directory(places.branch(snapshot)) as branch:
        view.ended()
        with pytest.raises(BlockingIOError):
            fcntl.flock(branch, fcntl.LOCK_EX | fcntl.LOCK_NB)
        view.ended()
        fcntl.flock(branch, fcntl.LOCK_EX | fcntl.LOCK_NB)
