"""Reads what the stat memory does not know of a selection, by several threads."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable

from veneer.build.context import checksum
from veneer.build.context.failures import SourceChanged, SourceNotFound, shown
from veneer.build.context.scan import DEVICE, MODE, OWNER, SIZE, WIDTH, Folder, Tree, owner_in, row_of
from veneer.changeset.safepath import DIRECTORY
from veneer.changeset.xattrs import GONE, Xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.select import Root, Selection

CAPABILITY = "security.capability"
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_NOTHING = bytes(32)
_THREADED = 4 << 20
"""Less to read than this is read by one thread."""


def complete(selection: Selection) -> None:
    """Have the checksum of every entry of a selection known.  Raises SourceNotFound, SourceChanged, BadContext."""
    tree, started = selection.tree, time.time_ns()
    todo: list[tuple[int, Callable[[], None]]] = []
    learnt: list[Folder] = []
    for root in selection.roots:
        if not root.sum:
            _root(tree, root, todo)
        if root.folder is None:
            continue
        for folder in root.folder.walk():
            if folder.sums is None:
                remember(tree, folder)
            if _unknown(folder):
                learnt.append(folder)
                _folder(tree, folder, todo)
    _run(todo)
    if tree.memory is not None:
        for folder in learnt:
            tree.memory.learn(folder, started)


def remember(tree: Tree, folder: Folder) -> None:
    """Give a folder what the tree's memory knows of it."""
    if tree.memory is not None:
        tree.memory.recall(folder)
    else:
        folder.sums, folder.digests = bytearray(32 * len(folder.names)), bytearray(32 * len(folder.names))


def _unknown(folder: Folder) -> bool:
    sums = folder.sums
    assert sums is not None
    at = sums.find(_NOTHING)
    while at >= 0:
        if at % 32 == 0:
            return True
        at = sums.find(_NOTHING, at + 1)
    return False


def _run(todo: list[tuple[int, Callable[[], None]]]) -> None:
    workers = len(os.sched_getaffinity(0))
    if workers == 1 or sum(size for size, _ in todo) < _THREADED:
        for _, work in todo:
            work()
        return
    from concurrent.futures import ThreadPoolExecutor

    todo.sort(key=lambda each: -each[0])  # the big ones first, so that no thread ends long after the others
    with ThreadPoolExecutor(workers, "veneer-checksum") as pool:
        for done in [pool.submit(work) for _, work in todo]:
            done.result()


def _folder(tree: Tree, folder: Folder, todo: list[tuple[int, Callable[[], None]]]) -> None:
    """What is still to be read of one directory, its big files apart."""
    rows, sums = folder.rows, folder.sums
    assert sums is not None
    small, small_size = [], 0
    for number in range(len(folder.names)):
        if sums[32 * number : 32 * number + 32] != _NOTHING:
            continue
        size = rows[number * WIDTH + SIZE]
        if stat.S_ISREG(rows[number * WIDTH + MODE]) and size > _CHUNK:
            todo.append((size, lambda number=number: _entries(tree, folder, [number])))  # type: ignore[misc]
        else:
            small.append(number)
            small_size += size
    if small:
        todo.append((small_size, lambda: _entries(tree, folder, small)))


def _entries(tree: Tree, folder: Folder, numbers: list[int]) -> None:
    fd = tree.open(folder.path, DIRECTORY)
    sums, digests = folder.sums, folder.digests
    assert sums is not None and digests is not None
    try:
        for number in numbers:
            name = folder.names[number]
            row = tuple(folder.rows[number * WIDTH : number * WIDTH + WIDTH])
            path = folder.child(name)
            total, digest, now = entry_sum(tree, fd, name, path, row)
            sums[32 * number : 32 * number + 32] = total
            digests[32 * number : 32 * number + 32] = digest
            if now != row:
                folder.rows[number * WIDTH : number * WIDTH + WIDTH] = folder.rows.__class__("q", now)
    finally:
        os.close(fd)


def _root(tree: Tree, root: Root, todo: list[tuple[int, Callable[[], None]]]) -> None:
    if root.folder is not None:
        name = root.given + b"/"
        root.sum = hashlib.sha256(checksum.header(name, root.row[MODE], owner(tree, root.row[OWNER]))).digest()
        return
    directory, _, name = root.path.rpartition(b"/")

    def work() -> None:
        fd = tree.open(directory, DIRECTORY)
        try:
            root.sum, root.digest, root.row = entry_sum(tree, fd, name, root.given, root.row)
        finally:
            os.close(fd)

    todo.append((root.row[SIZE], work))


def owner(tree: Tree, number: int) -> tuple[int, int]:
    """The owner a checksum is made with."""
    return (0, 0) if tree.normalised else owner_in(number)


def capability(fd: int) -> Xattrs:
    """The one extended attribute that checksums and contexts know."""
    if CAPABILITY not in os.listxattr(fd):
        return ()
    return ((CAPABILITY.encode(), os.getxattr(fd, CAPABILITY)),)


def entry_sum(
    tree: Tree, dir_fd: int, name: bytes, path: bytes, row: tuple[int, ...]
) -> tuple[bytes, bytes, tuple[int, ...]]:
    """Checksum, content digest (zeros but for regular files) and row, as it is now, of anything."""
    mode = row[MODE]
    if stat.S_ISREG(mode):
        return _regular(tree, dir_fd, name, path)
    link = os.readlink(name, dir_fd=dir_fd) if stat.S_ISLNK(mode) else b""
    text = path + b"/" if stat.S_ISDIR(mode) else path
    device = (os.major(row[DEVICE]), os.minor(row[DEVICE]))
    if stat.S_ISSOCK(mode):
        return hashlib.sha256(b"socket" + path).digest(), _NOTHING, row  # never copied, but it is there
    head = checksum.header(text, mode, owner(tree, row[OWNER]), link=link, device=device)
    return hashlib.sha256(head).digest(), _NOTHING, row


def _regular(tree: Tree, dir_fd: int, name: bytes, path: bytes) -> tuple[bytes, bytes, tuple[int, ...]]:
    for _ in range(2):
        try:
            fd = os.open(name, OPEN_FILE, dir_fd=dir_fd)
        except OSError as error:
            if error.errno in GONE:
                raise SourceNotFound(f"{shown(path)}: not there any more in {tree.what}") from error
            from veneer.build.context.scan import unreadable

            raise unreadable(error, path, tree.what) from error
        try:
            row = row_of(os.fstat(fd))
            head = checksum.header(
                path, row[MODE], owner(tree, row[OWNER]), size=row[SIZE], xattrs=capability(fd)
            )  # fmt: skip
            total, content = hashlib.sha256(head), hashlib.sha256()
            if _read_into(fd, row[SIZE], total, content):
                return total.digest(), content.digest(), row
        finally:
            os.close(fd)
    raise changed(path)


def changed(path: bytes) -> SourceChanged:
    """The error for a file that somebody goes on shortening."""
    return SourceChanged(
        f"{shown(path)}: was shortened each time it was read",
        hint="something writes to it; wait for that to end, or exclude the file in .dockerignore",
    )


def _read_into(fd: int, size: int, *hashes: hashlib._Hash) -> bool:
    """Hash exactly `size` bytes; False if there are fewer."""
    left = size
    buffer = memoryview(bytearray(min(size, _CHUNK)))
    while left:
        count = os.readv(fd, (buffer[:left],))
        if not count:
            return False
        for each in hashes:
            each.update(buffer[:count])
        left -= count
    return True
