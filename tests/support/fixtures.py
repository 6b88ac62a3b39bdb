"""Fixtures every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.loop import NoLoopMounts, loop_mounted
from tests.support.programs import needs
from tests.support.registries import RealRegistry
from tests.support.rootfs import busybox_tar

if TYPE_CHECKING:
    from tests.support.containers import Yard
    from veneer.config import Config
    from veneer.engine.engine import Engine
    from veneer.store.store import Store


@pytest.fixture(scope="session")
def registry_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """One docker-registry for all tests of this worker; use `registry`, which keeps their names apart."""
    needs("docker-registry")
    server = RealRegistry.start(tmp_path_factory.mktemp("registry") / "server")
    yield server
    server.stop()


@pytest.fixture
def registry(registry_server: RealRegistry) -> RealRegistry:
    """A running docker-registry on loopback, without auth.  Other tests share it: choose names of your own."""
    return registry_server


@pytest.fixture
def private_registry(tmp_path: Path) -> Iterator[RealRegistry]:
    """A docker-registry that asks for user `ada`, password `lovelace`."""
    needs("docker-registry", "htpasswd")
    server = RealRegistry.start(tmp_path / "private-registry", user="ada", password="lovelace")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 2 MB busybox root file system as a tar."""
    return busybox_tar(tmp_path_factory.mktemp("rootfs") / "busybox.tar")


@pytest.fixture(scope="module")
def yard_of_module(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """A store for the containers of a module's tests; use `yard`, which removes them."""
    from tests.support.containers import Yard

    return Yard(tmp_path_factory.mktemp("yard"))


@pytest.fixture
def yard(yard_of_module: Yard) -> Iterator[Yard]:
    """A store with `busybox:1` and no containers.  Other tests of the module have it, too, one after the other."""
    yield yard_of_module
    yard_of_module.clear()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A configuration whose data root, credentials and everything else lie in tmp_path."""
    from veneer.config import Config

    return Config(root=tmp_path / "root", docker_config=tmp_path / "docker" / "config.json")


@pytest.fixture
def store(config: Config) -> Iterator[Store]:
    """An open, empty store in tmp_path."""
    from veneer.store.store import Store

    with Store.open(config) as opened:
        yield opened


@pytest.fixture
def engine(config: Config) -> Iterator[Engine]:
    """An engine on an empty store in tmp_path."""
    from veneer.engine.engine import Engine

    with Engine(config) as opened:
        yield opened


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Call it with a size in bytes for a fresh ext4 of that size, and with mkfs's options; unmounted at the end."""
    with ExitStack() as stack:
        made = 0

        def make(size: int, *options: str) -> Path:
            nonlocal made
            made += 1
            try:
                return stack.enter_context(loop_mounted(tmp_path / f"ext4-{made}", size, options=options))
            except NoLoopMounts as error:
                pytest.skip(str(error))

        yield make


@pytest.fixture
def root_only() -> None:
    """Skip, saying so, where the tests do not run as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
