"""Locks between processes: byte ranges of one file, which leave nothing behind.

Open-file-description locks belong to the open file, not to the process: two threads that open the file anew
exclude each other, and the kernel drops the lock with the last descriptor, however the process ends.
Source: fcntl(2), "Open file description locks".
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterable, Iterator

from veneer.errors import Unavailable
from veneer.oci.digest import Digest

_F_OFD_GETLK = 36
_F_OFD_SETLK = 37
_F_OFD_SETLKW = 38
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock on 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid and padding."""


class LockBusy(Unavailable):
    """Somebody else holds the lock."""


def _offset(key: str) -> int:
    """Where in the file `key` is locked: 62 bits of its hash.

    Two keys that fall on one byte would merely wait for each other.
    """
    return int(Digest.of(key.encode()).hex[:16], 16) >> 2


def _lock(fd: int, key: str, *, wait: bool, kind: int = fcntl.F_WRLCK) -> bool:
    request = _FLOCK.pack(kind, os.SEEK_SET, _offset(key), 1, 0)
    try:
        fcntl.fcntl(fd, _F_OFD_SETLKW if wait else _F_OFD_SETLK, request)
    except OSError as error:
        if not wait and error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


@contextlib.contextmanager
def locked(
    path: str | os.PathLike[str],
    keys: Iterable[str],
    *,
    waiting: Callable[[str], None] | None = None,
    shared: bool = False,
) -> Iterator[int]:
    """Hold every one of `keys` in the lock file `path`; taken in sorted order, so that nobody deadlocks.

    Where one is taken, calls `waiting` with it once and waits.  `shared`: beside others who hold it so; that is all
    there is, and is enough, where the file system is read-only.  Gives the descriptor that holds them: whoever has a
    copy of it goes on holding.
    """
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        try:
            fd, kind = os.open(path, os.O_RDONLY | os.O_CLOEXEC), fcntl.F_RDLCK
        except FileNotFoundError:
            raise error from None
    try:
        for key in sorted(set(keys)):
            if not _lock(fd, key, wait=False, kind=kind):
                if waiting is not None:
                    waiting(key)
                _lock(fd, key, wait=True, kind=kind)
        yield fd
    finally:
        os.close(fd)


def hold_key(path: str | os.PathLike[str], key: str) -> int | None:
    """Hold `key` in the lock file `path` until the descriptor is closed by whoever has it, or was left it, last; None
    if somebody else holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if _lock(fd, key, wait=False):
        return fd
    os.close(fd)
    return None


def is_locked(path: str | os.PathLike[str], key: str) -> bool:
    """Whether somebody holds `key` in the lock file `path`; asking takes nothing, and so is in nobody's way."""
    return is_locked_at(path, _offset(key))


def is_locked_at(path: str | os.PathLike[str], offset: int) -> bool:
    """As `is_locked`, of a byte of any file that processes lock so; False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        request = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
        answer = fcntl.fcntl(fd, _F_OFD_GETLK, request)
    finally:
        os.close(fd)
    return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)


def hold_file(path: str | os.PathLike[str], *, create: bool = True) -> int:
    """Make `path` and hold its flock; returns the descriptor, whose closing (or the process's end) lets go.

    Raises LockBusy if somebody holds it.
    """
    fd = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise LockBusy(f"{os.fspath(path)} is locked by another process") from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_held(path: str | os.PathLike[str]) -> bool:
    """Whether a living process holds the flock on `path`; False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
