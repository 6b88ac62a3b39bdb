"""What another engine's images are made of, told as our own are."""

from __future__ import annotations

from veneer.analysis.history import HistoryRow, LayerFacts
from veneer.analysis.history import history as rows_of
from veneer.distribution.foreign.root import ForeignLayer, NoSuchForeignLayer, require
from veneer.oci.digest import ImageID
from veneer.oci.reference import Reference
from veneer.values import Value

__all__ = ["ForeignLayer", "LayerUse", "ListedImage", "history", "images", "layer", "require", "which"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from veneer.distribution.foreign.root import ForeignImage, ForeignRoot


class ListedImage(Value):
    """An image as a list of them needs it: `created` in Unix seconds (0: unknown), `size` of its layers in bytes."""

    __slots__ = ()
    id: ImageID
    tags: tuple[Reference, ...]
    created: float
    size: int
    digests: tuple[Reference, ...] = ()
    has_digests: bool = False

    @property
    def is_named(self) -> bool:
        return bool(self.tags)


class LayerUse(Value):
    """A layer and the images that have it anywhere in their stacks."""

    __slots__ = ()
    layer: ForeignLayer
    images: tuple[ListedImage, ...]


def history(root: ForeignRoot, name: str) -> list[HistoryRow]:
    """How an image of another engine's came to be, newest step first, each with its layer where it made one.

    Raises NoSuchForeignImage, ForeignDamaged.
    """
    image = root.image(name)
    known = {each.config.image_id: each for each in root.images}
    ancestry: dict[ImageID, tuple[Reference, ...]] = {}
    step = image
    while step.config.image_id not in ancestry:
        ancestry[step.config.image_id] = step.references
        if step.parent is None or step.parent not in known:
            break
        step = known[step.parent]
    layers = [root.layer(chain) for chain in image.config.chain_ids]
    facts = [LayerFacts(each.diff_id, each.chain_id, each.size, each.blob_digest, each.directory) for each in layers]
    return rows_of(image.config, list(ancestry.items()), facts)


def images(root: ForeignRoot, *, all: bool = False, name: str | None = None) -> list[ListedImage]:
    """Images, newest first; `all` adds those without a name that others were built on.  `name` may be a pattern."""
    from veneer.store.filters import glob

    pattern = glob(name) if name else None
    parents = {image.parent for image in root.images}
    found = []
    for listed in _listed(root, root.images):
        if pattern is not None:
            kept = [
                tag for tag in listed.tags if pattern.fullmatch(tag.familiar) or pattern.fullmatch(tag.familiar_name)
            ]
            listed = listed.replaced(tags=tuple(kept))
        if listed.tags or (pattern is None and (all or listed.id not in parents)):
            found.append(listed)
    return sorted(found, key=lambda each: (-each.created, each.id))


def layer(root: ForeignRoot, name: str) -> LayerUse:
    """The layer called `name`: a chain ID, a diff ID, what the engine calls it, or any unique prefix of one.

    Raises NoSuchForeignLayer.
    """
    prefix = name.removeprefix("sha256:")
    for names in ("chain_id", "diff_id", "snapshot"):
        found = [each for each in root.layers if str(getattr(each, names)).removeprefix("sha256:").startswith(prefix)]
        if len(found) == 1 and prefix:
            return _use(root, found[0])
    raise NoSuchForeignLayer(
        f"No such layer, or more than one: {name} in {root.path}", hint="veneer layer ls lists them"
    )


def which(root: ForeignRoot, path: str | os.PathLike[str]) -> LayerUse:
    """The layer that a path belongs to, and its images.  Raises NoSuchForeignLayer."""
    return _use(root, root.owner_of(path))


def _use(root: ForeignRoot, layer: ForeignLayer) -> LayerUse:
    return LayerUse(layer, tuple(_listed(root, root.users(layer.chain_id))))


def _listed(root: ForeignRoot, images: Iterable[ForeignImage]) -> Iterator[ListedImage]:
    from veneer.oci import timestamp

    sizes = {layer.chain_id: layer.size for layer in root.layers}
    for image in images:
        size = sum(sizes.get(chain, 0) for chain in image.config.chain_ids)
        created = timestamp.parse(image.config.created) or 0.0
        yield ListedImage(image.config.image_id, image.references, created, size)
