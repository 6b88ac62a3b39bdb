"""What the build cache takes, and how it is made smaller: `builder du` and `builder prune`.

A record is a nameless image that a step made, a cache mount, or what is remembered of a build context.  Docker's words:
a record that an image with a name descends from is *shared*, one that running work has is *in use*; neither goes
unless asked for, the latter never.
Sources: moby/buildkit cache/manager.go (prune, disk usage), moby builder/builder-next/builder.go (filters).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from veneer.errors import InvalidRequest
from veneer.oci.digest import Digest, ImageID
from veneer.store.filters import InvalidFilter, moment
from veneer.store.reserve import making_room
from veneer.values import Value

if TYPE_CHECKING:
    from typing import Any

    from veneer.store.store import Store

REGULAR, MOUNT, CONTEXT = "regular", "exec.cachemount", "source.local"
"""The types of records, in BuildKit's words: a step's image, a cache mount, a context's memory."""
TYPES = (REGULAR, MOUNT, CONTEXT)
FILTERS = ("description", "id", "inuse", "parent", "private", "shared", "type", "until")
CONTEXTS = "contexts"
_TRUE = {"": True, "1": True, "true": True, "0": False, "false": False}


class InvalidStorage(InvalidRequest):
    """A negative amount of storage to keep."""


class Record(Value):
    """One thing in the build cache.

    `id` is a short name, `parents` those of the records it stands on.  `size` is what it adds in bytes (a step's
    layer, each counted at one record only).  `created` and `used` are Unix seconds.  `mutable`: a cache mount.
    """

    __slots__ = ()
    id: str
    type: str
    description: str
    size: int
    created: float
    used: float
    uses: int
    shared: bool
    in_use: bool
    mutable: bool
    parents: tuple[str, ...]
    name: str
    """What it is stored as: an image ID, a folder, a file."""

    @property
    def reclaimable(self) -> bool:
        """Whether a prune of everything may remove it."""
        return not self.in_use


class BuildPruned(Value):
    """What a prune of the build cache removed, or would remove, and the bytes that freed."""

    __slots__ = ()
    records: tuple[Record, ...]
    bytes: int


# ---- what there is


def du(store: Store, filters: Mapping[str, Sequence[str]] | None = None) -> list[Record]:
    """Every record that the filters leave, the most recently used first.  Raises InvalidFilter."""
    wanted = _Wanted(filters or {})
    found = [record for record in [*_steps(store), *_mounts(store), *_contexts(store)] if wanted(record)]
    return sorted(found, key=lambda record: (-record.used, record.id))


class _Images:
    """The images of a store as the build cache sees them: IDs, each with its parent and top layer."""

    def __init__(self, store: Store) -> None:
        from veneer.store.removal import busy

        catalog = store.catalog
        with catalog.reading():
            rows: list[Any] = catalog.rows("SELECT id, parent, top FROM image")
            self.parents: dict[str, str | None] = {row[0]: row[1] for row in rows}
            self.tops: dict[str, str | None] = {row[0]: row[2] for row in rows}
            self.named = {
                row[0] for row in catalog.rows("SELECT image FROM tag UNION SELECT image FROM digest_ref")
            }  # fmt: skip
            self.steps: dict[str, Any] = {
                row[0]: row
                for row in catalog.rows(
                    "SELECT image, min(created), max(used), sum(uses), facts FROM build_step GROUP BY image"
                )
                if row[0] not in self.named
            }
            layers: list[Any] = catalog.rows(
                "SELECT chain_id, layer.parent, snapshot, size FROM layer JOIN snapshot ON snapshot.id = layer.snapshot"
            )
            self.busy = busy(store)
        self.layers = {row[0]: (row[1], row[2], row[3]) for row in layers}
        self.shared = self._above(self.named)
        self.running = self._above(self.busy) | self.busy

    def _above(self, images: set[str] | frozenset[str]) -> set[str]:
        """Every image that one of these descends from."""
        found: set[str] = set()
        for image in images:
            parent = self.parents.get(image)
            while parent is not None and parent not in found:
                found.add(parent)
                parent = self.parents.get(parent)
        return found

    def depth(self, image: str) -> int:
        depth, parent = 0, self.parents.get(image)
        while parent is not None:
            depth, parent = depth + 1, self.parents.get(parent)
        return depth

    def sizes(self) -> dict[str, int]:
        """What each record adds: its layers, from the top down to those that an image outside the cache has.

        A layer that several records have counts where it was made: with the one that stands on the fewest others.
        """
        kept: set[str] = set()
        for image, top in self.tops.items():
            if image not in self.steps:
                self._take(top, kept)
        return {image: self._take(self.tops[image], kept) for image in sorted(self.steps, key=self.depth)}

    def _take(self, top: str | None, kept: set[str]) -> int:
        """Add the snapshots of a stack to `kept`; the bytes of those that are new there."""
        size = 0
        while top is not None:
            parent, snapshot, bytes_ = self.layers[top]
            if snapshot not in kept:
                kept.add(snapshot)
                size += bytes_
            top = parent
        return size


