"""What a removal takes along, decided from catalogue rows alone: docker's rules for images, names and layers.

Source: moby daemon/images/image_delete.go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from veneer.errors import Conflict
from veneer.oci.digest import ChainID, Digest, ImageID, InvalidDigest
from veneer.oci.reference import Reference
from veneer.store.image_names import remove_name
from veneer.store.images import ImageStore, reference_of

if TYPE_CHECKING:
    import apsw

    from veneer.store.catalog import Catalog
    from veneer.store.images import Image

_HEX = frozenset("0123456789abcdef")
_DESCENDANTS = """
    WITH RECURSIVE below(id) AS (
        SELECT id FROM image WHERE parent = ? UNION SELECT image.id FROM below JOIN image ON image.parent = below.id
    )
    SELECT tag.name, tag.repository FROM below JOIN tag ON tag.image = below.id ORDER BY tag.name LIMIT 6
"""


class RemovalConflict(Conflict):
    """An image that is still needed.  The message is docker's; the hint names by whom."""


@dataclass(frozen=True, slots=True)
class User:
    """A container that uses an image."""

    id: str
    running: bool


UsersOf = Callable[[ImageID], Sequence[User]]
"""Who uses an image, newest first."""


def nobody(image_id: ImageID) -> Sequence[User]:
    """There are no containers."""
    return ()


@dataclass(frozen=True, slots=True)
class Removal:
    """One line of what was, or would be, removed.

    `text` is a name in its familiar form (untagged), or the full ID of an image or chain ID of a layer (deleted);
    `bytes` is what the layer's files took.  `image`: the image that has lost its name or has gone, "" for a layer.
    """

    kind: Literal["untagged", "deleted"]
    text: str
    bytes: int = 0
    image: str = ""


class _Left:
    """Rows that belong to something, minus those planned away: loaded when first asked for, then kept up to date.

    Thousands of images may stand on one parent or one layer; asking for them anew each time one goes would take
    the square of that.
    """

    def __init__(self, catalog: Catalog, sql: str, gone: Collection[str]) -> None:
        self._catalog = catalog
        self._sql = sql
        self._gone = gone
        self._loaded: dict[str, dict[str, None]] = {}

    def of(self, key: str) -> Collection[str]:
        found = self._loaded.get(key)
        if found is None:
            rows = self._catalog.rows(self._sql, (key,))
            found = self._loaded[key] = {row[0]: None for row in rows if row[0] not in self._gone}
        return found

    def drop(self, key: str | None, member: str) -> None:
        if key is not None and key in self._loaded:
            self._loaded[key].pop(member, None)


