"""What this host lets us do: the user namespace we are in, and whether control groups can be made."""

from __future__ import annotations

import os

from veneer.drivers.userns import extents, privileged
from veneer.run.runtime import CGROUPS
from veneer.run.spec import Host


def host() -> Host:
    """What a container can be given here."""
    initial = privileged()
    groups = sum(count for _, _, count in extents("gid_map"))
    return Host(initial, groups, initial and os.path.exists(CGROUPS), _capabilities())


def _capabilities() -> int:
    """The capabilities that a program we start could have.  Source: capabilities(7), proc_pid_status(5)."""
    with open("/proc/self/status", "rb") as lines:
        return next(int(line.split()[1], 16) for line in lines if line.startswith(b"CapBnd:"))
