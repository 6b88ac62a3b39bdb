"""Callers who say wrong things, too much, or nothing; what a container sees; what a monitor costs."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import select
import stat
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.run.monitor.conftest import Box, until
from veneer.run.failures import CannotExecute, ContainerFailed
from veneer.run.monitor import protocol
from veneer.run.monitor.assembly import BadWorkingDirectory
from veneer.run.monitor.logfile import LogFile

Boxes = Callable[..., Box]
SLEEP = ("sh", "-c", "while :; do sleep 1; done")
MAX_RESIDENT = 20 << 20


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


WRONG = {
    "a frame that is too long": struct.pack(">B3xI", 16, 1 << 30),
    "data before anything was asked": protocol.frame(protocol.STDIN, b"x"),
    "no JSON": protocol.frame(protocol.REQUEST, b"{"),
    "no object": protocol.frame(protocol.REQUEST, b"[1]"),
    "JSON that is deep": protocol.frame(protocol.REQUEST, b"[" * 100_000),
    "no verb": protocol.message(protocol.REQUEST, {}),
    "arguments of the wrong kind": protocol.message(protocol.REQUEST, {"do": "exec", "request": 7}),
    "a signal that is none": protocol.message(protocol.REQUEST, {"do": "kill", "signal": 4000}),
    "a size that is none": protocol.message(protocol.REQUEST, {"do": "resize", "rows": []}),
    "an attachment of nothing": protocol.message(protocol.REQUEST, {"do": "attach", "attach": "x"}),
    "rubbish": bytes(range(256)) * 100,
}


def test_wrong_requests_harm_nobody(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    for what, data in WRONG.items():
        with one.client.connection() as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.settimeout(30)
            connection.sendall(data)
            answer = connection.recv(1 << 16)
            assert not answer or b'"error"' in answer, what
    assert one.exec("echo", "well")[1] == b"well\n"


def test_callers_who_say_nothing_take_nobodys_place_for_long(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    silent = [one.client.connection() for _ in range(100)]
    try:
        assert one.exec("echo", "well")[1] == b"well\n"
        assert resident(one.state.monitor) < MAX_RESIDENT
    finally:
        for each in silent:
            each.close()


def test_the_socket_is_its_owners_alone_and_has_a_place_in_the_file_system(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    status = os.stat(one.folder / "socket")
    assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
    assert one.id not in "".join(line for line in Path("/proc/net/unix").read_text().splitlines() if "@" in line)
    for name in os.listdir(one.folder):
        assert stat.S_IMODE(os.stat(one.folder / name).st_mode) & 0o037 == 0 or name == "bundle", name


def test_readers_who_do_not_read_do_not_fill_the_monitor(box: Boxes) -> None:
    one = box()
    stream = one.attached("sh", "-c", "until test -e /go; do sleep 0.01; done; cat /dev/zero", log={"driver": "none"})
    others = [one.client.attach() for _ in range(8)]
    monitor, pid = one.state.monitor, one.state.pid
    one.exec("touch", "/go")
    until(lambda: len(select.select([stream, *others], [], [], 0)[0]) == 9)
    assert resident(monitor) < MAX_RESIDENT + (8 << 20), "256 KiB for each of them, and no more"
    assert Path(f"/proc/{pid}/status").exists()
    for each in (stream, *others):
        each.close()
    one.client.stop(0)


def test_what_a_container_sees(box: Boxes) -> None:
    one = box()
    one.host_config["SecurityOpt"] = ["no-new-privileges"]
    script = """
