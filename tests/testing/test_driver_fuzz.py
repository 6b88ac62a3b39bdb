"""The fuzzer that the drivers are held to, itself: what it does to files with several names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from veneer.drivers.vfs import Vfs
from veneer.testing.driver_bench import Bench, facts
from veneer.testing.driver_fuzz import Story
from veneer.testing.driver_fuzz_work import break_link


def test_one_of_several_names_becomes_a_copy_the_same_in_all_else(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    name = tmp_path / "d/one"
    name.write_bytes(b"\0content" * 1000)
    os.link(name, tmp_path / "two")
    os.link(name, tmp_path / "d/three")
    os.chown(name, 7, 33)
    name.chmod(0o4755)
    os.setxattr(name, "user.note", b"\0\xff")
    for path in (name, tmp_path / "d"):
        os.utime(path, ns=(0, 1_600_000_000_123_456_789))
    before = facts(tmp_path)

    break_link(name)

    after = facts(tmp_path)
    assert {path: each[:8] for path, each in after.items()} == {path: each[:8] for path, each in before.items()}
    assert [after[path][8] for path in (b"d/one", b"two", b"d/three")] == [
        (b"d/one",), (b"d/three", b"two"), (b"d/three", b"two")
    ]  # fmt: skip


def test_a_driver_that_keeps_links_is_not_taken_for_one_that_breaks_them(tmp_path: Path) -> None:
    one, two = (Bench(Vfs(tmp_path / name), tmp_path) for name in ("one", "two"))
    with pytest.raises(AssertionError, match="differ"):
        Story(2, one, two, keeps_links=False).tell(70)
