"""The stat memory: an unchanged file is not read again, and one that could have changed always is."""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import pytest

from tests.build.context.conftest import OpenContext
from veneer.build.context import hashing
from veneer.build.context.memory import Memory
from veneer.build.context.scan import WIDTH, Folder
from veneer.build.context.select import select

SECOND = 10**9
NOW = 1_700_000_000 * SECOND + 123_456_789


def folder(*times: tuple[int, int]) -> Folder:
    """A scanned directory of files with these modification and change times."""
    rows = array("q")
    for number, (mtime, ctime) in enumerate(times):
        rows.extend([0o100644, 5, mtime, ctime, number + 1, 0, 1, 0])
    return Folder(b"d", (0,) * WIDTH, [b"f%d" % number for number in range(len(times))], rows)


def learnt(memory: Memory, times: tuple[int, int], hashed_ns: int = NOW) -> bool:
    """Whether a file with these times, hashed then, is known afterwards."""
    seen = folder(times)
    seen.sums, seen.digests = bytearray(b"s" * 32), bytearray(b"d" * 32)
    memory.learn(seen, hashed_ns)
    again = folder(times)
    memory.recall(again)
    return bytes(again.sums or b"") == b"s" * 32


@pytest.mark.parametrize(
    ("mtime", "ctime", "known"),
    [
        (NOW - SECOND, NOW - SECOND, True),
        (NOW - 1_000_000, NOW - 1_000_000, False),
        (NOW - 199_000_000, NOW - SECOND, False),
        (NOW - SECOND, NOW - 199_000_000, False),
        (NOW + SECOND, NOW - SECOND, False),
        (NOW - 201_000_000, NOW - 201_000_000, True),
        (NOW // SECOND * SECOND - SECOND, NOW // SECOND * SECOND - SECOND, False),
        (NOW // SECOND * SECOND - 3 * SECOND, NOW // SECOND * SECOND - 3 * SECOND, True),
        (0, NOW - SECOND, True),
    ],
    ids=["rested", "same-tick", "mtime-fresh", "ctime-fresh", "future", "just-over", "whole-seconds", "older", "epoch"],
)
def test_only_a_file_that_rested_longer_than_its_clocks_grain_is_remembered(
    mtime: int, ctime: int, known: bool
) -> None:
    assert learnt(Memory(None), (mtime, ctime)) is known


def test_another_machines_clock_is_trusted_only_after_a_minute() -> None:
    assert not learnt(Memory(None, remote=True), (NOW - 30 * SECOND - 1, NOW - 30 * SECOND - 1))
    assert learnt(Memory(None, remote=True), (NOW - 61 * SECOND - 1, NOW - 61 * SECOND - 1))


@pytest.mark.parametrize("column", range(WIDTH))
def test_any_number_that_differs_makes_a_file_unknown(column: int) -> None:
    memory = Memory(None)
    old = (NOW - SECOND, NOW - SECOND)
    seen = folder(old, old)
    seen.sums, seen.digests = bytearray(b"s" * 64), bytearray(b"d" * 64)
    memory.learn(seen, NOW)
    again = folder(old, old)
    again.rows[column] += 1
    memory.recall(again)
    assert bytes(again.sums or b"") == bytes(32) + b"s" * 32, "the other file is as it was"
    assert bytes(again.digests or b"") == bytes(32) + b"d" * 32


def test_a_rename_in_a_directory_leaves_the_others_known() -> None:
    memory = Memory(None)
    old = (NOW - SECOND, NOW - SECOND)
    seen = folder(old, old, old)
    seen.sums, seen.digests = bytearray(b"a" * 32 + b"b" * 32 + b"c" * 32), bytearray(96)
    memory.learn(seen, NOW)
    again = folder(old, old, old)
    again.names[1] = b"f1x"
    memory.recall(again)
    assert bytes(again.sums or b"") == b"a" * 32 + bytes(32) + b"c" * 32


def test_what_was_learnt_is_there_for_the_next_process_and_damage_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "contexts" / "one"
    memory = Memory(file)
    old = (NOW - SECOND, NOW - SECOND)
    assert learnt(memory, old)
    memory.save()
    whole = file.read_bytes()
    assert [path.name for path in file.parent.iterdir()] == ["one"]

    def known() -> bool:
        again = folder(old)
        Memory(file).recall(again)
        return bytes(again.sums or b"") == b"s" * 32

    assert known()
    for damaged in (whole[:-1], whole + b"x", whole[:40], b"", b"x" * len(whole), whole[:60] + b"\xff" + whole[61:]):
        file.write_bytes(damaged)
        assert not known()


def test_nothing_is_written_where_nothing_was_learnt_or_can_be(tmp_path: Path) -> None:
    Memory(tmp_path / "contexts" / "one").save()
    assert not (tmp_path / "contexts").exists()
    (tmp_path / "contexts").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        Memory(tmp_path / "contexts" / "one")


def _rest(path: Path) -> None:
    """Have a file look as if it had not been touched for an hour.  Its change time cannot be set, so files that must
    be known are made in a context whose hashing is told a later time."""
    hour = 3600 * SECOND
    os.utime(path, ns=(NOW - hour, NOW - hour))


def _changed(path: Path, text: str) -> None:
    """Write a file at what the clock of files, which goes by ticks, calls another moment than it was changed at."""
    before = os.stat(path).st_ctime_ns
    while os.stat(path).st_ctime_ns == before:
        path.write_text(text)


def test_a_file_is_read_once_and_again_only_when_it_changed(
    opened: OpenContext, context_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[bytes] = []
    real = hashing._regular

    def counting(*arguments: object) -> object:
        reads.append(arguments[3])  # type: ignore[arg-type]
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "_regular", counting)
    clock = [os.stat(context_dir).st_ctime_ns + 3600 * SECOND]
    monkeypatch.setattr("veneer.build.context.hashing.time.time_ns", lambda: clock[0])
    (context_dir / "d").mkdir()
    for name in ("a", "b"):
        (context_dir / "d" / name).write_text(name)
        _rest(context_dir / "d" / name)

    def checksum() -> str:
        reads.clear()
        with opened() as context:
            return select(context, ["d"]).checksum()

    first = checksum()
    assert sorted(reads) == [b"d/a", b"d/b"]
    assert checksum() == first
    assert reads == []
    _changed(context_dir / "d" / "a", "A")
    _rest(context_dir / "d" / "a")
    assert checksum() != first, "same size, same time, other content"
    assert reads == [b"d/a"]
    clock[0] = 0  # from here on every file was touched later than it is hashed
    _changed(context_dir / "d" / "b", "B")
    changed = checksum()
    assert checksum() == changed
    assert b"d/b" in reads, "a file changed within the clock's grain is read again each time"


def test_what_has_not_changed_at_all_is_known_as_a_whole(
    opened: OpenContext, context_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = os.stat(context_dir).st_ctime_ns + 3600 * SECOND
    monkeypatch.setattr("veneer.build.context.hashing.time.time_ns", lambda: later)
    (context_dir / "d" / "e").mkdir(parents=True)
    for number in range(100):
        (context_dir / "d" / "e" / f"f{number}").write_text(f"{number}\n")

    def checksum() -> tuple[str, bool]:
        """The checksum, and whether it was known without looking any entry up."""
        with opened() as context:
            selection = select(context, ["d"])
            found = selection.checksum()
            as_a_whole = all(folder.sums is None for folder in selection.folders())
            selection.complete()
            assert selection.summary() == found, "the entries say the same"
            return found, as_a_whole

    first, as_a_whole = checksum()
    assert not as_a_whole
    assert checksum() == (first, True)
    _changed(context_dir / "d" / "e" / "f50", "51\n")
    changed, as_a_whole = checksum()
    assert changed != first
    assert not as_a_whole
    (context_dir / "d" / "e" / "f50").chmod(0o600)
    assert checksum()[0] not in (first, changed)
    _changed(context_dir / "d" / "e" / "f50", "50\n")
    (context_dir / "d" / "e" / "f50").chmod(0o644)
    assert checksum()[0] == first


def test_a_selection_with_a_file_that_did_not_rest_is_not_known_as_a_whole() -> None:
    memory = Memory(None)
    for times, known in (((NOW - SECOND, NOW - SECOND), "dir:1"), ((NOW, NOW), "")):
        seen = folder(times)
        seen.sums, seen.digests = bytearray(b"s" * 32), bytearray(b"d" * 32)
        memory.learn(seen, NOW)
        memory.learn_total(f"{times}", [seen], "dir:1")
        assert memory.total(f"{times}") == known
