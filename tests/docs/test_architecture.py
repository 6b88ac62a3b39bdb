"""The house is as its plan says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

HOME = Path(__file__).parents[2]
SOURCE = HOME / "src" / "veneer"


def rooms() -> set[str]:
    """Every package and module right below veneer, without what wires them."""
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    return packages | modules


def test_every_room_has_its_storey() -> None:
    settings = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["importlinter"]
    (contract,) = (each for each in settings["contracts"] if each["type"] == "layers")
    assert contract["exhaustive"], "a new package without a place must fail"
    assert {room.strip() for layer in contract["layers"] for room in layer.split("|")} >= rooms() - {"__main__"}


def test_the_plan_names_every_room_and_every_module_in_it() -> None:
    plan = (HOME / "ARCHITECTURE.md").read_text()
    words = set(re.findall(r"[\w.]+", plan))
    modules = {path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if not path.name.startswith("__")}
    missing = [str(path) for path in sorted(modules) if path.stem not in words and path.name not in words]
    assert missing == [], "modules that ARCHITECTURE.md does not mention"


def test_every_package_says_what_it_knows() -> None:
    for door in sorted(SOURCE.glob("*/__init__.py")):
        sign = door.read_text().strip()
        assert len(sign.splitlines()) >= 3, f"{door.parent.name}/__init__.py should say what the package knows"
