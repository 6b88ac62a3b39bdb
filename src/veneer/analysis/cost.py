"""What paths cost: on the disk to the byte, to pull by an estimate.

A compressed layer does not say which of its bytes are whose, so a path's share of the blob is taken as its share of
what the layer stores (of its entries, where it stores nothing).
"""

from __future__ import annotations

from collections.abc import Sequence

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex


class Cost(Value):
    """What one layer (0 is the base) holds at some paths: `stored` bytes, `entries`, about `pull` bytes of its blob.

    `pull` is None where nobody knows the blob's size.
    """

    __slots__ = ()
    layer: int
    stored: int
    entries: int
    pull: int | None


def cost(indexes: Sequence[LayerIndex], blobs: Sequence[int | None], paths: Sequence[bytes] = (b"",)) -> list[Cost]:
    """What `paths` and all beneath them cost in each layer that has something there; b"" is everything.

    Copies that higher layers hide count too: they are stored and pulled.  A path within another counts once.
    """
    found = []
    outermost = [path for path in dict.fromkeys(paths) if not any(_is_within(path, other) for other in paths)]
    for layer, (index, blob) in enumerate(zip(indexes, blobs, strict=True)):
        stored = entries = 0
        for path in outermost:
            bytes_, count = _beneath(index, path)
            stored, entries = stored + bytes_, entries + count
        if entries:
            found.append(Cost(layer, stored, entries, _share(index, blob, stored, entries)))
    return found


def _is_within(path: bytes, other: bytes) -> bool:
    return path != other and (not other or path.startswith(other + b"/"))


def _beneath(index: LayerIndex, path: bytes) -> tuple[int, int]:
    """Bytes and entries of a layer at a path and beneath."""
    if not path:
        return index.bytes_total, len(index)
    number = index.find(path)
    if number is None:
        return 0, 0
    end = index.end(number)
    return index.bytes_of(number, end), end - number


def _share(index: LayerIndex, blob: int | None, stored: int, entries: int) -> int | None:
    if blob is None:
        return None
    if index.bytes_total:
        return round(blob * stored / index.bytes_total)
    return round(blob * entries / len(index))
