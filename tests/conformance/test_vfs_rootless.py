"""vfs in a plain user's namespace against the driver suite."""

from __future__ import annotations

import pytest

from tests.conformance import rootless


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> rootless.Told:
    return rootless.told(request, "veneer.drivers.vfs", "Vfs")


class TestVfsRootless:
    """One test for each sentence of the suite."""


rootless.sentences(TestVfsRootless)