ls /proc/self/fd | wc -w; ls -ld /dev | cut -c1; grep -E '^(Cap|NoNewPrivs)' /proc/self/status
cat /proc/self/mountinfo /proc/self/cgroup
"""
    _code, out, _err = one.run("sh", "-c", script)
    text = out.decode()
    lines = text.splitlines()
    assert lines[0] == "4", "0, 1, 2, and the directory that ls reads"
    assert lines[1] == "d"
    assert "CapInh:\t0000000000000000" in lines and "CapAmb:\t0000000000000000" in lines
    assert "CapBnd:\t00000000a80425fb" in lines and "NoNewPrivs:\t1" in lines
    mounts = [line.split() for line in lines if " - " in line]
    assert mounts and all(not fields[4].startswith(str(one.root)) for fields in mounts)
    assert all(str(one.root) not in fields[3] for fields in mounts), "nothing of the data root is mounted"
    assert all(line.endswith(":/") for line in lines if line[:2].rstrip(":").isdigit() and "::" in line)


def test_an_exec_has_no_more_descriptors_than_it_needs(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    assert one.exec("sh", "-c", "ls /proc/self/fd | wc -w")[1] == b"4\n"


@pytest.mark.parametrize("where", ["/proc/self/fd/7", "/proc/self/fd/8/../../..", "/way/out"])
@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_working_directory_leads_nowhere_else(box: Boxes, runtime: str, where: str) -> None:
    one = box(runtime)
    link = Path(json.loads(json.dumps(one.job["mounts"][0]["upper"]))) / "way"
    link.symlink_to("/proc/self/fd/9")
    one.config["WorkingDir"] = where
    with pytest.raises((BadWorkingDirectory, ContainerFailed)):
        one.run("sh", "-c", "pwd; ls")
    one.config["WorkingDir"] = ""
    one.start(*SLEEP)
    with pytest.raises((BadWorkingDirectory, ContainerFailed, CannotExecute)):
        one.exec("ls", WorkingDir=where)


def test_a_log_file_is_cut_and_kept_as_docker_does(tmp_path: Path) -> None:
    path = tmp_path / "c-json.log"
    log = LogFile(path, max_size=1000, max_files=3)
    for number in range(100):
        log.write(1, b"%d\n" % number)
    log.end()
    log.close()
    names = sorted(each.name for each in tmp_path.iterdir())
    assert names == ["c-json.log", "c-json.log.1", "c-json.log.2"]
    assert all(each.stat().st_size < 1100 for each in tmp_path.iterdir())
    kept = [json.loads(line)["log"] for name in reversed(names) for line in (tmp_path / name).read_text().splitlines()]
    assert kept == [f"{number}\n" for number in range(100 - len(kept), 100)]


def test_lines_in_a_log_are_whole_or_pieces_of_16_kib(tmp_path: Path) -> None:
    path = tmp_path / "c-json.log"
    log = LogFile(path, attributes={"a": "b"})
    long = b"x" * 40_000 + b"\n"
    log.write(1, b"begun, ")
    log.write(2, b"<&> \xff \xe2\x80\xa8\n")
    log.write(1, b"ended\n" + long[:100])
    log.write(1, long[100:])
    log.write(1, b"no end")
    log.end()
    log.close()
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(each["stream"], len(each["log"])) for each in entries] == [
        ("stderr", 8), ("stdout", 13), ("stdout", 16384), ("stdout", 16384), ("stdout", 7233), ("stdout", 6)
    ]  # fmt: skip
    assert entries[0]["log"] == "<&> \ufffd \u2028\n" and entries[0]["attrs"] == {"a": "b"}
    assert b"\\u003c\\u0026\\u003e" in path.read_bytes()


def test_a_disk_that_is_full_costs_lines_and_no_more(ext4: Callable[[int], Path]) -> None:
    path = ext4(8 << 20) / "c-json.log"
    log = LogFile(path)
    line = b"x" * 1000 + b"\n"
    for _ in range(12_000):
        log.write(1, line)
    log.close()
    assert log.lost and log.problem
    assert all(json.loads(each)["log"] for each in path.read_text().splitlines())


def test_a_disk_that_fails_costs_lines_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c-json.log"
    log = LogFile(path)
    write, truncate = os.write, os.ftruncate

    def fails(*_: object) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log.write(1, b"before\n")
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    monkeypatch.setattr(os, "ftruncate", fails)
    log.write(1, b"half\n")
    monkeypatch.setattr(os, "write", write)
    log.write(1, b"behind half a line\n")
    lost = log.lost
    assert lost > 23 and log.problem
    monkeypatch.setattr(os, "ftruncate", truncate)
    log.write(1, b"after\n")
    log.close()
    assert log.lost == lost
    assert [json.loads(each)["log"] for each in path.read_text().splitlines()] == ["before\n", "after\n"]


def test_a_monitor_is_small_and_grows_with_nothing(box: Boxes) -> None:
    one = box()
    one.start(*SLEEP)
    monitor = one.state.monitor
    one.exec("true")
    before = resident(monitor), descriptors(monitor)
    threads = [threading.Thread(target=lambda: [one.exec("true") for _ in range(15)]) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    after = resident(monitor), descriptors(monitor)
    print(f"a monitor has {before[0] >> 10} KiB, after 30 execs {after[0] >> 10} KiB")
    assert after[0] < MAX_RESIDENT and after[0] < before[0] + (1 << 20)
    until(lambda: descriptors(monitor) <= before[1])


def mounts_of(one: Box) -> int:
    """Mounts in our own namespace that have to do with a container; others' come and go."""
    return Path("/proc/self/mountinfo").read_text().count(one.folder.name)


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_nothing_grows_over_many_starts(box: Boxes) -> None:
    one = box()
    gc.collect()  # what other tests have left to be collected is not to go meanwhile
    before = descriptors(os.getpid()), mounts_of(one)
    for number in range(15):
        assert one.run("sh", "-c", f"exit {number}")[0] == number
    assert descriptors(os.getpid()) <= before[0] and mounts_of(one) == before[1]
    assert not [name for name in os.listdir("/sys/fs/cgroup") if one.id in name]


def test_threads_of_the_caller_are_no_hindrance(box: Boxes) -> None:
    boxes = [box() for _ in range(4)]
    found: list[tuple[int, bytes, bytes]] = []
    threads = [threading.Thread(target=lambda each=each: found.append(each.run("echo", "hi"))) for each in boxes]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [(0, b"hi\n", b"")] * 4
