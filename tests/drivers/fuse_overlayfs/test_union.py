"""overlay2's layers, served by veneer's own union: what lies on the disk, and who may write there when."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.programs import process_with
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.config import Config
from veneer.drivers.driver import load, new_snapshot_id
from veneer.drivers.fuse_overlayfs import union
from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.drivers.fuse_overlayfs.mounters import PROGRAM, VENEER
from veneer.drivers.mount import LayerMissing, MountBusy, mounted
from veneer.drivers.mounters import NoSuchMounter
from veneer.drivers.overlay2 import Overlay2
from veneer.drivers.vfs import Vfs
from veneer.testing.driver_bench import Bench, Stack, append, facts, usable, write

TIME = 1_500_000_000 * 10**9


def by(mounter: str, tmp_path: Path) -> Bench:
    """Each mounter is given the same layers."""
    return Bench(usable(FuseOverlayfs(tmp_path / "driver", mounter)), tmp_path)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return by(VENEER, tmp_path)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def folder(bench: Bench, stack: Stack) -> Path:
    """The top layer's, with diff and work in it."""
    return bench.driver.directory(stack[0]).parent


def base(root: Path) -> None:
    for path in ("d/gone", "d/kept", "again/old", "f", "other"):
        write(root, path, path)
    settled(root)


def settled(root: Path) -> None:
    """All times are the same: what is compared does not depend on when it was made."""
    for path in [*root.rglob("*"), root]:
        if path.lstat().st_mtime_ns != TIME:
            os.utime(path, ns=(TIME, TIME), follow_symlinks=False)


def change(root: Path) -> None:
    (root / "d/gone").unlink()
    (root / "again/old").unlink()
    (root / "again").rmdir()
    write(root, "again/new", "")
    (root / "other").unlink()
    append(root, "f", "!")
    settled(root)


CHANGED = ["again", "again/new", "d", "d/kept", "f"]


# -- spellings ---------------------------------------------------------------------------------------------------


def test_layers_that_the_kernel_s_overlay_wrote_look_as_it_shows_them(bench: Bench, tmp_path: Path) -> None:
    kernel = Bench(usable(Overlay2(tmp_path / "driver")), tmp_path)
    stack = kernel.layers(base, change, lambda root: write(root, "again/newer", ""))
    for depth in range(3):
        assert bench.facts(stack[depth:]) == kernel.facts(stack[depth:])
    with bench.mounted(stack[0], stack[1:]) as root:
        append(root, "again/newer", "+")
        (root / "again/new").unlink()
    bench.driver.commit(stack[0])
    assert kernel.facts(stack) == bench.facts(stack)


def test_layers_by_hand_in_either_spelling_the_first_one_too(bench: Bench) -> None:
    """Docker's driver of that name unpacks layers in aufs's spelling."""
    stack: Stack = ()
    for number in range(4):
        stack = (new_snapshot_id(), *stack)
        own = bench.driver.create(stack[0], stack[1:])
        write(own, f"opaque/{number}", "")
        write(own, f"merged/{number}", "")
        os.mknod(own / f"gone{number}", stat.S_IFCHR, 0)
        (own / f".wh.away{number}").touch()
        for name in ("gone", "away"):
            write(own, f"{name}{number + 1}", "")
        if number == 1:
            os.setxattr(own / "opaque", "trusted.overlay.opaque", b"y")
        if number == 2:
            (own / "opaque/.wh..wh..opq").touch()
        os.setxattr(own / "merged", "trusted.overlay.opaque", b"x")
    shown = ["away4", "gone4", "merged", *(f"merged/{number}" for number in range(4)), "opaque", "opaque/2", "opaque/3"]
    with bench.view(stack) as root:
        assert names(root) == shown
    with bench.view(stack[2:]) as root:
        assert names(root) == ["away2", "gone2", "merged", "merged/0", "merged/1", "opaque", "opaque/1"]
    with bench.view(stack[3:]) as root:
        assert names(root) == ["away1", "gone1", "merged", "merged/0", "opaque", "opaque/0"]


