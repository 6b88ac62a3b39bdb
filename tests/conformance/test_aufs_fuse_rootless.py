"""aufs, mounted by a FUSE server in a plain user's namespace, against the driver suite."""

from __future__ import annotations

import pytest

from tests.conformance import rootless


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> rootless.Told:
    return rootless.told(tmp_path_factory, "veneer.drivers.aufs.driver", "Aufs", 'mounter="fuse"')


class TestAufsFuseRootless:
    """One test for each sentence of the suite."""


rootless.sentences(TestAufsFuseRootless)
