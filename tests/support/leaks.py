"""What a test may leave behind: nothing.  How to see that it did."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

_LONG_LIVED: set[int] = set()


def outlives_a_test(pid: int) -> None:
    """Say that this child belongs to a session-wide fixture, which stops it."""
    _LONG_LIVED.add(pid)


def mounts_below(folder: Path) -> set[str]:
    """The mount points below `folder`, as /proc/self/mountinfo tells them."""
    prefix = f"{folder}/"
    found = set()
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        # Blanks and backslashes of a path are written as \040 and the like.
        target = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        if target.startswith(prefix):
            found.add(target)
    return found


def detach(target: str) -> None:
    """Take a leaked mount away, so that one test's leak does not fail the next."""
    subprocess.run(["umount", "--lazy", target], check=False)


def children() -> set[int]:
    """The processes this one started and has not waited for, without those of session-wide fixtures."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except FileNotFoundError:
            continue  # the thread has ended since
    return found - _LONG_LIVED


def describe(pids: set[int]) -> list[str]:
    """Each process with its command line, for a failure's message."""
    lines = []
    for pid in sorted(pids):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            command = "(gone)"
        lines.append(f"{pid} {command}")
    return lines


def opened_by(process: Path) -> Iterator[str]:
    """What the process of this directory of /proc has open; it may open and close more meanwhile.

    Raises OSError where it has ended.
    """
    for fd in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(fd)


def open_descriptors() -> dict[int, str]:
    """This process's open file descriptors and what each is open on."""
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:
            continue  # the descriptor that listed the directory
    return found
