"""`make` lists what there is, and what it lists is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.programs import needs, run

HOME = Path(__file__).parents[2]
PROMISED = {"help", "setup", "demo", "test", "conformance", "types", "lint", "arch", "bench", "compat"}


def targets() -> list[str]:
    needs("make")
    return re.findall(r"^  make ([\w-]+) +\S", run("make", "-C", HOME, "--no-print-directory").out, re.M)


def test_make_alone_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (HOME / "Makefile").read_text(), re.M)
    assert phony is not None
    assert sorted(targets()) == sorted(phony[1].split())
    assert set(targets()) >= PROMISED


@pytest.mark.parametrize("target", sorted(PROMISED))
def test_every_target_can_be_planned(target: str) -> None:
    needs("make")
    assert run("make", "-C", HOME, "--no-print-directory", "--dry-run", target).out


def test_ci_runs_every_check() -> None:
    assert "make lint types arch test" in (HOME / ".ci" / "run").read_text()
