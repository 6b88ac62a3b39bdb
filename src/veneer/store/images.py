"""Images: IDs, names, parents.

An image is a config blob and a row; names point at rows.  Everything `images`, `history` and `inspect` list is a
column, so that only the config of an image that is looked at is ever read.
Sources: moby image/store.go, reference/store.go, daemon/images/{image,images}.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from veneer.errors import Conflict, InvalidRequest, NotFound
from veneer.oci.digest import BlobDigest, Digest, ImageID, InvalidDigest
from veneer.oci.reference import Reference
from veneer.store.image import COLUMNS, INSERT, Image, Names, image_row, reference_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeAlias

    import apsw

    from veneer.oci.image import ImageConfig
    from veneer.oci.manifest import Manifest
    from veneer.store.blobs import BlobStore
    from veneer.store.catalog import Catalog
    from veneer.store.layout import Layout
    from veneer.store.leases import Lease

__all__ = [
    "AmbiguousID", "BadTag", "Image", "ImageStore", "LayerNotStored", "NoSuchImage", "ParentLoop", "reference_of",
]  # fmt: skip

_HEX = frozenset("0123456789abcdef")
_ANCESTORS = """
    WITH RECURSIVE line(id, depth) AS (
        VALUES (?, 0)
        UNION ALL SELECT image.parent, depth + 1 FROM line JOIN image USING (id) WHERE image.parent IS NOT NULL
    )
"""


Images: TypeAlias = list[Image]
"""Spelled once outside the class, whose own `list` hides the type."""


class NoSuchImage(NotFound):
    """No image has that name or ID.  The text is docker's: clients match it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No such image: {name}", hint="veneer images shows what is here, veneer pull fetches more")


class AmbiguousID(InvalidRequest):
    """A prefix that several image IDs begin with."""


class LayerNotStored(NotFound):
    """An image may only be added when its layers are here."""


class BadTag(InvalidRequest):
    """A name that no image can be given."""


class ParentLoop(Conflict):
    """An image cannot be its own ancestor."""


