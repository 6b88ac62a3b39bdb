"""A fresh file system of its own in a file, for tests that fill it up, pull its plug or measure it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.programs import needs, run


@contextmanager
def loop_mounted(folder: Path, size: int, *, kind: str = "ext4", options: tuple[str, ...] = ()) -> Iterator[Path]:
    """A new file system of `size` bytes, mounted at the directory it yields; `options` go to mkfs.

    Skips the test where loop devices may not be used.
    """
    needs(f"mkfs.{kind}", "mount", "losetup")
    if os.geteuid() != 0:
        pytest.skip("mounting a loop device needs root")
    folder.mkdir(parents=True, exist_ok=True)
    backing, target = folder / "filesystem", folder / "mnt"
    with backing.open("wb") as out:
        out.truncate(size)
    run(f"mkfs.{kind}", "-q", *options, backing)
    target.mkdir()
    mounted = run("mount", "-o", "loop", backing, target, check=False)
    if mounted.code != 0:
        pytest.skip(f"loop mounts do not work here: {mounted.err.strip()}")
    try:
        yield target
    finally:
        run("umount", target)
        backing.unlink()
