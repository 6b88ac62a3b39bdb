"""What is mounted: whether a mount that was made once is still there, in whichever mount namespace.

Source: proc_pid_mountinfo(5), mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator

from veneer.values import Value

_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Place(Value):
    """A mount, as it is found again: `namespace` is its mount namespace's inode, `mount` says which one in there.

    The kernel uses a mount's number again after it is gone, so `mount` has the device and the root beside it.
    """

    __slots__ = ()
    namespace: int
    mount: str


def namespace() -> int:
    """The mount namespace of this process."""
    return os.stat("/proc/self/ns/mnt").st_ino


def topmost(target: str) -> Place | None:
    """What is mounted at exactly this absolute path, without links in it, here; None if nothing is."""
    found = None
    for path, mount in _entries("self"):
        if path == os.fsencode(target):
            found = mount
    return None if found is None else Place(namespace(), found)


def leads_to(target: str, place: Place) -> bool:
    """Whether whoever goes to this absolute path here comes to that mount: nothing covers it, nor what it is in."""
    try:
        # Without asking what is mounted, which may hang or be dead.
        fd = os.open(target, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as facts:
            number = next(line.split()[1] for line in facts if line.startswith("mnt_id:"))
    finally:
        os.close(fd)
    return place.namespace == namespace() and place.mount.split(" ", 1)[0] == number


def is_dead(path: str | int) -> bool:
    """Whether what is mounted at the path, or at the descriptor's, is there and served by nobody any more: a FUSE
    server was killed."""
    try:
        os.statvfs(path)  # which the kernel asks each time, and keeps no answer of
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)  # the second where it is killed while we ask
    return False


def is_there(place: Place, lives: Callable[[], bool] | None = None) -> bool:
    """Whether the mount still is.

    Of another namespace its processes tell; where those may not be asked, `lives` (whether the namespace still is)
    is believed, and without it that it is there.
    """
    if place.namespace == namespace():
        return _has("self", place)
    from veneer.drivers.userns import privileged

    hidden = False
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}/ns/mnt").st_ino == place.namespace:
                return _has(pid, place)
        except PermissionError:
            # From root hides only who has more capabilities than root gave to any namespace of his.
            hidden = not privileged()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return hidden and (lives is None or lives())


def _has(pid: str, place: Place) -> bool:
    return any(mount == place.mount for _, mount in _entries(pid))


def _entries(pid: str) -> Iterator[tuple[bytes, str]]:
    """(mount point, number device root) of each mount, the topmost of one place last."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError), open(f"/proc/{pid}/mountinfo", "rb") as table:
        for line in table:
            number, _, device, root, path = line.split(b" ", 5)[:5]
            said = b" ".join((number, device, root)).decode(errors="surrogateescape")
            yield _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), path), said
