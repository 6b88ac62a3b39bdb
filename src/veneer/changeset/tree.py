"""The way from the root down to the directory that is being filled, as a stack of open descriptors.

Archives list a directory's members together, so nearly every member finds its directory on top.  Each
component is opened by O_NOFOLLOW beneath the one above it: there is no path that a symlink could bend.  When a
directory leaves the stack, and at no other moment, it gets its time back, deepest first, whatever was done in it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from veneer.changeset.safepath import DIRECTORY

_MAX_LINKS = 40  # as the kernel: more symlinks in one lookup are a loop

Attributes = tuple[int, int, int, int, tuple[tuple[bytes, bytes], ...]]
"""mode, uid, gid, mtime_ns, xattrs"""


class Frame:
    """One open directory."""

    __slots__ = ("attributes", "fd", "inherits", "mode", "mtime_ns", "path", "setgid")

    def __init__(self, fd: int, path: bytes, status: os.stat_result, gid: int) -> None:
        self.fd = fd
        self.path = path
        self.mtime_ns = status.st_mtime_ns
        self.mode = -1  # permissions to set when it leaves the stack, -1: as they are
        self.setgid = bool(status.st_mode & stat.S_ISGID)
        # With setgid, or mounted with grpid, what is made here takes this directory's group instead of ours.
        self.inherits = status.st_gid != gid
        self.attributes: Attributes | None = None


class Tree:
    """Stands in one directory below the root, `here` (its path) with `fd`, and goes from one to the next.

    `arrived(path, made)` is called for each directory that is entered without an entry of its own: `made` tells that
    it had to be created.  `ours(path)` tells whether this layer made what is at a path: only its own symlinks
    are followed, anything else in the way of a directory is replaced, through `clear(name, path)`.  `steps` counts
    the components of symlinks looked up; ValueError where they are more than `max_steps`.
    """

    def __init__(
        self,
        root_fd: int,
        *,
        arrived: Callable[[bytes, bool], None],
        ours: Callable[[bytes], bool],
        clear: Callable[[bytes, bytes], None],
        max_steps: int,
    ) -> None:
        self._root_fd = root_fd
        self._arrived = arrived
        self._ours = ours
        self._clear = clear
        self._max_steps = max_steps
        self.steps = 0
        self._uid = os.geteuid()
        self._gid = os.getegid()
        fd = os.dup(root_fd)
        self._frames = [Frame(fd, b"", os.fstat(fd), self._gid)]
        self._show()

    def _show(self) -> None:
        self.frame = self._frames[-1]
        self.fd = self.frame.fd
        self.here = self.frame.path

    def go(self, path: bytes) -> None:
        """Stand in the directory `path` (normal form); make what is missing of it.

        Where a symlink that this layer itself made lies in the way and leads to a directory of this layer, `here` is
        that directory afterwards, as in a docker or containerd extraction.
        """
        links = 0
        while True:
            while self.here and path != self.here and not path.startswith(self.here + b"/"):
                self.up()
            rest = path[len(self.here) + 1 :] if self.here else path
            if not rest or path == self.here:
                return
            name = rest.partition(b"/")[0]
            child = self.here + b"/" + name if self.here else name
            if not self._enter(name, child):
                target = self._resolved(child) if links < _MAX_LINKS else None
                if target is None:
                    self._clear(name, child)
                else:
                    links += 1
                    path = b"/".join(filter(None, (target, path[len(child) + 1 :])))

    def _enter(self, name: bytes, path: bytes) -> bool:
        """Go into `name`, making it if need be; False if something else has its place."""
        made = False
        try:
            fd = os.open(name, DIRECTORY, dir_fd=self.fd)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=self.fd)
            made = True
            fd = os.open(name, DIRECTORY, dir_fd=self.fd)
        except PermissionError:
            if self._uid == 0:
                raise
            fd = self._unlocked(name)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        status = self._pushed(fd, path)
        if made:
            # What nobody mentions is 0755, root's and of no particular time; settle() knows better.
            self.frame.mtime_ns = 0
            if self._uid == 0 and self._frames[-2].inherits:
                os.fchown(fd, 0, 0)
            if status.st_mode & 0o7777 != 0o755:
                os.fchmod(fd, 0o755)
                self.frame.setgid = False
        elif self._uid != 0 and status.st_mode & 0o700 != 0o700:
            self.frame.mode = status.st_mode & 0o7777
            os.fchmod(fd, self.frame.mode | 0o700)
        self._arrived(path, made)
        return True

    def _unlocked(self, name: bytes) -> int:
        """Open a directory that we own but may not read, by letting us for as long as it is on the stack."""
        status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=self.fd)
        try:
            os.chmod(f"/proc/self/fd/{handle}", stat.S_IMODE(status.st_mode) | 0o700)
            fd = os.open(name, DIRECTORY, dir_fd=self.fd)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))  # _enter sees the true mode, and opens it up again
            return fd
        finally:
            os.close(handle)

    def push(self, name: bytes, path: bytes) -> Frame:
        """Go into the directory `name`, which is there; the caller says with `frame.mtime_ns` what it shall have."""
        self._pushed(os.open(name, DIRECTORY, dir_fd=self.fd), path)
        return self.frame

    def _pushed(self, fd: int, path: bytes) -> os.stat_result:
        try:
            status = os.fstat(fd)
        except BaseException:
            os.close(fd)
            raise
        self._frames.append(Frame(fd, path, status, self._gid))
        self._show()
        return status

    def up(self) -> None:
        """Leave the present directory, setting its time."""
        frame = self._frames.pop()
        try:
            if frame.mode >= 0:
                os.fchmod(frame.fd, frame.mode)
            os.utime(frame.fd, ns=(frame.mtime_ns, frame.mtime_ns))
        finally:
            os.close(frame.fd)
            if self._frames:
                self._show()

    def leave(self) -> None:
        """Leave every directory, the root too; the tree is spent."""
        while self._frames:
            self.up()

    def close(self) -> None:
        """Give up without setting anything."""
        while self._frames:
            os.close(self._frames.pop().fd)

    def resolved(self, path: bytes) -> bytes | None:
        """The path of the directory that `path` leads to through this layer's own symlinks, within the root.

        None where it leads to no directory of this layer.
        """
        done: list[bytes] = []
        pending = path.split(b"/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            self.steps += 1
            if self.steps > self._max_steps:
                raise ValueError("too many names lead through symlinks of this layer")
            if part == b"..":
                done = done[:-1]
            elif part not in (b"", b"."):
                candidate = b"/".join((*done, part))
                kind = self._kind(candidate)
                if kind == stat.S_IFLNK and links < _MAX_LINKS:
                    links += 1
                    target = os.readlink(candidate, dir_fd=self._root_fd)
                    if target.startswith(b"/"):
                        done = []
                    pending.extend(target.split(b"/")[::-1])
                elif kind == stat.S_IFDIR:
                    done.append(part)
                else:
                    return None
        return b"/".join(done)

    def _kind(self, path: bytes) -> int:
        """The file type at `path`, whose directory is known to hold no symlink; 0 if this layer has nothing there."""
        if len(path) > 4000 or not self._ours(path):
            return 0
        try:
            return stat.S_IFMT(os.stat(path, dir_fd=self._root_fd, follow_symlinks=False).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return 0

    def _resolved(self, child: bytes) -> bytes | None:
        return self.resolved(child) if self._kind(child) == stat.S_IFLNK else None
