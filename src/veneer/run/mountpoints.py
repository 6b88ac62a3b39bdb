"""Places to mount on: made in a tree where it has none, and gone again without a trace.

A runtime would make them, too, but nobody would take them away, and they would be part of the next layer.  Links are
followed inside the tree only.  Descriptors of the directories are kept, because afterwards, when a container has had
its way with the tree, the paths may mean something else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from veneer.errors import InvalidRequest
from veneer.values import Value

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


class BadMountPoint(InvalidRequest):
    """A place that nothing can be mounted on."""


class _Made(Value):
    """One that was made: `parent` is a descriptor of the directory it is in."""

    __slots__ = ()
    parent: int
    name: bytes
    directory: bool


class MountPoints:
    """The mount points of one container in the tree at the descriptor `root`; a context manager.

    Nobody else may change the tree while they are made.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._made: list[_Made] = []
        self._mounted: set[bytes] = set()

    def __enter__(self) -> MountPoints:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for made in reversed(self._made):
                _remove(made)
        finally:
            for made in self._made:
                os.close(made.parent)
            self._made.clear()

    def keep(self) -> None:
        """What was made stays, as it does in a container's own layer."""
        for made in self._made:
            os.close(made.parent)
        self._made.clear()

    def make(self, target: str, *, directory: bool) -> str:
        """Have a directory or a file at `target` to mount on; its path without links.

        What lies in something that is mounted before is left to the runtime, for it is not of the tree.
        Raises BadMountPoint.
        """
        real = self._resolve(os.fsencode(target), directory)
        self._mounted.add(real)
        return "/" + os.fsdecode(real)

    def _resolve(self, target: bytes, directory: bool) -> bytes:
        todo = [part for part in reversed(target.split(b"/")) if part not in (b"", b".")]
        real: list[bytes] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                del real[-1:]
                continue
            here = b"/".join([*real, part])
            if any(here == other or here.startswith(other + b"/") for other in self._mounted):
                return b"/".join([*real, part, *reversed(todo)])
            wanted = stat.S_IFDIR if todo or directory else stat.S_IFREG
            try:
                status = os.stat(here, dir_fd=self._root, follow_symlinks=False)
            except FileNotFoundError:
                self._make(b"/".join(real), part, directory=wanted == stat.S_IFDIR)
                real.append(part)
                continue
            except OSError as error:
                raise _refused(target, error) from error
            if stat.S_ISLNK(status.st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise _refused(target, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))
                link = os.readlink(here, dir_fd=self._root)
                if link.startswith(b"/"):
                    real = []
                todo += [each for each in reversed(link.split(b"/")) if each not in (b"", b".")]
                continue
            if stat.S_ISDIR(status.st_mode) != (wanted == stat.S_IFDIR):
                raise _refused(target, OSError(*(
                    (errno.ENOTDIR, "not a directory") if wanted == stat.S_IFDIR else (errno.EISDIR, "is a directory")
                )))  # fmt: skip
            real.append(part)
        return b"/".join(real)

    def _make(self, parent: bytes, name: bytes, *, directory: bool) -> None:
        fd = os.open(parent or b".", _DIRECTORY, dir_fd=self._root)
        try:
            with _times_kept(fd):
                if directory:
                    os.mkdir(name, 0o755, dir_fd=fd)
                else:
                    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=fd))
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                raise _refused(name, error) from error
            raise
        self._made.append(_Made(fd, name, directory))


def _refused(target: bytes, error: OSError) -> BadMountPoint:
    return BadMountPoint(f"cannot mount on {os.fsdecode(target)}: {(error.strerror or '').lower()}")


@contextlib.contextmanager
def _times_kept(directory: int) -> Iterator[None]:
    """What happens to a directory in this `with` does not show in its times."""
    before = os.fstat(directory)
    yield
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))


def _remove(made: _Made) -> None:
    """Take away what was made, unless it has been put to use: then it belongs to the tree."""
    try:
        status = os.stat(made.name, dir_fd=made.parent, follow_symlinks=False)
        with _times_kept(made.parent):
            if made.directory and stat.S_ISDIR(status.st_mode):
                os.rmdir(made.name, dir_fd=made.parent)
            elif not made.directory and stat.S_ISREG(status.st_mode) and status.st_size == 0:
                os.unlink(made.name, dir_fd=made.parent)
    except FileNotFoundError:
        pass  # the container has removed it itself, or the directory it was in
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
