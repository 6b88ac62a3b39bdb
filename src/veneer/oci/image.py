"""Image configs: what an image runs, which layers it has, how it came to be.

The bytes are kept exactly as they came: their digest is the image ID, so re-writing them would invent
another image.  Source: OCI image-spec config.md; Docker's additions (`container_config`, `Healthcheck`, ...)
stay readable through `document`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from veneer.errors import InvalidRequest
from veneer.oci import strictjson
from veneer.oci.digest import ChainID, DiffID, Digest, ImageID, InvalidDigest, chain_ids
from veneer.oci.platform import Platform
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LAYERS = 1000
MAX_HISTORY = 10_000


class InvalidImageConfig(InvalidRequest):
    """An image config that breaks its specification."""


class HistoryEntry(Value):
    """One row of an image's history, as its config tells it.

    `created` is the RFC 3339 text as written ("" if absent).  An `empty_layer` row added no layer.
    """

    __slots__ = ()
    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    @classmethod
    def from_json(cls, document: object, what: str) -> HistoryEntry:
        if not isinstance(document, dict):
            raise InvalidImageConfig(f"{what}: a history entry must be an object")

        def text(key: str) -> str:
            value = document.get(key)
            return value if isinstance(value, str) else ""

        return cls(text("created"), text("created_by"), text("author"), text("comment"),
                   document.get("empty_layer") is True)  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON, in Docker's key order, empty keys left out."""
        document: dict[str, Any] = {}
        for key in ("created", "created_by", "author", "comment"):
            if value := getattr(self, key):
                document[key] = value
        if self.empty_layer:
            document["empty_layer"] = True
        return document


class ImageConfig(Value):
    """An image config: raw bytes and a read-only view of them.

    `diff_ids` and `history` are oldest first.  `document` is the whole parsed JSON; treat it as frozen.
    """

    raw: bytes
    document: dict[str, Any]
    platform: Platform
    diff_ids: tuple[DiffID, ...]
    history: tuple[HistoryEntry, ...]

    @classmethod
    def parse(
        cls, raw: bytes, what: str = "image config", *, below: ImageConfig | None = None,
        document: dict[str, Any] | None = None,
    ) -> ImageConfig:  # fmt: skip
        """Read a config.  Raises InvalidImageConfig or strictjson.InvalidDocument, naming `what`.

        `below`: the config that this one was made from here by adding to its layers and rows; only what was added is
        looked at.  `document`: what `raw` was written from here, so that it need not be read again.
        """
        if document is not None:
            strictjson.check_extent(raw, what)
        else:
            document = strictjson.loads(raw, what) if below is None else strictjson.loads_own(raw, what)
        layers, rows = (below.diff_ids, below.history) if below is not None else ((), ())
        rootfs = document.get("rootfs")
        listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
        if not isinstance(rootfs, dict) or not isinstance(listed or [], list):
            raise InvalidImageConfig(f"{what}: rootfs.diff_ids must be a list")
        if len(listed or []) > MAX_LAYERS:
            raise InvalidImageConfig(f"{what}: {len(listed or [])} layers, more than the {MAX_LAYERS} allowed")
        try:
            diff_ids = (*layers, *(DiffID(Digest.parse(text)) for text in (listed or [])[len(layers) :]))
        except InvalidDigest as error:
            raise InvalidImageConfig(f"{what}: {error.message}") from None
        entries = document.get("history")
        entries = [] if entries is None else entries
        if not isinstance(entries, list):
            raise InvalidImageConfig(f"{what}: history must be a list")
        if len(entries) > MAX_HISTORY:
            raise InvalidImageConfig(f"{what}: {len(entries)} history rows, more than the {MAX_HISTORY} allowed")
        added = enumerate(entries[len(rows) :], len(rows))
        new = tuple(HistoryEntry.from_json(entry, f"{what}: history {n}") for n, entry in added)
        history = (*rows, *new)
        # Rows without a layer are no reason to count those of `below` again.
        checked = all(entry.empty_layer for entry in new)
        if not checked and sum(not entry.empty_layer for entry in history) > len(diff_ids):
            raise InvalidImageConfig(f"{what}: too many non-empty layers in History section")
        return cls(raw, document, Platform.from_json(document), diff_ids, history)

    @functools.cached_property
    def image_id(self) -> ImageID:
        return ImageID(Digest.of(self.raw))

    @functools.cached_property
    def chain_ids(self) -> tuple[ChainID, ...]:
        """The chain ID after each layer, base first."""
        return tuple(chain_ids(self.diff_ids))

    @property
    def top(self) -> ChainID | None:
        """The chain ID of the whole image; None for an image without layers."""
        return self.chain_ids[-1] if self.diff_ids else None

    @property
    def created(self) -> str:
        """When the image was made, RFC 3339 as written; "" if it does not say."""
        value = self.document.get("created")
        return value if isinstance(value, str) else ""

    @property
    def run(self) -> dict[str, Any]:
        """The `config` object: Env, Cmd, Entrypoint, Labels, ... ({} if absent)."""
        value = self.document.get("config")
        return value if isinstance(value, dict) else {}

    @property
    def labels(self) -> dict[str, str]:
        value = self.run.get("Labels")
        return {k: v for k, v in value.items() if isinstance(v, str)} if isinstance(value, dict) else {}

    @property
    def tells_layers(self) -> bool:
        """Whether the history says which row made which layer: with fewer rows than layers it does not."""
        return sum(not entry.empty_layer for entry in self.history) == len(self.diff_ids)

    def rows(self) -> Iterator[tuple[HistoryEntry, int | None]]:
        """Each history entry, oldest first, with the position of its layer in `diff_ids` (None: no layer).

        There may be fewer entries than layers (extra layers get no row); never more.  These are given out from the base
        on, as docker does, which is a guess where there are fewer: `tells_layers` knows.
        """
        position = 0
        for entry in self.history:
            if entry.empty_layer:
                yield entry, None
            else:
                yield entry, position
                position += 1
