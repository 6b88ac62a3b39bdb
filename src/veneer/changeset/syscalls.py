"""The few system calls Python's os module lacks, bound when first used.

Each raises OSError like os does.  `ENOSYS` (old kernel) and `EPERM` from a seccomp filter that does not know
the call are left to the caller through `missing(error)`, which then takes its slower way.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_SYNC_FILE_RANGE_WRITE = 2
_OPENAT2 = 437  # the same number on every architecture (Linux 5.6 unified table)
_PR_SET_PDEATHSIG = 1
_TRIES = 32

_libc_handle: object = None


class _Libc:
    """libc with errno kept per call; made once, because loading ctypes costs 8 ms."""

    def __init__(self) -> None:
        import ctypes

        self.ctypes = ctypes
        self.lib = ctypes.CDLL(None, use_errno=True)

    def check(self, result: int, path: bytes = b"") -> int:
        if result < 0:
            number = self.ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fsdecode(path) if path else None)
        return result


def _libc() -> _Libc:
    global _libc_handle
    if not isinstance(_libc_handle, _Libc):
        _libc_handle = _Libc()
    return _libc_handle


def missing(error: OSError) -> bool:
    """Whether the kernel (or a seccomp filter in front of it) does not know the call at all."""
    return error.errno in (errno.ENOSYS, errno.EPERM)


def openat2(dir_fd: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> int:
    """Open `path` below `dir_fd` under the RESOLVE_* rules; a close-on-exec descriptor.  Source: openat2(2)."""
    libc = _libc()
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, mode, resolve)
    for _ in _patience(resolve):
        result = libc.lib.syscall(_OPENAT2, dir_fd, path, how, len(how))
        # EAGAIN: a rename raced with a walk that has bounds; the manual says try again.
        if result >= 0 or libc.ctypes.get_errno() not in (errno.EAGAIN, errno.EINTR):
            return libc.check(result, path)
    # Under a mount that is in no namespace any more (its container has ended) a link with `..` in it is answered so for
    # ever; and a container may rename without a pause.
    from veneer.changeset.root_walk import open_in_root

    return open_in_root(dir_fd, path, flags)


def _patience(resolve: int) -> Iterable[int]:
    """How often to try: for ever, but where there is another way."""
    return range(_TRIES) if resolve == RESOLVE_IN_ROOT else itertools.count()


def syncfs(fd: int) -> None:
    """Write everything of the file system that holds `fd` to its disk, and wait.  Source: syncfs(2)."""
    libc = _libc()
    libc.check(libc.lib.syncfs(fd))


def start_writing_back(fd: int, offset: int, length: int) -> None:
    """Have the kernel begin to write a stretch of a file to its disk, without waiting for it.

    A later fdatasync then finds most of its work done.  Promises nothing, so a file system that cannot is no error.
    Source: sync_file_range(2).
    """
    libc = _libc()
    offset64, length64 = libc.ctypes.c_int64(offset), libc.ctypes.c_int64(length)
    libc.lib.sync_file_range(fd, offset64, length64, _SYNC_FILE_RANGE_WRITE)


def rename_noreplace(source: bytes, target: bytes, *, source_fd: int = -100, target_fd: int = -100) -> None:
    """Rename, but raise FileExistsError rather than replace `target`.  -100 is AT_FDCWD.  Source: renameat2(2).

    On file systems without the flag (EINVAL) a regular file falls back to link and unlink, which refuses as well.
    """
    libc = _libc()
    result = libc.lib.renameat2(source_fd, source, target_fd, target, _RENAME_NOREPLACE)
    if result == 0:
        return
    if libc.ctypes.get_errno() in (errno.EINVAL, errno.ENOSYS):
        src = source_fd if source_fd >= 0 else None
        dst = target_fd if target_fd >= 0 else None
        os.link(source, target, src_dir_fd=src, dst_dir_fd=dst, follow_symlinks=False)
        os.unlink(source, dir_fd=src)
        return
    libc.check(result, target)


def exchange(one: bytes, other: bytes, *, one_fd: int = -100, other_fd: int = -100) -> None:
    """Have two names change places at once.  -100 is AT_FDCWD.  Source: renameat2(2)."""
    libc = _libc()
    libc.check(libc.lib.renameat2(one_fd, one, other_fd, other, _RENAME_EXCHANGE), one)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Give a file room, or take it away; `mode` has the kernel's FALLOC_FL_* bits.  Source: fallocate(2)."""
    libc = _libc()
    libc.check(libc.lib.fallocate(fd, mode, libc.ctypes.c_int64(offset), libc.ctypes.c_int64(length)))


def lsetxattr(dir_fd: int, name: bytes, attribute: bytes, value: bytes) -> None:
    """Set an extended attribute on `name` in `dir_fd` itself, never on what a link points to.

    There is no setxattrat before Linux 6.13, and an O_PATH descriptor gives EBADF, so the way is /proc/self/fd.
    """
    os.setxattr(b"/proc/self/fd/%d/%s" % (dir_fd, name), attribute, value, follow_symlinks=False)


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send `signal_number` to this process when the thread that started it ends.  Source: prctl(2)."""
    libc = _libc()
    libc.check(libc.lib.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0))
