"""What fuse-overlayfs copies up wrongly, done for it before it starts and put right when it has ended.

Debian's 1.10 makes empty files of the lower layers' FIFOs and devices when they are changed or renamed, refuses it for
sockets, loses the set-id bits of directories, and those of files that are not its own user's, and ends when a name is
deleted that has no room for `.wh.` before it.  All are rare: so each layer's are found once and noted beside it, and
lie in the upper directory before the program sees it.  There it has nothing to copy and does everything right.

Of a file with several names it may copy up another than the one that is written to, and it notes on each copy which
file it was, so that the next mount takes the two for one and shows either.  Such files may be large: they are put
right afterwards, when all their names become names of the copy, and what it noted is removed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Container, Iterator, Sequence
from pathlib import Path

from veneer.changeset.whiteout import OPAQUE_MARKER, PREFIX, is_whiteout
from veneer.drivers import treecopy
from veneer.drivers.treewalk import walk

_NOTE = "work/copied-up-first"
"""Not in the layer's folder itself, whose ctime tells since when somebody could write to the layer."""
_LONGEST = 255 - len(PREFIX)
_DEEPEST = 3500
"""Bytes of a path; where it and the data root's are more than PATH_MAX together, the program goes nowhere either."""
_SET_ID = stat.S_ISUID | stat.S_ISGID
_OWN = "user.fuseoverlayfs."
_ORIGIN = f"{_OWN}origin"
"""On a copy: the path in its layer of what it is a copy of."""
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque", f"{_OWN}opaque")


def note(layer: Path) -> None:
    """Find what the program could not copy up of the committed layer at `layer`, and note it beside that."""
    with treecopy.directory(layer) as root:
        found = "\0".join(_found(root))
    kept = layer.parent / _NOTE
    fresh = kept.with_name(f".{kept.name}.{os.urandom(8).hex()}")
    fresh.write_bytes(os.fsencode(found))
    fresh.replace(kept)


def copy_up(upper: Path, work: Path, lowers: Sequence[str]) -> None:
    """Put into `upper` what shows through of the noted things in `lowers` (nearest first, committed), unless it is
    there or deleted.  Whole files alone come into place, by way of `work`.  No mount may use `upper`.  Raises OSError.
    """
    layers = [os.fspath(upper), *lowers]
    for depth, lower in enumerate(lowers, 1):
        for path in _noted(Path(lower)):
            if _shows(path, layers[:depth]):
                _copy(path, layers, depth, _scratch(work))


def settle(upper: Path, work: Path, lowers: Sequence[str] = (), *, ended: bool = True) -> None:
    """Put right what the program left in `upper`, as far as `lowers` are told.  Cheap where it never worked.

    Where it may not have `ended`, what it noted stays: it still goes by that, and so does the next time, to which what
    changes meanwhile is left.  Raises OSError.
    """
    if not (work / "work").exists():
        return
    with treecopy.directory(upper) as root:
        copies = dict(_copies(root))
    layers = [os.fspath(upper), *lowers]
    shared: dict[int, dict[int, list[str]]] = {}
    for path, origin in copies.items():
        for depth, lower in enumerate(lowers, 1):
            if os.path.lexists(f"{lower}/{origin}"):
                status = os.lstat(f"{lower}/{origin}")
                if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
                    shared.setdefault(depth, {}).setdefault(status.st_ino, []).append(path)
                break
    for depth, groups in shared.items():
        with treecopy.directory(Path(layers[depth])) as root:
            names = _names(root, groups)
        for inode, found in names.items():
            shown = [name for name in found if _shows(name, layers[:depth])]
            _join(groups[inode], shown, os.lstat(f"{layers[depth]}/{found[0]}"), layers, depth, _scratch(work))
    for path in copies if ended else ():
        with contextlib.suppress(FileNotFoundError):
            _forget(upper / path, (_ORIGIN,))


def _entries(root: int, *, may_vanish: bool = False) -> Iterator[tuple[str, os.DirEntry[str], int]]:
    """All that the program gets to in a tree: its path, the entry, and the descriptor of the directory it is in."""
    for cursor, below in walk(root, may_vanish=may_vanish):
        here = f"{cursor.path}/".lstrip("/")
        if len(os.fsencode(here)) > _DEEPEST:
            continue
        with os.scandir(cursor.fd) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                yield here + entry.name, entry, cursor.fd


def _copies(root: int) -> Iterator[tuple[str, str]]:
    """The files that are copies, and the path of what each is a copy of."""
    for path, entry, folder in _entries(root, may_vanish=True):
        if entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):  # it has no such attribute, or is gone
                origin = os.getxattr(f"/proc/self/fd/{folder}/{entry.name}", _ORIGIN, follow_symlinks=False)
                yield path, os.fsdecode(origin.rstrip(b"\0"))


