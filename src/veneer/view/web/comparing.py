"""Several images side by side: the tree of their layers; two images' files, settings and histories."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from veneer.changeset.entry import Kind
from veneer.errors import VeneerError
from veneer.values import Value
from veneer.view.web import words
from veneer.view.web.query import BadQuery, page_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.comparison import Difference
    from veneer.analysis.sharing import Stack
    from veneer.engine.looking.subject import Subject
    from veneer.oci.digest import ChainID, DiffID
    from veneer.view.web.query import Query
    from veneer.view.web.subjects import Looked, Subjects
    from veneer.view.web.words import Json

MOST_IMAGES = 60
_WHITEOUT = int(Kind.WHITEOUT)
_WEIGHT = 15
"""Of a difference, beside a name in a directory."""
MODES = (STRICT, SEMANTIC) = ("strict", "semantic")
MOST_DIFFERENCES = 100_000
"""That are counted; what is beyond is not looked for."""


class Compared(Value):
    """Several images: all that is told of them but the tree of their layers, and that."""

    __slots__ = ()
    document: Json
    trie: Trie

    @property
    def text(self) -> bytes:
        """All of it as JSON."""
        return f'{words.as_json(self.document)[:-1].decode()},"trie":{self.trie.text()}}}'.encode()


def compare(subjects: Subjects, query: Query) -> Compared:
    """The layers of several images.  One that is not here is told of in "errors"; the others are shown.

    Nobody looks into a layer for it: what layers store stands in the headers of their indexes.  Raises BadQuery.
    """
    names = query.words("images", MOST_IMAGES)
    if not names:
        raise BadQuery("no images to compare", hint="give images=NAME,NAME")
    errors: list[Json] = []
    with contextlib.ExitStack() as stack:
        opened: list[tuple[str, Looked]] = []
        for name in names:
            try:
                opened.append((name, stack.enter_context(subjects.opened(name))))
            except VeneerError as error:
                errors.append({"ref": name, "error": error.message, "hint": error.hint})
        return _together(subjects, opened, errors, query.path() if query.text("path") else None)


def _together(
    subjects: Subjects, opened: Sequence[tuple[str, Looked]], errors: list[Json], path: bytes | None
) -> Compared:
    from veneer.analysis.sharing import elsewhere, totals

    stacks = [_stack(str(number), looked) for number, (_, looked) in enumerate(opened)]
    sums = totals(stacks)
    document = {
        "images": [_image(subjects, name, looked, stack)
                   for (name, looked), stack in zip(opened, stacks, strict=True)],
        "unshared": sums.unshared, "unique": sums.unique, "saved": sums.unshared - sums.unique,
        "unique_layers": sums.layers, "largest": sums.largest,
        "average": sums.unique // sums.layers if sums.layers else 0, "errors": errors,
    }  # fmt: skip
    return Compared(document, Trie(opened, stacks, set(elsewhere(stacks)), path))


def _stack(key: str, looked: Looked) -> Stack:
    from veneer.analysis.sharing import Stack

    with looked.lock:
        origins = looked.subject.origins
        sizes = tuple(index.bytes_total for index in looked.subject.indexes)
        return Stack(key, tuple(each.chain_id for each in origins), tuple(each.diff_id for each in origins), sizes)


def _image(subjects: Subjects, name: str, looked: Looked, stack: Stack) -> Json:
    subject, image = looked.subject, looked.image
    blobs = {blob.digest: blob.size for blob in subject.documents.blobs if blob is not None}
    layers = [
        {"index": number, "chain_id": str(origin.chain_id), "diff_id": str(origin.diff_id), "stored": size,
         "blob_size": origin.blob.size if origin.blob else None, "blob_size_at_most": origin.at_most,
         "instruction": origin.shown, "keyword": origin.instruction.keyword if origin.instruction else ""}
        for number, (origin, size) in enumerate(zip(subject.origins, stack.sizes, strict=True), 1)
    ]  # fmt: skip
    return {
        "ref": name, "id": str(subject.config.image_id), "digest": str(subject.documents.digest or ""),
        "platform": str(subject.config.platform), "layers": layers,
        "created": words.moment(image.created or None) if image is not None else "",
        "tags": [tag.familiar for tag in image.tags] if image is not None else [], "stored": sum(stack.sizes),
        "visible": subjects.visible(image) if image is not None else None,
        "blob_size": sum(blobs.values()) if None not in subject.documents.blobs else None,
        "blob_size_at_most": subject.documents.pull_at_most,
    }  # fmt: skip


class Trie:
    """The layers of the images, one node for each chain ID, on what is below it.

    It may be a thousand layers deep, so its text is made from the leaves downwards and not by recursion.  With a `path`
    each tells what it has there.
    """

    def __init__(
        self, opened: Sequence[tuple[str, Looked]], stacks: Sequence[Stack], several: Collection[DiffID],
        path: bytes | None = None,
    ) -> None:  # fmt: skip
        self._nodes: dict[ChainID, Json] = {}
        self._children: dict[ChainID | None, list[ChainID]] = {None: []}
        contents: dict[DiffID, dict[int, None]] = {}
        for number, ((_, looked), stack) in enumerate(zip(opened, stacks, strict=True)):
            below: ChainID | None = None
            for position, (chain_id, diff_id) in enumerate(zip(stack.chain_ids, stack.diff_ids, strict=True)):
                if chain_id not in self._nodes:
                    self._nodes[chain_id] = _node(looked, stack, position, path)
                    self._children[chain_id] = []
                    self._children[below].append(chain_id)
                self._nodes[chain_id]["images"].append(number)
                if diff_id in several:
                    contents.setdefault(diff_id, {})[number] = None
                    self._nodes[chain_id]["also"] = contents[diff_id]
                below = chain_id
        for node in self._nodes.values():
            node["also"] = [number for number in node["also"] if number not in node["images"]]

    def rows(self) -> Iterator[Json]:
        """The nodes, each before those on top of it."""
        pending = self._sorted(None)[::-1]
        while pending:
            chain_id = pending.pop()
            yield self._nodes[chain_id]
            pending += self._sorted(chain_id)[::-1]

    def text(self) -> str:
        """The nodes as JSON, each with those on top of it as its children."""
        texts: dict[ChainID, str] = {}
        # A layer comes after those below it, so the last ones have all that is on them before them.
        for chain_id in reversed(self._nodes):
            own = words.as_json(self._nodes[chain_id])[:-1].decode()
            texts[chain_id] = f'{own},"children":{self._list(chain_id, texts)}}}'
        return self._list(None, texts)

    def _list(self, below: ChainID | None, texts: dict[ChainID, str]) -> str:
        return "[" + ",".join(texts.pop(each) for each in self._sorted(below)) + "]"

    def _sorted(self, below: ChainID | None) -> list[ChainID]:
        """What stands on a layer, that of most images and the most bytes first."""

        def weight(chain_id: ChainID) -> tuple[int, int]:
            node = self._nodes[chain_id]
            return (-len(node["images"]), -node["stored"])

        return sorted(self._children[below], key=weight)


def _node(looked: Looked, stack: Stack, position: int, path: bytes | None) -> Json:
    origin = looked.subject.origins[position]
    inside = {} if path is None else {"inside": stored_inside(looked.subject, position, path)}
    return inside | {
        "chain_id": str(origin.chain_id), "diff_id": str(origin.diff_id), "index": position + 1,
        "instruction": origin.shown, "keyword": origin.instruction.keyword if origin.instruction else "",
        "stored": stack.sizes[position], "blob_size": origin.blob.size if origin.blob else None,
        "blob_size_at_most": origin.at_most, "images": [], "also": (),
    }  # fmt: skip


def stored_inside(subject: Subject, layer: int, path: bytes) -> int | None:
    """The bytes that a layer (0 is the base) has at a path and beneath; None if it has nothing to do with it."""
    index = subject.indexes[layer]
    if not path:
        return index.bytes_total
    number: int | None = None
    for name in path.split(b"/"):
        number = index.child(number, name)
        if number is None:
            return None
        if index.kinds[number] == _WHITEOUT:  # of it or of what it is in
            return 0
    assert number is not None
    return index.bytes_of(number, index.end(number))


# -- two images -----------------------------------------------------------------------------------------------


def diff(first: Looked, second: Looked, names: tuple[str, str], query: Query) -> Json:
    """How two images differ: files by path, a page of them; settings and history rows.  Raises BadQuery."""
    mode = query.choice("mode", MODES)
    start, limit = page_of(query.text("after")), query.limit()
    return difference((first.subject, second.subject), names, mode, differing(first, second, mode), start, limit)


def differing(first: Looked, second: Looked, mode: str) -> list[Difference]:
    """The files that differ, remembered for a while; of no more than MOST_DIFFERENCES."""
    if not second.etag:  # a container may be another by the next page
        return different(first.subject, second.subject, mode)
    return first.kept(("diff", second.etag, mode), lambda: different(first.subject, second.subject, mode), _WEIGHT)


def different(first: Subject, second: Subject, mode: str) -> list[Difference]:
    """The files that differ."""
    from veneer.engine.looking import differences

    return list(islice(differences.files(first, second, semantic=mode == SEMANTIC), MOST_DIFFERENCES))


def difference(
    subjects: tuple[Subject, Subject], names: tuple[str, str], mode: str, found: Sequence[Difference], start: int,
    limit: int,
) -> Json:  # fmt: skip
    """A page of it: `limit` of the files that were `found`, from `start` on; settings and history whole."""
    from veneer.engine.looking import differences

    shown, semantic = found[start : start + limit], mode == SEMANTIC
    following = start + len(shown)
    return {
        "a": names[0], "b": names[1], "mode": mode, "total": len(found),
        "files": [_difference(each) for each in shown], "next": str(following) if following < len(found) else None,
        "settings": [{"key": each.key, "before": each.before, "after": each.after}
                     for each in differences.settings(*subjects, semantic=semantic)],
        "history": [{"number": each.number, "before": each.before, "after": each.after}
                    for each in differences.history(*subjects, semantic=semantic)],
    }  # fmt: skip


def _difference(each: Difference) -> Json:
    return words.path_document(each.path) | {
        "op": str(each.op), "before": words.stat(each.before) if each.before else None,
        "after": words.stat(each.after) if each.after else None, "changed": list(each.changed),
        "size_before": each.size_before, "size_after": each.size_after, "entries": each.entries,
    }  # fmt: skip


@contextlib.contextmanager
def both(subjects: Subjects, names: tuple[str, str]) -> Iterator[tuple[Looked, Looked]]:
    """Two images, open and locked, always in the same order: who compares the same images waits for nobody in a ring.

    Raises what `Subjects.opened` raises.
    """
    with subjects.opened(names[0]) as first, subjects.opened(names[1]) as second:
        one, other = sorted((first, second), key=id)
        with one.lock, other.lock:
            yield first, second
