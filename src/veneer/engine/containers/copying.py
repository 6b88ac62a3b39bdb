"""Files in and out of a container, as docker's cp has it.

Every path in a container is resolved by the kernel inside the container's root (openat2, RESOLVE_IN_ROOT), by
descriptors all the way, so that whoever flips links in there meanwhile leads nobody out (CVE-2018-15664).
Sources: docker/cli cli/command/container/cp.go; moby pkg/archive/copy.go.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from veneer.changeset import syscalls
from veneer.errors import InvalidRequest, NotFound
from veneer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from veneer.changeset.compression import Source
    from veneer.engine.engine import Engine
    from veneer.store.containers import Container

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TEMPORARY = ".veneer-cp-"


class NoSuchPath(NotFound):
    """A path that a container does not have.  The text is docker's."""


class NoSuchDirectory(NotFound):
    """The directory that something was to be copied into is not there."""


class CannotCopy(InvalidRequest):
    """What was to be copied does not fit what is at its destination."""


class _Place(Value):
    """Where something is, or is to be: an open directory and a name in it, "." for the directory itself."""

    __slots__ = ()
    parent: int
    name: str


class Side:
    """A tree that is copied from or to: the host's, or a container's.  Close it."""

    def __init__(self, root: int, *, inside: bool, shown: Callable[[str], str]) -> None:
        self.root = root
        self.readonly = ""
        """Why nothing may be written there, in docker's words; "" where it may."""
        self.is_at_rest = False
        """Whether it is the tree of a container that does not run; if it was asked for to read, it is read-only."""
        self._resolve = syscalls.RESOLVE_IN_ROOT if inside else 0
        self._shown = shown
        self._opened: list[int] = [root]

    def open(self, path: str, flags: int) -> int:
        """A descriptor of `path`, kept until the side is closed."""
        fd = syscalls.openat2(self.root, os.fsencode(path) or b".", flags | os.O_CLOEXEC, self._resolve)
        self._opened.append(fd)
        return fd

    def missing(self, path: str) -> NoSuchPath:
        return NoSuchPath(self._shown(path))

    def source(self, path: str, *, follow: bool) -> tuple[_Place, os.stat_result]:
        """What is to be copied: where it is, and its status; a link itself unless we are to `follow` it.

        Raises NoSuchPath.
        """
        trailing = path.endswith(("/", "/."))
        clean = path.rstrip("/") or "/"
        try:
            if trailing or clean in ("/", ".") or clean.endswith("/.."):
                fd = self.open(path, _DIRECTORY)
                return _Place(fd, "."), os.fstat(fd)
            if follow:
                fd = self.open(clean, os.O_PATH)
                status = os.fstat(fd)
                if stat.S_ISDIR(status.st_mode):
                    return _Place(self.open(clean, _DIRECTORY), "."), status
                clean = self._real(clean)
            parent = self.open(posixpath.dirname(clean), _DIRECTORY)
            name = posixpath.basename(clean)
            return _Place(parent, name), os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise self.missing(path) from None
        except NotADirectoryError:
            raise CannotCopy(f"{self._shown(path)}: not a directory") from None

    def _real(self, path: str) -> str:
        """The path of what a link leads to, itself no link."""
        for _ in range(40):
            parent = self.open(posixpath.dirname(path), _DIRECTORY)
            try:
                link = os.readlink(posixpath.basename(path), dir_fd=parent)
            except OSError:
                return path
            path = posixpath.join(posixpath.dirname(path), link)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)

    def target(self, path: str) -> tuple[_Place, os.stat_result | None]:
        """Where something is to be copied to, links followed, and the status of what is there.

        Raises NoSuchPath where its directory is not there.
        """
        try:
            fd = self.open(path, os.O_PATH)
        except FileNotFoundError:
            clean = path.rstrip("/")
            try:
                return _Place(self.open(posixpath.dirname(clean), _DIRECTORY), posixpath.basename(clean)), None
            except (FileNotFoundError, NotADirectoryError):
                raise self.missing(posixpath.dirname(clean)) from None
        except NotADirectoryError:
            raise CannotCopy(f"{self._shown(path)}: not a directory") from None
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            return _Place(self.open(path, _DIRECTORY), "."), status
        real = self._real(path)
        return _Place(self.open(posixpath.dirname(real), _DIRECTORY), posixpath.basename(real)), status

    def close(self) -> None:
        while self._opened:
            os.close(self._opened.pop())


