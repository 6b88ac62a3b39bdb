"""Layers and images made here, without a Dockerfile: a draft is filled and published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.oci.digest import ImageID
from veneer.oci.reference import Reference

if TYPE_CHECKING:
    from veneer.oci.digest import ChainID
    from veneer.store.images import Image
    from veneer.store.layers import Layer
    from veneer.store.leases import Lease
    from veneer.store.store import Store

Fill = Callable[[Path], object]


def make_layer(
    store: Store, lease: Lease, fill: Fill, parent: ChainID | None = None, *, standalone: bool = False
) -> Layer:
    """What `fill` writes into the draft's directory, as a layer on `parent`."""
    with store.layers.draft(lease, parent) as draft:
        fill(draft.directory)
        return draft.publish(draft.measure(), standalone=standalone)


def make_image(
    store: Store, lease: Lease, layers: Sequence[Layer], *, parent: ImageID | None = None, tag: str = "", **keys: Any
) -> Image:
    """An image of these layers, base first, as a build adds it."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": f"COPY {layer.diff_id.short} /"} for layer in layers],
        **keys,
    }
    image = store.images.add(lease, json.dumps(document).encode(), parent=parent, built=True)
    if tag:
        store.images.tag(image.id, Reference.parse(tag).tagged())
    return store.images.get(image.id)


def writing(**files: bytes) -> Fill:
    """Writes files of these names, `_` for a slash."""

    def fill(directory: Path) -> None:
        for name, content in files.items():
            path = directory / name.replace("_", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return fill
