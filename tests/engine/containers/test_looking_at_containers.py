"""Logs across files, `ps` output filtered, shares of processors: the parts that need no container."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from veneer.engine.containers import logs
from veneer.engine.containers.lifecycle import InvalidSignal, parsed_signal
from veneer.engine.containers.processes import BadProcessOptions, parsed
from veneer.engine.containers.statistics import Sample, processor_share
from veneer.run.monitor import state
from veneer.run.monitor.logfile import LogFile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "c-json.log"


def texts(found: Iterator[logs.Line]) -> list[str]:
    return [line.text for line in found]


def written(path: Path, count: int, *, size: int = 0, files: int = 1) -> list[str]:
    log = LogFile(path, max_size=size, max_files=files)
    for number in range(count):
        log.write(1 + number % 2, f"line {number}\n".encode())
    log.end()
    log.close()
    return [f"line {number}\n" for number in range(count)]


@pytest.mark.parametrize("tail", [0, 1, 7, 50, 99, 100, 101, 1000])
def test_the_last_lines_are_found_across_files(folder: Path, path: Path, tail: int) -> None:
    wanted = written(path, 100, size=1500, files=20)
    assert path.with_name(f"{path.name}.3").exists()
    assert texts(logs.lines(folder, path, tail=tail)) == wanted[max(0, 100 - tail) :]
    assert texts(logs.lines(folder, path)) == wanted


def test_the_last_lines_of_a_file_larger_than_what_is_read_at_once(folder: Path, path: Path) -> None:
    wanted = written(path, 5000)
    assert path.stat().st_size > 4 * (64 << 10)
    for tail in (1, 1234, 4999, 5000):
        assert texts(logs.lines(folder, path, tail=tail)) == wanted[-tail:]


def test_a_line_that_was_cut_off_spoils_no_other(folder: Path, path: Path) -> None:
    written(path, 2)
    with path.open("ab") as file:
        file.write(b'{"log":"lost\\n","stre\n' + json.dumps({"log": "x\n", "stream": "stderr", "time": "t"}).encode())
        file.write(b"\n")
    found = list(logs.lines(folder, path))
    assert [line.text for line in found] == ["line 0\n", "line 1\n", "x\n"] and found[-1].stream == 2


def test_a_container_without_a_log_has_printed_nothing(folder: Path, path: Path) -> None:
    assert texts(logs.lines(folder, path)) == texts(logs.lines(folder, path, follow=True)) == []


def test_a_name_that_is_free_while_files_are_renamed_is_not_the_end_of_them(folder: Path, path: Path) -> None:
    written(path.with_name(f"{path.name}.2"), 1)
    LogFile(path).write(1, b"young\n")
    assert [line.text for line in logs.lines(folder, path)] == ["line 0\n", "young\n"]


def test_a_follower_reads_every_line_however_fast_files_change(folder: Path, path: Path) -> None:
    held = state.hold(folder, state.ALIVE)
    assert held is not None
    found: list[str] = []
    seen = threading.Event()

    def follow() -> None:
        for line in logs.lines(folder, path, follow=True):
            found.append(line.text)
            seen.set()

    written(path, 1)
    reader = threading.Thread(target=follow)
    reader.start()
    assert seen.wait(120)
    log = LogFile(path, max_size=4000, max_files=1000)
    for number in range(3000):
        log.write(1, f"more {number}\n".encode())
    log.close()
    os.close(held)
    reader.join(120)
    assert found == ["line 0\n", *(f"more {number}\n" for number in range(3000))]


PS = """  PID TTY      CMD
    1 ?        init
   12 ?        sh -c  two  words
    - -        a thread
  120 pts/0    other
    - -        its thread
"""


def test_of_what_ps_prints_the_containers_lines_are_kept_with_their_threads() -> None:
    found = parsed(PS, [12])
    assert list(found.titles) == ["PID", "TTY", "CMD"]
    assert found.rows == [["12", "?", "sh -c two words"], ["-", "-", "a thread"]]
    with pytest.raises(BadProcessOptions, match="Couldn't find PID field"):
        parsed("CMD\nx\n", [1])
    with pytest.raises(BadProcessOptions):
        parsed("", [1])


def test_the_share_of_a_processor_is_of_the_time_between_two_looks() -> None:
    before, after = Sample(at=10.0, processor=1.0), Sample(at=10.5, processor=1.75)
    assert processor_share(before, after) == 150.0
    assert processor_share(after, after) == 0.0


@pytest.mark.parametrize(("text", "number"), [("KILL", 9), ("sigterm", 15), ("10", 10), ("RTMIN+3", 37)])
def test_signals_have_names_and_numbers(text: str, number: int) -> None:
    assert parsed_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "FOO", "TERM+x", "-1", "SIGSIGTERM", "_DFL"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidSignal):
        parsed_signal(text)