@contextlib.contextmanager
def host_side() -> Iterator[Side]:
    """The host's tree; paths are relative to the working directory."""
    side = Side(os.open(".", _DIRECTORY), inside=False, shown=lambda path: f"lstat {path}: no such file or directory")
    try:
        yield side
    finally:
        side.close()


@contextlib.contextmanager
def container_side(
    engine: Engine, container: Container, name: str, path: str, *, follow: bool = True, reading: bool = False
) -> Iterator[tuple[Side, str]]:
    """A container's tree and the path in it; that of a volume or a bind where the path lies in one, be it by links, and
    with those in it that are below the path.

    `name` is what the container was called, for errors.  `follow`: a link that is the last of the path, too.
    `reading`: nothing is written to a container at rest, so it may be read by others, and started, as well.
    """
    from veneer.engine.containers.mounted import located
    from veneer.engine.containers.viewing import reached

    clean = posixpath.normpath("/" + path.lstrip("/"))
    keeps = "/." if path.endswith("/.") else "/" if path.endswith("/") and clean != "/" else ""
    above = ""

    def shown(inner: str) -> str:
        return f"No such container:path: {name}:{above}/{inner.strip('/')}"

    with contextlib.ExitStack() as stack:
        root, is_at_rest = stack.enter_context(reached(engine, container, reading=reading))
        inner = clean.lstrip("/") or "."
        point, part, has_more = located(root, container.document["Mounts"], clean, follow=follow or bool(keeps))
        if has_more:
            stack.close()
            root, is_at_rest = stack.enter_context(reached(engine, container, reading=reading, whole=True))
        elif point is not None:
            stack.close()  # the container's own tree is not needed
            root, inner, above = _opened_volume(point), part, point["Destination"].rstrip("/")
            stack.callback(os.close, root)
        side = Side(os.dup(root), inside=True, shown=shown)
        side.is_at_rest = is_at_rest and (point is None or has_more)
        if point is not None and not point["RW"]:
            side.readonly = "mounted volume is marked read-only"
        elif point is None and container.document["HostConfig"].get("ReadonlyRootfs"):
            side.readonly = "container rootfs is marked read-only"
        try:
            yield side, inner + keeps
        finally:
            side.close()


def _opened_volume(point: Mapping[str, str]) -> int:
    """The root of what a mount point shows, be it a part of a volume, in which links lead nowhere else.

    Raises NoSuchPath.
    """
    root = os.open(point.get("Device") or point["Source"], _DIRECTORY)
    part = (point.get("Subpath") or "").strip("/")
    if not part:
        return root
    try:
        return syscalls.openat2(root, os.fsencode(part), _DIRECTORY, syscalls.RESOLVE_IN_ROOT)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise NoSuchPath(f"cannot open {part} of the volume at {point['Destination']}: {reason}") from None
    finally:
        os.close(root)


def check_writable(side: Side) -> None:
    """Raise CannotCopy for a destination that the container itself could not write to, in docker's words."""
    if side.readonly:
        raise CannotCopy(side.readonly)


# ---- from tree to tree


def copy(source: Side, from_: str, target: Side, to: str, *, follow: bool = False, own: tuple[int, int] | None) -> None:
    """Copy by docker's rules for names: into a directory that is there, over a file, or under a new name.

    `own`: who everything belongs to afterwards; None keeps the owners.  Raises NoSuchPath, NoSuchDirectory, CannotCopy.
    """
    place, status = source.source(from_, follow=follow)
    there, found = target.target(to)
    is_directory = stat.S_ISDIR(status.st_mode)
    contents = from_.endswith("/.") or from_ == "."
    base = posixpath.basename(posixpath.normpath(from_)) if from_ not in ("/", ".", "./") else ""
    if found is None:
        if to.endswith("/") and not is_directory:
            raise NoSuchDirectory("no such directory")
        _put(place, there, there.name, own, is_directory=is_directory)
    elif stat.S_ISDIR(found.st_mode):
        name = "." if (is_directory and contents) or not base else base
        _put(place, there, name, own, is_directory=is_directory)
    elif is_directory:
        raise CannotCopy("cannot copy directory")
    else:
        _put(place, there, there.name, own, is_directory=False)


