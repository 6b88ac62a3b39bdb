"""An image for a page that has no server: all it can be asked, in one piece.

The piece is gzip of UTF-8 JSON, an object:

    format   1
    veneer   the version that wrote it
    least    0: every path is here; else what stores less than so many bytes is folded into its directory
    image    as GET /api/v1/images/REF has it; `labels` as .../labels (without "identical"), `waste` an object with the
             answers of .../waste?by=path, layer and cause, at most MOST_WASTE rows each; `findings` as .../findings has
             it, at most MOST_FINDINGS rows; `diffs` a list with the answers of .../diff in both modes for what it is
             compared with, at most MOST_DIFFERENT files each
    paths    columns, one item for each path, sorted by path components, a directory before what is in it; the first is
             the root:
               up      how many items before this one its directory is (0 for the root)
               name    all names in one text, "/" between them (the root's is empty); what is no UTF-8 as \\xNN
               raw     {item: base64 of the name} where the text does not say which bytes it is
               copies  how many items of `copies` are its own (none for the root, which no layer need say)
    copies   columns, one item for each layer's copy of a path, in the order of the paths, lowest layer first:
               layer   counted from 1
               type    a text, one letter each: f file, d directory, l symlink, h hard link, c character and b block
                       device, p fifo, and x what is folded into this directory: `size` and `n` are sums
               size    bytes it stores (0 for all but files)
               mode    number; owner: index of `owners`; mtime: seconds since 1970, each as the difference to the one
                       before it
               ended   0: to be seen in the whole image; else the layer that hid it
               cause   a number: 0 none, 1 deleted, 2 shadowed by an opaque directory, 3 replaced by another kind,
                       4 overwritten, 5 stored again with the same bytes
               same    {item: the item of an earlier copy of the path with the same type and bytes}
               link    {item: target}
               n       {item: how many copies are folded in it}
    owners   [[uid, gid], ...]
    names    [[copy, layer, ended, item of `copies`], ...]: the other names (hard links) of files, by file and layer.
             After layer N a file's bytes are those of its first name to be seen then, its own copy before these; where
             none is, of the one of those there by then that ended last, which hides them (of several the first).  Of a
             folded file what it stores is in the fold of the name that has it in the whole image

A copy is to be seen after layer N if layer <= N and (ended = 0 or ended > N).  The same without `since`: what .../tree
and .../rollup call size is the sum of those to be seen, waste the sum of those that ended by then.
Deterministic: the same image gives the same bytes.
"""

from __future__ import annotations

import base64
import gzip
from array import array

from veneer import __version__
from veneer.analysis.copies import NEVER, Copy
from veneer.analysis.events import entries_of
from veneer.analysis.names import Names, all_linked_files
from veneer.changeset.entry import Kind
from veneer.changeset.index_format import MODE_MASK
from veneer.view.web import accounts, comparing, images, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from veneer.analysis.table import Table
    from veneer.engine.looking.findings import Finding
    from veneer.engine.looking.origins import SharedWith, StandsOn
    from veneer.engine.looking.subject import Subject
    from veneer.view.web.words import Json

FORMAT = 1
LIMIT = 10_000_000
"""Bytes, where nobody says otherwise."""
MOST_WASTE = 500
MOST_DIFFERENT = 2000
MOST_FINDINGS = 1000
_LETTERS = {
    Kind.REGULAR: "f", Kind.DIRECTORY: "d", Kind.SYMLINK: "l", Kind.HARDLINK: "h", Kind.CHARACTER: "c",
    Kind.BLOCK: "b", Kind.FIFO: "p",
}  # fmt: skip
_FOLDED = "x"
_FIRST_FOLD, _STEP = 4096, 8
"""Where folding begins, in bytes, and by how much more is folded each time that is still too much."""


def embed(
    subject: Subject, limit_bytes: int = LIMIT, *, base: StandsOn | None = None, shared: Sequence[SharedWith] = (),
    before: Sequence[Subject] = (), noted: Sequence[Finding] | None = None,
) -> bytes:  # fmt: skip
    """The image in at most `limit_bytes` bytes, folded as far as that takes; see the module for the form.

    What only other images tell comes from outside: `base`, `shared` for each layer, and those that it is compared with,
    `before`; `noted` are its findings, if somebody has them already.  An image whose documents alone are larger than
    the limit comes without any path but the root.
    """
    gathered = _Gathered(subject.table)
    if noted is None:
        from veneer.engine.looking.findings import findings

        noted = findings(subject)
    head = _head(subject, base, shared)
    head["findings"] = accounts.findings_document(noted, 0, MOST_FINDINGS)
    head["diffs"] = [diff for each in before for diff in _differences(each, subject)]
    least = 0
    while True:
        data = words.as_json(head | {"least": least} | gathered.columns(least))
        packed = gzip.compress(data, 6, mtime=0)
        if len(packed) <= limit_bytes or least > gathered.whole:
            return packed
        least = least * _STEP or _FIRST_FOLD


