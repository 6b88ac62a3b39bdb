"""fuse-overlayfs, mounted by veneer's own union in a plain user's namespace, against the driver suite."""

from __future__ import annotations

import pytest

from tests.conformance import rootless


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> rootless.Told:
    return rootless.told(request, "veneer.drivers.fuse_overlayfs.driver", "FuseOverlayfs", 'mounter="veneer"')


class TestFuseOverlayfsRootless:
    """One test for each sentence of the suite."""


rootless.sentences(TestFuseOverlayfsRootless)
