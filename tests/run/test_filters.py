"""System call filters, compiled once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from veneer.run import filters
from veneer.run.filters import FOLDER, Filter

RULES: dict[str, object] = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
}
PROGRAM = bytes(range(64))


@pytest.fixture
def state(tmp_path: Path) -> str:
    """The state of a container for which a runtime has compiled a filter."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "seccomp.bpf").write_bytes(PROGRAM)
    return os.fspath(folder)


def found(tmp_path: Path, rules: dict[str, object] = RULES, runtime: str = "/bin/sh") -> Filter:
    return Filter(os.fspath(tmp_path), rules, runtime)


def test_what_was_compiled_is_found_for_the_same_rules_and_no_others(tmp_path: Path, state: str) -> None:
    assert found(tmp_path).program == b""
    found(tmp_path).keep(state)
    assert found(tmp_path).program == PROGRAM
    assert found(tmp_path, RULES | {"defaultAction": "SCMP_ACT_ERRNO"}).program == b""
    assert found(tmp_path, runtime="/bin/mount").program == b""
    assert (tmp_path / FOLDER).stat().st_mode & 0o77 == 0


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-8], lambda data: data[:-8] + bytes(8), lambda _: b"", lambda data: data[20:]]
)
def test_a_file_that_is_not_whole_is_none(tmp_path: Path, state: str, spoil: Callable[[bytes], bytes]) -> None:
    found(tmp_path).keep(state)
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_bytes(spoil(path.read_bytes()))
    assert found(tmp_path).program == b""
    found(tmp_path).keep(state)
    assert found(tmp_path).program == PROGRAM


def test_another_filter_in_its_place_is_not_taken(tmp_path: Path, state: str) -> None:
    """Two keys of one checksum share a file: what is in it is compared."""
    one = found(tmp_path)
    one.keep(state)
    other = found(tmp_path, RULES | {"architectures": ["SCMP_ARCH_X86"]})
    Path(one._path).rename(other._path)
    assert found(tmp_path, RULES | {"architectures": ["SCMP_ARCH_X86"]}).program == b""


def test_a_runtime_that_left_none_and_a_disk_that_takes_none_are_no_harm(tmp_path: Path, state: str) -> None:
    found(tmp_path).keep(os.fspath(tmp_path / "nowhere"))
    (tmp_path / FOLDER).write_bytes(b"no directory")
    found(tmp_path).keep(state)
    assert found(tmp_path).program == b""


def test_they_do_not_grow_without_end(tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "_MOST", 4)
    for number in range(10):
        found(tmp_path, RULES | {"number": number}).keep(state)
    assert len(os.listdir(tmp_path / FOLDER)) <= 4
    assert found(tmp_path, RULES | {"number": 9}).program == PROGRAM
