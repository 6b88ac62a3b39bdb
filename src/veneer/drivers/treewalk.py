"""A place in a tree, and what a tree takes.

By descriptors and one name at a time, without recursion and with one open directory per tree however deep it is: a
layer may hold directories thousands deep, paths longer than the kernel takes, names that are no text.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from veneer.drivers.driver import Usage
from veneer.errors import Conflict

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeChanged(Conflict):
    """Somebody moved or filled directories of a tree while it was being worked on."""


class Cursor:
    """A place in a tree, as one open directory: `fd`.  It goes down by name and up by `..`."""

    def __init__(self, root_fd: int) -> None:
        self.fd = os.dup(root_fd)
        self._trail: list[tuple[str, int, int]] = []

    @property
    def path(self) -> str:
        """Where it is, relative to the root; "" is the root itself."""
        return "/".join(name for name, _, _ in self._trail)

    def enter(self, name: str) -> None:
        """Go down into the directory `name`."""
        child = os.open(name, _OPEN_DIRECTORY, dir_fd=self.fd)
        here = os.fstat(self.fd)
        self._trail.append((name, here.st_dev, here.st_ino))
        os.close(self.fd)
        self.fd = child

    def leave(self) -> str:
        """Go up again; the name of the directory just left.  Raises TreeChanged if it was moved meanwhile."""
        name, device, inode = self._trail.pop()
        parent = os.open("..", _OPEN_DIRECTORY, dir_fd=self.fd)
        os.close(self.fd)
        self.fd = parent
        here = os.fstat(parent)
        if (here.st_dev, here.st_ino) != (device, inode):
            raise TreeChanged(f"directory {name!r} was moved while its tree was being worked on")
        return name

    def close(self) -> None:
        os.close(self.fd)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def directory(path: Path) -> Iterator[int]:
    """A descriptor of the directory `path`, for reading it."""
    fd = os.open(path, _OPEN_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def walk(root: int, *, may_vanish: bool = False) -> Iterator[tuple[Cursor, list[str]]]:
    """Every directory of a tree, the root first: a cursor in it, and an empty list for the names of those to go into.

    With `may_vanish` one of these that is gone by then is passed over, instead of FileNotFoundError.
    """
    with Cursor(root) as cursor:
        waiting: list[list[str]] = [[""]]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if len(waiting) > 1:
                    cursor.leave()
                continue
            name = waiting[-1].pop()
            if name:
                try:
                    cursor.enter(name)
                except FileNotFoundError:
                    if may_vanish:
                        continue
                    raise
            below: list[str] = []
            yield cursor, below
            waiting.append(below)


def usage(path: Path) -> Usage:
    """What the tree at `path` takes; see Usage."""
    size = 0
    inodes = 1
    linked: set[tuple[int, int]] = set()
    with directory(path) as root:
        for cursor, below in walk(root):
            with os.scandir(cursor.fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                        inodes += 1
                        continue
                    found = os.stat(entry.name, dir_fd=cursor.fd, follow_symlinks=False)
                    if found.st_nlink > 1:
                        inode = (found.st_dev, found.st_ino)
                        if inode in linked:
                            continue
                        linked.add(inode)
                    size += found.st_size
                    inodes += 1
    return Usage(size, inodes)
