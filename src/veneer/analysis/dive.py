"""dive's own figures, for those who have rules or habits built on them.

Its efficiency is, over all paths that are leaves in a layer, the sum of each path's smallest copy by the sum of all its
copies; its wasted bytes are all copies, the visible one too, of every path that has two or more.  A whiteout is a copy
too: of no bytes, or of as many as a deleted directory had beneath it.  Opaque directories hide nothing.
`waste` says how it is; where the two differ is told in docs/looking.md.
Source: wagoodman/dive, dive/filetree/efficiency.go and dive/image/analysis.go (their arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence

from veneer.analysis.copies import Cause, Row
from veneer.analysis.table import Table
from veneer.changeset.entry import Kind
from veneer.changeset.index import LayerIndex
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_DIRECTORY = int(Kind.DIRECTORY)


class Repeated(Value):
    """A path with several copies, and the bytes of all of them."""

    __slots__ = ()
    path: bytes
    count: int
    bytes: int


class DiveFigures(Value):
    """What dive says of an image: bytes of all layers and of all but the first; its score, 0 to 1; `repeated`, the most
    bytes first.
    """

    __slots__ = ()
    size: int
    user_size: int
    score: float
    repeated: tuple[Repeated, ...]

    @property
    def wasted(self) -> int:
        return sum(each.bytes for each in self.repeated)

    @property
    def wasted_percent(self) -> float:
        """Wasted by user bytes, 0 to 1 and more; 0 where there are none."""
        return self.wasted / self.user_size if self.user_size else 0.0


class _Tally:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.smallest = 0
        self.all = 0
        self.repeated: list[Repeated] = []
        self.beneath: dict[tuple[bytes, int], int] = {}
        """Bytes beneath a deleted directory, by its path and the layer that deleted it."""
        self.waiting: list[tuple[bytes, list[int], list[int]]] = []

    def row(self, row: Row) -> None:
        table = self.table
        sizes: list[int] = []
        deleted: list[int] = []
        files = 0
        for copy in row.copies:
            index = table.indexes[copy.layer]
            size = index.sizes[copy.number]
            is_directory = index.kinds[copy.number] == _DIRECTORY
            if not is_directory or not len(index.children(copy.number)):
                sizes.append(size)
            if copy.cause is Cause.DELETED:
                if copy.by != row.path:
                    self._gone(copy.by, copy.ended, size)
                elif is_directory and not index.is_implied(copy.number):
                    deleted.append(copy.ended)
                else:
                    files += 1
        sizes += [0] * files
        if deleted:
            # What the directory held comes later in the table.
            self.waiting.append((row.path, sizes, deleted))
        else:
            self._path(row.path, sizes)
        if row.run is not None and not row.run.empty:
            run = row.run
            size = table.indexes[run.layer].bytes_of(run.start, run.end)
            self.smallest += size
            self.all += size
            if run.cause is Cause.DELETED:
                self._gone(run.by, run.ended, size)

    def _gone(self, path: bytes, layer: int, size: int) -> None:
        self.beneath[path, layer] = self.beneath.get((path, layer), 0) + size

    def _path(self, path: bytes, sizes: Sequence[int]) -> None:
        if not sizes:
            return
        self.smallest += min(sizes)
        self.all += sum(sizes)
        if len(sizes) > 1:
            self.repeated.append(Repeated(path, len(sizes), sum(sizes)))

    def finish(self) -> None:
        for path, sizes, layers in self.waiting:
            self._path(path, [*sizes, *(self.beneath.get((path, layer), 0) for layer in layers)])


def figures(indexes: Sequence[LayerIndex]) -> DiveFigures:
    """dive's figures of an image, from its layers' indexes, base first."""
    tally = _Tally(Table(indexes, opaque=False))
    for row in tally.table.walk():
        tally.row(row)
    tally.finish()
    sizes = [index.bytes_total for index in indexes]
    score = tally.smallest / tally.all if tally.all else 1.0
    repeated = sorted(tally.repeated, key=lambda each: (-each.bytes, each.path))
    return DiveFigures(sum(sizes), sum(sizes[1:]), score, tuple(repeated))


_TYPE_FLAGS = {
    Kind.REGULAR: "0", Kind.HARDLINK: "1", Kind.SYMLINK: "2", Kind.CHARACTER: "3", Kind.BLOCK: "4",
    Kind.DIRECTORY: "5", Kind.FIFO: "6", Kind.WHITEOUT: "0",
}  # fmt: skip
_GO_MODES = {
    Kind.DIRECTORY: 1 << 31, Kind.SYMLINK: 1 << 27, Kind.BLOCK: 1 << 26, Kind.CHARACTER: 1 << 26 | 1 << 21,
    Kind.FIFO: 1 << 25,
}  # fmt: skip


def files(index: LayerIndex) -> Iterator[dict[str, Any]]:
    """A layer's files as dive exports them; modes are Go's os.FileMode."""
    for entry in index:
        if not entry.path or entry.implied:
            continue
        folder, slash, name = entry.path.rpartition(b"/")
        path = folder + slash + b".wh." + name if entry.kind is Kind.WHITEOUT else entry.path
        special = (entry.mode & 0o4000) << 12 | (entry.mode & 0o2000) << 12 | (entry.mode & 0o1000) << 11
        yield {
            "path": path.decode("utf-8", "backslashreplace"),
            "typeFlag": ord(_TYPE_FLAGS[entry.kind]),
            "linkName": entry.link.decode("utf-8", "backslashreplace"),
            "size": entry.size,
            "fileMode": _GO_MODES.get(entry.kind, 0) | special | entry.mode & 0o777,
            "uid": entry.uid,
            "gid": entry.gid,
            "isDir": entry.kind is Kind.DIRECTORY,
        }


def summary(found: DiveFigures) -> dict[str, Any]:
    """The `image` object of dive's export."""
    return {
        "sizeBytes": found.size,
        "inefficientBytes": found.wasted,
        "efficiencyScore": found.score,
        "fileReference": [
            {"count": each.count, "sizeBytes": each.bytes, "file": "/" + each.path.decode("utf-8", "backslashreplace")}
            for each in found.repeated
        ],
    }
