"""Checksums of what is copied are docker's, and change exactly when what is copied does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.build.context.conftest import OpenContext
from veneer.build.context.select import select

F = "file:94a90b73808907d1482d2787087ee50a4d8cd957f578810f701b9acb61ba9a55"
G = "file:fc350befcb768e5251d306b24f6cf7d80ffdc282d54395a27cd4b98941d6e5ba"
HELLO = "file:7d1b8e6c9123955c22ae5efea6309bc3436ed116b03932f650caae30c06ab651"
D = "dir:9601d1dc68efb7b78862ebc7fc99e21f485a6d7260a924223ada67c980ddbf3b"
MULTI = "multi:4f6972464f3c5a0504b1c3ca64718297356fed9d9841b02ed5a2e462c14887d1"


@pytest.fixture
def vectors(context_dir: Path) -> Path:
    for name, text in {
        "f": "1\n", "g": "1\n", "hello.txt": "hello\n", "d/a": "a\n", "d/sub/b": "b\n", "dir/sub/x": "x\n",
        "dir/y": "y\n",
    }.items():  # fmt: skip
        (context_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (context_dir / name).write_text(text)
    return context_dir


def checksum(opened: OpenContext, *patterns: str) -> str:
    with opened() as context:
        return select(context, patterns).checksum()


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [(["f"], F), (["g"], G), (["hello.txt"], HELLO), (["d"], D), (["d/"], D), (["hello.txt", "dir/"], MULTI)],
)
def test_the_five_checksums_seen_on_a_real_daemon_hold(
    vectors: Path, opened: OpenContext, patterns: list[str], expected: str
) -> None:
    assert checksum(opened, *patterns) == expected


def test_times_owner_and_other_files_do_not_count(vectors: Path, opened: OpenContext) -> None:
    before = checksum(opened, "d")
    os.utime(vectors / "d" / "a", ns=(1, 1))
    os.chown(vectors / "d" / "a", 5, 6)
    (vectors / "unrelated").write_text("x")
    os.setxattr(vectors / "d" / "a", "user.note", b"x")
    assert checksum(opened, "d") == before


def test_mode_of_a_file_or_directory_names_and_content_count_and_going_back_is_as_before(
    vectors: Path, opened: OpenContext
) -> None:
    before = checksum(opened, "d")
    seen = {before}
    for path, mode in ((vectors / "d" / "a", 0o600), (vectors / "d" / "sub", 0o700)):
        old = path.stat().st_mode & 0o7777
        path.chmod(mode)
        seen.add(checksum(opened, "d"))
        path.chmod(old)
        assert checksum(opened, "d") == before
    (vectors / "d" / "a").rename(vectors / "d" / "c")
    seen.add(checksum(opened, "d"))
    (vectors / "d" / "c").rename(vectors / "d" / "a")
    (vectors / "d" / "a").write_text("b\n")
    seen.add(checksum(opened, "d"))
    (vectors / "d" / "link").symlink_to("a")
    seen.add(checksum(opened, "d"))
    (vectors / "d" / "link").unlink()
    (vectors / "d" / "link").symlink_to("sub/b")
    seen.add(checksum(opened, "d"))
    assert len(seen) == 6 + 1


def test_a_capability_counts(vectors: Path, opened: OpenContext) -> None:
    before = checksum(opened, "f")
    subprocess.run(["setcap", "cap_net_raw+ep", vectors / "f"], check=True)
    assert checksum(opened, "f") != before


def test_the_root_itself_has_no_entry_in_its_checksum(vectors: Path, opened: OpenContext) -> None:
    before = checksum(opened, ".")
    vectors.chmod(0o700)
    assert checksum(opened, ".") == before


def test_big_files_are_hashed_by_several_threads_to_the_same_sum(vectors: Path, opened: OpenContext) -> None:
    (vectors / "d" / "big").write_bytes(os.urandom(1 << 20) * 6)
    (vectors / "d" / "big2").write_bytes(os.urandom(1 << 20) * 6)
    first = checksum(opened, "d")
    with opened() as context:
        context.memory = None
        assert select(context, ["d"]).checksum() == first
