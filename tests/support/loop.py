"""A fresh file system of its own in a file, for tests that fill it up, pull its plug or measure it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import run


class NoLoopMounts(RuntimeError):
    """Loop devices may not be mounted here; the message has mount's own words."""


@contextmanager
def loop_mounted(
    folder: Path, size: int, *, kind: str = "ext4", options: tuple[str, ...] = (), mount_options: str = "loop"
) -> Iterator[Path]:
    """A new file system of `size` bytes, mounted at the directory it yields; `options` go to mkfs.

    Raises NoLoopMounts where loop devices may not be used.
    """
    if os.geteuid() != 0:
        raise NoLoopMounts("mounting a loop device needs root")
    folder.mkdir(parents=True, exist_ok=True)
    backing, target = folder / "filesystem", folder / "mnt"
    with backing.open("wb") as out:
        out.truncate(size)
    target.mkdir(exist_ok=True)
    try:
        run(f"mkfs.{kind}", "-q", *options, backing)
        mounted = run("mount", "-o", mount_options, backing, target, check=False)
        if mounted.code != 0:
            raise NoLoopMounts(f"loop mounts do not work here: {mounted.err.strip()}")
        try:
            yield target
        finally:
            _unmount(target)
    finally:
        backing.unlink()


def _unmount(target: Path) -> None:
    """As soon as nobody has a file of it open: what served a mount ends a little after the mount is gone."""
    deadline = time.monotonic() + 60.0
    while run("umount", target, check=False).code:
        if time.monotonic() > deadline:
            run("umount", target)  # and what it says is the failure
            return
        time.sleep(0.02)
