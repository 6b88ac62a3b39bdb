"""What the driver suite's fuzzer does in a tree."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

Operation = tuple[str, Callable[[Path], object], tuple[str, ...], tuple[str, ...]]
"""In words; what to do in a tree; what to give a time afterwards; what it changes."""


def linking(file: str, new: str) -> Operation:
    """Give `file` the name `new`, too."""
    above = os.path.dirname(new) or "."
    return f"link {file} {new}", lambda root: _link(root / file, root / new), (file, above), (file,)


def level_times(root: Path, oracle: Path) -> None:
    """Give the directories of `root` the times of those of `oracle`, the deepest first: to copy one up gives another
    to the one above."""
    folders = [oracle, *(path for path in oracle.rglob("*") if is_folder(path))]
    for folder in sorted(folders, key=lambda path: -len(path.parts)):
        other = root / folder.relative_to(oracle)
        if other.is_dir() and not other.is_symlink():  # whatever time it shows: the kernel may remember an older one
            os.utime(other, ns=(0, folder.lstat().st_mtime_ns))


def count_names(path: Path) -> int:
    """How many names the file has; 0 if there is none, or a directory."""
    try:
        status = path.lstat()
    except OSError:
        return 0
    return 0 if stat.S_ISDIR(status.st_mode) else status.st_nlink


def break_link(name: Path) -> None:
    """Make one name of a regular file a file of its own, the same in all but that."""
    status, times, fresh = name.lstat(), name.parent.stat(), name.with_name(".fresh")
    shutil.copyfile(name, fresh)
    os.chown(fresh, status.st_uid, status.st_gid)
    shutil.copystat(name, fresh)
    fresh.replace(name)
    os.utime(name.parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def is_folder(path: Path) -> bool:
    """Whether it is a directory, and no link to one.  Raises FileNotFoundError."""
    return stat.S_ISDIR(path.lstat().st_mode)


def done(work: Callable[[Path], object], root: Path) -> object:
    """What came of it, or the number of the error."""
    try:
        return work(root)
    except OSError as error:
        # rename and rmdir of what is not empty may say either.  Source: POSIX, rename().
        return errno.ENOTEMPTY if error.errno == errno.EEXIST else error.errno


def listed(root: Path) -> tuple[list[str], list[str]]:
    """The paths of a tree that are no directories, and those that are, the root first as "."; both in order."""
    files: list[str] = []
    folders = ["."]
    for folder, inside, names in os.walk(root):
        here = os.path.relpath(folder, root)
        for name in [*inside, *names]:
            path = os.path.normpath(f"{here}/{name}")
            is_one = name in inside and not Path(folder, name).is_symlink()
            (folders if is_one and path.count("/") < 3 else files if not is_one else []).append(path)
    return sorted(files), [".", *sorted(folders[1:])]


def write(path: Path, text: str, flags: int) -> None:
    """Open for writing with `flags`, and write."""
    # A FIFO that nobody reads is ENXIO and no waiting.
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | flags, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _link(file: Path, new: Path) -> None:
    if not stat.S_ISREG(file.lstat().st_mode):
        raise OSError(errno.EINVAL, "a layer holds hard links to regular files alone")
    new.hardlink_to(file)


def read(path: Path) -> bytes:
    """All of a file, or its first MiB."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(fd, 1 << 20)
    finally:
        os.close(fd)


def remove_all(folder: Path) -> None:
    """Delete the directory with all that is in it, in the directory's own order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                remove_all(Path(entry.path))
            else:
                Path(entry.path).unlink()
    folder.rmdir()
