"""The times of a new layer's files: none later than SOURCE_DATE_EPOCH (`--rewrite-timestamp`), or all one moment."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from veneer.store.drafts import Draft


def clamp(draft: Draft, latest_ns: int) -> None:
    """Set the times of what a draft changed back to `latest_ns` where they are later."""
    _set(draft, latest_ns, lambda mtime_ns: mtime_ns > latest_ns)


def date(draft: Draft, moment_ns: int) -> None:
    """Give what a draft changed one time, all of it.

    Not even what was made after the moment is always later: the clock that files get their times from ticks a few
    milliseconds behind the other, and more where a busy machine's ticks come late.
    """
    _set(draft, moment_ns, lambda mtime_ns: mtime_ns != moment_ns)


def _set(draft: Draft, time_ns: int, is_wrong: Callable[[int], bool]) -> None:
    """What is as it was below stays: with a driver that copies, that is most of it."""
    with draft.merged() as below:
        root = os.open(draft.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder, folders, names, fd in os.fwalk(b".", topdown=False, follow_symlinks=False, dir_fd=root):
                for name in (*names, *folders):
                    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    if not is_wrong(status.st_mtime_ns) or _is_whiteout(status):
                        continue
                    if not _is_below(below, os.path.join(folder, name), status):
                        os.utime(name, ns=(time_ns, time_ns), dir_fd=fd, follow_symlinks=False)
        finally:
            os.close(root)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_below(below: int, path: bytes, status: os.stat_result) -> bool:
    try:
        return os.stat(path, dir_fd=below, follow_symlinks=False).st_mtime_ns == status.st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return False
