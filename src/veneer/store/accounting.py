"""What images, layers and blobs take on disk, whatever is shared counted once.

Docker counts a layer as shared when another image has it too, but its engines differ on which images count (20.10
the listed ones, 23 and later also intermediate ones, which makes everything built step by step shared).  Here the
listed ones count, and the sums come out even: `layers == unique + shared + hidden`.
Source: moby daemon/images/images.go and daemon/disk_usage.go; docker/cli issue 5012.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from veneer.store.removal_plan import UsersOf, nobody

if TYPE_CHECKING:
    from veneer.store.images import Image
    from veneer.store.store import Store

_SEVERAL = ""
"""Stands for "more than one image" where otherwise an image ID stands."""

_BLOBS_OF = """
    WITH RECURSIVE kept(digest) AS (
        SELECT id FROM image WHERE id IN (SELECT value FROM json_each(:images))
        UNION SELECT manifest FROM image WHERE id IN (SELECT value FROM json_each(:images))
        UNION SELECT target FROM tag WHERE image IN (SELECT value FROM json_each(:images)) AND target IS NOT NULL
        UNION SELECT blob_ref.child FROM kept JOIN blob_ref ON blob_ref.blob = kept.digest
    )
    SELECT coalesce(sum(size), 0) FROM blob WHERE digest IN kept
"""

_COPIES = """
    SELECT snapshot, max(kept) FROM layer_copy
    WHERE NOT EXISTS (SELECT 1 FROM layer WHERE layer.snapshot = layer_copy.snapshot) GROUP BY snapshot
"""


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """One listed image: of its size in bytes, what other listed images have too, and what only it has.

    `shared + unique` is the image's size.  `containers` is how many use it.
    """

    image: Image
    shared: int
    unique: int
    containers: int = 0

    @property
    def size(self) -> int:
        return self.image.size


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes by what they are for.  Every directory of a layer and every blob is counted once.

    `images` are the listed ones, newest first.  `layers` is the sum of all unpacked layers (docker's LayersSize):
    `unique` is what a single listed image has, `shared` what several have, `hidden` what none has (left by
    intermediate images, or on its way in).  `copies` is what layers take once more with drivers that do not serve
    them; `copies_kept` of that stays until a migration says otherwise, the rest while containers stand on it.  `blobs`
    is what the stored blobs take beside them.
    """

    images: tuple[ImageUsage, ...]
    layers: int
    unique: int
    shared: int
    hidden: int
    layers_reclaimable: int
    blobs: int
    blobs_reclaimable: int
    copies: int = 0
    copies_kept: int = 0

    @property
    def active(self) -> int:
        """How many images containers use."""
        return sum(usage.containers > 0 for usage in self.images)

    @property
    def total(self) -> int:
        return self.layers + self.copies + self.blobs

    @property
    def reclaimable(self) -> int:
        """What `image prune --all` would free."""
        return self.layers_reclaimable + self.blobs_reclaimable


@dataclass(frozen=True, slots=True)
class _Layers:
    """The layers of a store: chain ID -> parent, -> snapshot; snapshot -> size."""

    parents: Mapping[str, str | None]
    snapshots: Mapping[str, str]
    sizes: Mapping[str, int]

    def owners(self, tops: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Snapshot -> the image that alone has it, or _SEVERAL; nothing for one that none has.

        `tops` are (image, chain ID of its whole).  Goes over every layer once, however many images there are.
        """
        owner: dict[str, str] = {}
        for image, top in tops:
            _add(owner, top, image)
        for chain_id in self._from_the_top():
            parent = self.parents[chain_id]
            if parent is not None and chain_id in owner:
                _add(owner, parent, owner[chain_id])
        result: dict[str, str] = {}
        for chain_id, image in owner.items():
            _add(result, self.snapshots[chain_id], image)
        return result

    def _from_the_top(self) -> list[str]:
        """Every chain ID, each before its parent."""
        above = dict.fromkeys(self.parents, 0)
        for parent in self.parents.values():
            if parent is not None:
                above[parent] += 1
        order = [chain_id for chain_id, count in above.items() if count == 0]
        for chain_id in order:
            parent = self.parents[chain_id]
            if parent is not None:
                above[parent] -= 1
                if above[parent] == 0:
                    order.append(parent)
        return order


def _add(owner: dict[str, str], key: str, image: str) -> None:
    known = owner.setdefault(key, image)
    if known != image:
        owner[key] = _SEVERAL


def disk_usage(store: Store, *, users_of: UsersOf = nobody) -> DiskUsage:
    """What the store takes; from the catalogue alone, no directory is walked."""
    catalog = store.catalog
    with catalog.reading():
        images = store.images.list()
        rows = catalog.rows("SELECT chain_id, parent, snapshot FROM layer")
        sizes = dict(catalog.rows("SELECT id, size FROM snapshot"))
        copies = dict(catalog.rows(_COPIES))
        blobs = catalog.value("SELECT coalesce(sum(size), 0) FROM blob")
        used = {image.id: count for image in images if (count := len(users_of(image.id)))}
        kept_blobs = _blobs_of(store, used) if used else 0
    copied = {snapshot: sizes.pop(snapshot) for snapshot in copies}
    layers = _Layers({row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}, sizes)
    owner = layers.owners((image.id, image.top) for image in images if image.top is not None)
    unique: dict[str, int] = dict.fromkeys((image.id for image in images), 0)
    for snapshot, image_id in owner.items():
        if image_id != _SEVERAL:
            unique[image_id] += sizes[snapshot]
    total = sum(sizes.values())
    shared = sum(sizes[snapshot] for snapshot, image_id in owner.items() if image_id == _SEVERAL)
    kept = layers.owners((image.id, image.top) for image in images if image.id in used and image.top is not None)
    return DiskUsage(
        images=tuple(
            ImageUsage(image, image.size - unique[image.id], unique[image.id], used.get(image.id, 0))
            for image in images
        ),
        layers=total,
        unique=sum(unique.values()),
        shared=shared,
        hidden=total - shared - sum(unique.values()),
        layers_reclaimable=total - sum(sizes[snapshot] for snapshot in kept),
        blobs=blobs,
        blobs_reclaimable=blobs - kept_blobs,
        copies=sum(copied.values()),
        copies_kept=sum(size for snapshot, size in copied.items() if copies[snapshot]),
    )


def _blobs_of(store: Store, images: Iterable[str]) -> int:
    """The bytes of everything these images are stored as."""
    import json

    found: int = store.catalog.value(_BLOBS_OF, {"images": json.dumps([str(image) for image in images])})
    return found
