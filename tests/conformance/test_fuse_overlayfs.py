"""fuse-overlayfs, mounted by veneer's own union, against the driver suite."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.fuse_overlayfs.driver import FuseOverlayfs
from veneer.testing.driver_suite import DriverSuite


class TestFuseOverlayfs(DriverSuite):
    def make_driver(self, root: Path) -> FuseOverlayfs:
        return FuseOverlayfs(root, mounter="veneer")
