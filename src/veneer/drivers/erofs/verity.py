"""fs-verity: a file that is sealed can be read as it was then, or not at all; nobody writes to it any more.

The kernel checks each block when it is read, against a hash tree whose root is the file's digest.  An image that has
the digests of its contents lets overlay refuse any other file in their place.
Source: Linux Documentation/filesystems/fsverity.rst; overlayfs.rst (fs-verity support); fs/overlayfs/overlayfs.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path

from veneer.drivers import mount_syscalls as sys_mount
from veneer.errors import Unsupported

OPTIONS = ("verity=require",)
"""Overlay's: every file that only has metadata says its content's digest, and the content has it."""
_NOTE = ".verity"
_TRIAL = ".verity-"
_ENABLE, _MEASURE = 0x40806685, 0xC0046686
_SHA256 = 1
_enable = struct.Struct("=IIIIQIIQ88x")
"""version, hash algorithm, block size, salt's size, salt, signature's size, reserved, signature"""
_digest = struct.Struct("=HH32s")
"""algorithm, size, digest; in: the room there is"""
_REFUSED = (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL)


class CannotSeal(Unsupported):
    """The kernel or the file system has no fs-verity."""


def seal(file: Path) -> None:
    """Have the kernel hash a file's blocks and let nobody write to it.  No error if that was done before.

    Raises CannotSeal.
    """
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _ioctl(fd, _ENABLE, bytearray(_enable.pack(1, _SHA256, 4096, 0, 0, 0, 0, 0)))
    except OSError as error:
        if error.errno == errno.EEXIST:
            return
        if error.errno in _REFUSED:
            raise CannotSeal("the kernel or the file system has no fs-verity") from error
        raise
    finally:
        os.close(fd)


def measured(file: Path) -> bytes:
    """The digest of a sealed file (32 bytes); b"" if it is not sealed.  Raises CannotSeal."""
    found = bytearray(_digest.pack(0, 32, b""))
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _ioctl(fd, _MEASURE, found)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return b""
        if error.errno in _REFUSED:
            raise CannotSeal("the kernel or the file system has no fs-verity") from error
        raise
    finally:
        os.close(fd)
    algorithm, size, digest = _digest.unpack(found)
    return bytes(digest) if (algorithm, size) == (_SHA256, 32) else b""


def metacopy(digest: bytes) -> bytes:
    """What overlay's attribute `metacopy` says of a content with this digest; b"": nothing."""
    return struct.pack("BBBB", 0, 4 + len(digest), 0, _SHA256) + digest if digest else b""


def usable(folder: Path) -> bool:
    """Whether files in the directory `folder`, which is there, can be sealed and overlay asks for it.

    Tried out once for a kernel and disk, and remembered in the folder.
    """
    key = f"{os.uname().release} {os.stat(folder).st_dev} "
    with contextlib.suppress(OSError):
        said = (folder / _NOTE).read_text()
        if said.startswith(key):
            return said == f"{key}yes"
    found = _tried(folder)
    new = folder / f"{_TRIAL}{os.urandom(8).hex()}"
    with contextlib.suppress(OSError):  # to try it again costs a millisecond
        new.write_text(f"{key}{'yes' if found else 'no'}")
        new.replace(folder / _NOTE)
    return found


def _tried(folder: Path) -> bool:
    trial = folder / f"{_TRIAL}{os.urandom(8).hex()}"
    try:
        trial.write_bytes(b"content")
        seal(trial)
        if not measured(trial):
            return False
        context = sys_mount.fsopen("overlay")
        try:
            for option in OPTIONS:
                key, _, value = option.partition("=")
                sys_mount.fsconfig(context, sys_mount.SET_STRING, key, value.encode())
        finally:
            os.close(context)
    except (CannotSeal, OSError):
        return False
    finally:
        trial.unlink(missing_ok=True)
    return True


def _ioctl(fd: int, request: int, argument: bytearray) -> None:
    import fcntl

    fcntl.ioctl(fd, request, argument, True)
