"""Room kept back for the day the disk is full: reading and removing need a little of it too.

SQLite makes its shared memory and log anew when the first process opens the catalogue, and a removal writes before
it frees.  borg and others keep such a reserve for the same reason.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

SIZE = 2 << 20
"""Bytes; a removal of a thousand images writes less."""
NAME = "reserve"
_SHARED_MEMORY = 32 << 10
"""Bytes of the file by which SQLite's processes share their index of the log, as it begins."""
_PAGE = 4096


def room_to_map(root: str | os.PathLike[str]) -> bool:
    """Whether SQLite can fill the memory it is about to map; the reserve is given up for it.

    It allocates one block for each of its pages, and where blocks are smaller (mkfs.ext4 makes them so on small disks)
    writes into the holes beside it: without room that is no error but a signal (SIGBUS), which ends the process.
    """
    try:
        found = os.statvfs(root)
    except OSError:
        return True  # whoever opens the catalogue has better words for it
    if found.f_frsize >= _PAGE or found.f_bavail * found.f_frsize >= 2 * _SHARED_MEMORY or free(root):
        return True

    import tempfile

    try:
        # statvfs(2) does not count what is kept for root alone.
        with tempfile.TemporaryFile(dir=root) as file:
            os.posix_fallocate(file.fileno(), 0, _SHARED_MEMORY)
    except OSError as error:
        return error.errno != errno.ENOSPC
    return True


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
