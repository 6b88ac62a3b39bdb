"""What the build cache takes: `builder du`.

A record is an image that a step made, a cache mount, or what is remembered of a build context.  Docker's words: a step
that an image with a name is, or descends from, is *shared*; one that running work has is *in use*.  Its layers stay as
long as that image does, whatever is pruned, so only the others are counted as reclaimable.
Sources: moby/buildkit cache/manager.go (prune, disk usage), moby builder/builder-next/builder.go (filters).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from veneer.oci.digest import Digest
from veneer.store.filters import InvalidFilter, moment
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


class Record(Value):
    """One thing in the build cache.

    `id` is a short name, `parents` those of the images it stands on.  `size` is what it adds in bytes (a step's layer,
    each counted at one record only, and nothing where an image outside the cache has it).  `created` and `used` are
    Unix seconds.  `mutable`: a cache mount or a context's memory, which change from build to build.
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
        """Whether a prune of everything frees its bytes."""
        return not (self.in_use or self.shared)


def du(store: Store, filters: Mapping[str, Sequence[str]] | None = None) -> list[Record]:
    """Every record that the filters leave, the most recently used first.  Raises InvalidFilter."""
    wanted = Wanted(filters or {})
    found = [record for record in [*steps(CachedImages(store)), *others(store)] if wanted(record)]
    return sorted(found, key=lambda record: (-record.used, record.id))


class CachedImages:
    """The images of a store as the build cache sees them: IDs, each with its parent and top layer."""

    def __init__(self, store: Store) -> None:
        from veneer.store.removal import busy

        catalog = store.catalog
        with catalog.reading():
            rows: list[Any] = catalog.rows("SELECT id, parent, top FROM image")
            self.parents: dict[str, str | None] = {row[0]: row[1] for row in rows}
            self.tops: dict[str, str | None] = {row[0]: row[2] for row in rows}
            named = {row[0] for row in catalog.rows("SELECT image FROM tag UNION SELECT image FROM digest_ref")}
            self.steps: dict[str, Any] = {
                row[0]: row
                for row in catalog.rows(
                    "SELECT image, min(created), max(used), sum(uses), facts FROM build_step GROUP BY image"
                )
            }
            layers: list[Any] = catalog.rows(
                "SELECT chain_id, layer.parent, snapshot, size FROM layer JOIN snapshot ON snapshot.id = layer.snapshot"
            )
            running = busy(store)
        self.layers = {row[0]: (row[1], row[2], row[3]) for row in layers}
        outside = named | (self.parents.keys() - self.steps.keys())
        self.shared = self._with_ancestors(outside)
        self.running = self._with_ancestors(running)
        self._depths: dict[str, int] = {}

    def _with_ancestors(self, images: Iterable[str]) -> set[str]:
        """These images and every one that they descend from."""
        found: set[str] = set()
        for image in images:
            each: str | None = image
            while each is not None and each not in found:
                found.add(each)
                each = self.parents.get(each)
        return found

    def depth(self, image: str) -> int:
        """How many images it descends from."""
        line = []
        each: str | None = image
        while each is not None and each not in self._depths:
            line.append(each)
            each = self.parents.get(each)
        depth = -1 if each is None else self._depths[each]
        for each in reversed(line):
            depth += 1
            self._depths[each] = depth
        return self._depths.get(image, 0)

    def sizes(self) -> dict[str, int]:
        """What each step adds: its layers, from the top down to those that an image outside the cache has.

        A layer that several steps have counts where it was made: at the one that descends from the fewest others.
        """
        seen: set[str] = set()
        for image in self.tops.keys() - self.steps.keys():
            self._take(image, seen)
        order = sorted(self.steps, key=lambda image: (image not in self.shared, self.depth(image), image))
        return {image: self._take(image, seen) for image in order}

    def _take(self, image: str, seen: set[str]) -> int:
        """Put the layers of an image's stack among `seen`; the bytes of those whose files were not there yet."""
        size = 0
        top = self.tops[image]
        while top is not None and top not in seen:
            seen.add(top)
            parent, snapshot, bytes_ = self.layers[top]
            if snapshot not in seen:
                seen.add(snapshot)
                size += bytes_
            top = parent
        return size

    def freed(self, gone: Iterable[str]) -> int:
        """The bytes of the layers that only these images have."""
        seen: set[str] = set()
        gone = set(gone)
        for image in self.tops.keys() - gone:
            self._take(image, seen)
        return sum(self._take(image, seen) for image in gone)


def steps(images: CachedImages) -> list[Record]:
    """The records that are images."""
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


def others(store: Store) -> list[Record]:
    """What of the cache is no image."""
    return [*_mounts(store), *_contexts(store)]


def _mounts(store: Store) -> list[Record]:
    found = []
    for mount in store.cache_mounts.list():
        found.append(Record(
            id=mount.folder[:12],
            type=MOUNT,
            description=f"cached mount {mount.id}",
            size=store.cache_mounts.size(mount.folder),
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


class Wanted:
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
