"""The rows of `image history`: which image, which instruction, which layer.

An image's config tells its history oldest first; people read it newest first.  A row has an ID only as far as
the local chain of Parent links reaches, because pulled and loaded images arrive without them; what lies beyond
prints as `<missing>`.  The layer of a row, in contrast, is always known.
Source: the behaviour of moby daemon/images/image_history.go.
"""

from __future__ import annotations

from collections.abc import Sequence

from veneer.oci import timestamp
from veneer.oci.digest import BlobDigest, ChainID, DiffID, ImageID
from veneer.oci.image import ImageConfig
from veneer.oci.reference import Reference
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path


class LayerFacts(Value):
    """What is known here of one layer; `size` in bytes, `blob` and `directory` None where there is none."""

    __slots__ = ()
    diff_id: DiffID
    chain_id: ChainID
    size: int
    blob: BlobDigest | None
    directory: Path | None


class HistoryRow(Value):
    """One row, newest first.  `id` None prints as `<missing>`; `created` is seconds since 1970 or None.

    `layer` is None for a row that added no layer (its `size` is then 0).
    """

    __slots__ = ()
    id: ImageID | None
    created: float | None
    created_by: str
    size: int
    comment: str
    author: str
    tags: tuple[Reference, ...]
    layer: LayerFacts | None

    @property
    def empty(self) -> bool:
        return self.layer is None


def history(
    config: ImageConfig,
    ancestry: Sequence[tuple[ImageID, tuple[Reference, ...]]],
    layers: Sequence[LayerFacts],
) -> list[HistoryRow]:
    """The rows of an image, newest first; one per history entry, however many layers there are.

    `ancestry` is the image and then its parents as far as the local links reach, each with its tags; `layers`
    are base first, one per diff ID.
    """
    rows: list[HistoryRow] = []
    for number, (entry, position) in enumerate(reversed(list(config.rows()))):
        image, tags = ancestry[number] if number < len(ancestry) else (None, ())
        layer = layers[position] if position is not None else None
        rows.append(
            HistoryRow(
                id=image,
                created=timestamp.parse(entry.created),
                created_by=entry.created_by,
                size=layer.size if layer else 0,
                comment=entry.comment,
                author=entry.author,
                tags=tags,
                layer=layer,
            )
        )
    return rows
