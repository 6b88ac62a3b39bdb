"""aufs, mounted by a FUSE server, against the driver suite."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.aufs.driver import Aufs
from veneer.testing.driver_suite import DriverSuite


class TestAufsFuse(DriverSuite):
    def make_driver(self, root: Path) -> Aufs:
        return Aufs(root, mounter="fuse")
