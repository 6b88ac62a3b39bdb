"""What a container has written, as a layer: measured, listed, captured, dropped.

Source: moby pkg/archive/changes.go for what counts as a change.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, BinaryIO, cast

from veneer.changeset.entry import Kind
from veneer.errors import Corrupt
from veneer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from veneer.changeset.index import LayerIndex
    from veneer.changeset.pack import Packed
    from veneer.drivers.driver import SnapshotID
    from veneer.drivers.protocol import StorageDriver
    from veneer.store.containers import Container
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MODIFIED, ADDED, DELETED = "C", "A", "D"
_READABLE = 1 << 20
_F_SETPIPE_SZ = 1031


class Change(Value):
    """One line of docker's `diff`: `kind` is C, A or D, `path` begins with a slash."""

    kind: str
    path: bytes


class CaptureFailed(Corrupt):
    """What was packed of a container's layer is not what was unpacked: somebody wrote to it meanwhile."""


def size(store: Store, container: Container) -> int:
    """Bytes of all that a container has written, as docker's SizeRw: lstat's sizes, each inode once."""
    driver = store.containers.driver(container)
    if driver.any_order:
        return driver.usage(container.rw).size
    # Of a driver whose layers are whole trees: what differs from the one below.
    return compared(store, container).size


def compared(store: Store, container: Container, index: BinaryIO | None = None) -> Packed:
    """What a container has changed of what it stands on, to be looked at and not kept; its layer index to `index`.

    Unlike a layer it may have names that begin with `.wh.`.
    """
    from veneer.changeset.pack import ReservedName, pack_difference
    from veneer.drivers.mount import opened
    from veneer.store.drafts import Nowhere

    driver, below, nowhere = store.containers.driver(container), store.containers.lowers(container), Nowhere()
    try:
        return driver.diff(container.rw, below, cast(BinaryIO, nowhere), index=index)
    except ReservedName:
        # On a driver's disk such a name may be spelt in another way: both trees, as the container sees them, say it.
        with (
            opened(driver.mounts(None, below)) as old,
            opened(store.containers.mounts(container, readonly=True)) as new,
        ):
            return pack_difference(old, new, nowhere, index=index, any_name=True)


def changes(store: Store, container: Container) -> list[Change]:
    """What a container has changed of its image, by path: docker's rules, but sorted, and contents count.

    A directory in which something changed is itself changed, but for the root.  What every container is given (the
    init layer) is no change.
    """
    from veneer.changeset.index import LayerIndex
    from veneer.drivers.mount import opened

    driver, below = store.containers.driver(container), store.containers.lowers(container)
    with open(os.memfd_create("veneer-index"), "w+b") as file:  # in memory, where it is read to at once
        compared(store, container, file)
        file.seek(0)
        with LayerIndex.from_bytes(file.read()) as index, opened(driver.mounts(None, below)) as root:
            told = list(_told(index, root))
            sockets = _sockets(driver.directory(container.rw))
            return _with_sockets(told, sockets, root) if sockets else told


def _sockets(directory: Path) -> list[bytes]:
    """The sockets in a container's layer: no layer holds them, but they are there.  No image has any."""
    import stat

    found = []
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path, _, names, folder in os.fwalk(b".", dir_fd=top):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # of a container that runs
                    if stat.S_ISSOCK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                        found.append(os.path.normpath(os.path.join(path, name)))
    finally:
        os.close(top)
    return found


def _with_sockets(told: list[Change], sockets: list[bytes], root: int) -> list[Change]:
    """Changes with those sockets among them; `root` is the tree below."""
    kinds = {change.path: change.kind for change in told}
    for path in sockets:
        kinds[b"/" + path] = ADDED if _status(root, path) is None else MODIFIED
        while path := os.path.dirname(path):
            kinds.setdefault(b"/" + path, MODIFIED)
    return [Change(kind, path) for path, kind in sorted(kinds.items(), key=lambda pair: pair[0].split(b"/"))]


def _told(index: LayerIndex, root: int) -> Iterator[Change]:
    """The entries of a difference as changes of the tree at `root`."""
    from veneer.changeset.index import TOP

    paths = list(index.paths())
    linked = _with_several_names(index)
    own = {number: _change(index, number, path, root, linked.get(number)) for number, path in enumerate(paths) if path}
    around: set[int] = set()
    for number, kind in own.items():
        parent = index.parents[number] if kind else TOP
        while parent != TOP and parent not in around:
            around.add(parent)
            parent = index.parents[parent]
    for number, kind in own.items():
        if kind or number in around:
            yield Change(kind or MODIFIED, b"/" + paths[number])


def _with_several_names(index: LayerIndex) -> dict[int, int]:
    """The names of files that have several, each with the one that has the content."""
    found: dict[int, int] = {}
    for number in range(len(index)):
        if index.kind(number) is Kind.HARDLINK:
            first = index.find(index.link(number))
            if first is not None:
                found[number] = found[first] = first
    return found


