"""What every test stands on: a known environment, fixed Hypothesis profiles, and checks that nothing leaks."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import leaks

pytest_plugins = ["tests.support.fixtures"]

_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, max_examples=40, suppress_health_check=_QUIET)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.register_profile("thorough", settings.get_profile("default"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default"))

_FOREIGN = ("VENEER_", "DOCKER_", "BUILDAH_", "CONTAINERS_", "REGISTRY_")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--operations", type=int, default=None, help="how many operations each driver's fuzzer tries")
    parser.addoption("--seed", type=int, default=0, help="the first story that each driver's fuzzer tells")
    parser.addoption("--kills", type=int, default=12, help="how many processes each crash test kills")


@pytest.fixture(scope="session", autouse=True)
def _known_environment() -> Iterator[None]:
    """No settings, credentials or proxies of whoever runs the tests; a home of our own; umask 022; an interrupt that
    interrupts: a shell script ignores it for what it puts in the background, and whoever we start inherits that."""
    before = dict(os.environ)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    umask = os.umask(0o022)
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower().endswith("_proxy") or name.startswith("XDG_"):
            del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="veneer-home-") as home:
        os.environ["HOME"] = home
        os.environ["TZ"] = "UTC"
        yield
        os.environ.clear()
        os.environ.update(before)
        os.umask(umask)


@pytest.fixture(autouse=True)
def _nothing_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that leaves a mount below the tests' folders or a child process behind."""
    base: Path = tmp_path_factory.getbasetemp()
    mounts_before, children_before = leaks.mounts_below(base), leaks.children()
    yield
    left_mounts = leaks.mounts_below(base) - mounts_before
    left_children = leaks.children() - children_before
    for target in sorted(left_mounts, reverse=True):
        leaks.detach(target)
    assert not left_mounts, f"still mounted after the test: {sorted(left_mounts)}"
    assert not left_children, f"still running after the test: {leaks.describe(left_children)}"