def test_a_plain_user_s_opaque_directories_are_his_attribute_s(tmp_path: Path, bench: Bench) -> None:
    for layer, name in (("below", "old"), ("above", "new")):
        write(tmp_path / layer, f"d/{name}", "")
    os.setxattr(tmp_path / "above/d", "user.overlay.opaque", b"y")
    (tmp_path / "target").mkdir()
    for style, shown in ((WhiteoutStyle.OVERLAY_USER, ["new"]), (WhiteoutStyle.OVERLAY, ["new", "old"])):
        stacked = union.stack([str(tmp_path / "above"), str(tmp_path / "below")], style)
        with mounted([stacked], tmp_path / "target") as root:
            assert sorted(os.listdir(root / "d")) == shown


@pytest.mark.parametrize("mounter", [VENEER, PROGRAM])
def test_a_commit_leaves_overlay_s_spelling_and_nothing_of_mounts_beside_it(tmp_path: Path, mounter: str) -> None:
    bench = by(mounter, tmp_path)
    lower = bench.layer(base)
    with bench.writing(lower) as (stack, root):
        change(root)
    own = bench.driver.directory(stack[0])
    if mounter == VENEER:
        assert {"again/.wh..wh..opq", "d/.wh.gone", ".wh.other"} < {*names(own)}
    bench.driver.commit(stack[0])
    # The program hides a `.wh..opq` where it has made a directory opaque.
    here = [name for name in names(own) if name != "again/.opq"]
    assert here == ["again", "again/new", "d", "d/gone", "f", "other"]
    assert [(own / name).lstat().st_rdev for name in ("d/gone", "other")] == [0, 0]
    assert all((own / name).is_char_device() for name in ("d/gone", "other"))
    assert os.getxattr(own / "again", "trusted.overlay.opaque") == b"y"
    assert {path.lstat().st_mtime_ns for path in (own, own / "d", own / "again", own / "f")} == {TIME}
    assert os.listdir(own.parent / "work") == ([] if mounter == VENEER else ["copied-up-first"])


# -- who writes --------------------------------------------------------------------------------------------------


def _first(root: Path) -> None:
    change(root)
    write(root, "mine/f", "1")
    (root / "set").mkdir(mode=0o755)
    (root / "set").chmod(0o2775)
    settled(root)


def _second(root: Path) -> None:
    write(root, "d/gone", "again")
    (root / "again/new").unlink()
    (root / "again").rmdir()
    (root / "mine").rename(root / "moved")
    (root / "d/kept").unlink()
    write(root, "set/in", "")
    settled(root)


def _third(root: Path) -> None:
    write(root, "again/newest", "")
    (root / "d/gone").unlink()
    append(root, "moved/f", "3")
    write(root, "other/is", "a directory")
    settled(root)


@pytest.mark.parametrize("order", [(PROGRAM, VENEER, PROGRAM), (VENEER, PROGRAM, VENEER)])
def test_mounters_may_change_on_one_snapshot_and_the_layer_is_that_of_full_copies(
    tmp_path: Path, order: tuple[str, ...]
) -> None:
    plain = Bench(Vfs(tmp_path / "vfs"), tmp_path)
    lower, copied = by(VENEER, tmp_path).layer(base), plain.layer(base)
    stack, copy = (new_snapshot_id(), *lower), (new_snapshot_id(), *copied)
    by(order[0], tmp_path).driver.create(stack[0], lower)
    plain.driver.create(copy[0], copied)
    for mounter, work in zip(order, (_first, _second, _third), strict=True):
        bench = by(mounter, tmp_path)
        for here, each in ((bench, stack), (plain, copy)):
            with here.mounted(each[0], each[1:]) as root:
                work(root)
        assert bench.facts(stack) == plain.facts(copy)
        for packer in (VENEER, PROGRAM):
            assert by(packer, tmp_path).diff(stack)[0] == plain.diff(copy)[0], f"after {mounter}, packed by {packer}"
    bench.driver.commit(stack[0])
    for mounter in (VENEER, PROGRAM):
        assert by(mounter, tmp_path).facts(stack) == plain.facts(copy)
        assert by(mounter, tmp_path).diff(stack)[0] == plain.diff(copy)[0]