def _change(index: LayerIndex, number: int, path: bytes, root: int, first: int | None) -> str:
    """What became of a path itself; "" for nothing, where only something in it changed, if that."""
    kind = index.kind(number)
    if kind is Kind.WHITEOUT:
        return DELETED
    before = _status(root, path)
    if before is None:
        return ADDED
    if kind is Kind.DIRECTORY:
        # One that was copied up, or whose time alone is another, is no change, as with docker.
        return MODIFIED if not index.is_implied(number) and _differs(index, number, before) else ""
    # All names of a file are in a layer if one is, so this one may be as it was.
    return "" if first is not None and _is_as_before(index, first, path, root, before) else MODIFIED


def _is_as_before(index: LayerIndex, number: int, path: bytes, root: int, before: os.stat_result) -> bool:
    """Whether the file of an entry is the one that was at `path`."""
    import hashlib
    import stat

    from veneer.changeset import syscalls
    from veneer.changeset.xattrs import read_xattrs

    if index.kind(number) is not Kind.REGULAR or not stat.S_ISREG(before.st_mode):
        return False
    if (_owned(before), before.st_size, before.st_mtime_ns) != (
        (index.metas[number] & 0o7777, index.uids[number], index.gids[number]),
        index.sizes[number],
        index.mtimes_ns[number],
    ):
        return False
    fd = syscalls.openat2(root, path, os.O_RDONLY | os.O_NOFOLLOW, syscalls.RESOLVE_IN_ROOT)
    with open(fd, "rb") as file:
        if read_xattrs(fd) != index.xattrs(number):
            return False
        return hashlib.file_digest(file, "sha256").digest() == index.digest(number)


def _status(root: int, path: bytes) -> os.stat_result | None:
    from veneer.changeset import syscalls

    try:
        how = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        fd = syscalls.openat2(root, path, os.O_PATH | os.O_NOFOLLOW, how)
    except OSError:
        return None  # nothing there, or something else on the way
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _differs(index: LayerIndex, number: int, before: os.stat_result) -> bool:
    """Whether a directory that was there has another mode or owner, or was no directory; its time does not count."""
    import stat

    owned = index.metas[number] & 0o7777, index.uids[number], index.gids[number]
    return not stat.S_ISDIR(before.st_mode) or owned != _owned(before)


def _owned(status: os.stat_result) -> tuple[int, int, int]:
    import stat

    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def capture(store: Store, lease: Lease, container: Container) -> tuple[Layer | None, Packed]:
    """What a container has written, as a layer on its image's; None where that is nothing.

    Nobody may write to the container's layer meanwhile.  Raises CaptureFailed.
    """
    driver = store.containers.driver(container)
    # The init layer's files are below it: that one of them is gone, or other than it was, is a change, as with docker.
    below = store.containers.lowers(container)
    with store.layers.draft(lease, container.top) as draft:
        with draft.index_file() as index:
            packed = poured(
                lambda out: driver.diff(container.rw, below, out, index=index), draft.directory, draft.driver,
                draft.lowers,
            )  # fmt: skip
        if packed.entries == 0:
            return None, packed
        return draft.publish(packed, standalone=False), packed


def poured(
    pack: Callable[[BinaryIO], Packed], directory: Path, driver: StorageDriver, lowers: Sequence[SnapshotID]
) -> Packed:
    """Unpack what `pack` packs of a container's layer into `directory`, a new snapshot of `driver` on `lowers`, both
    at once.  Raises CaptureFailed."""
    from veneer.changeset.unpack import settle, unpack
    from veneer.store.drafts import directories

    # First: where it cannot be opened nobody would read what the thread writes.
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        reading, writing = os.pipe2(os.O_CLOEXEC)
    except OSError:
        os.close(root)
        raise
    _widen(reading)
    done: list[Packed] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with open(writing, "wb", buffering=0) as out:
                done.append(pack(out))
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failures.append(error)

    packing = threading.Thread(target=work, name="veneer-capture")
    packing.start()
    style, what = driver.whiteouts, "the container's layer"
    try:
        with open(reading, "rb", buffering=0) as stream:
            unpacked = unpack(stream, root, style, index=None, what=what)
            while stream.read(_READABLE):  # what follows the archive's end
                pass
        packing.join()
        if failures:
            raise failures[0]
        with directories(driver, lowers) as below:
            settle(root, unpacked, below, style, what=what,
                   true=lambda number, path: driver.attributes(lowers[number], path))  # fmt: skip
    except Exception as error:
        packing.join()
        if failures and failures[0] is not error and not isinstance(failures[0], BrokenPipeError):
            raise failures[0] from error  # half an archive is what that made, and not what went wrong
        raise
    finally:
        packing.join()
        os.close(root)
    [packed] = done
    if packed.diff_id != unpacked.diff_id:
        raise CaptureFailed(f"the container's layer was packed as {packed.diff_id} and arrived as {unpacked.diff_id}",
                            hint="do not write to the data root; try again")  # fmt: skip
    return packed


def _widen(pipe: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):  # a limit of this user's: the pipe stays small
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _READABLE)


def reset(store: Store, lease: Lease, container: Container) -> None:
    """Drop all that a container, which nobody runs, has written."""
    from veneer.drivers.driver import new_snapshot_id

    driver = store.containers.driver(container)
    fresh = new_snapshot_id()
    with store.catalog.transaction(durable=False) as transaction:
        lease.hold_snapshot(transaction, fresh, driver.name, "")
    driver.create(fresh, store.containers.lowers(container))
    store.containers.replace_rw(container.id, container.rw, fresh)
