"""overlay2 in a plain user's namespace against the driver suite: run there once, told here sentence by sentence."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from tests.support.plain_user import plain_user
from veneer.testing.driver_suite import DriverSuite

_SUITE = """
from veneer.drivers.overlay2 import Overlay2
from veneer.testing.driver_suite import DriverSuite

class TestIt(DriverSuite):
    def make_driver(self, root):
        return Overlay2(root)
"""
_RUN = """
import sys, pytest
from hypothesis import HealthCheck, settings
from veneer.drivers import userns, overlay2
settings.register_profile("here", max_examples=15, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck))
settings.load_profile("here")
entered = userns.enter()
assert entered.kind == userns.RANGES, entered
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir=/mnt", "--basetemp=/mnt/tmp",
    "--junit-xml=/mnt/said.xml", "/mnt/test_it.py"]))
"""

Told = dict[str, list[tuple[str, str]]]
"""Sentence (a test's name without its parameters) -> what became of each variant and why."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What became of each sentence."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # all workers': the first that comes runs the suite, the others read what it left
    home = base / "rootless"
    with open(base / "rootless.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "said.xml").exists():
            home.mkdir()
            (home / "test_it.py").write_text(_SUITE)
            with plain_user(home, further_ids=True) as user:
                done = user.python(_RUN, check=False)
            assert done.code in (0, 1), done.out + done.err
    found: Told = {}
    for case in ElementTree.parse(home / "said.xml").iter("testcase"):
        outcome, why = "passed", ""
        for part in case:
            if part.tag in ("failure", "error", "skipped"):
                outcome = "skipped" if part.tag == "skipped" else "failed"
                why = part.text or part.get("message") or ""
        found.setdefault(re.sub(r"\[.*", "", case.get("name", "")), []).append((outcome, why))
    return found


def _sentence(name: str) -> Callable[[object, Told], None]:
    def test(self: object, told: Told) -> None:
        variants = told.get(name, [])
        assert variants, "the suite did not run it"
        for outcome, why in variants:
            assert outcome != "failed", why
        if all(outcome == "skipped" for outcome, _ in variants):
            pytest.skip(variants[0][1])

    return test


class TestOverlay2Rootless:
    """One test for each sentence of the suite."""


for _name in dir(DriverSuite):
    if _name.startswith("test_"):
        setattr(TestOverlay2Rootless, _name, _sentence(_name))
