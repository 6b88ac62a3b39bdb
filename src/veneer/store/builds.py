"""The build cache's rows: which image each step made, on which parent, from which facts.

The images are ordinary ones with a Parent; a row here goes with its image.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from veneer.oci.digest import Digest, ImageID
from veneer.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from veneer.store.build_prune import BuildPruned
    from veneer.store.build_usage import Record
    from veneer.store.store import Store


class CachedStep(Value):
    """A step the cache has: `image` is what it made on `parent` (None: from scratch).

    `key` is the hash of `facts`, JSON text.  `created` is when it was done last, `used` when the cache served it last
    (both Unix seconds), `uses` how often it did.
    """

    __slots__ = ()
    image: ImageID
    parent: ImageID | None
    key: str
    facts: str
    created: float
    used: float
    uses: int

    def read(self) -> dict[str, Any]:
        """The facts as they were recorded."""
        found: dict[str, Any] = json.loads(self.facts)
        return found


_COLUMNS = "image, build_step.parent, key, facts, build_step.created, used, uses"


def _step(row: Any) -> CachedStep:
    image, parent, *rest = row
    return CachedStep(ImageID(Digest(image)), ImageID(Digest(parent)) if parent else None, *rest)


def encode(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Facts as they are stored, and their key: the same facts in another order are the same.

    `note` says more for people (the base's name) and is no part of the key.
    """
    text = json.dumps(facts, separators=(",", ":"), sort_keys=True)
    counted = text
    if "note" in facts:
        others = {name: value for name, value in facts.items() if name != "note"}
        counted = json.dumps(others, separators=(",", ":"), sort_keys=True)
    return text, Digest.of(counted.encode()).hex


class BuildStore:
    """The build cache of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    def record(self, image: ImageID, parent: ImageID | None, facts: Mapping[str, Any]) -> str:
        """Remember what made an image that is here; returns the key."""
        text, key = encode(facts)
        now = time.time()
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute(
                "INSERT INTO build_step VALUES (?, ?, ?, ?, ?, ?, 0)"
                " ON CONFLICT DO UPDATE SET created = excluded.created, used = excluded.used",
                (image, parent or "", key, text, now, now),
            )
        return key

    def find(self, parent: ImageID | None, key: str) -> Iterator[CachedStep]:
        """The steps done on `parent` with the facts of that key whose image can be trusted, the newest first.

        Trusted: the config is there, and every layer's files are whole.
        """
        rows = self._catalog.rows(
            f"SELECT {_COLUMNS}, image.top FROM build_step JOIN image ON image.id = build_step.image"
            " WHERE build_step.parent = ? AND key = ? ORDER BY build_step.created DESC, image",
            (parent or "", key),
        )
        for *row, top in rows:
            step = _step(row)
            if self._is_whole(step.image, top):
                yield step

    def _is_whole(self, image: ImageID, top: Any) -> bool:
        if not os.path.exists(self._store.blobs.path(image)):
            return False
        layers = self._store.layers
        if top is None or not (doubtful := layers.untrusted()):
            return True
        return all(layer.snapshot not in doubtful for layer in layers.stack(top))

    def children(self, parent: ImageID | None, limit: int = 100) -> list[CachedStep]:
        """What was done on `parent`, the newest first, at most `limit` of it."""
        rows = self._catalog.rows(
            f"SELECT {_COLUMNS} FROM build_step WHERE parent = ? ORDER BY created DESC, image LIMIT ?",
            (parent or "", limit),
        )
        return [_step(row) for row in rows]

    def has_children(self, parent: ImageID | None) -> bool:
        """Whether anything was ever done on `parent`."""
        return self._catalog.row("SELECT 1 FROM build_step WHERE parent = ? LIMIT 1", (parent or "",)) is not None

    def alike(self, key: str, limit: int = 100) -> list[CachedStep]:
        """Steps with the facts of that key on whatever parent, the newest first, at most `limit`."""
        rows = self._catalog.rows(
            f"SELECT {_COLUMNS} FROM build_step WHERE key = ? ORDER BY created DESC, image LIMIT ?", (key, limit)
        )
        return [_step(row) for row in rows]

    def noted(self, text: str, limit: int = 20) -> list[CachedStep]:
        """Steps whose facts contain `text` as they are stored, the newest first; looks at every step."""
        rows = self._catalog.rows(
            f"SELECT {_COLUMNS} FROM build_step WHERE instr(facts, ?) ORDER BY created DESC LIMIT ?", (text, limit)
        )
        return [_step(row) for row in rows]

    def of(self, image: ImageID) -> CachedStep | None:
        """What made this image, if it was made by a build here."""
        row = self._catalog.row(
            f"SELECT {_COLUMNS} FROM build_step WHERE image = ? ORDER BY created DESC LIMIT 1", (image,)
        )
        return None if row is None else _step(row)

    def du(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[Record]:
        """What the cache takes: see build_usage.py."""
        from veneer.store.build_usage import du

        return du(self._store, filters)

    def prune(
        self,
        *,
        all: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
        keep_storage: int = 0,
        dry_run: bool = False,
    ) -> BuildPruned:
        """Make the cache smaller: see build_prune.py for what goes and what never does."""
        from veneer.store.build_prune import prune

        return prune(self._store, all=all, filters=filters, keep_storage=keep_storage, dry_run=dry_run)

    def used(self, images: Iterable[ImageID]) -> None:
        """Note that the cache served these images just now."""
        now = time.time()
        with self._catalog.transaction(durable=False) as transaction:
            transaction.executemany(
                "UPDATE build_step SET used = ?, uses = uses + 1 WHERE image = ?", [(now, image) for image in images]
            )
