"""What is in a tree that a build reads: names and statuses, each directory listed once.

A scanned directory is a `Folder`: its names sorted bytewise and, for each, eight numbers in one array, which is what
the stat memory keeps and compares in one go.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from collections.abc import Iterator

from veneer.build.context.failures import BadContext, EscapesContext, SourceNotFound, shown
from veneer.build.context.ignore import Ignore, State
from veneer.changeset.safepath import DIRECTORY, open_beneath
from veneer.changeset.xattrs import GONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.memory import Memory
    from veneer.build.context.scouting import Scout

MODE, SIZE, MTIME, CTIME, INODE, OWNER, LINKS, DEVICE = range(8)
WIDTH = 8
"""Numbers in a row; OWNER is uid << 32 | gid as a signed number (owner_in), times are nanoseconds."""
MAX_DEPTH = 255
_MAX_LINKS = 40
_S63 = (1 << 63) - 1
_FORMAT = 0o170000


class Folder:
    """One directory: `path` is relative to the tree's root (b"" the root itself), `row` its own status.

    `rows` holds WIDTH numbers for each of `names`.  `folders` are the directories in it, by name.  `sums` and
    `digests`, once known, are 32 bytes for each name: the checksum of checksum.header and the content's SHA-256;
    zeros where not known.
    """

    __slots__ = ("digests", "folders", "names", "path", "row", "rows", "sums")

    def __init__(self, path: bytes, row: tuple[int, ...], names: list[bytes], rows: array[int]) -> None:
        self.path = path
        self.row = row
        self.names = names
        self.rows = rows
        self.folders: dict[bytes, Folder] = {}
        self.sums: bytearray | None = None
        self.digests: bytearray | None = None

    def child(self, name: bytes) -> bytes:
        return self.path + b"/" + name if self.path else name

    def walk(self) -> Iterator[Folder]:
        """This directory and all beneath it, each before what is in it, in order."""
        stack = [self]
        while stack:
            folder = stack.pop()
            yield folder
            stack.extend(folder.folders[name] for name in sorted(folder.folders, reverse=True))


def row_of(status: os.stat_result) -> tuple[int, ...]:
    """A status as a row."""
    return (
        status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _S63,
        owner_of(status), status.st_nlink, status.st_rdev,
    )  # fmt: skip


def owner_of(status: os.stat_result) -> int:
    """A status' owner as one signed number of 64 bits."""
    both = status.st_uid << 32 | status.st_gid
    return both if both <= _S63 else both - (1 << 64)


def owner_in(number: int) -> tuple[int, int]:
    """The uid and gid in a row's OWNER."""
    return (number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF)


