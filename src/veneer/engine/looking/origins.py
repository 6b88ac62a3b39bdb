"""What an image stands on, which images it shares layers with, and what it says of itself."""

from __future__ import annotations

from collections.abc import Sequence

from veneer.analysis.sharing import Stack, common_layers
from veneer.engine.looking.subject import Subject
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.engine import Engine
    from veneer.oci.digest import ChainID, ImageID
    from veneer.oci.image import HistoryEntry
    from veneer.store.images import Image
    from veneer.store.layers import Layer

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
RECOMMENDED = ("title", "description", "version", "created", "source", "revision", "licenses", "vendor", "url",
               "documentation", "authors")  # fmt: skip
"""The keys below `org.opencontainers.image.` that an image should say."""


class Label(Value):
    """One thing an image says of itself; `source` is "config", "manifest" or "index"."""

    __slots__ = ()
    key: str
    value: str
    source: str


class StandsOn(Value):
    """What an image stands on.

    `how` it is known: "label", "annotation", "parent", "layers" or, of a container, "container"; `layers` it has of it,
    0 where that is not known; `image` None where it is not in the store.
    """

    __slots__ = ()
    name: str
    digest: str
    how: str
    layers: int
    image: Image | None


def labels(subject: Subject) -> list[Label]:
    """Labels and annotations by key, the config's first, with where each stands."""
    documents = subject.documents
    found = [Label(key, value, "config") for key, value in documents.config.labels.items()]
    if documents.manifest is not None:
        found += [Label(key, value, "manifest") for key, value in documents.manifest.annotations.items()]
    if documents.index is not None:
        found += [Label(key, value, "index") for key, value in documents.index.annotations.items()]
    order = ("config", "manifest", "index")
    return sorted(found, key=lambda label: (label.key, order.index(label.source)))


def missing_labels(found: Sequence[Label]) -> list[str]:
    """The recommended keys, without their prefix, that nothing says; old label-schema keys count too."""
    said = {label.key for label in found if label.value}
    old = {"title": "name", "source": "vcs-url", "revision": "vcs-ref", "created": "build-date", "licenses": "license",
           "documentation": "usage"}  # fmt: skip
    return [key for key in RECOMMENDED
            if f"org.opencontainers.image.{key}" not in said
            and f"org.label-schema.{old.get(key, key)}" not in said]  # fmt: skip


def name_of(image: Image) -> str:
    """What to call an image: the shortest of its names."""
    return min((reference.familiar for reference in image.references), key=len, default=image.id.short)


def stands_on(engine: Engine, subject: Subject) -> StandsOn | None:
    """What the image was built on: what it says itself, its local parents, or the local image with most of its layers.

    None where nothing tells.
    """
    if subject.documents.where == "container":
        from veneer.engine.looking.containers import image_of

        container = engine.containers.get(subject.name)
        image = image_of(engine, container)
        digest = str(image.manifest) if image is not None else ""
        return StandsOn(container.image_name, digest, "container", len(subject.config.diff_ids) - 1, image)
    if subject.documents.where == "store":
        from veneer.engine.rework.bases import find_base

        own = engine.images.get(str(subject.config.image_id))
        base = find_base(engine.store, own)
        if base is not None:
            return StandsOn(base.name, str(base.image.manifest), base.how, len(base.image.config.diff_ids), base.image)
    said = {label.key: label for label in labels(subject)}
    image, layers = _longest(engine, subject)
    if BASE_NAME in said or BASE_DIGEST in said:
        label = said.get(BASE_NAME) or said[BASE_DIGEST]
        name = said[BASE_NAME].value if BASE_NAME in said else ""
        digest = said[BASE_DIGEST].value if BASE_DIGEST in said else ""
        how = "label" if label.source == "config" else "annotation"
        same = image if image is not None and name in {reference.familiar for reference in image.references} else None
        return StandsOn(name or digest, digest, how, layers if same else 0, same)
    if image is None:
        return None
    return StandsOn(name_of(image), str(image.manifest), "layers", layers, image)


def _longest(engine: Engine, subject: Subject) -> tuple[Image | None, int]:
    """The image of the store that most of the lowest layers are, and how many; not the image itself.

    One that has all of them is below only if rows were put on its own: else it stands on this one, or beside it.
    """
    import os

    if not os.path.isdir(engine.config.root_name):
        return None, 0
    at = {chain_id: position + 1 for position, chain_id in enumerate(subject.config.chain_ids)}
    own = {reference.name for reference in subject.documents.references}
    best: tuple[int, Image] | None = None
    for image in engine.store.images.list():
        if image.top is None or image.top not in at or image.id == subject.config.image_id:
            continue
        if own & {reference.name for reference in image.references}:
            continue
        if at[image.top] == len(at) and not _more_rows(subject.config.history, image.config.history):
            continue
        if best is None or at[image.top] > best[0]:
            best = (at[image.top], image)
    return (best[1], best[0]) if best else (None, 0)


def _more_rows(rows: Sequence[HistoryEntry], lower: Sequence[HistoryEntry]) -> bool:
    return len(rows) > len(lower) and tuple(rows[: len(lower)]) == tuple(lower)


def stacks(engine: Engine, images: Sequence[Image]) -> list[Stack]:
    """Images of the store as stacks, keyed by their IDs; from rows alone.  One that has been removed since has none."""
    layers: dict[ChainID, Layer] = {layer.chain_id: layer for layer in engine.store.layers.list()}
    known: dict[ChainID, tuple[Layer, ...]] = {}

    def stack(top: ChainID) -> tuple[Layer, ...]:
        path = []
        at: ChainID | None = top
        while at is not None and at not in known:
            layer = layers.get(at)
            if layer is None:
                return ()
            path.append(layer)
            at = layer.parent
        below = known[at] if at is not None else ()
        for layer in reversed(path):
            below = known[layer.chain_id] = (*below, layer)
        return below

    found = []
    for image in images:
        of = stack(image.top) if image.top is not None else ()
        found.append(
            Stack(str(image.id), tuple(layer.chain_id for layer in of), tuple(layer.diff_id for layer in of),
                  tuple(layer.size for layer in of), tuple(layer.snapshot for layer in of))
        )  # fmt: skip
    return found


class SharedWith(Value):
    """Who else has a layer in its place: an image that ends there ("" if none does), and how many more."""

    __slots__ = ()
    base: str
    others: int

    @property
    def shown(self) -> str:
        if self.base:
            return f"{self.base} +{self.others}" if self.others else self.base
        return f"{self.others} {'image' if self.others == 1 else 'images'}" if self.others else "-"


def shared_with(engine: Engine, subject: Subject) -> list[SharedWith]:
    """For each layer, base first, which images of the store have it in its place, the image itself left out."""
    import os

    chain_ids = subject.config.chain_ids
    counts = [0] * len(chain_ids)
    bases = [""] * len(chain_ids)
    if os.path.isdir(engine.config.root_name):
        images = engine.store.images.list()
        own: ImageID = subject.config.image_id
        for image, stack in zip(images, stacks(engine, images), strict=True):
            if image.id == own:
                continue
            common = common_layers(chain_ids, stack.chain_ids)
            for layer in range(common):
                counts[layer] += 1
            if common and common == len(stack.chain_ids) and not bases[common - 1] and image.references:
                bases[common - 1] = name_of(image)
    found = [SharedWith(base, count - bool(base)) for base, count in zip(bases, counts, strict=True)]
    return found + [SharedWith("", 0)] * (len(subject.origins) - len(found))
