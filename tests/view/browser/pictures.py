"""The README's pictures: `make pictures` takes them of a shop whose images are as large as real ones; the test run
takes them of small ones."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tests.support.programs import veneer
from tests.support.served import served
from tests.view.browser import samples
from tests.view.browser.visit import Visit, launched
from veneer.config import Config
from veneer.engine.engine import Engine

README = Path(__file__).parents[3] / "README.md"
FOLDER = README.parent / "docs" / "pictures"
SHOWN = re.compile(r"(?<=^```text\n\$ veneer history --layers node:22-slim\n).*?(?=^```$)", re.M | re.S)
"""What the README shows of a history."""
GRID = "/compare?images=shop/api:2.4,shop/worker:2.4,shop/web:2.4,node:22-slim,python:3.13-slim&lock=shop/api:2.4"
SIZES = {"compare": (1280, 1060), "image": (1280, 900)}


def take(visit: Visit, folder: Path) -> None:
    """The grid of a comparison and the page of an image, in light colours."""
    visit.look(dark=False)
    for name, path in (("compare", GRID), ("image", "/i/shop%2Fapi:2.4")):
        visit.size(SIZES[name])
        visit.open(path)
        visit.keep(folder, name)


def history(root: Path) -> str:
    """What the command line says of the same images, as if they lay in the usual place."""
    said = veneer("history", "--layers", "node:22-slim", root=root).out
    return said.replace(str(root), "/var/lib/veneer")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="veneer-pictures-") as folder:
        root = Path(folder) / "root"
        with Engine(Config(root=root, docker_config=Path(folder) / "config.json", durability="none")) as engine:
            samples.fill(engine, 1000)
            with served(engine) as client, launched() as browser, Visit.of(browser, client.url) as visit:
                take(visit, FOLDER)
        README.write_text(SHOWN.sub(lambda _: history(root), README.read_text()))


if __name__ == "__main__":
    main()
