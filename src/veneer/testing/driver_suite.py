"""What every storage driver must do, as sentences: subclass `DriverSuite`, say how to make one, run pytest.

    class TestMine(DriverSuite):
        def make_driver(self, root: Path) -> StorageDriver:
            return Mine(root)

A test is skipped only where the driver's `probe` says it is not usable here, or where one of its capability
attributes says so; never by its name.  The suite must run as a user who may mount.
"""

from __future__ import annotations

from veneer.testing.driver_attributes import AttributeSuite
from veneer.testing.driver_diff import DiffSuite
from veneer.testing.driver_fuzz import FuzzSuite
from veneer.testing.driver_hostile import HostileSuite
from veneer.testing.driver_laws import LawSuite
from veneer.testing.driver_life import DepthSuite, LifeCycleSuite
from veneer.testing.driver_union import UnionSuite


class DriverSuite(LifeCycleSuite, UnionSuite, AttributeSuite, DiffSuite, HostileSuite, DepthSuite, LawSuite, FuzzSuite):
    """All of it."""
