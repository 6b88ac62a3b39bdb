"""What a FUSE union makes of a data root on an overlay mount, as a container's own file system is: there the kernel's
overlay can neither write nor make whiteouts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.drivers.aufs.driver import Aufs
from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.testing.driver_fuzz import FuzzSuite


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A directory on an overlay mount."""
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "merged"], check=True)
    yield tmp_path / "merged"
    # Not at once: the server of a mount that was looked at has its layers open for a moment longer.
    subprocess.run(["umount", "--lazy", tmp_path / "merged"], check=True)


class TestFuseOverlayfsNested(FuzzSuite):
    def make_driver(self, root: Path) -> FuseOverlayfs:
        return FuseOverlayfs(root, mounter="veneer")


class TestAufsFuseNested(FuzzSuite):
    def make_driver(self, root: Path) -> Aufs:
        return Aufs(root, mounter="fuse")