def _steps(store: Store) -> list[Record]:
    images = _Images(store)
    sizes = images.sizes()
    found = []
    for image, (_, created, used, uses, facts) in images.steps.items():
        parent = images.parents[image]
        found.append(Record(
            id=Digest(image).short,
            type=REGULAR,
            description=_description(facts),
            size=sizes[image],
            created=created,
            used=used,
            uses=uses,
            shared=image in images.shared,
            in_use=image in images.running,
            mutable=False,
            parents=(Digest(parent).short,) if parent else (),
            name=image,
        ))  # fmt: skip
    return found


def _description(facts: str) -> str:
    command = json.loads(facts).get("cmd")
    if isinstance(command, list):
        return " ".join(word for word in command if isinstance(word, str))
    return command if isinstance(command, str) else ""


def _mounts(store: Store) -> list[Record]:
    from veneer.drivers.treecopy import usage

    found = []
    for mount in store.cache_mounts.list():
        directory = store.cache_mounts.directory(mount.folder)
        found.append(Record(
            id=mount.folder[:12],
            type=MOUNT,
            description=f"cached mount {mount.id}",
            size=usage(directory).size if directory.is_dir() else 0,
            created=mount.created,
            used=mount.used,
            uses=mount.uses,
            shared=False,
            in_use=store.cache_mounts.is_used(mount.folder),
            mutable=True,
            parents=(),
            name=mount.folder,
        ))  # fmt: skip
    return found


def _contexts(store: Store) -> list[Record]:
    folder = store.root / CONTEXTS
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            status = path.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # replaced by a build just now
        found.append(Record(
            id=path.name[:12],
            type=CONTEXT,
            description="what is remembered of a build context",
            size=status.st_size,
            created=status.st_mtime,
            used=max(status.st_mtime, status.st_atime),
            uses=0,
            shared=False,
            in_use=False,
            mutable=True,
            parents=(),
            name=path.name,
        ))  # fmt: skip
    return found


class _Wanted:
    """The filters, checked."""

    def __init__(self, filters: Mapping[str, Sequence[str]]) -> None:
        for name in filters:
            if name not in FILTERS:
                raise InvalidFilter(f"Invalid filter '{name[:200]}'", hint="known filters: " + ", ".join(FILTERS))
        self._filters = filters
        until = filters.get("until", ())
        if len(until) > 1:
            raise InvalidFilter("more than one until filter specified")
        self._until = moment(until[0], time.time()) if until else None
        self._flags = {name: self._flag(name) for name in ("inuse", "private", "shared") if name in filters}
        for type_ in filters.get("type", ()):
            if type_ not in TYPES:
                raise InvalidFilter(f"Invalid filter 'type={type_[:200]}'", hint=f"one of {', '.join(TYPES)}")

    def _flag(self, name: str) -> bool:
        meant = {_TRUE.get(value.lower()) for value in self._filters[name]}
        if len(meant) == 1 and (chosen := meant.pop()) is not None:
            return chosen
        raise InvalidFilter(f"Invalid filter '{name}={self._filters[name][0][:200]}'", hint="use true or false")

    def __call__(self, record: Record) -> bool:
        if self._until is not None and record.used > self._until:
            return False
        facts = {"inuse": record.in_use, "private": not record.shared, "shared": record.shared}
        if any(facts[name] is not wanted for name, wanted in self._flags.items()):
            return False
        named = record.name.removeprefix("sha256:")
        return (
            self._any("id", lambda value: named.startswith(value.removeprefix("sha256:")) and bool(value))
            and self._any("type", lambda value: record.type == value)
            and self._any("parent", lambda value: bool(value) and any(p.startswith(value[:12]) for p in record.parents))
            and self._any("description", lambda value: value in record.description)
        )

    def _any(self, name: str, matches: Any) -> bool:
        values = self._filters.get(name)
        return values is None or any(matches(value) for value in values)