def _put(place: _Place, there: _Place, name: str, own: tuple[int, int] | None, *, is_directory: bool) -> None:
    """Have what is at `place` be `name` in the directory `there`; directories that are there get more in them."""
    from veneer.drivers import treecopy

    before = _status(there.parent, name)
    if is_directory and before is not None and stat.S_ISDIR(before.st_mode):
        source = os.open(place.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=place.parent)
        try:
            into = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=there.parent)
            try:
                _merge(source, into, own)
            finally:
                os.close(into)
        finally:
            os.close(source)
        return
    if before is not None and stat.S_ISDIR(before.st_mode) != is_directory:
        words = ("non-directory", "directory") if is_directory else ("directory", "non-directory")
        raise CannotCopy(f'cannot overwrite {words[0]} "{name}" with {words[1]}')
    # Made beside and renamed, so that nobody ever sees half of it.
    beside = _beside(there, name)
    try:
        folder = os.open(beside, _DIRECTORY | os.O_NOFOLLOW, dir_fd=there.parent)
        try:
            made = name
            if place.name == ".":
                made = "made"
                os.mkdir(made, 0o700, dir_fd=folder)
                inside = os.open(made, _DIRECTORY, dir_fd=folder)
                try:
                    _merge(place.parent, inside, None)
                    treecopy.copy_attributes(place.parent, inside, os.fstat(place.parent))
                finally:
                    os.close(inside)
            else:
                made = place.name
                treecopy.copy_entry(place.parent, folder, made)
            if own is not None:
                _give(folder, made, own)
            os.rename(made, name, src_dir_fd=folder, dst_dir_fd=there.parent)
        finally:
            os.close(folder)
    finally:
        treecopy.delete_entry(there.parent, beside)


def _beside(there: _Place, name: str) -> str:
    """A new directory, by its name, beside what is to be called `name`.  Raises CannotCopy."""
    beside = _TEMPORARY + os.urandom(6).hex()
    try:
        os.mkdir(beside, 0o700, dir_fd=there.parent)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        raise CannotCopy(f"cannot write {name}: {(error.strerror or '').lower()}",
                         hint="it is in a volume or a bind that is mounted read-only") from None  # fmt: skip
    return beside


def _merge(source: int, into: int, own: tuple[int, int] | None) -> None:
    """Copy everything in one directory into another."""
    for name in os.listdir(source):
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        if stat.S_ISSOCK(status.st_mode):
            continue
        _put(_Place(source, name), _Place(into, "."), name, own, is_directory=stat.S_ISDIR(status.st_mode))


def _give(folder: int, name: str, own: tuple[int, int]) -> None:
    """Give a file, or all of a directory, to somebody."""
    from veneer.drivers import treecopy

    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    os.chown(name, *own, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        inside = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for each in os.listdir(inside):
                _give(inside, each, own)
        finally:
            os.close(inside)
    elif not stat.S_ISLNK(status.st_mode):
        treecopy.set_mode(folder, name, stat.S_IMODE(status.st_mode))  # chown takes the set-id bits away


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


# ---- as tars


def tar_out(side: Side, path: str, out: BinaryIO, *, follow: bool = False) -> None:
    """Write what is at `path` as a tar, under its own last name ("." for the contents of a directory)."""
    from veneer.changeset.pack import pack_entry

    place, status = side.source(path, follow=follow)
    base = "." if path.endswith("/.") or path in ("/", ".") else posixpath.basename(posixpath.normpath(path))
    pack_entry(place.parent, os.fsencode(place.name), os.fsencode(base), out, status)


def directory(side: Side, path: str, shown: str = "") -> _Place:
    """Where a tar is to be unpacked; `shown` to people.  Raises CannotCopy where it is no directory, NoSuchPath."""
    there, found = side.target(path)
    if found is None or not stat.S_ISDIR(found.st_mode):
        raise CannotCopy(f'destination "{shown or path}" must be a directory')
    return there


def tar_in(side: Side, path: str, stream: BinaryIO) -> None:
    """Unpack a tar into the directory at `path`.  Raises CannotCopy where it is none."""
    from veneer.changeset.unpack import unpack
    from veneer.changeset.whiteout import WhiteoutStyle
    from veneer.drivers import treecopy

    there = directory(side, path)
    beside = _beside(there, path)
    try:
        folder = os.open(beside, _DIRECTORY | os.O_NOFOLLOW, dir_fd=there.parent)
        try:
            unpack(cast("Source", stream), folder, WhiteoutStyle.PLAIN, index=None, what="the archive")
            _merge(folder, there.parent, None)
        finally:
            os.close(folder)
    finally:
        treecopy.delete_entry(there.parent, beside)
