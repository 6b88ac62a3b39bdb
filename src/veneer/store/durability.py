"""What survives a power cut, and the steps that make it so.

The order rule: files are on the disk before the row that names them, and the row is gone before its files.
What fsync does and does not promise: fsync(2), open(2) NOTES; ext4's auto_da_alloc helps only replacing renames.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from veneer.store.catalog import FREE_SOME, DiskFailed, StoreReadOnly, store_full
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

SETTLED_AFTER = 35.0
"""Seconds after which the kernel has written most of a layer back by itself (vm.dirty_expire_centisecs is 30 s),
so that the syncfs which proves it costs next to nothing."""

ALMOST_NOTHING = 64 << 10
"""Bytes: file systems call the disk full with a few blocks left."""

_armed: dict[str, int] = {}


def arm(name: str, passes: int = 0) -> None:
    """For the kill tests: die like a killed process at the crash point `name`, after `passes` times through it."""
    _armed[name] = passes


def crashpoint(name: str) -> None:
    """A boundary at which being killed must do no harm."""
    if _armed:
        _count(name)


def _count(name: str) -> None:
    left = _armed.get(name)
    if left is None:
        return
    if left == 0:
        import signal

        os.kill(os.getpid(), signal.SIGKILL)
    _armed[name] = left - 1


def sync_file(fd: int) -> None:
    """Return when the file's content and length are on the disk."""
    os.fdatasync(fd)


def sync_directory(path: str | os.PathLike[str]) -> None:
    """Return when the names in the directory `path` are on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directories(path: Path, mode: int = 0o755, *, last_mode: int | None = None) -> None:
    """Make `path` and what is missing above it, and put every new name on the disk."""
    missing: list[Path] = []
    above = path
    while not above.exists():
        missing.append(above)
        above = above.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(last_mode if last_mode is not None and folder == path else mode)
        sync_directory(folder.parent)


@contextlib.contextmanager
def file_errors(root: str | os.PathLike[str]) -> Iterator[None]:
    """Turn "disk full" and "read-only" from the kernel into errors that name the data root and the way out."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise store_full(root) from error
        if error.errno == errno.EROFS:
            raise StoreReadOnly(f"{root} is on a read-only file system", hint="choose another with --root") from error
        if error.errno == errno.EIO:
            raise DiskFailed(
                f"{root}: the disk failed: {error}", hint="look for disk errors in the kernel's log: dmesg"
            ) from error
        raise


def is_read_only(root: str | os.PathLike[str]) -> bool:
    """Whether `root` is on a file system, or mounted so, that nothing can be written to it."""
    return bool(os.statvfs(root).f_flag & os.ST_RDONLY)


def disk_hint(root: str | os.PathLike[str]) -> str:
    """What to say of a program that failed while it wrote below `root`: that the disk is full; "" if it is not."""
    found = os.statvfs(root)
    # Not f_bfree: what is kept back for root wants CAP_SYS_RESOURCE, which a step is not given.
    blocks = found.f_bavail * found.f_frsize < ALMOST_NOTHING
    files = found.f_files and not found.f_favail  # no count of files at all is no limit
    if not (blocks or files):
        return ""
    what = "space" if blocks else "inode"
    return f"no {what} is left on the file system of {os.fspath(root)}, which may be why; {FREE_SOME}"


class Session(Value):
    """One mounting of one boot: as long as both are the same, what was written is what is read."""

    __slots__ = ()
    boot_id: str
    mount_id: int

    @classmethod
    def current(cls, root: Path) -> Session:
        """The session of the file system that holds `root`."""
        from veneer.drivers.mount import unique_mount_id

        return cls(boot_id(), unique_mount_id(root))


def boot_id() -> str:
    """The kernel's name for this boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
