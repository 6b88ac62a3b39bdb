"""Every driver whose layers the union serves, on two layers that all tests of a module stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.aufs.mounters import FUSE
from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.drivers.fuse_overlayfs.mounters import VENEER
from veneer.drivers.protocol import StorageDriver
from veneer.testing.driver_bench import Bench, Stack, usable, write


class Mounted(NamedTuple):
    bench: Bench
    stack: Stack
    root: Path

    @property
    def own(self) -> Path:
        """What is written, on the disk."""
        return self.bench.driver.directory(self.stack[0])


def drivers(root: Path) -> dict[str, StorageDriver]:
    """By name, each with a folder of its own in `root`."""
    return {"aufs": Aufs(root / "aufs", FUSE), "fuse-overlayfs": FuseOverlayfs(root / "fuse-overlayfs", VENEER)}


@pytest.fixture(scope="module", params=["aufs", "fuse-overlayfs"])
def layers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Stack]:
    """A driver with two layers; a module may fill the lower one by a function `fill`."""
    folder = tmp_path_factory.mktemp(request.param)
    bench = Bench(usable(drivers(folder)[request.param]), folder)
    return bench, bench.layers(request.module.fill, lambda root: write(root, "d/h", "second"))


@pytest.fixture
def mounted(layers: tuple[Bench, Stack]) -> Iterator[Mounted]:
    """A writable mount on the two layers."""
    bench, below = layers
    with bench.writing(below) as (stack, root):
        yield Mounted(bench, stack, root)
