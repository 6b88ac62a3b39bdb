"""A directory of another engine's, read and nothing else: nothing in it changes, not even when it was last read.

Root reads through a mount of its own, which is read-only, keeps no access times and is mounted nowhere.  Others have
each file opened so that its access time stays, where the kernel lets them: it does so for a file's owner.  No link is
followed, for no engine makes one on the way to what is read here, and nothing outside of the directory is reached.
Sources: open_tree(2), mount_setattr(2), openat2(2), open(2) on O_NOATIME.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from veneer.changeset import syscalls
from veneer.distribution.foreign.root import ForeignDamaged, ForeignDenied
from veneer.oci.strictjson import MAX_DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_HOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO in a file's place must not be waited for


class Reading:
    """The tree at `root`, for as long as the `with` lasts.  Paths are relative to it, with slashes.

    Every method raises FileNotFoundError for what is not there, ForeignDenied for what may not be read, ForeignDamaged
    for a link, and for what is of another kind than was asked for.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._held, self._fd = _opened(root)
        except PermissionError as error:
            raise _denied(root) from error
        except NotADirectoryError as error:
            raise ForeignDamaged(f"{root} is no directory") from error

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        if self._held is not None:
            os.close(self._held)

    def open(self, path: str) -> int:
        """A descriptor of a regular file; the caller closes it."""
        fd = self._open(path, _FLAGS)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ForeignDamaged(f"{self.root / path} is no file")
        return fd

    def directory(self, path: str) -> int:
        """A descriptor of a directory; the caller closes it."""
        return self._open(path, _FLAGS | os.O_DIRECTORY)

    def read(self, path: str, most: int = MAX_DOCUMENT) -> bytes:
        """A whole file, which is refused past `most` bytes."""
        with os.fdopen(self.open(path), "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ForeignDamaged(f"{self.root / path} has more than the {most} bytes that are read of such a file")
        return data

    def text(self, path: str) -> str:
        """A short file with one word in it."""
        try:
            return self.read(path, 4096).decode().strip()
        except UnicodeDecodeError as error:
            raise ForeignDamaged(f"{self.root / path} is no text") from error

    def names(self, path: str) -> list[str]:
        """What is in a directory, sorted."""
        fd = self.directory(path)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def has(self, path: str) -> bool:
        """Whether there is a file or directory, which a link is not."""
        try:
            os.close(self._open(path, os.O_PATH | os.O_CLOEXEC))
        except FileNotFoundError:
            return False
        return True

    def below(self, path: Path) -> str:
        """A path below the root as one relative to it."""
        return os.fspath(path.relative_to(self.root))

    def _open(self, path: str, flags: int) -> int:
        for quietly in (os.O_NOATIME, 0) if not flags & os.O_PATH else (0,):
            try:
                return syscalls.openat2(self._fd, os.fsencode(path), flags | quietly, _HOW)
            except OSError as error:
                if quietly and error.errno == errno.EPERM:
                    continue  # it is somebody else's
                raise self._explained(path, error) from error
        raise AssertionError("unreachable")

    def _explained(self, path: str, error: OSError) -> OSError | ForeignDamaged | ForeignDenied:
        where = self.root / path
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(where))
        if isinstance(error, PermissionError):
            return _denied(where)
        if error.errno == errno.ELOOP:
            return ForeignDamaged(f"{where} is a link, or lies behind one, and links are not followed here")
        if error.errno == errno.ENOTDIR:
            return ForeignDamaged(f"{where} is no directory, or lies in none")
        return ForeignDamaged(f"{where} cannot be read: {error.strerror}")


def _denied(path: Path) -> ForeignDenied:
    return ForeignDenied(f"{path} may not be read by uid {os.geteuid()}", hint="run as the root's owner")


def _opened(root: Path) -> tuple[int | None, int]:
    """A descriptor of the directory, and one that keeps the mount it is opened in, if that is one of our own."""
    from veneer.drivers import mount_syscalls as sys_mount

    plain = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if os.geteuid() != 0:
        return None, plain
    try:
        held = sys_mount.open_tree_clone(b"/proc/self/fd/%d" % plain)
    except OSError:
        # No privileges over mounts, an older kernel, a mount that may not be cloned: O_NOATIME is left.
        return None, plain
    try:
        sys_mount.mount_setattr(
            held,
            set_attributes=sys_mount.MOUNT_ATTR_RDONLY | sys_mount.MOUNT_ATTR_NOATIME,
            clear_attributes=sys_mount.MOUNT_ATTR_ATIME,
            propagation=sys_mount.MS_PRIVATE,
        )
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=held)
    except OSError:
        os.close(held)
        return None, plain
    os.close(plain)
    return held, fd
