"""Mounts as values, performed and undone, by the new mount API and by mount(2)."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import leaks
from veneer.drivers import mount_legacy, mount_syscalls
from veneer.drivers.mount import (
    LayerMissing,
    Mount,
    MountBusy,
    MountFailed,
    MountUnsupported,
    NotMounted,
    TooManyLayers,
    attach,
    filesystem_of,
    mounted,
    opened,
    unique_mount_id,
    unmount,
)

Layers = Callable[[int], list[Path]]


@pytest.fixture(params=["new mount API", "mount(2)"])
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test once as this kernel does it and once as a kernel without the new calls would."""
    if request.param == "mount(2)":

        def missing(*_: object) -> int:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(mount_syscalls, "fsopen", missing)
        monkeypatch.setattr(mount_syscalls, "open_tree_clone", missing)
    return str(request.param)


def _writable(tmp_path: Path, lowers: list[Path], *, readonly: bool = False) -> Mount:
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir(exist_ok=True)
    work.mkdir(exist_ok=True)
    return Mount.overlay(lowers, upper=upper, work=work, readonly=readonly)


class _FailsToServe:
    """A keeper whose server does not start, which it learns when the mount is made."""

    @contextlib.contextmanager
    def making(self, mount: Mount) -> Iterator[Mount]:
        yield mount
        raise MountFailed("the server does not start")

    def ended(self) -> None:
        raise AssertionError("it was never in use")


