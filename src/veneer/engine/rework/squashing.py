"""`image squash`: a run of an image's layers as one layer, without what later ones of them hid."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from veneer.engine.rework import stacking
from veneer.engine.rework.rows import history_of, rewritten, whole_history
from veneer.errors import InvalidRequest
from veneer.oci import timestamp
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.progress import Progress, Report, silent
from veneer.store import capture
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.changeset.index import LayerIndex
    from veneer.changeset.pack import Packed
    from veneer.changeset.tar_writer import Writable
    from veneer.engine.rework.composing import Member
    from veneer.oci.digest import DiffID
    from veneer.oci.reference import Reference
    from veneer.store.images import Image
    from veneer.store.store import Store


class NothingToSquash(InvalidRequest):
    """One layer alone is squashed already."""


class Squashed(Value):
    """What a squash made.

    `first` and `last` are the layers of `source` that became one, the base being 1; `diff_id` that layer's (None:
    they changed nothing in the end, so there is none).  `before` and `after` are bytes as image sizes count them,
    `entries_before` and `entries_after` members of layers.
    """

    __slots__ = ()
    image: Image
    source: Image
    first: int
    last: int
    diff_id: DiffID | None
    before: int
    after: int
    entries_before: int
    entries_after: int

    @property
    def saved(self) -> int:
        """The bytes that were in a layer and hidden by a later one."""
        return max(self.before - self.after, 0)


def squashed_config(
    config: ImageConfig, first: int, last: int, diff_id: DiffID | None, *, comment: str, created: str
) -> bytes:
    """The config with layers `first` to `last` (base 0) as one, `diff_id`; None: as none at all.

    The rows of the run stay, without layers, as docker's squash leaves them; a row with the comment comes after them
    and has the layer.  Source: moby daemon/images/image_squash.go.
    """
    rows: list[HistoryEntry] = []
    layer = 0
    for entry in whole_history(history_of(config)):
        if entry.empty_layer or not first <= layer <= last:
            rows.append(entry)
        elif entry.created_by or entry.comment:  # a row without words that has no layer any more tells nothing
            rows.append(entry.replaced(empty_layer=True))
        if not entry.empty_layer:
            if layer == last:
                rows.append(HistoryEntry(created, comment=comment, empty_layer=diff_id is None))
            layer += 1
    made = [] if diff_id is None else [diff_id]
    diff_ids = [*config.diff_ids[:first], *made, *config.diff_ids[last + 1 :]]
    return rewritten(config, diff_ids=diff_ids, history=rows, created=created)


def squash(
    store: Store,
    source: Image,
    first: int,
    last: int,
    *,
    tag: Reference | None = None,
    message: str = "",
    created: str = "",
    onto: Image | None = None,
    progress: Progress = silent,
) -> Squashed:
    """A new image with layers `first` to `last` (base 0, both included) of `source` as one.

    The layers below and above are the same ones.  `onto` is the image that is left below, if known: it is named in
    the row's comment, unless `message` is given.  Raises NothingToSquash, FileLost.
    """
    config = source.config
    if first == last:
        raise NothingToSquash(
            f"layer {first + 1} of image {source.id.short} is one layer already",
            hint="give a range of two layers or more with --from and --to",
        )
    created = created or timestamp.now()
    with store.lease("squash") as lease, stacking.opened_indexes(store, config) as indexes:
        packed = None
        members = _members(indexes, first, last)
        if members is not None:
            progress(Report(source.id.short, "Squashing"))
            with stacking.Files(store, config) as files:

                def pack(out: Any) -> Packed:
                    nonlocal packed
                    packed = write_layer(members, indexes, files, out)
                    return packed

                capture.packed(store.layers, lease, pack, config.chain_ids[first - 1] if first else None)
        diff_id = packed.diff_id if packed else None
        comment = message or _comment(source, first, last, onto)
        raw = squashed_config(config, first, last, diff_id, comment=comment, created=created)
        stacking.stand(store, lease, ImageConfig.parse(raw).diff_ids, progress=progress)
        image = stacking.add_image(store, lease, raw, tag)
        before = sum(layer.size for layer in store.layers.stack(config.chain_ids[-1])[first : last + 1])
        entries = sum(not index.is_implied(n) for index in indexes[first : last + 1] for n in range(len(index)))
    return Squashed(
        image, source, first + 1, last + 1, diff_id, before, packed.size if packed else 0,
        entries, packed.entries if packed else 0,
    )  # fmt: skip


def _members(indexes: Sequence[LayerIndex], first: int, last: int) -> Iterable[Member] | None:
    """The members of the composed layer; None where there are none."""
    from veneer.engine.rework.composing import compose

    members = compose(indexes, first, last)
    for member in members:
        return itertools.chain([member], members)
    return None


def _comment(source: Image, first: int, last: int, onto: Image | None) -> str:
    """Docker's words where it could have made the same squash."""
    if last + 1 == len(source.config.diff_ids):
        if onto is not None and len(onto.config.diff_ids) == first:
            return f"merge {source.id} to {onto.id}"
        if first == 0:
            return f"create new from {source.id}"
    return f"merge layers {first + 1} to {last + 1} of {source.id}"


def write_layer(
    members: Iterable[Member], indexes: Sequence[LayerIndex], files: stacking.Files, out: Writable
) -> Packed:
    """Write members as a canonical layer tar, contents taken from `files` and checked.  Raises FileLost."""
    import os

    from veneer.changeset.entry import Kind
    from veneer.changeset.pack import Packed
    from veneer.changeset.tar_writer import TarWriter
    from veneer.oci.digest import DiffID, Digest

    writer = TarWriter(out, hash_contents=True)
    size = entries = 0
    for member in members:
        entry = member.entry
        entries += 1
        if member.source is None:
            writer.add(entry)
            size += len(entry.link) if entry.kind is Kind.SYMLINK else 0
            continue
        layer, number = member.source
        path = indexes[layer].path(number)
        with files.open(layer, path) as fd:
            if os.fstat(fd).st_size != entry.size:
                raise files.lost(layer, path, f"{os.fstat(fd).st_size} bytes where there should be {entry.size}")
            if writer.add(entry, fd) != entry.digest:
                raise files.lost(layer, path, "its content was changed")
        size += entry.size
    return Packed(DiffID(Digest.sha256(writer.finish())), writer.size, size, entries)
