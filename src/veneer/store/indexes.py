"""The tables of contents of layers: where they lie, and made anew where one is lost.

One is written with its snapshot and not synced apart: it is worth what the snapshot is.
"""

from __future__ import annotations

import contextlib
import os

from veneer.store.layers import NoSuchLayer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from veneer.changeset.index import LayerIndex
    from veneer.oci.digest import DiffID
    from veneer.store.layers import LayerStore
    from veneer.store.store import Store


def opened(layers: LayerStore, diff_id: DiffID) -> LayerIndex:
    """See LayerStore.index."""
    from veneer.changeset.index import IndexCorrupt, LayerIndex

    at = path(layers.store, diff_id)
    rows = layers.catalog.rows("SELECT durable, boot_id, mount_id FROM snapshot WHERE diff_id = ?", (diff_id,))
    if any(layers.trusted(*row) for row in rows):
        with contextlib.suppress(FileNotFoundError, IndexCorrupt):
            return LayerIndex.open(at)
    elif not rows:
        raise NoSuchLayer(f"No such layer: {diff_id}", hint="veneer layer ls shows all of them")
    rebuild(layers, diff_id)
    return LayerIndex.open(at)


def path(store: Store, diff_id: DiffID) -> Path:
    """Where the layer's index lies."""
    return store.root / "indexes" / diff_id.algorithm / diff_id.hex


def is_whole(store: Store, diff_id: DiffID) -> bool:
    """Whether the layer's index is there, every byte of it."""
    from veneer.changeset.index import IndexCorrupt, LayerIndex

    try:
        with LayerIndex.open(path(store, diff_id)) as index:
            index.verify()
    except (FileNotFoundError, IndexCorrupt):
        return False
    return True


def rebuild(layers: LayerStore, diff_id: DiffID) -> None:
    """Make the layer's index anew, from its blob or, where it has none, from its files.

    Raises LayerLost, IndexLost.
    """
    from veneer.changeset.whiteout import WhiteoutStyle

    store = layers.store
    if not layers.blobs(diff_id):
        _from_files(layers, diff_id)
        return
    with store.lease("index") as lease, contextlib.ExitStack() as stack:
        blob = stack.enter_context(store.blobs.open(layers.source(lease, diff_id)))
        folder, file = lease.file("tree"), lease.file("index")
        folder.mkdir(0o700)
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        index = stack.enter_context(open(file, "wb+"))
        layers.pool.unpack(
            blob.fileno(), None, root, index.fileno(), WhiteoutStyle.ERASE, expect=diff_id, what=f"layer {diff_id}"
        ).result()
        file.replace(path(store, diff_id))


def _from_files(layers: LayerStore, diff_id: DiffID) -> None:
    from veneer.store.packing import index_again, layer_of

    layer = layer_of(layers, diff_id)
    with layers.store.lease("index") as lease:
        file = lease.file("index")
        with open(file, "wb+") as index:
            index_again(layers, layer, index)
        file.replace(path(layers.store, diff_id))
