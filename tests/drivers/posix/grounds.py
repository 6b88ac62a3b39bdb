"""The file systems that the suites are run on: plain ones and the kernel's overlay to compare with, and the drivers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tests.support.programs import run
from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.driver import load
from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.drivers.protocol import StorageDriver
from veneer.testing.driver_bench import Bench

Ground = Callable[[], AbstractContextManager[Path]]
"""Call it for a directory to work in; it has files of a lower layer in it where there are layers."""
PLAIN = "ext4"
KERNEL = "overlay by hand"
PROGRAM = "fuse-overlayfs by the program"


def grounds(folder: Path) -> tuple[dict[str, Ground], dict[str, str]]:
    """Every file system that can be had here, below the ext4 directory `folder`; why not the rest."""
    found: dict[str, Ground] = {PLAIN: _plain(folder), "tmpfs": _tmpfs(folder), KERNEL: _overlay(folder)}
    drivers: dict[str, StorageDriver] = {
        "overlay2": load("overlay2", folder),
        "fuse-overlayfs by veneer": FuseOverlayfs(folder / "fuse-overlayfs-veneer", "veneer"),
        PROGRAM: FuseOverlayfs(folder / "fuse-overlayfs-program", "program"),
        "aufs by overlay": Aufs(folder / "aufs-overlay", "overlay-shim"),
        "aufs by FUSE": Aufs(folder / "aufs-fuse", "fuse"),
        "erofs": load("erofs", folder),
        "vfs": load("vfs", folder),
    }
    absent = {}
    for name, driver in drivers.items():
        support = driver.probe()
        if support.usable:
            found[name] = _driver(driver, folder)
        else:
            absent[name] = support.reason
    return found, absent


def _lowest(root: Path) -> None:
    (root / "work").mkdir()
    (root / "work" / "gone").write_text("goes in the next layer")
    (root / "work" / "emptied").mkdir()
    (root / "work" / "emptied" / "file").write_text("hidden by the next layer")


def _upper(root: Path) -> None:
    (root / "work" / "gone").unlink()
    (root / "work" / "emptied" / "file").unlink()
    (root / "work" / "emptied").rmdir()
    (root / "work").chmod(0o777)


def _plain(folder: Path) -> Ground:
    @contextlib.contextmanager
    def ground() -> Iterator[Path]:
        run("rm", "-rf", folder / "plain")
        (folder / "plain" / "work").mkdir(parents=True)
        yield folder / "plain" / "work"

    return ground


def _tmpfs(folder: Path) -> Ground:
    @contextlib.contextmanager
    def ground() -> Iterator[Path]:
        with mounted_by_hand(folder / "tmpfs", "-t", "tmpfs", "none"):
            (folder / "tmpfs" / "work").mkdir()
            yield folder / "tmpfs" / "work"

    return ground


def _overlay(folder: Path) -> Ground:
    @contextlib.contextmanager
    def ground() -> Iterator[Path]:
        here = folder / "by-hand"
        run("rm", "-rf", here)
        for name in ("one", "two", "upper", "scratch"):
            (here / name / "work").mkdir(parents=True)
        options = f"lowerdir={here}/one:{here}/two,upperdir={here}/upper,workdir={here}/scratch"
        with mounted_by_hand(here / "merged", "-t", "overlay", "-o", options, "none"):
            yield here / "merged" / "work"

    return ground


@contextlib.contextmanager
def mounted_by_hand(target: Path, *words: str) -> Iterator[None]:
    """Something mounted by mount(8) at a directory, made if it is not there."""
    target.mkdir(exist_ok=True)
    run("mount", *words, target)
    try:
        yield
    finally:
        run("umount", "--recursive", target)


def _driver(driver: StorageDriver, folder: Path) -> Ground:
    bench = Bench(driver, folder)
    stack = bench.layers(_lowest, _upper)

    @contextlib.contextmanager
    def ground() -> Iterator[Path]:
        with bench.writing(stack) as (made, root):
            yield root / "work"
        driver.remove(made[0])

    return ground
