"""`veneer tag`, `veneer image tag`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Parsed


def run(app: App, given: Parsed) -> None:
    source, target = given.arguments
    app.engine.images.tag(source, target)


TAG = Command(
    run,
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    least=2,
    most=2,
    names=("image tag", "tag"),
    only_looks=True,
)
