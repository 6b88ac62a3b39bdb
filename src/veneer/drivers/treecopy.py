"""Whole trees, copied and deleted; by way of treewalk, which also measures them.

The trees are the driver's own; nobody else moves directories about in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from veneer.drivers.driver import SnapshotID, snapshot_id
from veneer.drivers.treewalk import Cursor as Cursor
from veneer.drivers.treewalk import TreeChanged as TreeChanged
from veneer.drivers.treewalk import directory as directory
from veneer.drivers.treewalk import usage as usage
from veneer.errors import InvalidRequest

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REMOVING = "-removing"
_FICLONE = 0x40049409
_CHUNK = 1 << 20
_PATH_LIMIT = 4000
_NOT_BY_THIS_CALL = frozenset((errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EBADF))


def empty(root: Path) -> Path:
    """A directory in the driver's folder with nothing in it: the view of no layers."""
    path = root / ".empty"
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    return path


def snapshot_folders(root: Path) -> Iterator[SnapshotID]:
    """The snapshots with a folder in `root`, those whose removal was interrupted included, each once."""
    try:
        names = {name.removesuffix(_REMOVING) for name in os.listdir(root)}
    except FileNotFoundError:
        return
    for name in names:
        with contextlib.suppress(InvalidRequest):  # not a snapshot's folder: the probe's notes, lost+found
            yield snapshot_id(name)


def remove_folder(folder: Path) -> None:
    """Delete a snapshot's folder: renamed at once, so that no half of it is ever taken for the whole, then emptied.

    No error if it is not there; what an interrupted removal left is deleted too.
    """
    doomed = folder.with_name(folder.name + _REMOVING)
    delete_tree(doomed)
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    delete_tree(doomed)


def delete_tree(path: Path) -> None:
    """Delete `path` and all below it; no error if it is not there.

    Directories without permissions and immutable files go too, where the user may make them go.
    """
    try:
        with directory(path.parent) as parent, Cursor(parent) as cursor:
            _delete_below(cursor, path.name)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise TreeChanged(
                f"{path} cannot be deleted: something is mounted inside", hint=f"findmnt -R {path.parent}"
            ) from error
        raise


def delete_entry(folder: int, name: str) -> None:
    """As delete_tree, of `name` in the directory `folder`."""
    with Cursor(folder) as cursor:
        _delete_below(cursor, name)


def _delete_below(cursor: Cursor, top: str) -> None:
    waiting = [[top]]
    patience = 100
    while True:
        if waiting[-1]:
            name = waiting[-1].pop()
            if _enter_to_delete(cursor, name):
                waiting.append(_delete_files(cursor.fd))
            continue
        waiting.pop()
        if not waiting:
            return
        name = cursor.leave()
        try:
            _insist(cursor.fd, name, os.rmdir)
        except OSError as error:
            # On some file systems a listing misses names when others are deleted meanwhile: look again.
            if error.errno != errno.ENOTEMPTY or patience == 0:
                raise
            patience -= 1
            waiting[-1].append(name)


def _enter_to_delete(cursor: Cursor, name: str) -> bool:
    """Go into the directory `name`; False if it is gone or was no directory (then it is deleted)."""
    try:
        cursor.enter(name)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        _insist(cursor.fd, name, os.unlink)
        return False
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=cursor.fd)  # overlay leaves its work/work at mode 000
        cursor.enter(name)
    return True


def _delete_files(fd: int) -> list[str]:
    """Unlink everything in the directory `fd` that is no directory; the names of those that are."""
    directories = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                _insist(fd, entry.name, os.unlink)
    return directories