def _head(subject: Subject, base: StandsOn | None, shared: Sequence[SharedWith]) -> Json:
    from veneer.engine.looking.origins import SharedWith, labels

    alone = [SharedWith("", 0)] * len(subject.origins)
    said = labels(subject)
    return {
        "format": FORMAT, "veneer": __version__,
        "image": images.told(subject, subject.name, base=base, shared=shared or alone),
        "labels": accounts.labels_document(said),
        "waste": {by: accounts.ledger(subject, by, 0, MOST_WASTE) for by in ("path", "layer", "cause")},
    }  # fmt: skip


def _differences(before: Subject, after: Subject) -> Iterator[Json]:
    for mode in comparing.MODES:
        found = comparing.different(before, after, mode)
        yield comparing.difference((before, after), (before.name, after.name), mode, found, 0, MOST_DIFFERENT)


class _Gathered:
    """The event table as columns, whole; `columns` gives them folded."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.parents = array("q")
        self.names: list[bytes] = []
        self.first = array("q")
        """For each path, where its copies begin; one more at the end."""
        self.copies: list[Copy] = []
        above: list[tuple[bytes, int]] = []
        for path, copies in _all_paths(table):
            while above and not path.startswith(above[-1][0]):
                above.pop()
            number = len(self.names)
            self.parents.append(above[-1][1] if above else -1)
            self.names.append(path.rpartition(b"/")[2])
            self.first.append(len(self.copies))
            self.copies += copies
            above.append((path + b"/" if path else b"", number))
        self.first.append(len(self.copies))
        self._weights = self._weighed()

    @property
    def whole(self) -> int:
        return self._weights[0]

    def _weighed(self) -> array[int]:
        """What is stored at and beneath each path."""
        sizes = [index.sizes for index in self._table.indexes]
        # Every name of a file weighs as much as the file, so that none is folded without the others.
        linked = {(name.layer, name.number): file.size for file in all_linked_files(self._table) for name in file.names}
        weights = array("q", bytes(8 * len(self.names)))
        for number in range(len(self.names) - 1, -1, -1):
            weights[number] += sum(
                linked.get((copy.layer, copy.number), sizes[copy.layer][copy.number])
                for copy in self.copies[self.first[number] : self.first[number + 1]]
            )
            if self.parents[number] >= 0:
                weights[self.parents[number]] += weights[number]
        return weights

    def columns(self, least: int) -> Json:
        """The columns, with whatever stores less than `least` folded into its directory."""
        items = array("q", (-1,)) * len(self.names)
        """The item of each path; of a folded one that of the directory it is folded into."""
        folds: dict[int, list[int]] = {}
        own: list[int] = []
        for number, parent in enumerate(self.parents):
            into = items[parent] if parent >= 0 else -1
            if number and (own[into] != parent or self._weights[number] < least):
                items[number] = into
                folds.setdefault(into, []).append(number)
            else:
                items[number] = len(own)
                own.append(number)
        columns = _Columns(self._table)
        for item, number in enumerate(own):
            parent = self.parents[number]
            columns.path(item - items[parent] if parent >= 0 else 0, self.names[number])
            columns.copies_of(self._of(number))
            columns.folded([copy for inside in folds.get(item, ()) for copy in self._of(inside)])
        return columns.told()

    def _of(self, number: int) -> list[Copy]:
        return self.copies[self.first[number] : self.first[number + 1]]


def _all_paths(table: Table) -> Iterator[tuple[bytes, tuple[Copy, ...]]]:
    """Every path of every layer with its copies, the root first, by path components."""
    for row in table.walk():
        yield row.path, row.copies
        if row.run is not None:
            run = row.run
            for number, path in entries_of(table, run, row.path):
                yield path, (Copy(run.layer, number, run.ended, run.cause, run.by),)


def _ended(layer: int) -> int:
    return 0 if layer == NEVER else layer + 1


class _Columns:
    """Columns while they are written."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._holding = Names(table, len(table.indexes))
        self._up: list[int] = []
        self._names: list[bytes] = []
        self._counts: list[int] = []
        self._rows: dict[str, list[int]] = {
            name: [] for name in ("layer", "size", "mode", "owner", "mtime", "ended", "cause")
        }
        self._types: list[str] = []
        self._same: dict[str, int] = {}
        self._links: dict[str, str] = {}
        self._n: dict[str, int] = {}
        self._owners: dict[tuple[int, int], int] = {}
        self._time = 0
        self._items: dict[tuple[int, int], int] = {}

    def path(self, up: int, name: bytes) -> None:
        self._up.append(up)
        self._names.append(name)
        self._counts.append(0)

    def copies_of(self, copies: list[Copy]) -> None:
        """The copies of the last path."""
        seen: dict[object, int] = {}
        for copy in copies:
            index = self._table.indexes[copy.layer]
            item = len(self._types)
            kind = index.kind(copy.number)
            self._items[copy.layer, copy.number] = item
            owner = (index.uids[copy.number], index.gids[copy.number])
            self._row(
                _LETTERS[kind], copy.layer, copy.ended, int(copy.cause or 0), index.sizes[copy.number],
                index.metas[copy.number] & MODE_MASK, owner, index.mtimes_ns[copy.number] // 10**9,
            )  # fmt: skip
            if kind in (Kind.SYMLINK, Kind.HARDLINK):
                self._links[str(item)] = words.text(index.link(copy.number))
            if len(copies) > 1:
                self._compared(copy, item, seen)

    def _compared(self, copy: Copy, item: int, seen: dict[object, int]) -> None:
        """Whether an earlier copy of the path had the same content; hard links are taken for their files."""
        layer, number = self._table.content(copy.layer, copy.number)
        index = self._table.indexes[layer]
        kind = index.kind(number)
        content = (kind, index.digest(number), index.sizes[number], index.link(number), index.device(number))
        if kind is not Kind.DIRECTORY and content in seen:
            self._same[str(item)] = seen[content]
        else:
            seen[content] = item

    def folded(self, copies: list[Copy]) -> None:
        """What is in the last path's directory and has no place of its own: one item for all of one fate."""
        sums: dict[tuple[int, int, int], list[int]] = {}

        def add(layer: int, copy: Copy, size: int, number: int) -> None:
            found = sums.setdefault((layer, copy.ended, int(copy.cause or 0)), [0, 0])
            found[0] += size
            found[1] += number

        for copy in copies:
            size, holder = self._holding.bytes_of(copy.layer, copy.number)
            add(copy.layer, copy, size if holder == copy.layer else 0, 1)
            if holder != copy.layer:
                add(holder, copy, size, 0)
        for (layer, ended, cause), (size, number) in sorted(sums.items()):
            self._n[str(len(self._types))] = number
            self._row(_FOLDED, layer, ended, cause, size, 0, (0, 0), self._time)

    def _row(
        self, type: str, layer: int, ended: int, cause: int, size: int, mode: int, owner: tuple[int, int], time: int
    ) -> None:
        rows = self._rows
        self._types.append(type)
        rows["layer"].append(layer + 1)
        rows["size"].append(size)
        rows["mode"].append(mode)
        rows["owner"].append(self._owners.setdefault(owner, len(self._owners)))
        rows["mtime"].append(time - self._time)
        rows["ended"].append(_ended(ended))
        rows["cause"].append(cause)
        self._time = time
        self._counts[-1] += 1

    def told(self) -> Json:
        raw = {str(number): base64.b64encode(name).decode() for number, name in enumerate(self._names)
               if not words.is_text(name)}  # fmt: skip
        return {
            "paths": {"up": self._up, "name": "/".join(map(words.text, self._names)), "raw": raw,
                      "copies": self._counts},
            "copies": {"type": "".join(self._types), **self._rows, "same": self._same, "link": self._links,
                       "n": self._n},
            "owners": [list(owner) for owner in self._owners], "names": self._other_names(),
        }  # fmt: skip

    def _other_names(self) -> list[list[int]]:
        found = []
        for file in all_linked_files(self._table):
            items = [self._items.get((name.layer, name.number), -1) for name in file.names]
            if -1 not in items:
                found += [[items[0], name.layer + 1, _ended(name.ended), item]
                          for name, item in zip(file.names[1:], items[1:], strict=True)]  # fmt: skip
        return found
