"""fuse-overlayfs, mounted by the program of that name, in a plain user's namespace against the driver suite."""

from __future__ import annotations

import pytest

from tests.conformance import rootless
from tests.conformance.test_fuse_overlayfs_program import FAULTS

_FAULTS = "from veneer.testing.driver_fuzz import Fault; faults = frozenset(Fault)"


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> rootless.Told:
    return rootless.told(request, "veneer.drivers.fuse_overlayfs.driver", "FuseOverlayfs", 'mounter="program"', _FAULTS)


@pytest.fixture(autouse=True)
def _faults_of_the_program(request: pytest.FixtureRequest) -> None:
    faults = {name.partition("[")[0]: fault for name, fault in FAULTS.items()}
    if request.node.name in faults:
        request.applymarker(pytest.mark.xfail(reason=f"fuse-overlayfs: {faults[request.node.name]}", strict=False))


class TestFuseOverlayfsProgramRootless:
    """One test for each sentence of the suite."""


rootless.sentences(TestFuseOverlayfsProgramRootless)
