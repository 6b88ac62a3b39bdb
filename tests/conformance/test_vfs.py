"""vfs against the driver suite."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.vfs import Vfs
from veneer.testing.driver_suite import DriverSuite


class TestVfs(DriverSuite):
    def make_driver(self, root: Path) -> Vfs:
        return Vfs(root)