def _names(root: int, inodes: Container[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for path, entry, _ in _entries(root):
        if entry.inode() in inodes and not entry.is_dir(follow_symlinks=False):
            found.setdefault(entry.inode(), []).append(path)
    return found


def _join(
    copies: Sequence[str], shown: Sequence[str], old: os.stat_result, layers: Sequence[str], depth: int, scratch: Path
) -> None:
    """Make the upper layer's `copies` of one file, and its names that still show from below, names of one copy: the
    one that was changed, last if several were."""

    def changed(path: str) -> tuple[bool, int]:
        new = os.lstat(f"{layers[0]}/{path}")
        same = all(
            getattr(new, field) == getattr(old, field)
            for field in ("st_size", "st_mtime_ns", "st_mode", "st_uid", "st_gid")
        )
        return not same, new.st_ctime_ns

    with contextlib.suppress(FileNotFoundError, FileExistsError):
        right = max(copies, key=changed)
        for path in [*copies, *shown]:
            if path == right:
                continue
            _make_parent(path, layers, depth, scratch)
            target = f"{layers[0]}/{os.path.dirname(path)}"
            times = os.stat(target)
            fresh = scratch / "link"
            fresh.unlink(missing_ok=True)
            fresh.hardlink_to(f"{layers[0]}/{right}")
            fresh.replace(f"{layers[0]}/{path}")
            fresh.unlink(missing_ok=True)  # to rename one name of a file to another does nothing
            os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _scratch(work: Path) -> Path:
    made = work / "copying"
    made.mkdir(exist_ok=True)
    return made


def _found(root: int) -> Iterator[str]:
    for path, entry, _ in _entries(root):
        name = os.fsencode(entry.name)
        if entry.is_symlink() and len(name) <= _LONGEST:
            continue
        if _is_beyond_it(name, entry.stat(follow_symlinks=False)):
            yield path


def _is_beyond_it(name: bytes, status: os.stat_result) -> bool:
    if name.startswith(PREFIX) or is_whiteout(status):
        return False
    if len(name) > _LONGEST:
        return True
    if stat.S_ISDIR(status.st_mode):
        return bool(status.st_mode & _SET_ID)
    if stat.S_ISREG(status.st_mode):
        foreign = (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid())
        # A copy of one name would no longer be the file that the other names are.
        return bool(status.st_mode & _SET_ID) and foreign and status.st_nlink == 1
    return not stat.S_ISLNK(status.st_mode)


def _noted(layer: Path) -> list[str]:
    kept = layer.parent / _NOTE
    try:
        text = kept.read_bytes()
    except FileNotFoundError:  # a layer from before there were notes
        note(layer)
        text = kept.read_bytes()
    return os.fsdecode(text).split("\0") if text else []


def _shows(path: str, above: Sequence[str]) -> bool:
    """Whether nothing in the layers `above` has the place of `path`, deletes it or hides a directory it is in."""
    names = path.split("/")
    for layer in above:
        here = layer
        for depth, name in enumerate(names, 1):
            if os.path.lexists(f"{here}/{os.fsdecode(PREFIX)}{name}"):
                return False
            here = f"{here}/{name}"
            try:
                status = os.lstat(here)
            except FileNotFoundError:
                break
            if depth == len(names) or not stat.S_ISDIR(status.st_mode) or _is_opaque(here):
                return False
    return True


def _is_opaque(folder: str) -> bool:
    for attribute in _OPAQUE:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, attribute) == b"y":
                return True
    return os.path.lexists(f"{folder}/{os.fsdecode(OPAQUE_MARKER)}")


def _copy(path: str, layers: Sequence[str], depth: int, scratch: Path) -> None:
    """Copy `path` of the layer at `depth` into the first one, with what directories it needs."""
    _make_parent(path, layers, depth, scratch)
    folder, name = os.path.split(path)
    target = f"{layers[0]}/{folder}"
    times = os.stat(target)
    _copy_to(scratch, Path(layers[depth], folder), name)
    (scratch / name).rename(f"{target}/{name}")
    os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def _make_parent(path: str, layers: Sequence[str], depth: int, scratch: Path) -> None:
    """The directories of `path`, which shows from the layer at `depth`, in the first one, as those that show."""
    folder = os.path.dirname(path)
    if folder and not os.path.lexists(f"{layers[0]}/{folder}"):
        nearest = next(one for one in range(1, depth + 1) if os.path.isdir(f"{layers[one]}/{folder}"))
        _copy(folder, layers, nearest, scratch)


def _copy_to(scratch: Path, folder: Path, name: str) -> None:
    """Copy `name` of `folder`, a directory without what is in it, and without what the program noted of itself."""
    with treecopy.directory(folder) as source, treecopy.directory(scratch) as target:
        treecopy.delete_entry(target, name)
        if stat.S_ISDIR(os.lstat(folder / name).st_mode):
            (scratch / name).mkdir(mode=0o700)
            with treecopy.directory(folder / name) as old, treecopy.directory(scratch / name) as new:
                treecopy.copy_attributes(old, new, os.fstat(old))
        else:
            treecopy.copy_entry(source, target, name)
    if stat.S_IFMT(os.lstat(scratch / name).st_mode) in (stat.S_IFDIR, stat.S_IFREG):
        _forget(scratch / name, (_ORIGIN, *_OPAQUE))


def _forget(path: Path, attributes: Sequence[str]) -> None:
    for attribute in {*os.listxattr(path, follow_symlinks=False)} & {*attributes}:
        os.removexattr(path, attribute, follow_symlinks=False)