@pytest.mark.parametrize("second", [VENEER, PROGRAM])
@pytest.mark.parametrize("first", [VENEER, PROGRAM])
def test_what_is_mounted_for_writing_is_not_so_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str
) -> None:
    bench, other = by(first, tmp_path), by(second, tmp_path)
    lower = bench.layer(base)
    with bench.writing(lower) as (stack, root):
        write(root, "g", "")
        with monkeypatch.context() as patch:
            patch.setattr(union, "_PATIENCE", 0.05)
            with pytest.raises(MountBusy, match="mounted for writing"), other.mounted(stack[0], lower):
                pass
            with pytest.raises(MountBusy, match="mounted for writing"):
                other.driver.commit(stack[0])
        write(root, "h", "")
    assert {b"g", b"h"} < {*other.facts(stack)}


def test_what_is_written_to_is_looked_at_and_packed_as_it_is(bench: Bench) -> None:
    lower = bench.layer(base)
    with bench.writing(lower) as (stack, root):
        change(root)
        with bench.mounted(stack[0], lower, readonly=True) as view:
            assert names(view) == CHANGED
            assert facts(view) == facts(root)
        meanwhile = bench.diff(stack)
        write(root, "later", "")
        (root / "later").unlink()
        settled(root)
    assert bench.diff(stack)[0] == meanwhile[0]
    bench.driver.commit(stack[0])
    assert bench.diff(stack)[0] == meanwhile[0]


# -- what goes wrong ---------------------------------------------------------------------------------------------


def test_a_server_that_is_killed_leaves_what_was_written(bench: Bench) -> None:
    lower = bench.layer(base)
    with bench.writing(lower) as (stack, root):
        change(root)
        os.kill(process_with(f"# veneer: FUSE server of snapshot {stack[0]}\n"), signal.SIGKILL)
        with pytest.raises(OSError, match=r"not connected|connection abort"):
            (root / "more").touch()
    with bench.mounted(stack[0], lower) as root:
        assert names(root) == CHANGED
        write(root, "more", "")
    bench.driver.commit(stack[0])
    assert sorted(map(os.fsdecode, bench.facts(stack))) == ["", *CHANGED, "more"]