class Tree:
    """A tree that COPY reads from: a context, or the merged view of an image.

    `fd` is its root's descriptor, borrowed.  `what` names it in messages.  `normalised`: owners count as 0:0, as
    in contexts.  Each directory is listed once in the life of the object.
    """

    def __init__(
        self,
        fd: int,
        what: str,
        *,
        ignore: Ignore | None = None,
        normalised: bool = False,
        memory: Memory | None = None,
    ) -> None:
        self.fd = fd
        self.what = what
        self.ignore = ignore if ignore is not None else Ignore()
        self.normalised = normalised
        self.memory = memory
        self.scout: Scout | None = None
        self._folders: dict[bytes, Folder] = {}

    def open(self, path: bytes, flags: int) -> int:
        """Open a real path (no links in it), never leaving the root.  Raises SourceNotFound."""
        try:
            return open_beneath(self.fd, path, flags)
        except OSError as error:
            if error.errno in GONE:
                raise SourceNotFound(f"{shown(path)}: not there any more in {self.what}") from error
            raise unreadable(error, path, self.what) from error

    def status(self, path: bytes) -> os.stat_result | None:
        """lstat of a path whose directory is real; None if there is nothing."""
        try:
            return os.stat(path or b".", dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in (*GONE, errno.ENAMETOOLONG):
                return None
            raise unreadable(error, path, self.what) from error

    def resolve(self, path: bytes, *, follow: bool = True) -> tuple[bytes, os.stat_result] | None:
        """The real path and status of what `path` names; None if there is nothing.

        Links are followed inside the root: `..` does not leave it and `/` is the root, as in a chroot.  `follow`
        False keeps a link that is the last component.  Raises EscapesContext for a loop of links.
        """
        todo = [part for part in reversed(path.split(b"/")) if part not in (b"", b".")]
        real: list[bytes] = []
        status = self.status(b"")
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                real = real[:-1]
                status = self.status(b"/".join(real))
                continue
            here = b"/".join([*real, part])
            status = self.status(here)
            if status is None:
                return None
            if stat.S_ISLNK(status.st_mode) and (todo or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise EscapesContext(f"{shown(path)}: too many levels of symbolic links in {self.what}")
                target = os.readlink(here, dir_fd=self.fd)
                if target.startswith(b"/"):
                    real = []
                todo += [each for each in reversed(target.split(b"/")) if each not in (b"", b".")]
                status = self.status(b"/".join(real))
                continue
            real.append(part)
        return None if status is None else (b"/".join(real), status)

    def folder(self, path: bytes) -> Folder:
        """All that is in the directory `path`, a real one, but for what is ignored."""
        found = self._known(path)
        if found is None:
            state = self.ignore.start
            parts = path.split(b"/") if path else []
            for count in range(1, len(parts) + 1):
                state = self.ignore.enter(os.fsdecode(b"/".join(parts[:count])), state)[1]
            fd = self.open(path, DIRECTORY)
            try:
                found = self._scan(fd, path, row_of(os.fstat(fd)), state)
            finally:
                os.close(fd)
        return found

    def _known(self, path: bytes) -> Folder | None:
        """A directory that was listed already, here or by the scout."""
        if self.scout is not None and path in self.scout.paths and path not in self._folders:
            self._folders.update(self.scout.folders(self._folders))
        return self._folders.get(path)

    def listing(self, path: bytes) -> list[tuple[bytes, int]]:
        """The names in the directory `path`, a real one, that are not ignored, sorted, with their modes."""
        found = self._folders.get(path)
        if found is not None:
            return list(zip(found.names, found.rows[MODE::WIDTH], strict=True))
        fd = self.open(path, DIRECTORY)
        try:
            names = sorted(map(os.fsencode, os.listdir(fd)))
            prefix = path + b"/" if path else b""
            seen = []
            for name in names:
                status = self.status(prefix + name)
                if status is None:
                    continue
                if self.ignore and self.ignore.excludes(prefix + name):
                    hopeless = self.ignore.hopeless(os.fsdecode(prefix + name))
                    if hopeless or not stat.S_ISDIR(status.st_mode) or not self.folder(prefix + name).names:
                        continue
                seen.append((name, status.st_mode))
            return seen
        finally:
            os.close(fd)

    def _scan(self, fd: int, path: bytes, row: tuple[int, ...], state: State) -> Folder:
        if path.count(b"/") > MAX_DEPTH:
            raise BadContext(f"{shown(path[:200])}...: more than {MAX_DEPTH} directories deep")
        names = list(map(os.fsencode, os.listdir(fd)))
        names.sort()
        excluded = self.ignore.filter(state)
        if excluded is None:
            return self._read(fd, path, row, names, state)
        prefix = os.fsdecode(path) + "/" if path else ""
        seen = [name for name in names if not excluded(prefix + (text := os.fsdecode(name)), text)]
        hidden = self._hidden(fd, prefix, set(names).difference(seen), state) if self.ignore.takes_back else {}
        if hidden:
            seen = sorted([*seen, *hidden])
        return self._read(fd, path, row, seen, state, hidden)

    def _hidden(self, fd: int, prefix: str, names: set[bytes], state: State) -> dict[bytes, Folder]:
        """The excluded directories that hold something taken back."""
        found = {}
        for name in names:
            path = prefix + os.fsdecode(name)
            if self.ignore.hopeless(path):
                continue
            try:
                below = os.open(name, DIRECTORY, dir_fd=fd)
            except OSError as error:
                if error.errno in GONE:
                    continue  # no directory, or gone
                raise unreadable(error, os.fsencode(path), self.what) from error
            try:
                inside = self.ignore.enter(path, state)[1]
                folder = self._scan(below, os.fsencode(path), row_of(os.fstat(below)), inside)
            finally:
                os.close(below)
            if folder.names:
                found[name] = folder
        return found

    def _read(
        self,
        fd: int,
        path: bytes,
        row: tuple[int, ...],
        names: list[bytes],
        state: State,
        known: dict[bytes, Folder] | None = None,
    ) -> Folder:
        rows = array("q")
        extend, status_of, folders, gone = rows.extend, os.stat, [], []
        for name in names:
            try:
                status = status_of(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                gone.append(name)
                continue
            mode = status.st_mode
            extend((
                mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & _S63,
                owner_of(status) if status.st_uid else status.st_gid, status.st_nlink, status.st_rdev,
            ))  # fmt: skip
            if mode & _FORMAT == 0o040000:
                folders.append((name, row_of(status)))
        for name in gone:
            names.remove(name)
        folder = Folder(path, row, names, rows)
        for name, below in folders:
            known_one = (known or {}).get(name) or self._known(folder.child(name))
            folder.folders[name] = known_one or self._below(fd, name, folder.child(name), below, state)
        self._folders[path] = folder
        return folder

    def _below(self, fd: int, name: bytes, path: bytes, row: tuple[int, ...], state: State) -> Folder:
        inside = self.ignore.enter(os.fsdecode(path), state)[1] if self.ignore else state
        try:
            below = os.open(name, DIRECTORY, dir_fd=fd)
        except OSError as error:
            if error.errno in GONE:
                return Folder(path, row, [], array("q"))
            raise unreadable(error, path, self.what) from error
        try:
            return self._scan(below, path, row, inside)
        finally:
            os.close(below)


def unreadable(error: OSError, path: bytes, what: str) -> BadContext:
    """The error for a path that is there and cannot be looked at."""
    hint = "exclude it in .dockerignore, or make it readable" if error.errno in (errno.EACCES, errno.EPERM) else ""
    return BadContext(f"{shown(path) or '.'}: cannot be read in {what}: {error.strerror}", hint=hint)
