"""Control groups for containers: names that say whose they are, so that those of the dead can be taken away.

A runtime removes its container's group; killed, it cannot, and an empty directory stays in every hierarchy.
Source: cgroups(7); proc_pid_stat(5) for the start time, which tells a process from a later one with its number.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from veneer.run.runtime import CGROUPS

_PREFIX = "veneer-"
_PATIENCE_SECONDS = 5.0
_TICK_SECONDS = 0.002
_numbers = itertools.count(1)


def new_name() -> str:
    """A name no other container has."""
    return f"{_PREFIX}{_pid_namespace()}-{os.getpid()}-{_started(os.getpid())}-{next(_numbers)}"


def remove(parent: str, name: str) -> None:
    """Take away what a runtime may have left of a group that nobody is in any more."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for hierarchy in hierarchies():
        rmdir(f"{hierarchy}/{parent.strip('/')}/{name}", deadline)


def rmdir(folder: str, deadline: float) -> None:
    """Take one group away, trying until the `deadline` (of time.monotonic): the kernel empties it a moment after its
    last process has ended.  Nothing where it is gone already, or not ours to remove."""
    while True:
        try:
            Path(folder).rmdir()
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.ENOTEMPTY) or time.monotonic() > deadline:
                return
            time.sleep(_TICK_SECONDS)
        else:
            return


def sweep(parent: str) -> None:
    """Take away the groups of processes of ours that were killed."""
    for hierarchy in hierarchies():
        folder = f"{hierarchy}/{parent.strip('/')}"
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if name.startswith(_PREFIX) and _is_stale(name):
                    with contextlib.suppress(OSError):
                        Path(folder, name).rmdir()


def hierarchies() -> Iterator[str]:
    """The top directory of every hierarchy there is: one with version 2."""
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):
        yield CGROUPS
        return
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(CGROUPS):
            if os.path.exists(f"{CGROUPS}/{name}/cgroup.procs"):  # else it has been hidden: see Bundle.hide
                yield f"{CGROUPS}/{name}"


def _is_stale(name: str) -> bool:
    words = name.removeprefix(_PREFIX).split("-")
    if len(words) != 4 or not all(word.isdigit() for word in words) or words[0] != _pid_namespace():
        return False  # of another PID namespace: its owner may be alive where we cannot see it
    return _started(int(words[1])) != words[2]


def _pid_namespace() -> str:
    return str(os.stat("/proc/self/ns/pid").st_ino)


def _started(pid: int) -> str:
    """When the process began, in clock ticks since the boot; "" if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
