"""Images: every verb about them."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence

from veneer.engine import image_events
from veneer.engine.rework.verbs import Reworking
from veneer.oci.reference import DEFAULT_TAG, Reference
from veneer.progress import Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, BinaryIO

    from veneer.analysis.history import HistoryRow
    from veneer.changeset.index import LayerIndex
    from veneer.distribution.archive_load import Loaded
    from veneer.distribution.foreign.root import ForeignRoot
    from veneer.distribution.pull import Pulled
    from veneer.distribution.push import Pushed
    from veneer.engine.engine import Engine
    from veneer.errors import VeneerError
    from veneer.oci.digest import ImageID
    from veneer.oci.platform import Platform
    from veneer.store.images import Image
    from veneer.store.removal import Pruned, Removal, User, UsersOf
    from veneer.store.store import Store

# What only some verbs need is imported by those: `images` on a terminal must not pay for `pull`.

Filters = Mapping[str, Sequence[str]]


class Images(Reworking):
    """The images of one data root.

    `name` is whatever docker takes: `nginx`, `nginx:1.25`, `host/repo@sha256:...`, or any unique prefix of an
    image ID.  Every method that takes one raises NotFound ("No such image: ...") or InvalidRequest for it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    # -- looking ---------------------------------------------------------------------------------------------

    def list(
        self, *, all: bool = False, name: str | None = None, filters: Filters | None = None
    ) -> builtins.list[Image]:
        """Images, newest first; `all` adds the intermediate ones.  `name` may be a repository or a pattern."""
        wanted = dict(filters or {})
        if name:
            wanted["reference"] = [*wanted.get("reference", ()), name]
        return self._store.images.list(all=all, filters=wanted)

    def get(self, name: str) -> Image:
        """The image called `name`."""
        return self._store.images.find(name)

    def history(self, name: str, *, layers: bool = False) -> builtins.list[HistoryRow]:
        """How the image came to be, newest step first, each with its layer where it made one.

        `layers` also looks up each layer's blob and directory.
        """
        from veneer.analysis.history import LayerFacts, history

        image = self.get(name)
        ancestry = [(each.id, each.tags) for each in self._store.images.ancestors(image.id)]
        facts = [
            LayerFacts(
                diff_id=layer.diff_id,
                chain_id=layer.chain_id,
                size=layer.size,
                blob=next((blob.digest for blob in self._store.layers.blobs(layer.diff_id)), None) if layers else None,
                directory=self._store.layers.directory(layer) if layers else None,
            )
            for layer in self._stack(image)
        ]
        return history(image.config, ancestry, facts)

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's inspect object (Engine API up to 1.43), key for key."""
        from veneer.engine.inspection import inspection

        image = self.get(name)
        driver, data = self._store.layers.graph_data(image.top)
        return inspection(
            image.config,
            tags=[tag.familiar for tag in image.tags],
            digests=[digest.familiar for digest in image.digests],
            parent=image.parent or "",
            size=image.size,
            driver=driver,
            driver_data=data,
            last_tagged=image.last_tagged,
        )

    def indexes(self, name: str) -> builtins.list[LayerIndex]:
        """The table of contents of each layer, base first.  Close them, or use them in a `with`."""
        return [self._store.layers.index(layer.diff_id) for layer in self._stack(self.get(name))]

    def _stack(self, image: Image) -> Sequence[Any]:
        return self._store.layers.stack(image.top) if image.top else ()

    # -- in and out ------------------------------------------------------------------------------------------

    def pull(
        self,
        name: str,
        *,
        platform: str | None = None,
        all_platforms: bool = False,
        progress: Progress = silent,
    ) -> Pulled:
        """Fetch an image from its registry; `latest` where `name` has neither tag nor digest."""
        from veneer.distribution.client import Registries
        from veneer.distribution.pull import pull

        reference = Reference.parse(name).tagged()
        wanted = _platform(platform) if platform else None
        with Registries(self._engine.config) as registries:
            pulled = pull(
                self._store, registries, reference, platform=wanted, all_platforms=all_platforms, progress=progress
            )
        image_events.pulled(self._store, pulled.image, reference.familiar)
        return pulled

    def pull_all_tags(
        self, name: str, *, platform: str | None = None, progress: Progress = silent
    ) -> builtins.list[Pulled]:
        """Fetch every tag of a repository, in the registry's order."""
        from veneer.distribution.client import Registries

        repository = Reference.parse(name)
        with Registries(self._engine.config) as registries:
            tags = registries.tags(repository)
        return [self.pull(str(repository.with_tag(tag)), platform=platform, progress=progress) for tag in tags]

    def push(self, name: str, *, compression: str = "", progress: Progress = silent) -> Pushed:
        """Send an image to its registry; bytes that came from a registry go back unchanged.

        `compression` ("gzip" or "zstd") is for layers made here; "" takes what there is, and gzip where there is none.
        """
        from veneer.distribution.client import Registries
        from veneer.distribution.push import push

        with Registries(self._engine.config) as registries:
            reference = Reference.parse(name).tagged()
            pushed = push(self._store, registries, reference, compression=compression, progress=progress)
        image_events.pushed(self._store, reference.familiar)
        return pushed

    def load(
        self, source: Path | BinaryIO, *, platform: str | None = None, progress: Progress = silent
    ) -> builtins.list[Loaded]:
        """Take images in from a `docker save` archive, an OCI layout directory or a tar of one."""
        from veneer.distribution.archive_load import load

        wanted = _platform(platform) if platform else None
        loaded = load(self._store, source, platform=wanted, progress=progress)
        for image in dict.fromkeys(each.image_id for each in loaded):
            image_events.happened(self._store, "load", image)
        return loaded

    def import_store(
        self, root: str | Path | ForeignRoot, names: Sequence[str] = (), *, progress: Progress = silent,
        broken: Callable[[str, VeneerError], None] | None = None,
    ) -> builtins.list[Loaded]:  # fmt: skip
        """Take images out of another engine's data root, which is only read; without names all that have one there.

        A damaged image is told to `broken`, by what it is called, and the others are taken in; without it this raises.
        Raises NotAForeignRoot, NoSuchForeignImage, ForeignDamaged, LayerMismatch.
        """
        from veneer.distribution.foreign.importing import import_images
        from veneer.distribution.foreign.root import ForeignRoot, require

        found = root if isinstance(root, ForeignRoot) else require(root)
        loaded = import_images(self._store, found, names, progress=progress, broken=broken)
        for image in dict.fromkeys(each.image_id for each in loaded):
            image_events.happened(self._store, "import", image)
        return loaded

    def save(
        self, names: Sequence[str], out: Path | BinaryIO, *, format: str = "docker", progress: Progress = silent
    ) -> None:
        """Write images to an archive: `docker` (read by every docker), `oci`, or `docker-legacy`."""
        from veneer.distribution.archive_save import save

        for image in save(self._store, names, out, format=format, progress=progress).images:
            image_events.happened(self._store, "save", image)

    def import_(
        self,
        source: BinaryIO,
        *,
        reference: str | None = None,
        changes: Sequence[str] = (),
        message: str = "",
        platform: str | None = None,
        progress: Progress = silent,
    ) -> Image:
        """Make an image of one layer out of a root file system tar, as `docker import` does."""
        from veneer.build.changes import apply_changes
        from veneer.build.derivation import derived_config
        from veneer.distribution.transfer import import_layer
        from veneer.oci import timestamp
        from veneer.oci.image import HistoryEntry

        name = Reference.parse(reference).tagged() if reference else None
        run = apply_changes({}, changes)
        wanted = _platform(platform)
        with self._store.lease("import") as lease:
            layer = import_layer(self._store, lease, source, progress=progress)
            entry = HistoryEntry(timestamp.now(), comment=message or "Imported from -")
            raw = derived_config(None, diff_id=layer.diff_id, entry=entry, run=run, platform=wanted)
            image = self._store.images.add(lease, raw, built=True)
            if name:
                self._store.images.tag(image.id, name)
                image_events.tagged(self._store, image, name.familiar)
        image_events.happened(self._store, "import", image.id)
        return self._store.images.get(image.id)

    def export(self, name: str, out: BinaryIO) -> None:
        """Write the image's merged file system as one tar."""
        from veneer.distribution.transfer import export

        export(self._store, self.get(name), out)

    # -- changing --------------------------------------------------------------------------------------------

    def tag(self, source: str, target: str) -> None:
        """Give an image one more name; a tag that named another image moves.

        The new name stands for all that `source` stands for: an index pulled with all platforms stays whole.
        """
        reference = Reference.parse(target)
        image = self.get(source)
        if reference.digest is not None:
            from veneer.oci.reference import InvalidReference

            raise InvalidReference("refusing to create a tag with a digest reference")
        named = next((tag for tag in image.tags if source in _spellings(tag)), None)
        index = self._store.images.target(named) if named else None
        self._store.images.tag(image.id, reference.tagged(), index=index)
        image_events.tagged(self._store, image, reference.tagged().familiar)

    def remove(self, name: str, *, force: bool = False, prune: bool = True, dry_run: bool = False) -> Sequence[Removal]:
        """Untag or delete an image, in docker's order; `dry_run` only tells.  Raises Conflict naming who uses it."""
        from veneer.store.removal import remove

        removals = remove(self._store, name, force=force, prune=prune, dry_run=dry_run, users_of=users_of(self._store))
        if not dry_run:
            image_events.removed(self._store, removals)
        return removals

    def prune(self, *, all: bool = False, filters: Filters | None = None, dry_run: bool = False) -> Pruned:
        """Delete dangling images, or with `all` every image no container uses; `dry_run` only tells."""
        from veneer.store.removal import prune

        pruned = prune(self._store, all=all, filters=filters or {}, dry_run=dry_run, users_of=users_of(self._store))
        if not dry_run:
            image_events.pruned(self._store, pruned.removals, pruned.bytes)
        return pruned

    def derive(
        self,
        parent: Image | str | None = None,
        *,
        layer: Path | None = None,
        created_by: str = "",
        comment: str = "",
        author: str = "",
        created: str = "",
        run: Mapping[str, Any] | None = None,
        platform: str | None = None,
        tag: str | None = None,
    ) -> Image:
        """One build step by hand: an image made of `parent` (None: from scratch) and at most one new layer.

        `layer` is a directory whose content becomes the layer; `run` changes the run configuration (`Env`,
        `Cmd`, `Labels`, ...).  The result has `parent` as its Parent, so `history` shows IDs.
        """
        from veneer.build.derivation import derived_config
        from veneer.oci import timestamp
        from veneer.oci.image import HistoryEntry
        from veneer.store import capture

        base = self.get(parent) if isinstance(parent, str) else parent
        entry = HistoryEntry(created or timestamp.now(), created_by, author, comment, empty_layer=layer is None)
        reference = Reference.parse(tag).tagged() if tag else None
        with self._store.lease("derive") as lease:
            captured = capture.tree(self._store.layers, lease, layer, base.top if base else None) if layer else None
            raw = derived_config(
                base.config if base else None,
                diff_id=captured.diff_id if captured else None,
                entry=entry,
                run=run or {},
                platform=_platform(platform),
            )
            image = self._store.images.add(lease, raw, parent=base.id if base else None, built=True)
            if reference:
                self._store.images.tag(image.id, reference)
        return self._store.images.get(image.id)


def _spellings(tag: Reference) -> tuple[str, ...]:
    """The ways to write a tag: in full, as people do, and without what is understood."""
    short = (tag.familiar_name, tag.name) if tag.tag == DEFAULT_TAG else ()
    return (tag.familiar, str(tag), *short)


def _platform(text: str | None) -> Platform:
    """The platform somebody asked for; this machine's where nobody did."""
    from veneer.oci.platform import Platform, host

    return Platform.parse(text) if text else host()


def users_of(store: Store) -> UsersOf:
    """Who uses an image: the containers made from it."""

    def users(image: ImageID) -> Sequence[User]:
        return store.containers.users_of(image, _is_running)

    return users


def _is_running(folder: Path) -> bool:
    from veneer.run.monitor import state

    return state.read(folder).is_live
