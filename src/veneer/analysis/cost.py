"""What paths cost: on the disk to the byte, to pull by an estimate.

A compressed layer does not say which of its bytes are whose, so a path's share of the blob is taken as its share of
what the layer stores (of its entries, where it stores nothing).  The bytes of a file that has a name elsewhere too, in
whichever layer, to be seen or not, would stay without the path, and are not its cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from veneer.analysis.names import links_of
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex

_REGULAR = int(Kind.REGULAR)


class Cost(Value):
    """What one layer (0 is the base) holds at some paths: `stored` bytes, `entries`, about `pull` bytes of its blob.

    `pull` is None where nobody knows the blob's size.  Not in `stored` are the `kept` bytes of files stored there that
    have names elsewhere too: `names`, by layer and path.
    """

    __slots__ = ()
    layer: int
    stored: int
    entries: int
    pull: int | None
    kept: int = 0
    names: tuple[bytes, ...] = ()


def cost(table: Table, blobs: Sequence[int | None], paths: Sequence[bytes] = (b"",)) -> list[Cost]:
    """What `paths` and all beneath them cost in each layer that has something there; b"" is everything.

    Copies that higher layers hide count too: they are stored and pulled.  A path within another counts once.
    """
    found = []
    outermost = [path for path in dict.fromkeys(paths) if not any(_is_within(path, other) for other in paths)]
    ranges = [list(_ranges(index, outermost)) for index in table.indexes]
    elsewhere = _elsewhere(table, ranges) if outermost != [b""] else {}
    for layer, (index, blob) in enumerate(zip(table.indexes, blobs, strict=True)):
        entries = sum(end - start for start, end in ranges[layer])
        if entries:
            kept, names = elsewhere.get(layer, (0, ()))
            stored = sum(index.bytes_of(start, end) for start, end in ranges[layer]) - kept
            found.append(Cost(layer, stored, entries, _share(index, blob, stored, entries), kept, names))
    return found


def _elsewhere(table: Table, ranges: Sequence[Sequence[tuple[int, int]]]) -> dict[int, tuple[int, tuple[bytes, ...]]]:
    """By layer what it stores in these ranges of files that have names outside of them: bytes, and those names."""

    def inside(layer: int, number: int) -> bool:
        return any(start <= number < end for start, end in ranges[layer])

    found: dict[int, tuple[int, tuple[bytes, ...]]] = {}
    for (layer, number), links in sorted(links_of(table).items()):
        index = table.indexes[layer]
        if index.kinds[number] != _REGULAR or not inside(layer, number):
            continue
        others = [table.indexes[above].path(link) for above, link in links if not inside(above, link)]
        if others:
            size, names = found.get(layer, (0, ()))
            found[layer] = size + index.sizes[number], tuple(dict.fromkeys((*names, *others)))
    return found


def _is_within(path: bytes, other: bytes) -> bool:
    return path != other and (not other or path.startswith(other + b"/"))


def _ranges(index: LayerIndex, paths: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """The entries of a layer at each path and beneath, as far as it has any."""
    for path in paths:
        number = index.find(path) if path else 0
        if number is not None and len(index):
            yield number, index.end(number) if path else len(index)


def _share(index: LayerIndex, blob: int | None, stored: int, entries: int) -> int | None:
    if blob is None:
        return None
    if index.bytes_total:
        return round(blob * stored / index.bytes_total)
    return round(blob * entries / len(index))
