"""The driver suite in a plain user's namespace: run there once for each driver, told here sentence by sentence."""

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
from veneer.testing.driver_suite import DriverSuite
from {module} import {name}

class TestIt(DriverSuite):
    {body}
    def make_driver(self, root):
        return {name}(root{arguments})
"""
_OPTIONS = """
def pytest_addoption(parser):
    for name in ("--operations", "--seed"):
        parser.addoption(name, type=int, default=None)
"""
_RUN = """
import sys, pytest
from hypothesis import HealthCheck, Phase, settings
from veneer.drivers import userns
settings.register_profile("here", max_examples=6, derandomize=True, database=None, deadline=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
settings.load_profile("here")
entered = userns.enter()
assert entered.kind == userns.RANGES, entered
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir=/mnt", "--basetemp=/mnt/tmp",
    "--junit-xml=/mnt/said.xml", *sys.argv[1:], "/mnt/test_it.py"]))
"""

Told = dict[str, list[tuple[str, str]]]
"""Sentence (a test's name without its parameters) -> what became of each variant and why."""


def told(request: pytest.FixtureRequest, module: str, name: str, arguments: str = "", body: str = "") -> Told:
    """What became of each sentence that is to be run, of the driver that `name(root, *arguments)` of `module` makes.

    `body`: a line for the suite's class.
    """
    base = request.getfixturevalue("tmp_path_factory").getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # all workers': the first that comes runs the suite, the others read what it left
    title = "rootless-" + re.sub(r"\W+", "-", name + arguments).lower()
    home = base / title
    with open(base / f"{title}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "said.xml").exists():
            home.mkdir()
            made = _SUITE.format(module=module, name=name, arguments=f", {arguments}" if arguments else "", body=body)
            (home / "test_it.py").write_text(made)
            (home / "conftest.py").write_text(_OPTIONS)
            with plain_user(home, further_ids=True) as user:
                done = user.python(_RUN, *_wanted(request), check=False)
            assert done.code in (0, 1), done.out + done.err
    found: Told = {}
    for case in ElementTree.parse(home / "said.xml").iter("testcase"):
        outcome, why = "passed", ""
        for part in case:
            if part.tag in ("failure", "error", "skipped"):
                outcome = "skipped" if part.tag == "skipped" else "failed"
                why = (part.get("message") if part.tag == "skipped" else part.text) or ""
        found.setdefault(re.sub(r"\[.*", "", case.get("name", "")), []).append((outcome, why))
    return found


def _wanted(request: pytest.FixtureRequest) -> list[str]:
    """pytest's words for what of the suite is asked for."""
    words = [
        f"{option}={value}" for option in ("--operations", "--seed") if (value := request.config.getoption(option))
    ]
    names = {item.name for item in request.session.items if item.path == request.path}
    if len(names) < sum(name.startswith("test_") for name in dir(DriverSuite)):
        words += ["-k", " or ".join(sorted(names))]
    return words


def sentence(name: str) -> Callable[[object, Told], None]:
    def test(self: object, told: Told) -> None:
        variants = told.get(name, [])
        assert variants, "the suite did not run it"
        for outcome, why in variants:
            assert outcome != "failed", why
        if all(outcome == "skipped" for outcome, _ in variants):
            pytest.skip(variants[0][1])

    return test


def sentences(suite: type) -> None:
    """Give a test class one test for each sentence of the suite; it wants a fixture `told`."""
    patient = pytest.mark.timeout(1800)  # the first that comes waits for all of the suite: minutes on a busy machine
    for name in dir(DriverSuite):
        if name.startswith("test_"):
            setattr(suite, name, patient(sentence(name)))
