"""The image another one was built on: found by what it says itself, by its parents, or by its layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from veneer.engine.rework.rows import rows_of_layers
from veneer.errors import InvalidRequest, NotFound
from veneer.oci import manifest as oci
from veneer.oci.digest import BlobDigest, Digest, InvalidDigest
from veneer.values import Value

if TYPE_CHECKING:
    from typing import Any

    from veneer.oci.image import ImageConfig
    from veneer.store.images import Image
    from veneer.store.store import Store

NAME_LABEL = "org.opencontainers.image.base.name"
DIGEST_LABEL = "org.opencontainers.image.base.digest"


class NotTheBase(InvalidRequest):
    """An image that another one was said to stand on, and does not."""


class Base(Value):
    """The image another one stands on, and how that was found out: "label", "parent" or "layers".

    `said` is what the other one's labels call it, "" if nothing.
    """

    __slots__ = ()
    image: Image
    how: str
    said: str = ""

    @property
    def name(self) -> str:
        """A name to call it by: what it was called, else the shortest; its ID where it has none."""
        names = self.image.references
        said = [name for name in names if self.said in (str(name), name.familiar)]
        return min((name.familiar for name in said or names), key=len, default=str(self.image.id))


class Recorded(Value):
    """What an image says of its base: a name and a manifest digest, either may be ""."""

    __slots__ = ()
    name: str
    digest: str

    @property
    def shown(self) -> str:
        return f"{self.name}@{self.digest}" if self.name and self.digest else self.name or self.digest


def is_base(base: ImageConfig, config: ImageConfig) -> bool:
    """Whether `config` has the layers of `base` below its own."""
    return config.diff_ids[: len(base.diff_ids)] == base.diff_ids


def shared_rows(base: ImageConfig, config: ImageConfig) -> int:
    """How many of the oldest rows of `config` are those of `base` that it stands on.

    All of them where they are the same; else those it takes to make the layers of `base`.  Where `config` does not tell
    which rows these are, they are none: what is built on an image has its rows, as they are, below its own.
    """
    same = config.history[: len(base.history)] == base.history
    if config.tells_layers and not (same and base.tells_layers):
        return rows_of_layers(config.history, len(base.diff_ids))
    return len(base.history) if same else 0


def recorded(store: Store, image: Image) -> Recorded:
    """What labels say of the base, or the annotations of the manifest."""
    labels: dict[str, str] = image.config.labels
    if NAME_LABEL not in labels and DIGEST_LABEL not in labels:
        document = oci.parse(store.blobs.read(image.manifest))
        labels = document.annotations
    return Recorded(labels.get(NAME_LABEL, ""), labels.get(DIGEST_LABEL, ""))


def with_base_labels(run: dict[str, Any], name: str, digest: str) -> dict[str, Any]:
    """The run configuration with labels that say what is below; without a name ("") an old one goes."""
    labels = run.get("Labels")
    kept = {key: value for key, value in labels.items() if key != NAME_LABEL} if isinstance(labels, dict) else {}
    said = {DIGEST_LABEL: digest, **({NAME_LABEL: name} if name else {})}
    return {**run, "Labels": dict(sorted({**kept, **said}.items()))}


def find_base(store: Store, image: Image) -> Base | None:
    """The local image that `image` was built on, None where nothing tells.

    What its labels or annotations name counts most, if that is here and below it; then the nearest parent that
    was not made by one of its own steps; then the image whose layers and rows are the longest part of its own.
    """
    said = recorded(store, image)
    if (found := _by_record(store, said)) is not None and is_base(found.config, image.config):
        return Base(found, "label", said.name)
    ancestors = list(store.images.ancestors(image.id))[1:]
    if (found := nearest_base(image, ancestors)) is not None:
        return Base(found, "parent")
    tops = set(image.config.chain_ids)
    others = (each for each in store.images.list(all=True) if each.id != image.id and each.top in tops)
    found = longest_prefix(image, [each for each in others if each.is_named])
    return Base(found, "layers") if found is not None else None


def nearest_base(image: Image, ancestors: Sequence[Image]) -> Image | None:
    """The nearest parent that came from elsewhere, or was imported, or has a name of another repository than `image`.

    Images of the same repository are earlier states of the same Dockerfile, whose steps the cache has used again.
    """
    own = {reference.name for reference in image.references}
    for each in ancestors:
        names = {reference.name for reference in each.references}
        rows = each.config.history
        if not each.built or (names and not names & own) or not rows or not rows[-1].created_by:
            return each
    return None


def longest_prefix(image: Image, candidates: Iterable[Image]) -> Image | None:
    """The image that most of the oldest layers and rows of `image` are; its own repository's do not count."""
    own = {reference.name for reference in image.references}
    config = image.config
    best: tuple[bool, int, int] | None = None
    found = None
    for each in candidates:
        if {reference.name for reference in each.references} & own or not is_base(each.config, config):
            continue
        rows = each.config.history
        same = config.history[: len(rows)] == rows
        if len(each.config.diff_ids) == len(config.diff_ids) and not (same and len(rows) < len(config.history)):
            continue
        rank = (same, len(each.config.diff_ids), len(rows))
        if best is None or rank > best:
            best, found = rank, each
    return found


def _by_record(store: Store, said: Recorded) -> Image | None:
    try:
        digest = BlobDigest(Digest.parse(said.digest)) if said.digest else None
    except InvalidDigest:
        digest = None  # labels are anybody's texts
    if digest is not None:
        for each in store.images.list(all=True):
            if each.manifest == digest or any(reference.digest == digest for reference in each.digests):
                return each
    if said.name:
        try:
            return store.images.find(said.name)
        except (NotFound, InvalidRequest):
            return None
    return None
