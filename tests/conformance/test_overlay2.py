"""overlay2 against the driver suite."""

from __future__ import annotations

from pathlib import Path

from veneer.drivers.overlay2 import Overlay2
from veneer.testing.driver_suite import DriverSuite


class TestOverlay2(DriverSuite):
    def make_driver(self, root: Path) -> Overlay2:
        return Overlay2(root)
