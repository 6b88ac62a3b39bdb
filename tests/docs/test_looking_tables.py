"""The tables of docs/looking.md: every row names what does it, and what is named is there."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.cli.command import Command
from veneer.cli.tree import GROUPS, PACKAGE, TOP, Leaf
from veneer.engine.engine import Engine
from veneer.view.peel.keys import ACTIONS, shown

HOME = Path(__file__).parents[2]
PAGE = (HOME / "docs/looking.md").read_text().partition("## Everything others had")[2]
FIRST = ("veneer", "image", "layer", "container", "build", "history", "images", "events", "login")
REASONS = "decisions/0024-what-visualizers-had.md"


def rows() -> list[tuple[str, str]]:
    """(what others had, what is here) of all tables."""
    found = [tuple(cell.strip() for cell in line.strip("|").split(" | "))
             for line in PAGE.splitlines() if line.startswith("| ")]  # fmt: skip
    assert all(len(row) == 2 for row in found)
    return [(row[0], row[1]) for row in found if row[1] != "here"]


def named() -> Iterator[str]:
    for _, here in rows():
        yield from re.findall(r"`([^`]+)`", here)


def command_of(words: list[str]) -> tuple[Command, list[str]] | None:
    """The command that words begin with, and the others."""
    words = words[1:] if words[:1] == ["veneer"] else words
    leaf: Leaf | None = None
    if len(words) > 1 and words[0] in GROUPS and words[1] in GROUPS[words[0]].leaves:
        leaf, rest = GROUPS[words[0]].leaves[words[1]], words[2:]
    elif words and words[0] in TOP:
        leaf, rest = TOP[words[0]], words[1:]
    if leaf is None:
        return None
    return getattr(importlib.import_module(f"{PACKAGE}.{leaf.module}"), leaf.attribute), rest


def test_every_row_of_the_five_tables_is_there_and_names_what_does_it() -> None:
    tables = re.findall(r"^### .+$", PAGE, re.M)
    assert len(tables) == 5 and len(rows()) >= 15 + 16 + 18 + 25 + 11
    for what, here in rows():
        assert "`" in here or REASONS in here, what
        assert "left out" not in here or REASONS in here, what
        assert "not yet" not in here, what


def test_every_command_and_option_that_is_named_is_there() -> None:
    count = 0
    for text in named():
        for part in text.split("&&"):
            words = shlex.split(part)
            if words[0] not in FIRST:
                continue
            found = command_of(words)
            assert found is not None, text
            command, rest = found
            known = {name for option in command.options for name in (option.short, option.long)}
            for word in rest:
                if word.startswith("-"):
                    assert word.lstrip("-").partition("=")[0] in known, text
            count += 1
    assert count > 90


def test_every_page_that_is_named_is_answered(engine: Engine) -> None:
    pytest.importorskip("aiohttp")
    from veneer.view.web.application import application

    patterns = []
    for resource in application(engine, "127.0.0.1").router.resources():
        path = re.sub(r"\\{[^}]*\\}", ".+", re.escape(re.sub(r"\{\w+:[^{}]*\}", "{x}", resource.canonical)))
        patterns.append(re.compile(path))
    assert not any(pattern.fullmatch("/nosuch/page") for pattern in patterns)
    pages = [text.partition("?")[0] for text in named() if text.startswith("/")]
    assert len(pages) > 40
    for page in pages:
        assert any(pattern.fullmatch(page) for pattern in patterns), page


def test_every_tab_that_is_named_is_one_of_the_pages() -> None:
    tabs = set(re.findall(r"^  \['(\w+)', '", (HOME / "web/src/pages/image.js").read_text(), re.M))
    told = {tab for text in named() for tab in re.findall(r"[?]tab=(\w+)", text)}
    assert len(told) >= 6 and told <= tabs


def test_every_key_that_is_named_does_something() -> None:
    keys = {key for action in ACTIONS for key in shown(action.keys).split()}
    told = [key for _, here in rows() for listed in re.findall(r"`veneer peel` \((.*?)\)", here)
            for key in re.findall(r"`([^`]+)`", listed)]  # fmt: skip
    assert len(told) > 20 and set(told) <= keys