class ImageStore:
    """The images of one store."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, layout: Layout) -> None:
        self.catalog = catalog
        self.blobs = blobs
        self.layout = layout

    # ---- looking

    def get(self, image_id: ImageID) -> Image:
        """The image with this full ID.  Raises NoSuchImage."""
        found = self._load("WHERE image.id = ?", (str(image_id),))
        if not found:
            raise NoSuchImage(str(image_id))
        return found[0]

    def has(self, image_id: ImageID) -> bool:
        """Whether this very image is here."""
        return self.catalog.value("SELECT 1 FROM image WHERE id = ?", (str(image_id),)) is not None

    def find(self, name: str) -> Image:
        """The image somebody means: `name[:tag]`, `name@digest`, or any unique beginning of an ID.

        A name wins over an ID; with tag and digest the digest alone counts.
        Raises NoSuchImage, AmbiguousID, InvalidReference.
        """
        if len(name) == 64 and _HEX.issuperset(name):
            return self.get(ImageID(Digest("sha256:" + name)))
        try:
            return self.get(ImageID(Digest.parse(name)))
        except InvalidDigest:
            pass
        reference = Reference.parse(name).tagged()
        image_id = self.named(reference)
        return self.get(image_id if image_id is not None else self._by_prefix(name, reference))

    def named(self, reference: Reference) -> ImageID | None:
        """The ID of the image that has exactly this name, if any; without tag and digest it is `latest`."""
        if reference.digest is not None:
            sql, name = "SELECT image FROM digest_ref WHERE name = ?", reference.with_digest(reference.digest)
        else:
            sql, name = "SELECT image FROM tag WHERE name = ?", reference.tagged()
        found = self.catalog.value(sql, (str(name),))
        return ImageID(Digest(found)) if found is not None else None

    def _by_prefix(self, text: str, reference: Reference) -> ImageID:
        prefix = text.removeprefix("sha256:")
        if prefix and _HEX.issuperset(prefix):
            # "g" is the first text after every hexadecimal one with this beginning.
            bounds = (f"sha256:{prefix}", f"sha256:{prefix}g")
            found = self.catalog.rows("SELECT id FROM image WHERE id > ? AND id < ? ORDER BY id LIMIT 6", bounds)
            if len(found) == 1:
                return ImageID(Digest(found[0][0]))
            if found:
                some = ", ".join(Digest(row[0]).short for row in found[:5]) + (", ..." if len(found) > 5 else "")
                raise AmbiguousID(f"Multiple IDs found with provided prefix: {text}", hint=f"it fits {some}")
        raise NoSuchImage(reference.familiar)

    def list(self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> Images:
        """Images as `docker images` lists them, newest first.

        Untagged images with children (intermediate ones) are left out unless `all`.  `filters` are docker's, see
        filters.py; a `reference` filter also leaves out an image's other names.  Raises InvalidFilter, NoSuchImage.
        """
        with self.catalog.reading():
            images = self._load("NOT INDEXED")
            if filters:
                return self._filtered(images, filters, everything=all)
        if not all:
            parents = {image._row[2] for image in images}
            images = [image for image in images if image.is_named or image._row[0] not in parents]
        return images

    def _filtered(self, images: Images, filters: Mapping[str, Sequence[str]], *, everything: bool) -> Images:
        from veneer.store import filters as rules

        wanted = rules.parse(filters, find=self.find)
        parents = {image._row[2] for image in images}
        siblings = self.siblings() if wanted.dangling else frozenset()
        found: Images = []
        for image in images:
            has_children = image.id in parents
            if not wanted.keeps(image) or (wanted.dangling and (has_children or image.id in siblings)):
                continue
            if wanted.references is not None:
                image = image.only(wanted.matches)
            if not image.is_named:
                hidden = has_children and not everything
                if hidden or wanted.dangling is False or wanted.references is not None:
                    continue
            elif wanted.dangling and image.is_tagged:
                continue
            found.append(image)
        return found

    def children(self, image_id: ImageID) -> Sequence[ImageID]:
        """The images whose Parent is `image_id`, newest first."""
        rows = self.catalog.rows("SELECT id FROM image WHERE parent = ? ORDER BY created DESC, id", (str(image_id),))
        return [ImageID(Digest(row[0])) for row in rows]

    def ancestors(self, image_id: ImageID) -> Iterator[Image]:
        """The image itself, its parent, its parent's parent, as far as Parent links go.  Raises NoSuchImage."""
        with self.catalog.reading():
            found = self._load(
                "JOIN line USING (id)", (str(image_id),), prelude=_ANCESTORS, order="ORDER BY line.depth"
            )
        if not found:
            raise NoSuchImage(str(image_id))
        return iter(found)

    def references(self, image_id: ImageID) -> tuple[Reference, ...]:
        """Every name of the image, tags and digests, in the order of their full names."""
        return self.get(image_id).references

    def tags_of(self, repository: str) -> Sequence[Reference]:
        """Every tag of a repository (`docker.io/library/nginx`), by name."""
        rows = self.catalog.rows("SELECT name FROM tag WHERE repository = ? ORDER BY name", (repository,))
        return [reference_of(row[0], repository) for row in rows]

    def target(self, reference: Reference) -> BlobDigest | None:
        """What a tag stands for besides its image's own manifest, if all of that is here: the index it came with."""
        from veneer.store.layout import incomplete

        found = self.catalog.value("SELECT target FROM tag WHERE name = ?", (str(reference.tagged()),))
        return BlobDigest(Digest(found)) if found is not None and found not in incomplete(self.catalog) else None

    def siblings(self) -> frozenset[str]:
        """IDs of images that a tag holds through its index: the other platforms of a multi-platform name."""
        rows = self.catalog.rows(
            "SELECT DISTINCT image.id FROM tag JOIN blob_ref ON blob_ref.blob = tag.target"
            " JOIN image ON image.manifest = blob_ref.child"
        )
        return frozenset(row[0] for row in rows)

    def _load(self, where: str, bindings: Sequence[Any] = (), *, prelude: str = "", order: str = "") -> Images:
        """Images with their names, newest first unless `order` says otherwise; `where` follows `FROM image`."""
        with self.catalog.reading() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(
                f"{prelude} SELECT {COLUMNS} FROM image {where} {order}", bindings
            ).fetchall()
            tags = _names(connection, "tag", rows)
            digests = _names(connection, "digest_ref", rows)
        if not order:
            # Not by SQLite: going along an index through 10,000 rows costs twice the time.
            rows.sort(key=itemgetter(0))
            rows.sort(key=itemgetter(4), reverse=True)
        none = Names([])
        return [Image(row, tags.get(row[0], none), digests.get(row[0], none), self.blobs) for row in rows]

    # ---- adding

    def add(
        self,
        lease: Lease,
        config: bytes | ImageConfig,
        *,
        manifest: bytes | None = None,
        manifest_type: str = "",
        parent: ImageID | None = None,
        built: bool = False,
        durable: bool = True,
    ) -> Image:
        """Take in an image whose layers are here; gives it no name.

        A given `manifest` is kept byte for byte; without one an OCI manifest is written over the layers' blobs.
        An image that is here already keeps its manifest and gains the Parent and `built` it lacked; a name that
        came with another manifest points at that one (`tag(index=...)`).  Not `durable`: a name follows, and whoever
        gives it waits for the disk.
        Raises InvalidImageConfig, InvalidManifest, LayerNotStored, NoLayerBlob, NoSuchImage (the parent).
        """
        from veneer.oci import manifest as oci
        from veneer.oci.image import ImageConfig
        from veneer.store import manifests

        parsed = ImageConfig.parse(config) if isinstance(config, bytes) else config
        self._check_layers(parsed)
        if manifest is None:
            document = manifests.generate(self.catalog, self.blobs, parsed)
        else:
            read = oci.parse(manifest, manifest_type)
            if not isinstance(read, oci.Manifest):
                raise oci.InvalidManifest(f"manifest {read.digest}: an index is no image")
            document = read
            manifests.check(document, parsed)
        twin = self._put(lease, parsed, document)
        with self.catalog.transaction(durable=durable) as connection:
            # Asked again: only inside the transaction nobody can take the layers away.
            size = self._check_layers(parsed)
            if parent is not None:
                self._check_parent(parsed.image_id, parent)
            manifests.check_blobs(connection, document, parsed)
            manifests.record(connection, document)
            if twin is not None:
                manifests.record_twin(connection, document, twin)
            connection.execute(INSERT, image_row(parsed, document.digest, parent, size, built))
        return self.get(parsed.image_id)

    def prepare(self, lease: Lease, config: ImageConfig, manifest: Manifest) -> None:
        """Store the documents of an image whose layers are still coming; add() need not wait for the disk then."""
        self._put(lease, config, manifest)

    def _put(self, lease: Lease, config: ImageConfig, manifest: Manifest) -> Manifest | None:
        """Store an image's documents; the OCI twin of a manifest of Docker's."""
        from veneer.store import manifests

        twin = manifests.twin(manifest)
        for document in (config, manifest, twin):
            if document is not None:
                self.blobs.put(lease, document.raw)
        return twin

    def replace_manifest(self, lease: Lease, image_id: ImageID, document: Manifest) -> None:
        """Give an image another manifest over the same layers: one whose blobs have just been made."""
        from veneer.store import manifests

        self.blobs.put(lease, document.raw)
        config = self.get(image_id).config
        manifests.check(document, config)
        with self.catalog.transaction() as connection:
            manifests.check_blobs(connection, document, config)
            manifests.record(connection, document)
            connection.execute("UPDATE image SET manifest = ? WHERE id = ?", (str(document.digest), str(image_id)))
        self.layout.refresh()

    def _check_layers(self, config: ImageConfig) -> int:
        """The sum of the layers' sizes.  Raises LayerNotStored, naming the first that is not here."""
        size = 0
        for position, chain_id in enumerate(config.chain_ids):
            found = self.catalog.value(
                "SELECT snapshot.size FROM layer JOIN snapshot ON snapshot.id = layer.snapshot WHERE chain_id = ?",
                (str(chain_id),),
            )
            if found is None:
                where = f"layer {position + 1} of {len(config.diff_ids)}"
                raise LayerNotStored(
                    f"image {config.image_id.short}: {where} is not in the store: "
                    f"diff ID {config.diff_ids[position]}, chain ID {chain_id}",
                    hint="pull or load the image again",
                )
            size += found
        return size

    def _check_parent(self, image_id: ImageID, parent: ImageID) -> None:
        if self.catalog.value("SELECT 1 FROM image WHERE id = ?", (str(parent),)) is None:
            raise NoSuchImage(str(parent))
        if not self.has(image_id):
            return  # nothing descends from what is not here
        if self.catalog.value(_ANCESTORS + "SELECT 1 FROM line WHERE id = ?", (str(parent), str(image_id))) is not None:
            raise ParentLoop(f"image {image_id.short} cannot have parent {parent.short}, which descends from it")

    def set_parent(self, image_id: ImageID, parent: ImageID | None) -> None:
        """Say what `image_id` was built on.  Raises NoSuchImage, ParentLoop."""
        with self.catalog.transaction() as connection:
            if parent is not None:
                self._check_parent(image_id, parent)
            connection.execute("UPDATE image SET parent = ? WHERE id = ?", (parent and str(parent), str(image_id)))
            if connection.changes() == 0:
                raise NoSuchImage(str(image_id))

    # ---- naming

    def tag(
        self, image_id: ImageID, reference: Reference, *, index: BlobDigest | None = None, stamp: bool = True
    ) -> Image | None:
        """Give the image a name; returns the image that had it until now, if it was another one.

        `index` is what the name stands for where it came from: a stored index, or another manifest than the
        image's own.  `stamp` sets the image's last_tagged, as docker does for tag and build, not for pull and load.
        Raises NoSuchImage, BadTag, NotFound (`index` is not stored).
        """
        from veneer.store.image_names import tag

        return tag(self, image_id, reference, index=index, stamp=stamp)

    def untag(self, reference: Reference) -> ImageID:
        """Take a tag or digest away and nothing else; returns the image that had it.  Raises NoSuchImage."""
        from veneer.store.image_names import untag

        return untag(self, reference)

    def add_digest(self, image_id: ImageID, reference: Reference) -> None:
        """Note that `repository@digest` is this image (docker's RepoDigests); it leaves the image that had it.

        For a multi-platform image the digest is the index's.  Raises NoSuchImage, BadTag.
        """
        from veneer.store.image_names import add_digest

        add_digest(self, image_id, reference)


def _names(connection: apsw.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> dict[str, Names]:
    """The names in `table` of the images whose rows these are, by image ID."""
    sql = f"SELECT image, name, repository FROM {table}"
    if len(rows) <= 50:
        found = [pair for row in rows for pair in connection.execute(f"{sql} WHERE image = ? ORDER BY name", row[:1])]
    else:
        # For many images one pass over all names is cheaper than asking for each.
        found = connection.execute(f"{sql} ORDER BY name").fetchall()
    names: dict[str, list[tuple[str, str]]] = {}
    for image, name, repository in found:
        names.setdefault(image, []).append((name, repository))
    return {image: Names(pairs) for image, pairs in names.items()}
