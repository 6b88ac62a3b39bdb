"""erofs in a plain user's namespace: it says why it cannot be had there."""

from __future__ import annotations

import pytest

from tests.conformance import rootless


@pytest.fixture(scope="module")
def told(request: pytest.FixtureRequest) -> rootless.Told:
    return rootless.told(request, "veneer.drivers.erofs.driver", "Erofs")


class TestErofsRootless:
    """One test for each sentence of the suite."""


rootless.sentences(TestErofsRootless)