@pytest.mark.usefixtures("api")
class TestOnEitherApi:
    def test_a_keeper_that_fails_leaves_nothing_mounted(self, layers: Layers, target: Path) -> None:
        with pytest.raises(MountFailed, match="does not start"):
            attach([Mount.overlay(layers(2)).replaced(keeper=_FailsToServe())], target)
        assert not os.path.ismount(target) and os.listdir(target) == []

    def test_the_nearest_layer_wins_and_all_show(self, layers: Layers, target: Path) -> None:
        with mounted([Mount.overlay(layers(3))], target):
            assert sorted(os.listdir(target)) == ["0", "1", "2", "same"]
            assert (target / "same").read_text() == "0"

    def test_writes_land_in_the_upper_directory(self, tmp_path: Path, layers: Layers, target: Path) -> None:
        with mounted([_writable(tmp_path, layers(2))], target):
            (target / "new").write_text("n")
            (target / "0").unlink()
        assert sorted(os.listdir(tmp_path / "upper")) == ["0", "new"]
        assert os.stat(tmp_path / "upper" / "0").st_rdev == 0

    def test_a_single_layer_is_a_readonly_bind(self, layers: Layers, target: Path) -> None:
        [layer] = layers(1)
        with mounted([Mount.overlay([layer])], target):
            assert (target / "same").read_text() == "0"
            with pytest.raises(OSError, match="Read-only"):
                (target / "new").touch()

    def test_a_writable_bind_writes_through(self, layers: Layers, target: Path) -> None:
        [layer] = layers(1)
        with mounted([Mount.bind(layer)], target):
            (target / "new").touch()
        assert (layer / "new").exists()

    @pytest.mark.parametrize("upper", [True, False])
    def test_a_readonly_overlay_refuses_writes(self, tmp_path: Path, layers: Layers, target: Path, upper: bool) -> None:
        view = _writable(tmp_path, layers(2), readonly=True) if upper else Mount.overlay(layers(2))
        with mounted([view], target):
            writes: list[Callable[[], object]] = [
                (target / "new").touch,
                (target / "0").unlink,
                (target / "d").mkdir,
            ]
            for write in writes:
                with pytest.raises(OSError, match="Read-only file system"):
                    write()

    def test_500_layers_are_all_there(self, tmp_path: Path, layers: Layers, target: Path) -> None:
        with mounted([_writable(tmp_path, layers(500))], target):
            assert sorted(os.listdir(target)) == sorted([*map(str, range(500)), "same"])
            assert (target / "same").read_text() == "0"

    def test_60_layers_whose_options_end_a_page_at_a_colon_are_all_there(self, tmp_path: Path, target: Path) -> None:
        """mount(2) copies 4095 bytes; with a `:` next, it used to mount without the rest and say nothing."""
        room = 4095 - len("lowerdir=")
        lowers = []
        for number in range(60):
            # Fifty names of 80 bytes with their colon, then one that ends exactly where the page does.
            length = 80 if number < 50 else (room - 50 * 81 if number == 50 else 80)
            name = f"{number:02}"
            stem = f"{tmp_path}/p/"
            folder = Path(stem + name + "x" * max(1, length - len(stem) - len(name)))
            folder.mkdir(parents=True)
            (folder / name).touch()
            lowers.append(folder)
        with mounted([Mount.overlay(lowers)], target):
            assert sorted(os.listdir(target)) == [f"{number:02}" for number in range(60)]

    @pytest.mark.parametrize(
        "name", ["a:b", "a,b", "a\\b", "a\\:b,c", " a b ", "ü", b"\xff\xfe".decode(errors="surrogateescape")]
    )
    def test_layer_paths_may_hold_any_character(self, tmp_path: Path, target: Path, name: str) -> None:
        folders = [tmp_path / name / part for part in ("lower1", "lower2", "upper", "work")]
        for folder in folders:
            folder.mkdir(parents=True)
        (folders[0] / "f1").touch()
        (folders[1] / "f2").touch()
        with mounted([Mount.overlay(folders[:2], upper=folders[2], work=folders[3])], target):
            (target / "f3").touch()
            assert sorted(os.listdir(target)) == ["f1", "f2", "f3"]
        assert os.listdir(folders[2]) == ["f3"]

    def test_a_layer_path_may_be_longer_than_255_bytes(self, tmp_path: Path, target: Path) -> None:
        lowers = [tmp_path / ("x" * 200) / ("y" * 200) / part for part in "ab"]
        for lower in lowers:
            lower.mkdir(parents=True)
            (lower / lower.name).touch()
        with mounted([Mount.overlay(lowers)], target):
            assert sorted(os.listdir(target)) == ["a", "b"]

    def test_a_missing_layer_is_named(self, layers: Layers, target: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        two = layers(2)
        for name in ("gone", "file", "x" * 255 + "/" + "y" * 30):
            with pytest.raises(LayerMissing, match=rf"layer directory .*/{name} is missing"):
                attach([Mount.overlay([*two, tmp_path / name])], target)
        with pytest.raises(LayerMissing, match=r"layer directory .*/gone is missing"):
            attach([Mount.bind(tmp_path / "gone")], target)

    def test_a_refused_option_is_told(self, layers: Layers, target: Path) -> None:
        with pytest.raises(MountUnsupported, match="the kernel refuses the overlay mount"):
            attach([Mount.overlay(layers(2), options=["redirect_dir=sideways"])], target)

    def test_an_unknown_file_system_is_told_with_the_way_out(self, layers: Layers, target: Path) -> None:
        with pytest.raises(MountUnsupported, match="this kernel has no aufs9 file system") as caught:
            attach([Mount("aufs9", "none", lowers=tuple(map(str, layers(2))))], target)
        assert "modprobe aufs9" in caught.value.hint

    def test_when_the_second_mount_fails_the_first_is_undone(
        self, layers: Layers, target: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(LayerMissing):
            attach([Mount.overlay(layers(2)), Mount.overlay([tmp_path / "gone", tmp_path / "gone2"])], target)
        assert os.listdir(target) == []

    def test_a_missing_target_leaves_nothing_mounted(self, layers: Layers, tmp_path: Path) -> None:
        before = leaks.mounts_below(Path("/"))
        with pytest.raises(MountFailed, match="No such file or directory"):
            attach([Mount.overlay(layers(2))], tmp_path / "nowhere")
        assert leaks.mounts_below(Path("/")) == before

    def test_an_exception_in_the_block_undoes_the_mount_even_while_a_file_is_open(
        self, layers: Layers, target: Path
    ) -> None:
        with pytest.raises(ValueError, match="inside"), mounted([Mount.overlay(layers(2))], target):
            held = os.open(target / "same", os.O_RDONLY)
            raise ValueError("inside")
        os.close(held)
        assert os.listdir(target) == []

    def test_opened_shows_the_tree_without_a_mount_point(self, layers: Layers) -> None:
        before = leaks.mounts_below(Path("/"))
        with opened([Mount.overlay(layers(3))]) as root:
            assert sorted(os.listdir(root)) == ["0", "1", "2", "same"]
            assert os.stat("same", dir_fd=root).st_size == 1
        assert leaks.mounts_below(Path("/")) == before

    def test_mounts_made_inside_a_bind_do_not_show_in_its_source(
        self, layers: Layers, target: Path, tmp_path: Path
    ) -> None:
        """On a host whose root is shared, a clone would hand every mount inside it back to the layer."""
        shared = tmp_path / "shared"
        shared.mkdir()
        first, second = layers(2)
        with mounted([Mount.bind(first)], shared):
            mount_syscalls.mount(b"none", os.fsencode(shared), None, 1 << 20, None)  # MS_SHARED
            (shared / "d").mkdir()
            with mounted([Mount.bind(shared)], target), mounted([Mount.bind(second)], target / "d"):
                assert os.listdir(shared / "d") == []


def test_without_lowerdir_plus_the_old_call_is_used(
    layers: Layers, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels from 5.2 to 6.6 have the calls, and an overlay that does not know `lowerdir+`."""
    real = mount_syscalls.fsconfig

    def without(context: int, command: int, key: str | None = None, value: bytes | None = None, aux: int = 0) -> None:
        if key == "lowerdir+":
            raise OSError(errno.EINVAL, "Invalid argument")
        real(context, command, key, value, aux)

    monkeypatch.setattr(mount_syscalls, "fsconfig", without)
    with mounted([Mount.overlay(layers(300))], target):
        assert len(os.listdir(target)) == 301


def test_without_layer_descriptors_their_names_in_proc_are_used(
    tmp_path: Path, layers: Layers, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels from 6.7 to 6.12 know `lowerdir+` as a string only."""
    real = mount_syscalls.fsconfig

    def without(context: int, command: int, key: str | None = None, value: bytes | None = None, aux: int = 0) -> None:
        if command == mount_syscalls.SET_FD:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(context, command, key, value, aux)

    monkeypatch.setattr(mount_syscalls, "fsconfig", without)
    with mounted([_writable(tmp_path, layers(300))], target):
        assert len(os.listdir(target)) == 301
        (target / "new").touch()
    assert os.listdir(tmp_path / "upper") == ["new"]


def test_the_old_call_never_sees_more_than_its_page(
    layers: Layers, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    real = mount_syscalls.mount

    def watched(source: bytes, where: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
        given.append(len(data or b""))
        real(source, where, kind, flags, data)

    monkeypatch.setattr(mount_syscalls, "mount", watched)
    stack = layers(500)
    for count in (2, 30, 60, 120, 500):
        mount_legacy.attach(Mount.overlay(stack[:count]), target)
        assert len(os.listdir(target)) == count + 1
        unmount(target)
    assert max(given) <= mount_legacy.OPTIONS_LIMIT < os.sysconf("SC_PAGESIZE")


def test_the_old_call_leaves_the_working_directory_alone(layers: Layers, target: Path) -> None:
    before = os.getcwd()
    mount_legacy.attach(Mount.overlay(layers(200)), target)
    unmount(target)
    assert os.getcwd() == before


def test_501_layers_are_refused_before_anything_is_mounted(layers: Layers) -> None:
    with pytest.raises(TooManyLayers, match="501 layers are more than the 500") as caught:
        Mount.overlay(layers(501))
    assert "squash" in caught.value.hint


def test_a_repeated_layer_is_used_once_where_it_is_nearest(layers: Layers, target: Path) -> None:
    first, second = layers(2)
    assert Mount.overlay([first, second, first]).lowers == (str(first), str(second))
    with mounted([Mount.overlay([first, second, first])], target):
        assert sorted(os.listdir(target)) == ["0", "1", "same"]


def test_two_copies_of_one_layer_are_a_bind(layers: Layers) -> None:
    [layer] = layers(1)
    assert Mount.overlay([layer, layer]) == Mount.bind(layer, readonly=True)


def test_a_busy_mount_says_who_to_ask_and_goes_lazily_when_asked(layers: Layers, target: Path) -> None:
    attach([Mount.overlay(layers(2))], target)
    held = os.open(target / "same", os.O_RDONLY)
    with pytest.raises(MountBusy, match="still in use") as caught:
        unmount(target)
    assert "fuser" in caught.value.hint
    unmount(target, lazy=True)
    assert os.read(held, 1) == b"0"
    os.close(held)


def test_unmounting_what_is_not_mounted_is_told(target: Path) -> None:
    with pytest.raises(NotMounted, match="nothing is mounted at"):
        unmount(target)


def test_every_mount_has_an_id_of_its_own(layers: Layers, target: Path) -> None:
    view = Mount.overlay(layers(2))
    outside = unique_mount_id(target)
    with mounted([view], target):
        first = unique_mount_id(target)
    with mounted([view], target):
        second = unique_mount_id(target)
    assert first != outside
    assert second != outside
    assert unique_mount_id(target) == outside


def test_the_file_system_of_a_path_is_named(layers: Layers, target: Path) -> None:
    with mounted([Mount.overlay(layers(2))], target):
        assert filesystem_of(target) == "overlay"
    assert filesystem_of(Path("/proc")) == "proc"


def test_nothing_mounts_without_privilege_and_the_error_says_what_is_needed(
    layers: Layers, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> int:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(mount_syscalls, "fsopen", forbidden)
    monkeypatch.setattr(mount_syscalls, "mount", forbidden)
    with pytest.raises(MountUnsupported, match="needs CAP_SYS_ADMIN") as caught:
        attach([Mount.overlay(layers(2))], target)
    assert "user and mount namespace" in caught.value.hint
