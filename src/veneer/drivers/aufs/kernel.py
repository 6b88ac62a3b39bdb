"""The kernel's own aufs, where it has one: the words it is mounted by.

Source: aufs(5); moby daemon/graphdriver/aufs/aufs.go.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from veneer.drivers.mount import MountUnsupported, TooManyLayers

MAX_BRANCHES = 127
"""What aufs is built for unless its configuration says more (CONFIG_AUFS_BRANCH_MAX_127)."""
PAGE = 4096
_TAIL = "dio,xino=/dev/shm/aufs.xino,dirperm1"
_SEPARATORS = frozenset(":,=")


def known() -> bool:
    """Whether this kernel has aufs."""
    with open("/proc/filesystems", encoding="ascii", errors="replace") as table:
        return any(line.split()[-1:] == ["aufs"] for line in table)


def options(upper: Path | None, lowers: Sequence[Path], *, page: int = PAGE) -> tuple[str, ...]:
    """What to mount a stack with, nearest branch first, and then to remount it with, one string at a time.

    A mount takes one page of options, its closing NUL included; branches that do not fit are appended afterwards.
    Raises TooManyLayers, and MountUnsupported for a path that has no spelling in such a string.
    """
    branches = ([f"{_spelt(upper)}=rw"] if upper is not None else []) + [f"{_spelt(each)}=ro+wh" for each in lowers]
    if len(branches) > MAX_BRANCHES:
        raise TooManyLayers(
            f"{len(branches)} layers are more than the {MAX_BRANCHES} that the kernel's aufs can stack",
            hint="squash the image, or set aufs_mounter to overlay-shim",
        )
    room = page - 1 - len("br:") - len(f",{_TAIL}")
    first = ""
    while branches and len(os.fsencode(f"{first}:{branches[0]}")) <= room:
        first = f"{first}:{branches.pop(0)}".removeprefix(":")
    return (f"br:{first},{_TAIL}", *(f"append:{branch}" for branch in branches))


def _spelt(branch: Path) -> str:
    text = os.fspath(branch)
    if not _SEPARATORS.isdisjoint(text):
        raise MountUnsupported(
            f"aufs cannot be told a path with one of : , = in it: {text}", hint="use another data root, or overlay-shim"
        )
    return text