def _insist(fd: int, name: str, action: Callable[..., None]) -> None:
    """Remove `name` from the directory `fd`, lifting first whatever permission or attribute forbids it."""
    try:
        action(name, dir_fd=fd)
    except FileNotFoundError:
        return  # somebody else is deleting the same tree
    except PermissionError:
        with contextlib.suppress(PermissionError):  # the second attempt says what is wrong
            os.fchmod(fd, 0o700)
        _thaw(fd)
        with contextlib.suppress(OSError):  # not for us to open; FIFOs and devices carry no such attributes
            if stat.S_IFMT(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                target = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
                try:
                    _thaw(target)
                finally:
                    os.close(target)
        action(name, dir_fd=fd)


def _thaw(fd: int) -> None:
    """Take the immutable and append-only attributes (chattr +i, +a) off, where the file system has them."""
    import fcntl
    import struct

    word = struct.calcsize("l")
    get, set_ = 0x80006601 | word << 16, 0x40006602 | word << 16
    with contextlib.suppress(OSError):  # no such attributes here, or not ours to change: the retry tells
        [flags] = struct.unpack("i", fcntl.ioctl(fd, get, bytes(word))[:4])
        if flags & 0x30:
            fcntl.ioctl(fd, set_, struct.pack("l", flags & ~0x30))


def copy_tree(source: Path, target: Path) -> None:
    """Make the existing, empty directory `target` a copy of `source`, itself included.

    Kept: content (holes too), hard links within the tree, owners, modes, every extended attribute, times to the
    nanosecond, symlinks, devices, FIFOs and sockets.  Blocks are shared where the file system can.
    """
    with directory(source) as old, directory(target) as new:
        _Copy(old, new).run()


def copy_opened(source: int, target: Path) -> None:
    """As copy_tree, of the directory open at `source`."""
    with directory(target) as new:
        _Copy(source, new).run()


def copy_entry(source: int, target: int, name: str) -> None:
    """As copy_tree, of `name`, which may be anything, from one open directory into another that has no such name."""
    found = os.stat(name, dir_fd=source, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        _Copy(source, target).copy_file(source, target, name, found)
        return
    os.mkdir(name, 0o700, dir_fd=target)
    with contextlib.ExitStack() as opened:
        inside = []
        for folder in (source, target):
            inside.append(os.open(name, _OPEN_DIRECTORY, dir_fd=folder))
            opened.callback(os.close, inside[-1])
        _Copy(*inside).run()


class _Copy:
    def __init__(self, old_root: int, new_root: int) -> None:
        self._old_root = old_root
        self._new_root = new_root
        self._links: dict[tuple[int, int], str] = {}
        self._clone = True
        self._range = True

    def run(self) -> None:
        with Cursor(self._old_root) as old, Cursor(self._new_root) as new:
            waiting = [self._copy_files(old, new)]
            while True:
                if waiting[-1]:
                    name = waiting[-1].pop()
                    os.mkdir(name, 0o700, dir_fd=new.fd)
                    old.enter(name)
                    new.enter(name)
                    waiting.append(self._copy_files(old, new))
                    continue
                # Last, since what is made in a directory changes its time, and its mode may forbid to make it.
                copy_attributes(old.fd, new.fd, os.fstat(old.fd))
                waiting.pop()
                if not waiting:
                    return
                old.leave()
                new.leave()

    def _copy_files(self, old: Cursor, new: Cursor) -> list[str]:
        """Copy all that is no directory from `old` to `new`; the names of the directories."""
        directories = []
        with os.scandir(old.fd) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    directories.append(name)
                    continue
                found = os.stat(name, dir_fd=old.fd, follow_symlinks=False)
                if found.st_nlink > 1 and self._linked(found, name, new):
                    continue
                self.copy_file(old.fd, new.fd, name, found)
        return directories

    def copy_file(self, old: int, new: int, name: str, found: os.stat_result) -> None:
        """Copy `name`, no directory, whose status is `found`."""
        if stat.S_ISREG(found.st_mode):
            self._copy_file(old, new, name, found)
        else:
            _copy_special(old, new, name, found)

    def _linked(self, found: os.stat_result, name: str, new: Cursor) -> bool:
        """Whether the inode was copied before; then `name` is made a link to that copy."""
        inode = (found.st_dev, found.st_ino)
        first = self._links.get(inode)
        if first is None:
            self._links[inode] = f"{new.path}/{name}".lstrip("/")
            return False
        with _parent(self._new_root, first) as (folder, last):
            os.link(last, name, src_dir_fd=folder, dst_dir_fd=new.fd, follow_symlinks=False)
        return True

    def _copy_file(self, old: int, new: int, name: str, found: os.stat_result) -> None:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=old)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(name, flags, 0o600, dir_fd=new)
            try:
                if found.st_size:
                    self._copy_data(source, target, found)
                copy_attributes(source, target, found)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _copy_data(self, source: int, target: int, found: os.stat_result) -> None:
        if self._clone:
            import fcntl

            try:
                fcntl.ioctl(target, _FICLONE, source)
                return
            except OSError as error:
                if error.errno not in _NOT_BY_THIS_CALL:
                    raise
                self._clone = False  # one tree, one file system: what fails once fails for all
        sparse = found.st_blocks * 512 < found.st_size
        for start, end in _extents(source, found.st_size) if sparse else [(0, found.st_size)]:
            self._copy_range(source, target, start, end)
        if sparse:
            os.ftruncate(target, found.st_size)

    def _copy_range(self, source: int, target: int, start: int, end: int) -> None:
        while start < end and self._range:
            try:
                copied = os.copy_file_range(source, target, min(end - start, 1 << 30), start, start)
            except OSError as error:
                if error.errno not in _NOT_BY_THIS_CALL:
                    raise
                self._range = False
                break
            if copied == 0:
                break  # some file systems answer so instead of an error; reading tells a true end
            start += copied
        while start < end:
            data = os.pread(source, min(_CHUNK, end - start), start)
            if not data:
                raise TreeChanged("a file shrank while it was copied")
            start += os.pwrite(target, data, start)


def _extents(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that hold data, as (start, end) in bytes."""
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            raise
        position = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, min(position, size)


def _copy_special(old: int, new: int, name: str, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
    else:
        os.mknod(name, found.st_mode, found.st_rdev, dir_fd=new)
    os.chown(name, found.st_uid, found.st_gid, dir_fd=new, follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        set_mode(new, name, stat.S_IMODE(found.st_mode))
    # No extended attribute call takes a directory and a name, and these cannot be opened.
    source, target = f"/proc/self/fd/{old}/{name}", f"/proc/self/fd/{new}/{name}"
    for attribute in os.listxattr(source, follow_symlinks=False):
        value = os.getxattr(source, attribute, follow_symlinks=False)
        os.setxattr(target, attribute, value, follow_symlinks=False)
    os.utime(name, ns=(found.st_atime_ns, found.st_mtime_ns), dir_fd=new, follow_symlinks=False)


def copy_attributes(source: int, target: int, found: os.stat_result) -> None:
    """Owner, mode, extended attributes, times, in the order in which none undoes another.

    chown clears the set-id bits and security.capability; writing an attribute changes no time.
    """
    os.fchown(target, found.st_uid, found.st_gid)
    os.fchmod(target, stat.S_IMODE(found.st_mode))
    for attribute in os.listxattr(source):
        os.setxattr(target, attribute, os.getxattr(source, attribute))
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def set_mode(folder: int, name: str, mode: int) -> None:
    """Set the mode of what is no link; if it has become one meanwhile, nothing of what that leads to is changed.

    Of fchmodat(2) and a link the kernel has only one that follows.  Raises OSError (EOPNOTSUPP) for a link.
    """
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), name)
        os.chmod(f"/proc/self/fd/{fd}", mode)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The directory of `path` beneath `root`, and the last name; in several steps where the kernel's limit asks for
    it."""
    folder = os.dup(root)
    try:
        while len(path) * 4 > _PATH_LIMIT and "/" in path:
            cut = path.rfind("/", 0, _PATH_LIMIT // 4)
            cut = path.index("/") if cut < 0 else cut
            deeper = os.open(path[:cut], os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder, path = deeper, path[cut + 1 :]
        yield folder, path
    finally:
        os.close(folder)
