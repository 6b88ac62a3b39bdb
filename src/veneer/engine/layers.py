"""Layers as things of their own: what there is, what each is called, where it lies, who uses it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from veneer.errors import InvalidRequest, NotFound
from veneer.oci.digest import ChainID, DiffID
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from veneer.changeset.index import LayerIndex
    from veneer.engine.engine import Engine
    from veneer.oci.manifest import Descriptor
    from veneer.store.images import Image
    from veneer.store.layers import Layer


class NoSuchLayer(NotFound):
    """No layer is called that, or lies there."""


class AmbiguousLayer(InvalidRequest):
    """A prefix that several layers share."""


class LayerInfo(Value):
    """A layer with what the store knows around it.

    `blobs`: the stored bytes with this content, compressed ones first.  `images`: every image that has the layer
    anywhere in its stack, intermediate ones too, newest first.
    """

    __slots__ = ()
    layer: Layer
    directory: Path
    blobs: tuple[Descriptor, ...]
    images: tuple[Image, ...]


class Layers:
    """The layers of one data root."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    def list(self) -> Sequence[Layer]:
        """Every layer, parents before children."""
        return self._store.layers.list()

    def get(self, name: str) -> LayerInfo:
        """The layer called `name`: a chain ID, a diff ID, a blob digest or any unique prefix of one.

        Raises NoSuchLayer, or AmbiguousLayer naming what the prefix may mean.
        """
        prefix = name if name.startswith("sha256:") else "sha256:" + name
        layers = self._store.layers.list() if prefix != "sha256:" else ()
        found = [layer for layer in layers if layer.chain_id.startswith(prefix)]
        found = found or [layer for layer in layers if layer.diff_id.startswith(prefix)]
        if not found:
            by_blob = set(self._store.layers.diff_ids_of_blobs(prefix))
            found = [layer for layer in layers if layer.diff_id in by_blob]
        if not found:
            raise NoSuchLayer(f"No such layer: {name}", hint="veneer layer ls shows all of them")
        if len(found) > 1:
            chains = ", ".join(layer.chain_id.short for layer in found[:5])
            raise AmbiguousLayer(f"{name} may be any of {len(found)} layers: {chains}", hint="name one by its chain ID")
        return self._info(found[0])

    def which(self, path: str | Path) -> LayerInfo:
        """The layer that a directory or file on disk belongs to.  Raises NoSuchLayer."""
        layer = self._store.layers.owner_of(path)
        if layer is None:
            from veneer.distribution.foreign.root import root_around

            other = root_around(path)
            known = other is None or str(other) == os.path.realpath(self._store.config.root)
            hint = "" if known else f"the data root there is {other}: give it with --root"
            raise NoSuchLayer(f"{path} belongs to no layer of {self._store.config.root}", hint=hint)
        return self._info(layer)

    def index(self, layer: ChainID | DiffID | str) -> LayerIndex:
        """The table of contents of a layer.  Close it, or use it in a `with`."""
        return self._store.layers.index(self.get(str(layer)).layer.diff_id)

    def _info(self, layer: Layer) -> LayerInfo:
        users = [self._store.images.get(image_id) for image_id in self._store.layers.users(layer.chain_id)]
        return LayerInfo(
            layer=layer,
            directory=self._store.layers.directory(layer),
            blobs=tuple(self._store.layers.blobs(layer.diff_id)),
            images=tuple(sorted(users, key=lambda image: -image.created)),
        )