class Plan:
    """What is to be removed, so far: the catalogue's rows minus these."""

    def __init__(self, images: ImageStore, users_of: UsersOf = nobody, busy: frozenset[str] = frozenset()) -> None:
        self.removals: list[Removal] = []
        self._images = images
        self._catalog = images.catalog
        self._users_of = users_of
        self._busy = busy
        self._names: dict[str, Reference] = {}
        self._gone: dict[str, None] = {}
        self._layers: dict[str, None] = {}
        # Images whose layers nobody needs for their sake any more: gone, and without a container that stands on them.
        self._released: set[str] = set()
        self._children = _Left(
            self._catalog, "SELECT id FROM image WHERE parent = ? ORDER BY created DESC, id", self._gone
        )
        self._with_top = _Left(self._catalog, "SELECT id FROM image WHERE top = ?", self._released)
        self._above = _Left(self._catalog, "SELECT chain_id FROM layer WHERE parent = ?", self._layers)
        self._places = _Left(self._catalog, "SELECT chain_id FROM layer WHERE snapshot = ?", self._layers)

    def apply(self, connection: apsw.Connection) -> None:
        """Carry it out, in the transaction in which it was made."""
        for reference in self._names.values():
            remove_name(connection, reference)
        for image_id in self._gone:
            connection.execute("DELETE FROM image WHERE id = ?", (str(image_id),))
        for chain_id in self._layers:
            connection.execute("DELETE FROM layer WHERE chain_id = ?", (chain_id,))

    # ---- rmi

    def remove(self, name: str, *, force: bool, prune: bool) -> None:
        """Plan `rmi name`.  Raises RemovalConflict, NoSuchImage, AmbiguousID, InvalidReference."""
        image_id = self._images.find(name).id
        reference = _as_name(name)
        if reference is not None and self._images.named(reference) == image_id:
            self.remove_name(name, reference, image_id, force=force, prune=prune)
        else:
            self.remove_id(image_id, force=force, prune=prune)

    def remove_name(self, text: str, reference: Reference, image_id: ImageID, *, force: bool, prune: bool) -> None:
        """Plan the removal of one name, and of the image if it was the last; `text` is what the user wrote."""
        users = self._users_of(image_id)
        if users and not force and _is_single(self.references(image_id)):
            raise RemovalConflict(
                f'conflict: unable to remove repository reference "{text}" (must force) - container '
                f"{users[0].id[:12]} is using its referenced image {image_id.short}",
                hint=f"remove the container first: veneer rm {users[0].id[:12]}",
            )
        index = self._untag(reference, image_id)
        left = self.references(image_id)
        if reference.digest is None and not any(one.digest is None and one.name == reference.name for one in left):
            # With a repository's last tag go its digests: nobody could name the repository to get rid of them.
            for one in left:
                if one.name == reference.name:
                    self._untag(one, image_id)
            left = [one for one in left if one.name != reference.name]
        if not left:
            self._delete(image_id, force=force, prune=prune, quiet=True)
        if index is not None and prune:
            self._release_platforms(index, reference)

    def remove_id(self, image_id: ImageID, *, force: bool, prune: bool) -> None:
        """Plan the removal of an image itself, with its name if that is only one."""
        references = self.references(image_id)
        if _is_single(references):
            # Its one name is not in the way of an ID: asked for with all other conflicts, then taken.
            conflict = self._conflict(image_id, soft=not force, references=[])
            if conflict is not None:
                raise conflict
            for reference in references:
                self._untag(reference, image_id)
        self._delete(image_id, force=force, prune=prune, quiet=False)

    def _delete(self, image_id: ImageID, *, force: bool, prune: bool, quiet: bool) -> None:
        """Plan an image's deletion and, upwards, that of parents without names, children and users.

        `quiet`: an image that is still needed just stays.
        """
        following: ImageID | None = image_id
        while following is not None:
            image = self._images.get(following)
            references = self.references(image.id)
            conflict = self._conflict(image.id, soft=not force, references=references)
            if conflict is not None and not quiet:
                raise conflict
            if conflict is not None or (quiet and image.id in self._busy):
                return
            for reference in references:
                self._untag(reference, image.id)
            self._gone[image.id] = None
            self._children.drop(image.parent, image.id)
            self.removals.append(Removal("deleted", image.id, image=image.id))
            if image.top is not None and not self._users_of(image.id):
                self._released.add(image.id)
                self._with_top.drop(image.top, image.id)
                self._release_layers(image.top)
            following = image.parent if prune else None
            # Parents go quietly and never by force.
            force, quiet = False, True

    def _conflict(self, image_id: ImageID, *, soft: bool, references: Sequence[Reference]) -> RemovalConflict | None:
        """Why the image must stay, if it must: docker's order of reasons.  `soft`: also what force overrides."""

        def conflict(level: str, reason: str, hint: str) -> RemovalConflict:
            return RemovalConflict(f"conflict: unable to delete {image_id.short} ({level}) - {reason}", hint=hint)

        children = self.children(image_id)
        if children:
            return conflict(
                "cannot be forced", "image has dependent child images", self._children_hint(image_id, children)
            )
        users = self._users_of(image_id)
        running = next((user.id[:12] for user in users if user.running), None)
        if running is not None:
            return conflict("cannot be forced", f"image is being used by running container {running}",
                            f"stop and remove it first: veneer rm -f {running}")  # fmt: skip
        if soft and references:
            names = _some([reference.familiar for reference in references])
            return conflict("must be forced", "image is referenced in multiple repositories",
                            f"it has the names {names}; remove them by name, or all of them with --force")  # fmt: skip
        if soft and users:
            user = users[0].id[:12]
            return conflict("must be forced", f"image is being used by stopped container {user}",
                            f"remove it first: veneer rm {user}")  # fmt: skip
        return None

    def _children_hint(self, image_id: ImageID, children: Collection[str]) -> str:
        hint = "its children: " + _some([Digest(child).short for child in children])
        rows = self._catalog.rows(_DESCENDANTS, (str(image_id),))
        tags = [reference_of(*row).familiar for row in rows if row[0] not in self._names]
        return hint + (f"; images built on it: {_some(tags)}" if tags else "")

    # ---- prune

    def prunable(self, *, everything: bool) -> Sequence[Image]:
        """Where a prune begins: heads, or with `everything` also named images, newest first."""
        parents = {row[0] for row in self._catalog.rows("SELECT DISTINCT parent FROM image")}
        left_alone = self._busy if everything else self._busy | self._images.siblings()

        def is_candidate(image: Image) -> bool:
            return image.id not in left_alone and (image.id not in parents or (everything and image.is_named))

        return [image for image in self._images.list(all=True) if is_candidate(image)]

    def prune_image(self, image: Image, *, everything: bool) -> None:
        """Plan one image's pruning: as if each of its names, or its ID if it has none, were given to rmi."""
        if image.id in self._gone or (image.is_tagged and not everything):
            return
        references = image.references
        try:
            for reference in references:
                # Removing a tag may have taken the repository's digests along.
                if str(reference) not in self._names:
                    self.remove_name(reference.familiar, reference, image.id, force=False, prune=True)
            if not references:
                self.remove_id(image.id, force=False, prune=True)
        except RemovalConflict:
            # Still needed, by a container or a child: prune leaves such images alone without a word.
            return

    # ---- rows, minus what is planned

    def references(self, image_id: ImageID) -> list[Reference]:
        """The names the image still has, in the order of their full names."""
        rows = self._catalog.rows(
            "SELECT name, repository FROM tag WHERE image = ?1"
            " UNION ALL SELECT name, repository FROM digest_ref WHERE image = ?1 ORDER BY name",
            (str(image_id),),
        )
        return [reference_of(*row) for row in rows if row[0] not in self._names]

    def children(self, image_id: ImageID) -> Collection[str]:
        """The IDs of the images built directly on this one that still stay, newest first."""
        return self._children.of(image_id)

    def _untag(self, reference: Reference, image: ImageID) -> str | None:
        """Plan the removal of a name of this image; returns the digest of the index it stood for, if it did."""
        bare = reference.with_tag(reference.tag or "latest") if reference.digest is None else (
            reference.with_digest(reference.digest))  # fmt: skip
        self._names[str(bare)] = bare
        found: str | None = self._catalog.value("SELECT target FROM tag WHERE name = ?", (str(bare),))
        self.removals.append(Removal("untagged", bare.familiar, image=image))
        return found

    def _release_layers(self, top: ChainID) -> None:
        """Plan the deletion of the layers that no image, other layer or running work needs any more, top first."""
        chain_id: str | None = top
        while chain_id is not None:
            leased = "SELECT 1 FROM lease_layer WHERE chain_id = ?"
            if self._with_top.of(chain_id) or self._above.of(chain_id) or self._catalog.row(leased, (chain_id,)):
                return
            below, snapshot, size = self._catalog.row(
                "SELECT parent, id, size FROM layer JOIN snapshot ON snapshot.id = layer.snapshot WHERE chain_id = ?",
                (chain_id,),
            )
            self._layers[chain_id] = None
            self._above.drop(below, chain_id)
            self._places.drop(snapshot, chain_id)
            # One snapshot may serve the same layer at several places; its files go with the last.
            self.removals.append(Removal("deleted", chain_id, 0 if self._places.of(snapshot) else size))
            chain_id = below

    def _release_platforms(self, index: str, reference: Reference) -> None:
        """Plan the deletion of the other platforms of a multi-platform name that is going."""
        rows = self._catalog.rows(
            "SELECT image.id, image.manifest FROM blob_ref JOIN image ON image.manifest = blob_ref.child"
            " WHERE blob_ref.blob = ? ORDER BY image.id",
            (index,),
        )
        for row in rows:
            image_id = ImageID(Digest(row[0]))
            if image_id in self._gone or self._is_platform_of_a_tag(row[1]):
                continue
            references = self.references(image_id)
            if all(one.digest is not None and one.name == reference.name for one in references):
                if self.children(image_id) or self._users_of(image_id) or image_id in self._busy:
                    continue
                for one in references:
                    self._untag(one, image_id)
                self._delete(image_id, force=False, prune=True, quiet=True)

    def _is_platform_of_a_tag(self, manifest: str) -> bool:
        rows = self._catalog.rows(
            "SELECT tag.name FROM blob_ref JOIN tag ON tag.target = blob_ref.blob WHERE blob_ref.child = ?", (manifest,)
        )
        return any(row[0] not in self._names for row in rows)


def _as_name(text: str) -> Reference | None:
    """The name that `text` may be; None for a full ID."""
    if len(text) == 64 and _HEX.issuperset(text):
        return None
    try:
        Digest.parse(text)
    except InvalidDigest:
        return Reference.parse(text).tagged()
    return None


def _is_single(references: Sequence[Reference]) -> bool:
    """Whether an image has in effect one name: one reference, or one tag and digests of its repository only."""
    if len(references) <= 1:
        return True
    tags = [reference for reference in references if reference.digest is None]
    if len(tags) > 1:
        return False
    repositories = {reference.name for reference in references if reference.digest is not None}
    return repositories == {(tags or references)[0].name}


def _some(texts: Sequence[str], most: int = 5) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
