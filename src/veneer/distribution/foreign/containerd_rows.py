"""What containerd's databases say: the images of each namespace, and the snapshots with the directories they are in.

`meta.db` has a bucket for each namespace, and in it the images' targets, the containers, and by what name each of its
snapshots is known to the snapshotter; a snapshotter's own `metadata.db` has the number that its directory is called by.
Sources: containerd core/metadata/buckets.go, core/snapshots/storage/bolt.go, plugins/snapshots/{overlay,native,btrfs}.
"""

from __future__ import annotations

import os

from veneer.distribution.foreign.bolt import Bucket, read
from veneer.distribution.foreign.root import noted
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from veneer.distribution.foreign.reading import Reading

    T = TypeVar("T")

METADATA = "io.containerd.metadata.v1.bolt/meta.db"
_SNAPSHOTTER = "io.containerd.snapshotter.v1."
_DIRECTORIES = {
    "overlayfs": "snapshots/{}/fs",
    "fuse-overlayfs": "snapshots/{}/fs",
    "native": "snapshots/{}",
    "btrfs": "snapshots/{}",
}
"""Where each snapshotter has a snapshot's files, by its number; others have no directories.  The best ones first."""
_VIEW, _ACTIVE, _COMMITTED = 1, 2, 3
_ELSEWHERE = {("btrfs", _VIEW): "view/{}", ("btrfs", _ACTIVE): "active/{}"}
"""Where what can still be written to lies, or what only shows another one, if that is another place."""


class ImageRow(Value):
    """A name, and the digest of the manifest or index that it stands for."""

    __slots__ = ()
    namespace: str
    name: str
    digest: str
    media_type: str


class SnapshotRow(Value):
    """A snapshot, which its namespace calls `key` and its snapshotter `number`.

    `directory` is relative to the data root, "" where the files are in none.  `size` in bytes, as containerd counted
    them when it was committed; one that is not may change.  `container` is whose it is, "" if nobody's.
    """

    __slots__ = ()
    namespace: str
    driver: str
    key: str
    number: int
    directory: str
    committed: bool
    size: int
    container: str


class _Snapshot(Value):
    """A snapshot as its namespace knows it; `name` is what the snapshotter knows it by."""

    __slots__ = ()
    namespace: str
    driver: str
    key: str
    name: str
    container: str


class Rows(Value):
    """All there is, by namespace and name."""

    __slots__ = ()
    images: tuple[ImageRow, ...]
    snapshots: tuple[SnapshotRow, ...]


def rows(reading: Reading, below: str, faults: list[str]) -> Rows:
    """What containerd's databases at `below` say.  Raises ForeignDamaged, ForeignDenied, ForeignBusy."""
    images, known = _read(reading, f"{below}{METADATA}", _metadata)
    numbers = {driver: _numbers(reading, below, driver, faults) for driver in sorted({each.driver for each in known})}
    found = (_row(below, each, numbers[each.driver].get(each.name)) for each in known)
    return Rows(tuple(images), tuple(each for each in found if each is not None))


def preference(row: SnapshotRow) -> int:
    """What is looked at first of several snapshots with the same files, by sorting."""
    return [*_DIRECTORIES].index(row.driver) if row.directory else len(_DIRECTORIES)


def _read(reading: Reading, path: str, work: Callable[[Bucket], T]) -> T:
    fd = reading.open(path)
    try:
        return read(fd, str(reading.root / path), work)
    finally:
        os.close(fd)


def _metadata(root: Bucket) -> tuple[list[ImageRow], list[_Snapshot]]:
    images: list[ImageRow] = []
    snapshots: list[_Snapshot] = []
    top = root.bucket(b"v1")
    for name, namespace in top.buckets() if top else ():
        parts = dict(namespace.buckets())
        images += _images(_text(name), parts.get(b"images"))
        owners = dict(_owners(parts.get(b"containers")))
        for driver, bucket in parts[b"snapshots"].buckets() if b"snapshots" in parts else ():
            for key, snapshot in bucket.buckets():
                within = _text(snapshot.values().get(b"name", b""))
                owner = owners.get((driver, key), "")
                snapshots.append(_Snapshot(_text(name), _text(driver), _text(key), within, owner))
    return images, snapshots


def _images(namespace: str, bucket: Bucket | None) -> Iterator[ImageRow]:
    for name, image in bucket.buckets() if bucket else ():
        target = image.bucket(b"target")
        told = target.values() if target else {}
        yield ImageRow(namespace, _text(name), _text(told.get(b"digest", b"")), _text(told.get(b"mediatype", b"")))


def _owners(bucket: Bucket | None) -> Iterator[tuple[tuple[bytes, bytes], str]]:
    """The containers by the snapshot each of them writes to: (snapshotter, key)."""
    for name, container in bucket.buckets() if bucket else ():
        told = container.values()
        yield (told.get(b"snapshotter", b""), told.get(b"snapshotKey", b"")), _text(name)


def _numbers(reading: Reading, below: str, driver: str, faults: list[str]) -> dict[str, tuple[int, int, int]]:
    """A snapshotter's own (number, kind, size) of each snapshot; nothing of one whose files are in no directories."""
    if driver not in _DIRECTORIES:
        return {}
    found: dict[str, tuple[int, int, int]] = {}
    with noted(faults):
        found.update(_read(reading, f"{below}{_SNAPSHOTTER}{driver}/metadata.db", _stored))
    return found


def _stored(root: Bucket) -> dict[str, tuple[int, int, int]]:
    bucket = root.bucket(b"v1", b"snapshots")
    found = {}
    for name, snapshot in bucket.buckets() if bucket else ():
        told = snapshot.values()
        number, size = _unsigned(told.get(b"id", b"")), _unsigned(told.get(b"size", b""))
        # Go's signed numbers are counted away from 0 in both directions: 0, -1, 1, -2.
        found[_text(name)] = number, (told.get(b"kind") or b"\0")[0], 0 if size & 1 else size >> 1
    return found


def _row(below: str, each: _Snapshot, stored: tuple[int, int, int] | None) -> SnapshotRow | None:
    """The snapshot with its directory; None for one that the snapshotter was to have and has not."""
    if stored is None:
        if each.driver in _DIRECTORIES:
            return None
        return SnapshotRow(each.namespace, each.driver, each.key, 0, "", True, 0, each.container)
    number, kind, size = stored
    directory = _ELSEWHERE.get((each.driver, kind), _DIRECTORIES[each.driver]).format(number)
    where = f"{below}{_SNAPSHOTTER}{each.driver}/{directory}"
    return SnapshotRow(each.namespace, each.driver, each.key, number, where, kind == _COMMITTED, size, each.container)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _unsigned(raw: bytes) -> int:
    """A number in groups of seven bits, the lowest first; 0 for what is none, or has more than 63 bits."""
    value = 0
    for shift, byte in zip(range(0, 63, 7), raw, strict=False):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    return 0