# ---- making it smaller


def prune(
    store: Store,
    *,
    all: bool = False,
    filters: Mapping[str, Sequence[str]] | None = None,
    keep_storage: int = 0,
    dry_run: bool = False,
) -> BuildPruned:
    """Remove records, those not used for longest first, until no more than `keep_storage` bytes of cache are left.

    Without `all` what images with names were built of stays.  With `all` that goes too: those images keep every layer
    and can be used, pushed and saved as before, but their history then shows <missing> for the steps, as it does where
    they are pulled, and the next build does not find these steps.  Never removed: what running work has, a step that
    another record which stays was built on, and any layer that an image with a name needs.
    `filters` are id=, parent=, type=, description=, inuse=, shared=, private=, until= (not used since).
    `dry_run` only tells.  Raises InvalidFilter, InvalidStorage.
    """
    if keep_storage < 0:
        raise InvalidStorage(f"{keep_storage} bytes of cache cannot be kept")
    wanted = _Wanted(filters or {})
    everything = du(store)
    left = sum(record.size for record in everything)
    candidates = [
        record for record in everything if wanted(record) and not record.in_use and (all or not record.shared)
    ]
    images = _Images(store)
    candidates.sort(key=lambda record: (record.used, record.uses, -images.depth(record.name), record.id))
    chosen: list[Record] = []
    standing = _Standing(images)
    while candidates and (keep_storage == 0 or left > keep_storage):
        record = next((each for each in candidates if not standing.carries(each)), None)
        if record is None:
            break
        candidates.remove(record)
        standing.drop(record)
        chosen.append(record)
        left -= record.size
    freed = _carry_out(store, chosen, dry_run=dry_run)
    return BuildPruned(tuple(chosen), freed)


class _Standing:
    """Which records nameless images that stay were built on."""

    def __init__(self, images: _Images) -> None:
        self._images = images
        self._carried: dict[str, int] = {}
        for image, parent in images.parents.items():
            if parent is not None and image not in images.named:
                self._carried[parent] = self._carried.get(parent, 0) + 1

    def carries(self, record: Record) -> bool:
        return record.type == REGULAR and self._carried.get(record.name, 0) > 0

    def drop(self, record: Record) -> None:
        parent = self._images.parents.get(record.name) if record.type == REGULAR else None
        if parent is not None:
            self._carried[parent] -= 1


class _Undone(Exception):
    """The end of a dry run's transaction."""


def _carry_out(store: Store, records: Sequence[Record], *, dry_run: bool) -> int:
    """Remove the records; the bytes that this frees."""
    from veneer.store.gc import Extent

    images = [ImageID(Digest(record.name)) for record in records if record.type == REGULAR]
    others = [record for record in records if record.type != REGULAR]
    if dry_run:
        return _would_free(store, images) + sum(record.size for record in others)
    freed = 0
    with making_room(store.root):
        for record in others:
            gone = (
                store.cache_mounts.remove(record.name)
                if record.type == MOUNT
                else _forget(store.root / CONTEXTS / record.name)
            )
            freed += record.size if gone else 0
        if images:
            with store.catalog.transaction() as transaction:
                _drop(store, transaction, images)
    if records:
        freed += sum(item.bytes for item in store.collect(extent=Extent.ROWS).items if item.kind != "cache-mount")
        store.images.layout.refresh()
    return freed


def _would_free(store: Store, images: Sequence[ImageID]) -> int:
    """What the images' removal would free beyond what a collection would find to free without it."""
    before = store.collect(dry_run=True).bytes
    after = 0
    try:
        with store.catalog.transaction() as transaction:
            _drop(store, transaction, images)
            after = store.collect(dry_run=True).bytes
            raise _Undone
    except _Undone:
        return max(after - before, 0)


def _drop(store: Store, transaction: Any, images: Sequence[ImageID]) -> None:
    """Drop the rows of images that nothing came to need since they were chosen, children before parents."""
    from veneer.store.removal import busy

    kept = busy(store)
    for image in images:
        if image not in kept:
            transaction.execute(
                "DELETE FROM image WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM tag WHERE image = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM digest_ref WHERE image = ?1)",
                (image,),
            )


def _forget(path: Path) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
