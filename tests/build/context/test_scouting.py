"""A context that two processes look at is seen as one that one looks at; and which half is whose."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.build.context.conftest import OpenContext
from veneer.build.context import halves, scouting
from veneer.build.context.halves import later_half
from veneer.build.context.ignore import Ignore
from veneer.build.context.scan import Folder, Tree
from veneer.build.context.scouting import Scout
from veneer.build.context.select import select

Seen = list[tuple[bytes, list[bytes], list[int], list[bytes]]]


@pytest.fixture
def filled(context_dir: Path) -> Path:
    for top in "abc":
        for number in range(5):
            folder = context_dir / top / f"{number}"
            folder.mkdir(parents=True)
            for name in ("x", "y", "skipped"):
                (folder / name).write_text(f"{top}{number}{name}")
        (context_dir / top / "link").symlink_to("0/x")
    return context_dir


def everything(folder: Folder) -> Seen:
    return [(each.path, each.names, each.rows.tolist(), sorted(each.folders)) for each in folder.walk()]


def test_what_two_processes_see_is_what_one_sees(filled: Path) -> None:
    fd = os.open(filled, os.O_RDONLY)
    try:
        ignore = Ignore(["**/skipped", "b/3"])
        alone, tree = Tree(fd, "alone", ignore=ignore), Tree(fd, "together", ignore=ignore)
        tree.scout = Scout(tree, [b"c", b"b/4", b"b/2"])
        assert everything(tree.folder(b"")) == everything(alone.folder(b""))
        assert tree.folder(b"b/4") is tree.folder(b"").folders[b"b"].folders[b"4"]
    finally:
        os.close(fd)


def test_a_directory_listed_here_before_stays_that_one(filled: Path) -> None:
    fd = os.open(filled, os.O_RDONLY)
    try:
        tree = Tree(fd, "together")
        tree.scout = Scout(tree, [b"c"])
        mine = tree.folder(b"c/1")
        assert tree.folder(b"c").folders[b"1"] is mine
    finally:
        os.close(fd)


@pytest.mark.parametrize("fate", ["killed", "late", "nothing there"])
def test_what_the_other_process_did_not_see_is_looked_at_here(
    filled: Path, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    fd = os.open(filled, os.O_RDONLY)
    try:
        tree = Tree(fd, "together")
        tree.scout = Scout(tree, [b"c"] if fate != "nothing there" else [b"c", b"gone"])
        if fate == "killed":
            os.kill(tree.scout._process, signal.SIGKILL)
        elif fate == "late":
            monkeypatch.setattr(scouting, "_FRESH", -1.0)
        assert everything(tree.folder(b"")) == everything(Tree(fd, "alone").folder(b""))
        tree.scout.close()
    finally:
        os.close(fd)


def test_a_context_known_to_be_large_is_shared_out_and_changes_are_seen_in_both_halves(
    filled: Path, opened: OpenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(halves, "WORTHWHILE", 10)
    monkeypatch.setattr(scouting, "_is_alone", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})

    def checksum() -> tuple[str, bool]:
        with opened() as context:
            return select(context, ["."]).checksum(), context.scout is not None

    first, shared = checksum()
    assert not shared
    assert checksum() == (first, True)
    for change in ("a/1/x", "c/4/y"):
        before = checksum()[0]
        (filled / change).write_text("another content")
        assert checksum()[0] != before
        assert checksum()[1]
    (filled / "c/4/y").unlink()
    (filled / "c/4").rename(filled / "d")
    last, _ = checksum()
    with opened(filled) as context:
        context.memory = None
        assert select(context, ["."]).checksum() == last


def test_half_of_a_tree_is_its_later_directories() -> None:
    entries = {b"z": 8000, b"a": 3, b"a/one": 4000, b"a/two": 3, b"a/two/x": 5000, b"a/two/y": 5000, b"a/zoo": 100}
    found = later_half(entries)
    assert found == [b"a/zoo", b"a/two"]
    assert later_half({b"": 9, b"a": 100}) == []
    assert later_half({b"": 100_000}) == []
    flat = {b"": 2000} | {b"%04d" % number: 10 for number in range(2000)}
    taken = later_half(flat)
    assert taken == [b"%04d" % number for number in range(1999, 1999 - len(taken), -1)] and 900 < len(taken) <= 1100
