from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from veneer.store.locks import LockBusy, hold_file, is_held, locked

HOLDER = """
import sys
sys.path[:] = sys.argv[1:-1]
from veneer.store.locks import hold_file, locked
import os
with locked(sys.argv[-1], ["b", "a"]):
    held = hold_file(sys.argv[-1] + ".flock")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_of_another_process_is_waited_for_and_ends_with_it(tmp_path: Path) -> None:
    path, waited = tmp_path / "locks", Event()
    keys: list[str] = []

    def waiting(key: str) -> None:
        keys.append(key)
        waited.set()

    def take() -> None:
        with locked(path, ["a", "c"], waiting=waiting):
            keys.append("taken")

    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *sys.path, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_held(f"{path}.flock")
        with pytest.raises(LockBusy):
            hold_file(f"{path}.flock")
        with locked(path, ["c"], waiting=waiting):
            assert keys == []
        thread = Thread(target=take)
        thread.start()
        assert waited.wait(60)
        holder.kill()  # nobody cleans up: the kernel does
    thread.join(60)
    assert keys == ["a", "taken"]
    assert not is_held(f"{path}.flock")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["locks", "locks.flock"]


def test_two_threads_exclude_each_other_and_take_keys_in_one_order(tmp_path: Path) -> None:
    path, inside = tmp_path / "locks", []

    def work(keys: list[str]) -> None:
        for _ in range(50):
            with locked(path, keys):
                inside.append(1)
                assert len(inside) == 1
                inside.clear()

    threads = [Thread(target=work, args=(keys,)) for keys in (["x", "y"], ["y", "x"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_a_lock_file_that_is_not_there_is_not_held(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "nothing")
    assert not is_held(tmp_path / "nothing" / "lock")
    with pytest.raises(FileNotFoundError):
        hold_file(tmp_path / "nothing", create=False)