class _Killed(Exception):
    """Nothing goes on from here."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], bool]:
    """Call it with how many changes of names may be made, and by what; whether that was cut off."""

    def run(changes: int, work: Callable[[], object]) -> bool:
        left = iter(range(changes))

        def counted(real: Callable[..., None]) -> Callable[..., None]:
            def call(*words: object, **how: object) -> None:
                if next(left, None) is None:
                    raise _Killed
                real(*words, **how)

            return call

        with monkeypatch.context() as patch:
            for name in ("mknod", "unlink", "link", "rename", "setxattr", "removexattr"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                work()
            except _Killed:
                return True
        return False

    return run


def test_a_commit_that_was_cut_off_shows_the_same_and_is_finished_by_who_comes_next(
    bench: Bench, killed: Callable[[int, Callable[[], object]], bool]
) -> None:
    lower = bench.layer(base)
    with bench.writing(lower) as (stack, root):
        change(root)
    own = folder(bench, stack)
    tar, seen = bench.diff(stack)[0], bench.facts(stack)
    cut = 0
    for changes in range(0, 100, 2):
        if not killed(changes, lambda: bench.driver.commit(stack[0])):
            break
        cut += 1
        if changes % 4 == 0:
            assert bench.facts(stack) == seen
            assert bench.diff(stack)[0] == tar
        else:
            with bench.mounted(stack[0], lower) as root:
                assert facts(root) == seen
    assert cut > 3
    assert bench.facts(stack) == seen
    assert bench.diff(stack)[0] == tar
    assert not [name for name in names(own) if ".wh." in name]
    assert os.listdir(own / "work") == []


def test_a_mount_that_was_cut_off_while_it_turned_what_the_program_wrote_is_finished_by_a_commit(
    tmp_path: Path, bench: Bench, killed: Callable[[int, Callable[[], object]], bool]
) -> None:
    lower = bench.layer(base)
    with by(PROGRAM, tmp_path).writing(lower) as (stack, root):
        change(root)
    seen = bench.facts(stack)
    [mount] = bench.driver.mounts(stack[0], lower)
    assert mount.keeper is not None
    assert killed(4, lambda: mount.keeper.making(mount).__enter__())  # type: ignore[union-attr]
    assert bench.facts(stack) == seen
    bench.driver.commit(stack[0])
    assert bench.facts(stack) == seen
    assert not [name for name in names(folder(bench, stack)) if ".wh." in name or name.startswith("work/")]


def test_on_a_layer_that_is_missing_nothing_is_turned(bench: Bench) -> None:
    """What is opaque hides nothing of the layers that are there, and would be so no more when that one is back."""
    lower = bench.layer(base)
    stack = (new_snapshot_id(), *lower)
    own = bench.driver.create(stack[0], lower)
    write(own, "again/new", "")
    os.setxattr(own / "again", "trusted.overlay.opaque", b"y")
    lost = bench.driver.directory(lower[0])
    lost.rename(lost.with_name("elsewhere"))
    with pytest.raises(LayerMissing, match=lower[0]), bench.mounted(stack[0], lower):
        pass
    lost.with_name("elsewhere").rename(lost)
    with bench.mounted(stack[0], lower) as root:
        assert os.listdir(root / "again") == ["new"]


def test_a_mount_may_end_after_its_snapshot(tmp_path: Path) -> None:
    union.LayerUnion(WhiteoutStyle.OVERLAY, tmp_path / "removed").ended()


# -- which mounter -----------------------------------------------------------------------------------------------


def test_a_file_system_that_takes_no_whiteouts_is_none_for_layers_that_have_them(bench: Bench, tmp_path: Path) -> None:
    bench.layer(base)
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path / 'driver'},upperdir={tmp_path / 'upper'},workdir={tmp_path / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "merged"], check=True)
    try:
        support = FuseOverlayfs(tmp_path / "merged", VENEER).probe()
    finally:
        subprocess.run(["umount", "--lazy", tmp_path / "merged"], check=True)
    assert not support.usable
    assert support.reason == f"{tmp_path / 'merged'} has layers whose whiteouts its file system does not take"


def test_the_mounter_is_a_setting_and_veneer_s_own_without_one(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('fuse_overlayfs_mounter = "program"\n')
    environments = {"": {}, PROGRAM: {"VENEER_CONFIG": str(file)}, VENEER: {"VENEER_FUSE_OVERLAYFS_MOUNTER": VENEER}}
    for wanted, environ in environments.items():
        driver = load("fuse-overlayfs", tmp_path, Config.load({}, {"HOME": "/nonexistent", **environ}))
        assert isinstance(driver, FuseOverlayfs)
        usable(driver)
        assert driver.mounter.name == (wanted or VENEER)
        assert ("(as fuse_overlayfs_mounter says)" in driver.mounter.reason) == bool(wanted)


def test_a_mounter_there_is_not_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NoSuchMounter, match="fuse_overlayfs_mounter cannot be 'unionfs'") as caught:
        FuseOverlayfs(tmp_path, "unionfs").probe()
    assert VENEER in caught.value.hint and PROGRAM in caught.value.hint
