"""Names from an archive made safe, and opened without ever leaving the root.

Every operation on a name from outside goes through a directory descriptor and one component at a time, or
through openat2's RESOLVE_BENEATH, so that no symlink decides where a byte lands.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array

from veneer.changeset import syscalls
from veneer.changeset.limits import Limits

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_BENEATH = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_openat2_missing = False


def normal(name: bytes, limits: Limits) -> bytes:
    """A member's name as a path below the root: no leading or doubled slashes, no `.`; b"" is the root.

    Raises ValueError for an empty name, a `..` component, a NUL byte or one beyond the limits.  `..` is refused
    rather than resolved (docker resolves `a/../b`): what it means depends on symlinks.
    """
    if not name:
        raise ValueError("empty name")
    if b"\0" in name:
        raise ValueError("name with a NUL byte in it")
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ValueError("name with a '..' component, which could leave the root")
    path = b"/".join(parts)
    if len(path) > limits.name:
        raise ValueError(f"name of {len(path)} bytes; the limit is {limits.name}")
    if len(path) > limits.component and max(map(len, parts)) > limits.component:
        raise ValueError(f"name with a component longer than {limits.component} bytes")
    if len(parts) > limits.depth:
        raise ValueError(f"name {len(parts)} directories deep; the limit is {limits.depth}")
    return path


def rooted(name: bytes) -> bytes:
    """A name without `..`: each takes the part before it away, and above the root there is the root, as docker has it.

    For what is only looked at: what such a name means on a disk depends on symlinks.
    """
    done: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del done[-1:]
        elif part not in (b"", b"."):
            done.append(part)
    return b"/".join(done) or b"."


def plain(name: bytes) -> bytes | None:
    """What `normal` gives for the name of nearly every member, sooner; None for one that may need more care.

    That is: hidden names (whiteouts among them), `..`, absolute or doubled slashes, the root, and long ones.
    """
    path = name[2:] if name[:2] == b"./" else name
    if path[-1:] == b"/":
        path = path[:-1]
    if not path or path[0] in b"./" or b"/." in path or b"//" in path or len(path) > 255:
        return None
    return path


def open_beneath(root_fd: int, path: bytes, flags: int = DIRECTORY) -> int:
    """Open `path` (normal form) below `root_fd` following no symlink at all; the caller closes it.

    Raises FileNotFoundError, NotADirectoryError, or OSError(ELOOP) where a component is a symlink.
    """
    global _openat2_missing
    if not _openat2_missing:
        try:
            return syscalls.openat2(root_fd, path or b".", flags | os.O_NOFOLLOW, _BENEATH)
        except OSError as error:
            if not syscalls.missing(error) or not _unusable(root_fd):
                raise
            _openat2_missing = True
    return _walk(root_fd, path, flags)


def read_in_root(root_fd: int, path: bytes, limit: int) -> bytes:
    """The first `limit` bytes of a regular file of the tree at `root_fd`, links followed inside that tree alone.

    b"" where there is none.  What is no regular file is not even opened: to open a device may be to use it.
    """
    try:
        found = syscalls.openat2(root_fd, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return b""
        with open(f"/proc/self/fd/{found}", "rb", buffering=0) as file:
            return file.read(limit) or b""
    finally:
        os.close(found)


def _unusable(root_fd: int) -> bool:
    """Whether openat2 fails even for `.`: then the kernel or a seccomp filter refuses the call itself."""
    try:
        os.close(syscalls.openat2(root_fd, b".", DIRECTORY, _BENEATH))
    except OSError:
        return True
    return False


def _walk(root_fd: int, path: bytes, flags: int) -> int:
    parts = path.split(b"/") if path else [b"."]
    at = root_fd
    try:
        for part in parts[:-1]:
            below = os.open(part, DIRECTORY, dir_fd=at)
            if at != root_fd:
                os.close(at)
            at = below
        return os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except NotADirectoryError as error:
        # With O_DIRECTORY the kernel says ENOTDIR for a symlink where openat2 says ELOOP.
        raise _symlink_or_file(at, error) from None
    finally:
        if at != root_fd:
            os.close(at)


def _symlink_or_file(at: int, error: NotADirectoryError) -> OSError:
    name = error.filename
    try:
        if stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            return OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    except FileNotFoundError:
        pass  # gone meanwhile: what the kernel said stands
    return error


class PathSet:
    """A set of paths that costs 16 to 32 bytes each: it keeps 64-bit hashes only.

    Python's hash of bytes is keyed per process, so an archive cannot aim for a collision, and by chance two of a
    million paths collide once in 37 million layers.
    """

    def __init__(self) -> None:
        self._mask = 1023
        self._slots = array("q", bytes(8 * 1024))
        self._count = 0

    def _slot(self, value: int) -> int:
        slots, mask = self._slots, self._mask
        at = value & mask
        while slots[at] and slots[at] != value:
            at = (at + 1) & mask
        return at

    def add(self, path: bytes) -> None:
        value = hash(path) or 1
        at = self._slot(value)
        if not self._slots[at]:
            self._slots[at] = value
            self._count += 1
            if self._count * 2 > self._mask:
                self._grow()

    def __contains__(self, path: bytes) -> bool:
        return self._slots[self._slot(hash(path) or 1)] != 0

    def __len__(self) -> int:
        return self._count

    def _grow(self) -> None:
        old = self._slots
        self._mask = self._mask * 2 + 1
        self._slots = array("q", bytes(8 * (self._mask + 1)))
        for value in old:
            if value:
                self._slots[self._slot(value)] = value


def remove_tree(dir_fd: int, name: bytes, path: bytes, keep: PathSet | None = None) -> int:
    """Remove `name` in `dir_fd`, a directory and all in it or anything else, without following a symlink.

    `path` is its path below the root.  What is in `keep` stays, with the directories above it.  Gives the bytes that
    went: the lstat sizes of non-directories whose last name this was.
    """
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=dir_fd)
        return status.st_size if status.st_nlink == 1 else 0
    removed = remove_children(os.open(name, DIRECTORY, dir_fd=dir_fd), path, keep)
    if keep is None or path not in keep:
        _rmdir(dir_fd, name, keep)
    return removed


def remove_children(fd: int, path: bytes, keep: PathSet | None = None) -> int:
    """Remove what is in the directory `fd`, as remove_tree does; closes `fd`.  Iterative: trees may be deep."""
    removed = 0
    stack = [(fd, path, _names(fd))]
    try:
        while stack:
            fd, path, names = stack[-1]
            if not names:
                stack.pop()
                os.close(fd)
                if stack and (keep is None or path not in keep):
                    _rmdir(stack[-1][0], path.rpartition(b"/")[2], keep)
                continue
            name = names.pop()
            child = path + b"/" + name if path else name
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                below = os.open(name, DIRECTORY, dir_fd=fd)
                stack.append((below, child, _names(below)))
            elif keep is None or child not in keep:
                os.unlink(name, dir_fd=fd)
                removed += status.st_size if status.st_nlink == 1 else 0
    finally:
        for fd, _, _ in stack:
            os.close(fd)
    return removed


def _names(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]


def _rmdir(dir_fd: int, name: bytes, keep: PathSet | None) -> None:
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if keep is None or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise  # with `keep`, something below it stays and holds it
