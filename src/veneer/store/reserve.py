"""Room kept back for the day the disk is full: reading and removing need a little of it too.

SQLite makes its shared memory and log anew when the first process opens the catalogue, and a removal writes before
it frees.  borg and others keep such a reserve for the same reason.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

SIZE = 2 << 20
"""Bytes; a removal of a thousand images writes less."""
NAME = "reserve"


def free(root: str | os.PathLike[str]) -> bool:
    """Give the reserve up; whether there was one."""
    try:
        os.unlink(os.path.join(root, NAME))
    except OSError:
        return False  # gone already, or not ours to remove: the error that led here stands
    return True


def refill(root: Path) -> None:
    """Keep room back again, if there is plenty."""
    path = root / NAME
    if path.exists() or _available(root) < 4 * SIZE:
        return
    # Where it cannot be made (others were faster to the room, a read-only disk) there is none; nobody counts on it.
    with contextlib.suppress(OSError), open(path, "xb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, SIZE)
        except OSError:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def making_room(root: Path) -> Iterator[None]:
    """Use the reserve, where the disk is full, for something that frees more than it takes."""
    if _available(root) < SIZE:
        free(root)
    try:
        yield
    finally:
        refill(root)


def _available(root: Path) -> int:
    # Not f_bfree: a part of what is kept back is to be had by nobody, root included.
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize
