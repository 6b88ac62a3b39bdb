"""`veneer top`, `veneer container top`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import Command
from veneer.cli.flags import Parsed
from veneer.cli.tables import harmless, width

_NARROWEST, _PADDING = 20, 3
"""Of a column, in docker's table."""


def run(app: App, given: Parsed) -> None:
    name, *options = given.arguments
    found = app.engine.containers.top(name, options)
    rows = [[harmless(cell) for cell in row] for row in (found.titles, *found.rows)]
    wide = [max(_NARROWEST, max(map(width, column)) + _PADDING) for column in zip(*rows, strict=False)]
    for row in rows:
        padded = [cell + " " * (room - width(cell)) for cell, room in zip(row[:-1], wide, strict=False)]
        app.write("".join([*padded, row[-1]]) + "\n")


TOP_COMMAND = Command(
    run,
    "Display the running processes of a container",
    "CONTAINER [ps OPTIONS]",
    least=1,
    most=None,
    names=("container top", "top"),
    interspersed=False,
    only_looks=True,
)
