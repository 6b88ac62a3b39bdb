"""How a driver is named, loaded and chosen."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from tests.support import leaks
from veneer.drivers import driver as driver_module
from veneer.drivers.driver import (
    DRIVERS,
    NoSuchDriver,
    NotASnapshot,
    NoUsableDriver,
    SnapshotID,
    Support,
    choose,
    load,
    new_snapshot_id,
    snapshot_id,
)
from veneer.drivers.fuse import start
from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.drivers.mount import Mount, mounted
from veneer.drivers.overlay2 import Overlay2
from veneer.drivers.protocol import StorageDriver
from veneer.drivers.vfs import Vfs


class Outside(Vfs):
    """A driver of somebody else's."""

    name = "outside"


class Broken(Vfs):
    name = "vfs"

    def probe(self) -> Support:
        return Support(False, "the disk is made of cheese")


def test_with_no_name_the_best_driver_that_works_is_chosen(tmp_path: Path) -> None:
    chosen = choose(tmp_path)
    assert isinstance(chosen, Overlay2)
    assert chosen.root == tmp_path / "overlay2"


@pytest.mark.parametrize("name", list(DRIVERS))
def test_every_driver_can_be_had_by_name_and_keeps_the_protocol(tmp_path: Path, name: str) -> None:
    chosen = choose(tmp_path, name)
    assert chosen.name == name
    assert isinstance(chosen, StorageDriver)


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NoSuchDriver, match="unknown storage driver 'zfs'") as caught:
        choose(tmp_path, "zfs")
    assert caught.value.hint.startswith("known drivers: overlay2, fuse-overlayfs, vfs")


def test_when_nothing_works_every_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "DRIVERS", {"vfs": f"{__name__}:Broken"})
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Broken.__module__])
    with pytest.raises(NoUsableDriver, match="vfs: the disk is made of cheese"):
        choose(tmp_path)


def test_another_package_adds_a_driver_by_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Outside.__module__])
    entry = EntryPoint("outside", f"{__name__}:Outside", "veneer.drivers")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda *, group: EntryPoints([entry]))
    chosen = load("outside", tmp_path)
    assert type(chosen).__name__ == "Outside"
    assert chosen.probe().usable
    with pytest.raises(NoSuchDriver) as caught:
        load("inside", tmp_path)
    assert caught.value.hint == f"known drivers: {', '.join(DRIVERS)}, outside"


def test_on_an_overlay_a_fuse_union_is_chosen_and_vfs_without_fuse(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in ("l1", "l2", "upper", "work")]
    for folder in folders:
        folder.mkdir()
    with mounted([Mount.overlay(folders[:2], upper=folders[2], work=folders[3])], target):
        support = load("overlay2", target).probe()
        assert not support.usable
        assert (
            support.reason == f"the kernel's overlay cannot write to the overlay file system of {target / 'overlay2'}"
        )
        assert "usable drivers here" not in support.reason, "whoever chooses says that"
        assert isinstance(choose(target), FuseOverlayfs)
        with pytest.raises(NoUsableDriver, match="usable drivers here: fuse-overlayfs, vfs"):
            choose(target, "overlay2")
        monkeypatch.setattr(start, "DEVICE", str(tmp_path / "fuse"))
        assert isinstance(choose(target), Vfs)
    assert leaks.mounts_below(target) == set()


def test_snapshot_ids_are_32_hex_digits_and_never_repeat() -> None:
    made = {new_snapshot_id() for _ in range(100)}
    assert len(made) == 100
    assert all(snapshot_id(one) == one for one in made)


@pytest.mark.parametrize("text", ["", "..", "a/b", "A" * 32, "0" * 31, "0" * 33, "../../../../../../../../../etc/pas"])
@pytest.mark.parametrize("name", list(DRIVERS))
def test_a_text_that_is_no_snapshot_id_never_becomes_a_path(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(NotASnapshot, match="not a snapshot ID"):
        load(name, tmp_path).create(SnapshotID(text), [])


def test_naming_the_drivers_imports_none_of_them() -> None:
    code = (
        "import sys, veneer.drivers.driver; "
        "print(*[m for m in ('ctypes', 'json', 'veneer.drivers.overlay2', 'veneer.drivers.mount', 'tempfile')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
