"""erofs against the driver suite."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.erofs.driver import Erofs
from veneer.testing.driver_suite import DriverSuite


class TestErofs(DriverSuite):
    def make_driver(self, root: Path) -> Erofs:
        return Erofs(root)
