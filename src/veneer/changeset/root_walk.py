"""What openat2's RESOLVE_IN_ROOT does, by one component at a time: for where the kernel does not get to its end."""

from __future__ import annotations

import errno
import os
import stat

_MAX_LINKS = 40  # as the kernel's own
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_in_root(root: int, path: bytes, flags: int) -> int:
    """Open `path` with the directory `root` as the tree's root, for links and `..` as well; a close-on-exec descriptor.

    The kernel follows no link here and goes up nowhere: links are read, and `..` is the directory we came from, so
    whoever moves things about in the tree leads nobody out of it.  Raises OSError as open does.
    """
    trail = [os.dup(root)]
    waiting = path.split(b"/")[::-1]
    links = 0
    try:
        if path.startswith(b"/"):
            waiting.pop()
        while waiting:
            name = waiting.pop()
            if name == b"..":
                if len(trail) > 1:
                    os.close(trail.pop())
                continue
            if name in (b"", b"."):
                continue
            place = os.open(name, _PLACE, dir_fd=trail[-1])
            trail.append(place)
            kind = stat.S_IFMT(os.fstat(place).st_mode)
            if kind == stat.S_IFLNK and (waiting or not flags & os.O_NOFOLLOW):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(b"", dir_fd=place)
                os.close(trail.pop())
                if target.startswith(b"/"):
                    _cut(trail, 1)
                waiting += target.split(b"/")[::-1]
            elif not waiting and kind != stat.S_IFDIR:
                os.close(trail.pop())
                # What has become a link since is not followed either.
                return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=trail[-1])
            elif kind != stat.S_IFDIR:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return os.open(b".", flags | os.O_CLOEXEC, dir_fd=trail[-1])
    finally:
        _cut(trail, 0)


def _cut(trail: list[int], length: int) -> None:
    while len(trail) > length:
        os.close(trail.pop())
