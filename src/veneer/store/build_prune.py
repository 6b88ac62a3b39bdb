"""The build cache made smaller: `builder prune`.

What goes is decided from rows and sizes alone, the images in the transaction that drops them.
Sources: moby/buildkit cache/manager.go (prune), moby builder/builder-next/builder.go (filters, keep-storage).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from veneer.errors import InvalidRequest
from veneer.oci.digest import Digest, ImageID
from veneer.store.build_usage import CONTEXTS, MOUNT, REGULAR, CachedImages, Record, Wanted, others, steps
from veneer.store.durability import crashpoint
from veneer.store.reserve import making_room
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.store.store import Store


class InvalidStorage(InvalidRequest):
    """A negative amount of storage to keep."""


class BuildPruned(Value):
    """What a prune of the build cache removed, or would remove, in order, and the bytes that freed.

    Of shared records only the memory of what made them went; their images are still there.
    """

    __slots__ = ()
    records: tuple[Record, ...]
    bytes: int


def prune(
    store: Store,
    *,
    all: bool = False,
    filters: Mapping[str, Sequence[str]] | None = None,
    keep_storage: int = 0,
    dry_run: bool = False,
) -> BuildPruned:
    """Remove records, those not used for longest first, until no more than `keep_storage` bytes of cache are left.

    Without `all`, what is shared stays.  With `all` it is forgotten how that was made, so that the next build does it
    again; its images stay all the same, with their parents and history, as long as an image with a name needs them.
    Never removed: what running work has, and a step that one which stays was built on.
    `filters` are id=, parent=, type=, description=, inuse=, shared=, private=, until= (not used since).
    `dry_run` only tells.  Raises InvalidFilter, InvalidStorage.
    """
    if keep_storage < 0:
        raise InvalidStorage(f"{keep_storage} bytes of cache cannot be kept", hint="give 0 or more")
    wanted = Wanted(filters or {})
    rest = others(store)

    def choose() -> _Choice:
        return _choose(CachedImages(store), rest, wanted, everything=all, keep_storage=keep_storage)

    return _told(choose()) if dry_run else _carry_out(store, choose)


class _Choice(Value):
    """What is to go: `steps` whose images go, and records of other kinds, all in order; and what the images free."""

    __slots__ = ()
    records: tuple[Record, ...]
    bytes: int

    @property
    def doomed(self) -> list[ImageID]:
        """The images that go, children before their parents."""
        return [ImageID(Digest(each.name)) for each in self.records if each.type == REGULAR and not each.shared]

    @property
    def forgotten(self) -> list[str]:
        return [each.name for each in self.records if each.type == REGULAR and each.shared]

    @property
    def others(self) -> list[Record]:
        return [each for each in self.records if each.type != REGULAR]


def _choose(
    images: CachedImages, others: Sequence[Record], wanted: Wanted, *, everything: bool, keep_storage: int
) -> _Choice:
    records = [*steps(images), *others]
    left = sum(record.size for record in records if not record.shared)
    standing = _Standing(images)
    # Of those unused for equally long (a build uses all its steps at once) children come before what they stand on.
    candidates = {
        (record.used, record.uses, -images.depth(record.name), record.id): record
        for record in records
        if wanted(record) and not record.in_use and (everything or not record.shared)
    }
    waiting = sorted(candidates)
    chosen: list[Record] = []
    while waiting and (keep_storage == 0 or left > keep_storage):
        free = next((key for key in waiting if candidates[key].shared or not standing.carries(candidates[key])), None)
        if free is None:
            break
        waiting.remove(free)
        record = candidates[free]
        chosen.append(record)
        if not record.shared:
            standing.drop(record)
            left -= record.size
    return _Choice(
        tuple(chosen), images.freed(each.name for each in chosen if each.type == REGULAR and not each.shared)
    )


def _told(choice: _Choice) -> BuildPruned:
    return BuildPruned(choice.records, choice.bytes + sum(each.size for each in choice.others))


class _Standing:
    """Which steps other images were built on."""

    def __init__(self, images: CachedImages) -> None:
        self._images = images
        self._carried: dict[str, int] = {}
        for parent in images.parents.values():
            if parent is not None:
                self._carried[parent] = self._carried.get(parent, 0) + 1

    def carries(self, record: Record) -> bool:
        return record.type == REGULAR and self._carried.get(record.name, 0) > 0

    def drop(self, record: Record) -> None:
        parent = self._images.parents.get(record.name) if record.type == REGULAR else None
        if parent is not None:
            self._carried[parent] -= 1


def _carry_out(store: Store, choose: Callable[[], _Choice]) -> BuildPruned:
    """Choose and remove: images in the transaction they are chosen in, so that nobody comes to need one meanwhile."""
    from veneer.store.gc import Extent

    with making_room(store.root):
        with store.catalog.transaction() as transaction:
            choice = choose()
            transaction.executemany("DELETE FROM build_step WHERE image = ?", [(each,) for each in choice.forgotten])
            transaction.executemany("DELETE FROM image WHERE id = ?", [(each,) for each in choice.doomed])
        crashpoint("builder-prune-rows-gone")
        kept = {each for each in choice.others if not _remove(store, each)}
    done = _Choice(tuple(each for each in choice.records if each not in kept), choice.bytes)
    if choice.records:
        store.collect(extent=Extent.ROWS)
        store.images.layout.refresh()
    return _told(done)


def _remove(store: Store, record: Record) -> bool:
    """Remove a record that is no image; False if a step has come to use it."""
    if record.type == MOUNT:
        return store.cache_mounts.remove(record.name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(store.root / CONTEXTS / record.name)
    return True
