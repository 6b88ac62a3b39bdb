"""Names given to images and taken away: tags, and the digests by which registries know them."""

from __future__ import annotations

import time

from veneer.errors import NotFound
from veneer.oci.digest import BlobDigest, Digest, ImageID
from veneer.store.images import BadTag, NoSuchImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import apsw

    from veneer.oci.reference import Reference
    from veneer.store.image import Image
    from veneer.store.images import ImageStore


def tag(
    images: ImageStore, image_id: ImageID, reference: Reference, *, index: BlobDigest | None, stamp: bool
) -> Image | None:
    """See ImageStore.tag."""
    if reference.digest is not None:
        raise BadTag("refusing to create a tag with a digest reference")
    if reference.familiar_name in ("sha256", "sha512"):
        raise BadTag("refusing to create an ambiguous tag using digest algorithm as name")
    name, now = str(reference.tagged()), time.time()
    document = _document(images, index)
    with images.catalog.transaction() as connection:
        _require(images, image_id)
        target = _record(connection, document)
        before = images.catalog.value("SELECT image FROM tag WHERE name = ?", (name,))
        connection.execute(
            "INSERT INTO tag (name, repository, image, target, tagged_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET image = excluded.image, target = excluded.target,"
            " tagged_at = excluded.tagged_at",
            (name, reference.name, str(image_id), target, now),
        )
        if stamp:
            connection.execute("UPDATE image SET last_tagged = ? WHERE id = ?", (now, str(image_id)))
        moved = images.get(ImageID(Digest(before))) if before is not None and before != image_id else None
    images.layout.refresh()
    return moved


def untag(images: ImageStore, reference: Reference) -> ImageID:
    """See ImageStore.untag."""
    with images.catalog.transaction() as connection:
        image_id = images.named(reference)
        if image_id is None:
            raise NoSuchImage(reference.tagged().familiar)
        remove_name(connection, reference)
    images.layout.refresh()
    return image_id


def add_digest(images: ImageStore, image_id: ImageID, reference: Reference) -> None:
    """See ImageStore.add_digest."""
    if reference.digest is None:
        raise BadTag(f"{reference.familiar}: a digest is needed")
    digest = BlobDigest(reference.digest)
    document = _document(images, digest if digest in images.blobs else None)
    with images.catalog.transaction() as connection:
        _require(images, image_id)
        connection.execute(
            "INSERT INTO digest_ref (name, repository, image, target, added) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET image = excluded.image, target = excluded.target",
            (str(reference.with_digest(digest)), reference.name, str(image_id),
             _record(connection, document), time.time()),
        )  # fmt: skip


def remove_name(connection: apsw.Connection, reference: Reference) -> None:
    """Delete the row of a tag or digest, in the caller's transaction."""
    table = "tag" if reference.digest is None else "digest_ref"
    name = reference.tagged() if reference.digest is None else reference.with_digest(reference.digest)
    connection.execute(f"DELETE FROM {table} WHERE name = ?", (str(name),))


def _require(images: ImageStore, image_id: ImageID) -> None:
    if not images.has(image_id):
        raise NoSuchImage(str(image_id))


def _document(images: ImageStore, digest: BlobDigest | None) -> Any:
    """The manifest or index to point a name at, read before the transaction that records it."""
    if digest is None:
        return None
    from veneer.store import manifests

    return manifests.read(images.catalog, images.blobs, digest)


def _record(connection: apsw.Connection, document: Any) -> str | None:
    if document is None:
        return None
    from veneer.store import manifests

    digest = str(document.digest)
    if connection.execute("SELECT 1 FROM blob WHERE digest = ?", (digest,)).fetchone() is None:
        raise NotFound(f"blob {digest} is not in the store any more", hint="pull it again")
    manifests.record(connection, document)
    return digest
