"""Finished images for the verbs that make others of them: put into a store, and read back as files."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

from veneer.drivers.mount import opened
from veneer.engine.engine import Engine
from veneer.oci.image import HistoryEntry
from veneer.store.images import Image
from veneer.testing.images import SampleLayer, Tree, docker_archive, image
from veneer.testing.trees import Tree as Files
from veneer.testing.trees import read_tree


def loaded(
    engine: Engine,
    name: str,
    *layers: Tree | SampleLayer,
    config: Mapping[str, Any] | None = None,
    history: Sequence[HistoryEntry] | None = None,
    **keys: Any,
) -> Image:
    """An image of these layers, base first, in the engine's store under `name`."""
    made = image(*layers, config=config, history=history, **keys)
    engine.images.load(io.BytesIO(docker_archive((made, [name]))))
    return engine.images.get(name)


def files(engine: Engine, image: Image, layers: int | None = None) -> Files:
    """The image's files as its driver mounts them; `layers` looks at the lowest so many."""
    chain_ids = image.config.chain_ids[:layers]
    if not chain_ids:
        return Files({})
    with opened(engine.store.layers.mounts(chain_ids[-1])) as root:
        return read_tree(root)


def members(engine: Engine, image: Image, layer: int) -> list[bytes]:
    """What a layer (the base is 0) says, as names in a tar: `.wh.` before a deleted one, `/` behind a directory."""
    named = []
    with engine.store.layers.index(image.config.diff_ids[layer]) as index:
        for entry in index:
            directory, slash, name = entry.path.rpartition(b"/")
            if entry.kind.name == "WHITEOUT":
                named.append(directory + slash + b".wh." + name)
            elif entry.kind.name == "DIRECTORY":
                named.append(entry.path + b"/" + b"=" * entry.opaque)
            else:
                named.append(entry.path)
    return named


def row(text: str, *, empty: bool = False, created: str = "2024-01-02T03:04:05Z", comment: str = "") -> HistoryEntry:
    """A history row."""
    return HistoryEntry(created, text, comment=comment, empty_layer=empty)


def free_of_leaks(engine: Engine) -> bool:
    """Whether every thing in the store is whole and the scratch folder empty."""
    return not engine.system.check(deep=True) and not os.listdir(engine.store.root / "ingest")
