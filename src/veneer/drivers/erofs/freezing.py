"""A snapshot's directory made a layer: whole files, an index of them, their contents in the store of contents."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import Unpackable, pack
from veneer.changeset.whiteout import WhiteoutStyle
from veneer.drivers import treecopy
from veneer.drivers.erofs.objects import Objects

_METACOPY = "trusted.overlay.metacopy"
_REDIRECT = "trusted.overlay.redirect"
_OPAQUE = "trusted.overlay.opaque"
_OVERLAYS = "trusted.overlay."


class Nowhere:
    """Takes a tar that nobody wants."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        return len(data)


def freeze(tree: Path, index: Path, objects: Objects, merged: Callable[[], AbstractContextManager[Path]]) -> None:
    """Make the directory `tree` a layer with its index at the path `index`, and share its contents.

    `merged` mounts what the tree shows together with the layers below it.  May be repeated after a crash.
    A tree that no index can tell (its paths are too long) gets none: it stays a directory, whole and unshared.
    """
    unfinished = list(_unfinished(tree))
    if unfinished:
        with merged() as whole:
            done: dict[tuple[int, int], Path] = {}
            for path in unfinished:
                _finish(tree, whole, path, done)
    with tempfile.NamedTemporaryFile(dir=index.parent, prefix=".index-") as file:
        with treecopy.directory(tree) as root:
            try:
                pack(root, WhiteoutStyle.OVERLAY, Nowhere(), index=file)  # type: ignore[arg-type]
            except Unpackable:
                return
        file.flush()
        with LayerIndex.open(file.name) as made:
            objects.take_in(tree, made)
        index.unlink(missing_ok=True)
        os.link(file.name, index)


def is_plain(tree: Path) -> bool:
    """Whether the directory has all that it shows by itself: no file without its content, no renamed directory."""
    return next(_unfinished(tree), None) is None


def _unfinished(tree: Path) -> Iterator[bytes]:
    """The paths that need the layers below to be whole, the highest first, none inside another.

    With `metacopy` a file whose attributes alone were changed has no content of its own; with `redirect_dir` a renamed
    directory only has what was changed in it.
    """
    with treecopy.directory(tree) as fd, treecopy.Cursor(fd) as cursor:
        below, unfinished = _look(cursor.fd)
        waiting = [below]
        yield from map(os.fsencode, unfinished)
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if waiting:
                    cursor.leave()
                continue
            name = waiting[-1].pop()
            cursor.enter(name)
            if _has(cursor.fd, _REDIRECT):
                yield os.fsencode(cursor.path)
                cursor.leave()
                continue
            below, unfinished = _look(cursor.fd)
            yield from (os.fsencode(f"{cursor.path}/{each}") for each in unfinished)
            waiting.append(below)


def _look(fd: int) -> tuple[list[str], list[str]]:
    """The directories in a directory, and its files that have no content of their own."""
    below, unfinished = [], []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                file = os.open(entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                try:
                    if _has(file, _METACOPY):
                        unfinished.append(entry.name)
                finally:
                    os.close(file)
    return below, unfinished


def _has(fd: int, name: str) -> bool:
    return name in os.listxattr(fd)


def _finish(tree: Path, whole: Path, path: bytes, done: dict[tuple[int, int], Path]) -> None:
    """Put what is seen at `path` of the merged tree in the place of what the directory has there.

    `done` has the files finished so far, by the inode that they had: another name of one becomes a link to it.
    """
    target, source = tree / os.fsdecode(path), whole / os.fsdecode(path)
    parent = target.parent
    times = parent.stat()
    fresh = parent / f".veneer-whole-{os.urandom(8).hex()}"
    if stat.S_ISDIR(source.lstat().st_mode):
        fresh.mkdir()
        treecopy.copy_tree(source, fresh)
        _keep_links(target, fresh)
        os.setxattr(fresh, _OPAQUE, b"y")
        old = parent / f".veneer-old-{os.urandom(8).hex()}"
        target.rename(old)
        fresh.rename(target)
        treecopy.delete_tree(old)
    else:
        status = target.lstat()
        known = done.setdefault((status.st_dev, status.st_ino), target)
        if known != target:
            os.link(known, fresh, follow_symlinks=False)
        else:
            _copy_file(source, target, fresh)
        fresh.rename(target)
    os.utime(parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def _keep_links(old: Path, new: Path) -> None:
    """Have files of the directory `old` that have names elsewhere, too, be the same ones in its whole copy `new`."""
    for folder, _, names in os.walk(old):
        for name in names:
            file = Path(folder, name)
            status = file.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and _METACOPY not in os.listxattr(file):
                twin = new / file.relative_to(old)
                times = twin.parent.stat()
                twin.unlink()
                os.link(file, twin, follow_symlinks=False)
                os.utime(twin.parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def _copy_file(source: Path, target: Path, fresh: Path) -> None:
    """A file with the content of `source` and the attributes of `target`, which has none."""
    from veneer.changeset.settle import copy_content

    with open(source, "rb", buffering=0) as old, open(fresh, "xb", buffering=0) as new:
        copy_content(old.fileno(), new.fileno(), os.fstat(old.fileno()).st_size)
        status = target.lstat()
        os.fchown(new.fileno(), status.st_uid, status.st_gid)
        os.fchmod(new.fileno(), stat.S_IMODE(status.st_mode))
        for name in os.listxattr(target, follow_symlinks=False):
            if not name.startswith(_OVERLAYS):
                os.setxattr(new.fileno(), name, os.getxattr(target, name, follow_symlinks=False))
        os.utime(new.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
