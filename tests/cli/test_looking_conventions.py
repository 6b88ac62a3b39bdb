"""What all commands that look into images have in common."""

from __future__ import annotations

import importlib

import pytest

from veneer.cli.command import Command
from veneer.cli.looked import HUMAN, SEVERAL, WHERE
from veneer.cli.tree import GROUPS, PACKAGE

LOOKING = (
    "base",
    "compare",
    "cost",
    "diff",
    "explain",
    "find",
    "identical",
    "labels",
    "layers",
    "packages",
    "tree",
    "waste",
)
WRITING = ("badge", "cat", "dockerfile", "extract")
"""These look, too, and give bytes: there is nothing to lay out."""


def command(name: str) -> Command:
    leaf = GROUPS["image"].leaves[name]
    found = getattr(importlib.import_module(f"{PACKAGE}.{leaf.module}"), leaf.attribute)
    assert isinstance(found, Command)
    return found


@pytest.mark.parametrize("name", LOOKING)
def test_they_are_written_in_every_form_and_cut_nothing_on_request(name: str) -> None:
    options = {option.long for option in command(name).options}
    assert {"format", "no-trunc"} <= options
    assert name in ("cost", "explain") or "quiet" in options


@pytest.mark.parametrize("name", sorted({*LOOKING} - {"base", "diff", "explain", "identical", "labels"}))
def test_sizes_are_bytes_on_request(name: str) -> None:
    assert HUMAN in command(name).options


@pytest.mark.parametrize("name", [*LOOKING, *WRITING])
def test_they_look_wherever_an_image_is(name: str) -> None:
    options = command(name).options
    assert set(WHERE) <= set(options) or set(SEVERAL) <= set(options)
    assert command(name).only_looks


def test_no_other_command_is_one_of_them() -> None:
    found = {name for name in GROUPS["image"].leaves if "container" in {option.long for option in command(name).options}
             and {"archive", "remote"} <= {option.long for option in command(name).options}}  # fmt: skip
    assert found == {*LOOKING, *WRITING, "peel"} - {"compare", "diff"}
