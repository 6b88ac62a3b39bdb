"""One chromium, one window of it and one server for the tests of this folder.

Playwright keeps an event loop running in this thread as long as it is started, so nothing here outlives the folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import veneer
from tests.support.served import Client, served
from tests.view.browser import samples
from tests.view.browser.visit import Visit, launched
from veneer.config import Config
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These first: where several processes share the tests, the first one then has all of these, and what is taken off
    its hands comes from the end; or each of them would start a browser and fill a shop."""
    here = Path(__file__).parent
    items.sort(key=lambda item: here not in item.path.parents)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium here (make test installs it; apt-get install chromium)")
    with launched() as browser:
        yield browser


@pytest.fixture(scope="package")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The shop's images, a hostile one, and a container."""
    folder = tmp_path_factory.mktemp("shop")
    with Engine(Config(root=folder / "root", docker_config=folder / "config.json", durability="none")) as engine:
        samples.fill(engine)
        samples.fill_hostile(engine)
        engine.containers.create(ContainerRequest("shop/web:2.4", {"Cmd": ["true"]}, name="box"))
        yield engine


@pytest.fixture(scope="package")
def site(shop: Engine) -> Iterator[Client]:
    with served(shop) as client:
        yield client


@pytest.fixture(scope="package")
def visitor(chromium: Browser, site: Client) -> Iterator[Visit]:
    """One window for all tests: a new one costs more than most tests."""
    with Visit.of(chromium, site.url) as visitor:
        yield visitor


@pytest.fixture
def visit(visitor: Visit) -> Iterator[Visit]:
    """A visitor of the site, 1280 x 900, light; fails the test if a page failed or looked elsewhere."""
    yield visitor.begin()
    visitor.nothing_happened()


@pytest.fixture(scope="package")
def reports(shop: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a report of one image, and one of several, a hostile one among them."""
    folder = tmp_path_factory.mktemp("reports")
    for name, images in (("one", ["shop/api:2.4"]), ("several", ["shop/api:2.4", "shop/web:2.4", "evil:1"])):
        veneer("report", "--check", "--rule", "max-waste=10kB", *images, "--output", folder / f"{name}.html",
               root=shop.store.root, check=False)  # fmt: skip
    return folder


@pytest.fixture(scope="package")
def artefacts() -> Path:
    """Where pictures are kept for whoever looks at a run; git ignores it."""
    folder = Path(__file__).parents[2] / "artefacts"
    folder.mkdir(exist_ok=True)
    return folder
