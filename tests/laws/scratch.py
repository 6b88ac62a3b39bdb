"""Directories and mounts for one example of a law, gone when it ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def scratch(base: Path) -> Iterator[Path]:
    """A fresh directory below `base`, since a test function's own is shared by all examples."""
    with TemporaryDirectory(dir=base) as path:
        yield Path(path)


@contextmanager
def directory(path: Path) -> Iterator[int]:
    """An open directory, made if it is not there."""
    path.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def overlay(root: Path, lowers: Sequence[Path], *, readonly: bool = False) -> Iterator[Path]:
    """A kernel overlay mount at root/merged, nearest lower first, with root/upper unless it is read-only."""
    for name in ("upper", "work", "merged", "empty"):
        (root / name).mkdir(parents=True, exist_ok=True)
    # The kernel wants two lowers where there is no upper; an empty one at the bottom changes nothing.
    options = "lowerdir=" + ":".join(map(str, [*lowers, root / "empty"])) + ",redirect_dir=off,metacopy=off"
    if not readonly:
        options += f",upperdir={root}/upper,workdir={root}/work,index=off"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", root / "merged"], check=True)
    try:
        yield root / "merged"
    finally:
        subprocess.run(["umount", root / "merged"], check=True)
