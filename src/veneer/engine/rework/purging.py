"""`image purge`: a file or directory taken out of every layer of an image, and out of every blob of the new one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from veneer.engine.rework import doom as judging
from veneer.engine.rework import stacking
from veneer.engine.rework.doom import Doom
from veneer.engine.rework.excising import Scan, excise, scan
from veneer.engine.rework.rows import history_of, rewritten, whole_history
from veneer.errors import Corrupt
from veneer.oci import timestamp
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.progress import Progress, Report, silent
from veneer.store import capture
from veneer.values import Value

if TYPE_CHECKING:
    from veneer.changeset.compression import Compression, Source
    from veneer.changeset.pack import Packed
    from veneer.oci.digest import DiffID
    from veneer.oci.reference import Reference
    from veneer.store.images import Image
    from veneer.store.leases import Lease
    from veneer.store.store import Store

_MOST_MENTIONS = 50


class NotPurged(Corrupt):
    """A path is still in a layer that was written without it; no image was made."""


class PurgedLayer(Value):
    """A layer that was written anew: its number (the base is 1), its old and new diff ID (None: nothing was left)."""

    __slots__ = ()
    number: int
    old: DiffID
    new: DiffID | None
    members: int


class Purged(Value):
    """What a purge did.

    `paths` are what was asked for, symbolic links on the way followed; `names` further names of the same files.
    `size` is the bytes of content that went, each file once.  `mentions` are texts of the config that still name a
    path, `copies` (layer, path) of files with the same content elsewhere in the new image: both are left alone.
    `holders` are the local images that still have it.
    """

    __slots__ = ()
    image: Image
    source: Image
    paths: tuple[bytes, ...]
    names: tuple[bytes, ...]
    size: int
    layers: tuple[PurgedLayer, ...]
    mentions: tuple[str, ...]
    copies: tuple[tuple[int, bytes], ...]
    holders: tuple[Image, ...]


def purge(
    store: Store,
    source: Image,
    paths: Sequence[str],
    *,
    tag: Reference | None = None,
    message: str = "",
    created: str = "",
    progress: Progress = silent,
) -> Purged:
    """A new image without `paths` in any layer; layers that have nothing of them are the same ones, to the byte.

    All names of a file go, not only the one given.  The others are read again before the image is made.
    Raises NoSuchPath, NotPurgeable, NotPurged.
    """
    config = source.config
    wanted = [judging.normal_path(path) for path in paths]
    with store.lease("purge") as lease, stacking.opened_indexes(store, config) as indexes:
        found = judging.doom(indexes, wanted)
        work = _Work(store, lease, source, found, progress)
        layers = work.all_layers([_says(index, found, at) for at, index in enumerate(indexes)])
        comment = message or f"purged: {sum(layer.old != layer.new for layer in layers)} layers were written anew"
        raw = purged_config(config, [layer.new for layer in layers], comment, created or timestamp.now())
        made = ImageConfig.parse(raw)
        stacking.stand(store, lease, made.diff_ids, progress=progress)
        with stacking.opened_indexes(store, made) as after:
            for index in after:
                for path in found.paths:
                    if index.find(path) is not None:
                        raise _still_there(path)
            copies = tuple((layer + 1, path) for layer, path in judging.copies(after, found.contents))
        image = stacking.add_image(store, lease, raw, tag)
    changed = tuple(layer for layer in layers if layer.old != layer.new)
    return Purged(
        image, source, found.paths, tuple(sorted(set().union(*found.names))), found.size, changed,
        tuple(mentions(config, found.paths)), copies, tuple(_holders(store, config, changed, image)),
    )  # fmt: skip


def purged_config(config: ImageConfig, diff_ids: Sequence[DiffID | None], comment: str, created: str) -> bytes:
    """The config with other layers in the places of its own; a row whose layer is None has none any more."""
    layers = iter(diff_ids)
    rows = [
        entry.replaced(empty_layer=True) if not entry.empty_layer and next(layers) is None else entry
        for entry in whole_history(history_of(config))
    ]
    if rows:
        rows.append(HistoryEntry(created, comment=comment, empty_layer=True))
    kept = [diff_id for diff_id in diff_ids if diff_id is not None]
    return rewritten(config, diff_ids=kept, history=rows, created=created)


def mentions(config: ImageConfig, paths: Sequence[bytes]) -> Iterator[str]:
    """Where the config names one of the paths, in words; `history row 3 (RUN ...)`, `Env KEY`."""
    texts = ["/" + path.decode("utf-8", "replace") for path in paths]

    def named(*words: object) -> bool:
        return any(text in str(word) for word in words for text in texts)

    found: list[str] = []
    for number, entry in enumerate(config.history, 1):
        if named(entry.created_by, entry.comment):
            found.append(f"history row {number}: {(entry.created_by or entry.comment)[:80]}")
    run = config.run
    for pair in run.get("Env") or ():
        if named(pair):
            found.append(f"environment variable {str(pair).partition('=')[0]}")
    for key in ("Cmd", "Entrypoint", "Labels", "Volumes", "WorkingDir", "Healthcheck", "OnBuild"):
        if run.get(key) and named(run[key]):
            found.append(key)
    yield from found[:_MOST_MENTIONS]


class _Work:
    """One purge: each layer scanned, written anew where something of it goes, and scanned again."""

    def __init__(self, store: Store, lease: Lease, source: Image, found: Doom, progress: Progress) -> None:
        self._store = store
        self._lease = lease
        self._config = source.config
        self._doom = found
        self._progress = progress

    def all_layers(self, touched: Sequence[bool]) -> list[PurgedLayer]:
        """Every layer, base first; `touched` says which ones have something to go by their index."""
        done: list[PurgedLayer] = []
        for at, diff_id in enumerate(self._config.diff_ids):
            below = [layer.new for layer in done if layer.new is not None]
            done.append(self._layer(at, diff_id, below, touched=touched[at]))
        return done

    def _layer(self, at: int, diff_id: DiffID, below: Sequence[DiffID], *, touched: bool) -> PurgedLayer:
        same = PurgedLayer(at + 1, diff_id, diff_id, 0)
        if not touched and not self._store.layers.blobs(diff_id):
            return same  # its tar is packed from the files its index lists, so there is nothing else in it
        unwanted = self._unwanted(at)
        self._progress(Report(diff_id.short, "Scanning"))
        with self._blob(diff_id) as (source, kind):
            found = scan(source(), unwanted, f"layer {at + 1}")
            if not found.cuts:
                return same
            if not found.kept and not self._doom.hidden[at]:
                return PurgedLayer(at + 1, diff_id, None, len(found.cuts))
            new = self._rewrite(at, source, kind, found, below)
        with self._blob(new) as (source, _):
            left = scan(source(), unwanted, f"layer {at + 1}").cuts
            hidden = set(self._doom.hidden[at])
            for cut in left:
                if cut.path not in hidden:
                    raise _still_there(cut.path)
        return PurgedLayer(at + 1, diff_id, new, len(found.cuts))

    def _unwanted(self, at: int) -> Callable[[bytes], bool]:
        names, covers = self._doom.names[at], self._doom.covers
        return lambda path: path in names or covers(path)

    @contextlib.contextmanager
    def _blob(self, diff_id: DiffID) -> Iterator[tuple[Callable[[], Source], Compression]]:
        """The layer's bytes, to be read from the start as often as wanted."""
        from veneer.changeset.compression import sniff
        from veneer.changeset.growing import GrowingSource

        digest = stacking.blob_of(self._store, self._lease, diff_id).digest
        with self._store.blobs.open(digest) as file:
            kind = sniff(file.read(16))
            yield lambda: GrowingSource(file.fileno(), None), kind

    def _rewrite(
        self, at: int, source: Callable[[], Source], kind: Compression, found: Scan, below: Sequence[DiffID]
    ) -> DiffID:
        from veneer.changeset.compression import Compression
        from veneer.changeset.pack import Packed
        from veneer.oci.digest import DiffID, Digest, chain_ids

        self._progress(Report(self._config.diff_ids[at].short, "Rewriting"))

        def pack(out: Any) -> Packed:
            hexdigest = excise(source(), found.cuts, found.end, out, self._doom.hidden[at])
            return Packed(DiffID(Digest.sha256(hexdigest)), found.end, 0, found.kept)

        stacking.stand(self._store, self._lease, below)
        parent = list(chain_ids(list(below)))[-1] if below else None
        # Compressed as it came, where a manifest of ours can name that.
        kept = kind if kind in (Compression.ZSTD, Compression.NONE) else Compression.GZIP
        return capture.packed(self._store.layers, self._lease, pack, parent, compression=kept).diff_id


def _says(index: Any, found: Doom, at: int) -> bool:
    return bool(found.names[at]) or any(index.find(path) is not None for path in found.paths)


def _still_there(path: bytes) -> NotPurged:
    shown = path.decode(errors="backslashreplace")
    return NotPurged(f"/{shown} is still in a layer that was written without it; no image was made",
                     hint="the layer's archive is odd: squash the image first, then purge")  # fmt: skip


def _holders(store: Store, config: ImageConfig, changed: Sequence[PurgedLayer], made: Image) -> Iterator[Image]:
    """The local images that have one of the old layers, named ones first."""
    ids = {user for layer in changed for user in store.layers.users(config.chain_ids[layer.number - 1])}
    images = [store.images.get(image_id) for image_id in ids if image_id != made.id]
    yield from sorted(images, key=lambda image: (not image.is_named, -image.created, image.id))
