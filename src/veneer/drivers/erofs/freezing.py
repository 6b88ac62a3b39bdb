"""A snapshot's directory made a layer: whole files, an index of them, their contents in the store of contents."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from veneer.changeset.index import LayerIndex
from veneer.changeset.pack import Unpackable, pack
from veneer.changeset.syscalls import exchange
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

    `merged` mounts what the tree shows together with the layers below it.  May be repeated after a crash: until it is
    whole a path is as it was, and nothing lies in the tree that is not the layer's.  Of a file with several names that
    were finished before and after the crash, each has a copy then.
    A tree that no index can tell (its paths are too long) gets none: it stays a directory, whole and unshared.
    """
    unfinished = list(_unfinished(tree))
    aside = tree.with_name("whole")
    treecopy.delete_tree(aside)  # a killed one's
    if unfinished:
        aside.mkdir(mode=0o700)
        with merged() as whole:
            torn = _torn(tree, whole, unfinished)
            done: dict[tuple[int, int], Path] = {}
            for path in unfinished:
                _finish(tree, whole, path, done, aside / "new")
            for names in torn:
                _join(tree, whole, names)
        aside.rmdir()
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


def _finish(tree: Path, whole: Path, path: bytes, done: dict[tuple[int, int], Path], fresh: Path) -> None:
    """Put what is seen at `path` of the merged tree, at once, in the place of what the directory has there.

    It is made at `fresh`, a name outside of the tree, which is free again afterwards.

    `done` has the files finished so far, by the inode that they had: another name of one becomes a link to it.
    """
    target, source = tree / os.fsdecode(path), whole / os.fsdecode(path)
    parent = target.parent
    times = parent.stat()
    if stat.S_ISDIR(source.lstat().st_mode):
        fresh.mkdir()
        treecopy.copy_tree(source, fresh)
        came = _keep_links(target, fresh, done)
        os.setxattr(fresh, _OPAQUE, b"y")
        exchange(os.fsencode(fresh), os.fsencode(target))
        treecopy.delete_tree(fresh)  # which is the old one now
        done |= {inode: target / inside for inode, inside in came.items()}
    else:
        known = done.setdefault(_inode(target), target)
        if known != target:
            os.link(known, fresh, follow_symlinks=False)
        else:
            _copy_file(source, target, fresh)
        fresh.rename(target)
    os.utime(parent, ns=(times.st_atime_ns, times.st_mtime_ns))


def _keep_links(old: Path, new: Path, done: Mapping[tuple[int, int], Path]) -> dict[tuple[int, int], Path]:
    """Have files of the directory `old` that have other names, too, be the same ones in its whole copy `new`.

    Those without content are the files of `done`; the rest of them are returned, by inode, each with where it lies
    in `new`: names that are still to come will be links to it.
    """
    came: dict[tuple[int, int], Path] = {}
    for folder, _, names in os.walk(old):
        for name in names:
            file = Path(folder, name)
            status = file.lstat()
            inside, inode = file.relative_to(old), (status.st_dev, status.st_ino)
            if inode in done:  # asked first: its other names are others' by now
                _become(new / inside, done[inode])
            elif not stat.S_ISREG(status.st_mode) or status.st_nlink == 1:
                continue
            elif _METACOPY not in os.listxattr(file):
                _become(new / inside, file)
            elif inode in came:
                _become(new / inside, new / came[inode])
            else:
                came[inode] = inside
    return came


def _torn(tree: Path, whole: Path, unfinished: Sequence[bytes]) -> list[list[Path]]:
    """Which files of layers below have one name in a renamed directory and another elsewhere: the names of each, in
    the merged tree, those in renamed directories first.

    Renamed, they are one file still; the copy that the directory is given would be another.
    """
    inside: dict[tuple[int, int], list[Path]] = {}
    whole_of: dict[tuple[int, int], int] = {}
    renamed = [Path(os.fsdecode(path)) for path in unfinished if (whole / os.fsdecode(path)).is_dir()]
    for top in renamed:
        for name, status in _linked(whole, top):
            inode = status.st_dev, status.st_ino
            if not os.path.lexists(tree / name):  # else it is the upper directory's own
                inside.setdefault(inode, []).append(name)
                whole_of[inode] = status.st_nlink
    # A name that was deleted counts, too: then all are looked at for nothing.
    wanted = {inode for inode, names in inside.items() if len(names) < whole_of[inode]}
    if wanted:
        for name, status in _linked(whole, Path()):
            inode = status.st_dev, status.st_ino
            if inode in wanted and name not in inside[inode]:
                inside[inode].append(name)
    return [names for names in inside.values() if len(names) > 1]


def _linked(whole: Path, top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The regular files with several names below `top` of the merged tree, as paths from its root."""
    for folder, _, names in os.walk(whole / top):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                yield Path(os.path.relpath(folder, whole), name), status


def _join(tree: Path, whole: Path, names: Sequence[Path]) -> None:
    """Make the names one file in the layer; the first is there, others may be in layers below alone."""
    for name in names[1:]:
        target = tree / name
        if os.path.lexists(target):
            if _inode(target) != _inode(tree / names[0]):
                _become(target, tree / names[0])
            continue
        missing = [parent for parent in name.parents if not (tree / parent).exists()]
        for parent in reversed(missing):
            with _times_kept((tree / parent).parent):
                (tree / parent).mkdir()
            with treecopy.directory(whole / parent) as source, treecopy.directory(tree / parent) as made:
                treecopy.copy_attributes(source, made, os.fstat(source))
        with _times_kept(target.parent):
            os.link(tree / names[0], target, follow_symlinks=False)


@contextlib.contextmanager
def _times_kept(folder: Path) -> Iterator[None]:
    times = folder.stat()
    yield
    os.utime(folder, ns=(times.st_atime_ns, times.st_mtime_ns))


def _become(name: Path, file: Path) -> None:
    """Make the name, which is there, one more of `file`."""
    with _times_kept(name.parent):
        name.unlink()
        os.link(file, name, follow_symlinks=False)


def _inode(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


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
