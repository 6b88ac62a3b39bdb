"""What the operating system refused while a layer was unpacked, in words that name the way out."""

from __future__ import annotations

import errno
import os

from veneer.changeset.tar import shown
from veneer.errors import Unavailable, VeneerError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


class NoSpace(Unavailable):
    """The disk, its inodes or a quota are used up."""


class CannotExtract(Unavailable):
    """The operating system refused something that a member needs."""


def explain(error: OSError, what: str, member: bytes, root_fd: int) -> VeneerError:
    """The error to raise instead of `error`, which stopped `member` of `what` on its way below `root_fd`."""
    where = f"{what}: {shown(member)!r}" if member else what
    if error.errno in _FULL:
        return NoSpace(
            f"{where}: {_what_is_full(error, root_fd)}", hint="free some space (veneer system df shows what is where)"
        )
    if error.errno in _TOO_MANY:
        return CannotExtract(f"{where}: too many open files", hint="raise the limit: ulimit -n")
    return CannotExtract(f"{where}: {os.strerror(error.errno or errno.EIO)}")


def _what_is_full(error: OSError, root_fd: int) -> str:
    if error.errno == errno.EDQUOT:
        return "the disk quota is used up"
    status = os.fstatvfs(root_fd)
    if status.f_files and not status.f_favail:
        return f"no inodes left on the file system ({status.f_files} in all)"
    free = status.f_bavail * status.f_frsize
    return f"no space left on the file system ({free} of {status.f_blocks * status.f_frsize} bytes free)"
