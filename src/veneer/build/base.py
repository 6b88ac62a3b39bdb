"""What FROM and --from mean outside the Dockerfile: images of this store, or else of a registry; named contexts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from veneer.build.events import Transfer
from veneer.build.failure import NoSuchContext
from veneer.errors import Conflict, VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.events import Listener, Step
    from veneer.oci.digest import ImageID
    from veneer.oci.platform import Platform
    from veneer.oci.reference import Reference
    from veneer.progress import Report
    from veneer.store.image import Image
    from veneer.store.store import Store

IMAGE = "docker-image://"
LAYOUT = "oci-layout://"


class OtherPlatform(Conflict):
    """The image that is here is for another platform, and no other can be had."""


class Bases:
    """The images that one build stands on, each resolved once.  `stages` are names that could have been meant.

    `hold` keeps an image as long as the build goes on, and says whether it is still there.
    """

    def __init__(
        self, store: Store, contexts: Mapping[str, str], tell: Listener, *, stages: Sequence[str], pull: bool,
        dry_run: bool, hold: Callable[[ImageID], bool],
    ) -> None:  # fmt: skip
        self._store = store
        self._contexts = contexts
        self._stages = stages
        self._tell = tell
        self._pull = pull
        self._dry_run = dry_run
        self._hold = hold
        self._known: dict[tuple[str, Platform], Image | None] = {}
        self._locks: dict[tuple[str, Platform], threading.Lock] = {}
        self._guard = threading.Lock()

    def image(self, name: str, platform: Platform, step: Step | None) -> Image | None:
        """The image `name` means; None where a dry run would have to fetch it.

        Raises NoSuchImage or what pulling raises, OtherPlatform, InvalidReference, NoSuchContext.
        """
        key = (name, platform)
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._known:
                found = self._find(name, platform, step)
                if found is not None and not self._keeps(found):
                    found = self._find(name, platform, step)  # it was removed in between: what is it now?
                    if found is not None:
                        self._keeps(found)
                self._known[key] = found
            return self._known[key]

    def _keeps(self, image: Image) -> bool:
        """Have an image stay; False if it went just now.  Held first, for what is held is not removed."""
        return self._hold(image.id) and self._store.images.has(image.id)

    def _find(self, name: str, platform: Platform, step: Step | None) -> Image | None:
        from veneer.oci.reference import Reference

        context = self._contexts.get(name.lower(), "")
        if context.startswith(LAYOUT):
            return self._from_layout(context.removeprefix(LAYOUT), platform)
        if context.startswith(IMAGE):
            name = context.removeprefix(IMAGE)
        elif context:
            raise NoSuchContext(f"context {name!r} is {context}, which is no image",
                                hint="FROM takes docker-image:// or oci-layout:// contexts")  # fmt: skip
        present = self._present(name)
        suits = present is not None and platform.suitability(present.platform) is not None
        if present is not None and not self._pull:
            beside = present if suits else self._in_index(name, platform)
            if beside is not None:
                return beside
        if self._dry_run:
            return None
        try:
            return self._pulled(Reference.parse(name).tagged(), platform, step)
        except VeneerError as error:
            if present is None:
                error.hint = self._meant(name) or error.hint
                raise
            if suits:
                raise
            raise OtherPlatform(
                f"image {name} is for {present.platform}, not for {platform}, and no other could be pulled: "
                f"{error.message}",
                hint=f"pull or build it for {platform}, or build with --platform {present.platform}",
            ) from error

    def _present(self, name: str) -> Image | None:
        from veneer.store.images import AmbiguousID, NoSuchImage

        try:
            return self._store.images.find(name)
        except (NoSuchImage, AmbiguousID):  # `cafe` is a name too, whatever IDs begin with it
            return None

    def _meant(self, name: str) -> str:
        """A hint to the stage, the context or the image of this store that is called nearly so; "" if none is."""
        from veneer.build.language.errors import nearest

        here = (each.familiar.removesuffix(":latest") for image in self._store.images.list() for each in image.tags)
        for kind, names in (("stage", self._stages), ("context", self._contexts), ("image", here)):
            if near := nearest(name.removesuffix(":latest"), names):
                return f"did you mean the {kind} {near}?"
        return ""

    def _in_index(self, name: str, platform: Platform) -> Image | None:
        """The image for the platform, where the name stands for an index whose images are here."""
        from veneer.oci.digest import ImageID
        from veneer.oci.manifest import Index, Manifest
        from veneer.oci.reference import InvalidReference, Reference
        from veneer.store import manifests

        try:
            top = self._store.images.target(Reference.parse(name).tagged())
        except InvalidReference:
            return None  # an ID
        document = None if top is None else manifests.read(self._store.catalog, self._store.blobs, top)
        if not isinstance(document, Index):
            return None
        for child in document.images():
            if child.platform is not None and platform.suitability(child.platform) is not None:
                found = manifests.read(self._store.catalog, self._store.blobs, child.digest)
                if isinstance(found, Manifest) and self._store.images.has(ImageID(found.config.digest)):
                    return self._store.images.get(ImageID(found.config.digest))
        return None

    def _pulled(self, reference: Reference, platform: Platform, step: Step | None) -> Image:
        from veneer.distribution.client import Registries
        from veneer.distribution.pull import pull

        def progress(report: Report) -> None:
            self._tell(Transfer(time.time(), step, report))

        with Registries(self._store.config) as registries:
            return pull(self._store, registries, reference, platform=platform, progress=progress).image

    def _from_layout(self, place: str, platform: Platform) -> Image:
        """`oci-layout://DIRECTORY[:TAG|@DIGEST]`: its image, without its names."""
        from pathlib import Path

        from veneer.build.caching.imported import LayoutCache
        from veneer.progress import silent

        folder, at, digest = place.partition("@")
        tag = ""
        if not at and ":" in folder.rpartition("/")[2]:
            folder, _, tag = folder.rpartition(":")
        layout = LayoutCache(self._store, Path(folder), tag, digest)
        for config, manifest in layout.images(platform):
            assert manifest is not None, "a layout's images have manifests"
            with self._store.lease("layout") as lease:
                with self._store.layers.intake(lease, config.diff_ids) as intake:
                    layout.bring(lease, manifest, intake, silent)
                    intake.commit()
                return self._store.images.add(
                    lease, config.raw, manifest=manifest.raw, manifest_type=manifest.media_type
                )
        raise NoSuchContext(f"{LAYOUT}{place} has no image for {platform}", hint="see its index.json")
