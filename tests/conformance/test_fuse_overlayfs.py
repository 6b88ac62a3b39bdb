"""fuse-overlayfs against the driver suite."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.fuse_overlayfs import FuseOverlayfs
from veneer.testing.driver_suite import DriverSuite


class TestFuseOverlayfs(DriverSuite):
    def make_driver(self, root: Path) -> FuseOverlayfs:
        return FuseOverlayfs(root)
