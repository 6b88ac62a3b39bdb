"""The log of events: whole lines whoever writes, in order, across rotations."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from veneer.store import events


def put(root: Path, action: str, id: str = "c1", type: str = "container", **attributes: str) -> None:
    events.append(root, type=type, action=action, id=id, attributes=attributes)


def actions(found: Any) -> list[str]:
    return [event["Action"] for event in found]


def test_an_event_has_dockers_shape(tmp_path: Path) -> None:
    before = time.time_ns()
    put(tmp_path, "start", image="busybox:1", name="one")
    [event] = events.read(tmp_path, since=0)
    assert before <= event["timeNano"] <= time.time_ns() and event["time"] == event["timeNano"] // 10**9
    assert {key: event[key] for key in event if not key.startswith("time")} == {
        "status": "start", "id": "c1", "from": "busybox:1", "Type": "container", "Action": "start",
        "Actor": {"ID": "c1", "Attributes": {"image": "busybox:1", "name": "one"}}, "scope": "local",
    }  # fmt: skip
    put(tmp_path, "create", "v", "volume")
    assert "status" not in list(events.read(tmp_path, since=0))[-1]


def test_without_a_beginning_only_what_comes_is_told_and_the_end_is_kept(tmp_path: Path) -> None:
    put(tmp_path, "old")
    assert list(events.read(tmp_path)) == []
    cut = time.time()
    put(tmp_path, "new")
    assert actions(events.read(tmp_path, since=cut)) == ["new"]
    assert actions(events.read(tmp_path, since=0, until=cut)) == ["old"]


def test_following_tells_what_others_write(tmp_path: Path) -> None:
    found: list[str] = []

    def follow() -> None:
        for event in events.read(tmp_path, since=0, follow=True):
            found.append(event["Action"])
            if event["Action"] == "last":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    for action in ("one", "two", "last"):
        put(tmp_path, action)
    thread.join(timeout=30)
    assert found == ["one", "two", "last"]


def test_a_full_log_begins_anew_and_readers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LIMIT", 2000)
    reading = events.read(tmp_path, since=0, follow=True)
    told = []
    for number in range(30):
        put(tmp_path, str(number))
        told.append(next(reading)["Action"])
    assert told == [str(number) for number in range(30)]
    assert (tmp_path / events.OLD).stat().st_size <= 2500
    assert actions(events.read(tmp_path, since=0))[-1] == "29"


def test_a_log_that_is_renamed_while_a_reader_opens_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "one")
    opened = os.open

    def renaming(path: str, *rest: Any) -> int:
        monkeypatch.undo()
        try:
            return opened(path, *rest)
        finally:
            os.replace(tmp_path / events.FILE, tmp_path / events.OLD)
            put(tmp_path, "two")

    monkeypatch.setattr(os, "open", renaming)
    assert actions(events.read(tmp_path, since=0)) == ["one", "two"]


def test_a_line_that_a_full_disk_has_cut_off_spoils_no_other(tmp_path: Path) -> None:
    put(tmp_path, "one")
    with (tmp_path / events.FILE).open("a") as file:
        file.write('{"status": "cut')
    put(tmp_path, "two")
    assert actions(events.read(tmp_path, since=0)) == ["one", "two"]


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from veneer.store import events\n"
        "for n in range(200): events.append(pathlib.Path(sys.argv[1]), type='image', action='pull', id='x' * 500)"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(4)]
    assert [each.wait() for each in running] == [0] * 4
    assert len(list(events.read(tmp_path, since=0))) == 800


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": ["image"]}, ["pull"]),
        ({"event": ["start", "pull"]}, ["start", "pull"]),
        ({"event": ["health_status"]}, ["health_status: healthy"]),
        ({"container": ["one"]}, ["start", "health_status: healthy"]),
        ({"container": ["c1c1"]}, ["start", "health_status: healthy", "connect"]),
        ({"image": ["busybox:1"]}, ["start", "pull"]),
        ({"label": ["tier=db"]}, ["start"]),
        ({"label": ["tier"], "type": ["image"]}, []),
    ],
)
def test_filters_are_dockers(tmp_path: Path, filters: dict[str, list[str]], expected: list[str]) -> None:
    put(tmp_path, "start", "c1c1c1", name="one", image="busybox:1", tier="db")
    put(tmp_path, "health_status: healthy", "c1c1c1", name="one")
    put(tmp_path, "pull", "busybox:1", "image", name="busybox")
    put(tmp_path, "connect", "n1", "network", container="c1c1c1", name="bridge")
    assert actions(events.read(tmp_path, since=0, wanted=events.filtered(filters))) == expected
