"""The mount system calls, by number, for what the standard library does not wrap.

Numbers are the same on every architecture Linux gained since 2019 (the unified table from 424 on), so on
x86-64, arm64, riscv64 and the rest.  Every function raises OSError with the kernel's errno.
Sources: fsopen(2), fsconfig(2), fsmount(2), move_mount(2), open_tree(2), mount_setattr(2), statx(2).
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000

_OPEN_TREE = 428
_MOVE_MOUNT = 429
_FSOPEN = 430
_FSCONFIG = 431
_FSMOUNT = 432
_CLONE3 = 435
_MOUNT_SETATTR = 442

_OPEN_TREE_CLONE = 1
_CLOEXEC = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_SIZE = 32
_PR_SET_PDEATHSIG = 1

SET_FLAG = 0
SET_STRING = 1
SET_FD = 5
CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_ATIME = 0x70
"""The bits of which NOATIME is one value: cleared when it is set."""
MOUNT_ATTR_IDMAP = 0x100000
MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_NOSUID = 2
MS_NODEV = 4
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8
CLONE_FS = 0x200
CLONE_FILES = 0x400
CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_STATX_MNT_ID = 0x1000
_STATX_MNT_ID_UNIQUE = 0x4000


@functools.cache
def _libc() -> Any:
    # ctypes costs 5 ms to import; listing images must not pay for mounting them.
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


@functools.cache
def _fsconfig() -> Any:
    """syscall(2) with the types of this call's arguments, so that none is wrapped each time: a mount has hundreds."""
    import ctypes

    call = _libc()["syscall"]  # not the attribute, which is one object for all
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long)
    return call


def _check(result: int) -> int:
    if result >= 0:
        return result
    import ctypes

    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _syscall(number: int, *arguments: Any) -> int:
    import ctypes

    # syscall(2) is variadic: an int would be passed as 32 bits and leave rubbish in the upper half.
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _check(_libc().syscall(ctypes.c_long(number), *wide))


def fsopen(kind: str) -> int:
    """A file-system context for the file system `kind`, as a descriptor (close on exec)."""
    return _syscall(_FSOPEN, kind.encode(), _CLOEXEC)


def fsconfig(context: int, command: int, key: str | None = None, value: bytes | None = None, aux: int = 0) -> None:
    """Set one parameter of `context`, or create its superblock."""
    _check(_fsconfig()(_FSCONFIG, context, command, None if key is None else key.encode(), value, aux))


def fsmount(context: int, attributes: int = 0) -> int:
    """A detached mount of a created context, as an O_PATH descriptor of its root.  Closing it undoes the mount."""
    return _syscall(_FSMOUNT, context, _CLOEXEC, attributes)


def open_tree_clone(source: bytes) -> int:
    """A detached bind mount of `source` (not of what is mounted below it), as an O_PATH descriptor."""
    return _syscall(_OPEN_TREE, AT_FDCWD, source, _OPEN_TREE_CLONE | os.O_CLOEXEC)


def move_mount(mount: int, target: bytes) -> None:
    """Attach the detached `mount` at `target`."""
    _syscall(_MOVE_MOUNT, mount, b"", AT_FDCWD, target, _MOVE_MOUNT_F_EMPTY_PATH)


def mount_setattr(
    mount: int,
    *,
    set_attributes: int,
    clear_attributes: int = 0,
    propagation: int = 0,
    userns: int = 0,
    recursive: bool = False,
) -> None:
    """Change the flags of the mount behind the descriptor `mount`; `userns` is for MOUNT_ATTR_IDMAP.

    `recursive`: also those of all mounts below it.
    """
    attributes = b"".join(n.to_bytes(8, "little") for n in (set_attributes, clear_attributes, propagation, userns))
    flags = AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    _syscall(_MOUNT_SETATTR, mount, b"", flags, attributes, _MOUNT_ATTR_SIZE)


def mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
    """mount(2).  The kernel copies one page of `data` and drops the rest without a word: callers check the length."""
    import ctypes

    _check(_libc().mount(source, target, kind, ctypes.c_ulong(flags), data))


def umount2(target: bytes, flags: int) -> None:
    """umount2(2)."""
    _check(_libc().umount2(target, flags))


def pivot_root(new: bytes, old: bytes) -> None:
    """pivot_root(2); both may be `.`, and then the old root is what is mounted on top there."""
    _check(_libc().pivot_root(new, old))


def unshare(flags: int) -> None:
    """unshare(2); with CLONE_FS only the calling thread gets its own working directory."""
    _check(_libc().unshare(flags))


def in_user_namespace(work: Callable[[], object]) -> int:
    """Do `work` in a child that begins in a user namespace of its own, and ends with it, or with this process; its ID.

    The child has this process's descriptors, and no copies of them: a copy of one that another thread is about to
    close would keep a mount busy.  Nothing of Python's knows that it was forked, so it should do next to nothing.
    Source: clone(2), clone3; prctl(2), PR_SET_PDEATHSIG.
    """
    import ctypes
    import signal
    import struct

    # Not CDLL, which lets other threads run meanwhile: one of them would have the interpreter's lock in the child.
    library = ctypes.PyDLL(None, use_errno=True)
    parent = os.getpid()
    arguments = struct.pack("8Q", CLONE_NEWUSER | CLONE_FILES, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    child = library.syscall(ctypes.c_long(_CLONE3), arguments, ctypes.c_long(len(arguments)))
    if child != 0:
        return _check(child)
    try:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            work()
    finally:
        os._exit(0)


def setns(namespace: int, kind: int) -> None:
    """setns(2): join the namespace, of this CLONE_ kind, that the descriptor is of."""
    _check(_libc().setns(namespace, kind))


def load() -> None:
    """Load what the calls here need, ahead of the first of them."""
    _libc()


def mount_id(path: bytes, dir_fd: int = AT_FDCWD) -> int:
    """The ID of the mount that `path` lies on; never reused while the machine runs, from Linux 6.8 on.

    Older kernels (5.8 and later) give the small ID of /proc/self/mountinfo, which is reused after an unmount.
    """
    import ctypes

    buffer = ctypes.create_string_buffer(256)
    _check(_libc().statx(dir_fd, path, 0, _STATX_MNT_ID_UNIQUE | _STATX_MNT_ID, buffer))
    mask = int.from_bytes(buffer.raw[:4], "little")
    if not mask & (_STATX_MNT_ID_UNIQUE | _STATX_MNT_ID):
        raise OSError(errno.ENOSYS, "statx gives no mount ID")
    return int.from_bytes(buffer.raw[0x90:0x98], "little")


def context_log(context: int) -> str:
    """What the kernel had to say about a failed fsconfig, lines joined by "; ", without their level letters."""
    lines: list[str] = []
    while len(lines) < 32:
        try:
            line = os.read(context, 4096)
        except OSError:
            # ENODATA is the end of the log; any other failure only costs us the explanation, not the error itself.
            break
        lines.append(line.decode(errors="replace").strip().removeprefix("e ").removeprefix("w "))
    return "; ".join(lines)
