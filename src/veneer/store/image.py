"""One image as the catalogue knows it.

Nearly everything about an image is a column of its row; values are made of columns only when somebody looks, so that
a list of 10,000 images costs little more than the query.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from veneer.oci.digest import BlobDigest, ChainID, Digest, ImageID
from veneer.oci.platform import Platform
from veneer.oci.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.oci.image import ImageConfig
    from veneer.store.blobs import BlobStore

COLUMNS = (
    "image.id, image.manifest, image.parent, image.top, image.created, image.added, image.last_tagged, image.size, "
    "image.os, image.architecture, image.variant, image.os_version, image.built, image.author, image.comment, "
    "image.labels"
)
"""What `Image` is made of, in its order."""


class Image:
    """One image as the catalogue has it; `config` reads its blob when first asked for.

    `created`, `added` and `last_tagged` are Unix seconds (0: unknown, never), `size` is the sum of its layers'
    sizes in bytes, `top` the chain ID of the whole (None: no layers), `parent` the image it was built on, if that
    is known here.  `tags` and `digests` are in the order of their full names.
    """

    __slots__ = ("_blobs", "_config", "_digests", "_row", "_tags")

    def __init__(
        self, row: tuple[Any, ...], tags: Sequence[Reference], digests: Sequence[Reference], blobs: BlobStore
    ) -> None:
        self._row = row
        self._tags = tags
        self._digests = digests
        self._blobs = blobs
        self._config: ImageConfig | None = None

    @property
    def id(self) -> ImageID:
        return ImageID(Digest(self._row[0]))

    @property
    def manifest(self) -> BlobDigest:
        """The manifest it came with, or the one made for it here."""
        return BlobDigest(Digest(self._row[1]))

    @property
    def parent(self) -> ImageID | None:
        return ImageID(Digest(self._row[2])) if self._row[2] is not None else None

    @property
    def top(self) -> ChainID | None:
        return ChainID(Digest(self._row[3])) if self._row[3] is not None else None

    @property
    def created(self) -> float:
        return self._row[4]  # type: ignore[no-any-return]

    @property
    def added(self) -> float:
        """When it first came here."""
        return self._row[5]  # type: ignore[no-any-return]

    @property
    def last_tagged(self) -> float:
        return self._row[6]  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self._row[7]  # type: ignore[no-any-return]

    @property
    def platform(self) -> Platform:
        return Platform(*self._row[8:12])

    @property
    def built(self) -> bool:
        """Whether it was built here, so that the build cache may use it."""
        return bool(self._row[12])

    @property
    def author(self) -> str:
        return self._row[13]  # type: ignore[no-any-return]

    @property
    def comment(self) -> str:
        """The comment of the last history entry, as docker shows it."""
        return self._row[14]  # type: ignore[no-any-return]

    @property
    def labels(self) -> dict[str, str]:
        if self._row[15] == "{}":
            return {}
        import json

        return json.loads(self._row[15])  # type: ignore[no-any-return]

    @property
    def tags(self) -> tuple[Reference, ...]:
        return tuple(self._tags)

    @property
    def digests(self) -> tuple[Reference, ...]:
        """Its names by digest: docker's RepoDigests."""
        return tuple(self._digests)

    @property
    def references(self) -> tuple[Reference, ...]:
        """Tags and digests together, in the order of their full names."""
        return tuple(sorted((*self._tags, *self._digests), key=str))

    @property
    def config(self) -> ImageConfig:
        """The config, read from its blob and hashed again.  Raises NotFound, Corrupt."""
        if self._config is None:
            from veneer.oci.image import ImageConfig

            self._config = ImageConfig.parse(self._blobs.read(BlobDigest(self.id)), f"image {self.id.short}")
        return self._config

    def only(self, wanted: Callable[[Reference], bool]) -> Image:
        """The same image with only those of its names that are `wanted`."""
        tags, digests = ([name for name in names if wanted(name)] for names in (self._tags, self._digests))
        return Image(self._row, tags, digests, self._blobs)

    @property
    def is_tagged(self) -> bool:
        return len(self._tags) > 0

    @property
    def has_digests(self) -> bool:
        return len(self._digests) > 0

    @property
    def is_named(self) -> bool:
        """Whether it has a tag or a digest."""
        return len(self._tags) > 0 or len(self._digests) > 0

    def _key(self) -> tuple[object, ...]:
        return (self._row, tuple(self._tags), tuple(self._digests))

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Image) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._row[0])

    def __repr__(self) -> str:
        return f"<Image {self.id.short} {' '.join(reference.familiar for reference in self._tags)}>".replace(" >", ">")


def reference_of(name: str, repository: str) -> Reference:
    """A full name as the catalogue keeps it, without parsing it again: it was checked on its way in."""
    registry, _, path = repository.partition("/")
    rest = name[len(repository) :]
    if rest[0] == "@":
        return Reference(registry, path, None, Digest(rest[1:]))
    return Reference(registry, path, rest[1:], None)


class Names(Sequence[Reference]):
    """Names that become References when somebody looks: listing 10,000 images makes none in vain."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, position: Any) -> Any:
        if isinstance(position, slice):
            return [reference_of(*pair) for pair in self._pairs[position]]
        return reference_of(*self._pairs[position])

    def __iter__(self) -> Iterator[Reference]:
        return (reference_of(*pair) for pair in self._pairs)


INSERT = """
    INSERT INTO image (id, manifest, parent, top, created, added, size, os, architecture, variant, os_version, built,
                       author, comment, labels)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET parent = coalesce(parent, excluded.parent), built = max(built, excluded.built)
"""


def image_row(
    config: ImageConfig, manifest: BlobDigest, parent: ImageID | None, size: int, built: bool
) -> tuple[object, ...]:
    """What INSERT wants for a new image; `size` is the sum of its layers' sizes in bytes."""
    from veneer.oci import strictjson, timestamp

    author = config.document.get("author")
    created = max(timestamp.parse(config.created) or 0.0, 0.0)
    return (
        str(config.image_id), str(manifest), parent and str(parent), config.top and str(config.top),
        created, time.time(), size,
        config.platform.os, config.platform.architecture, config.platform.variant, config.platform.os_version,
        int(built), author if isinstance(author, str) else "", config.history[-1].comment if config.history else "",
        strictjson.dumps(config.labels).decode("utf-8", "replace"),
    )  # fmt: skip
