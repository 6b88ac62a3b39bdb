"""One build from its request to its image: the context, the plan, the stages side by side, the names at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping

from veneer.build.checking import Checks
from veneer.build.events import Finished, Repeated, Verified, unheard
from veneer.build.session import Session
from veneer.build.source import Sources
from veneer.errors import InvalidRequest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from veneer.build.events import Listener
    from veneer.build.request import BuildRequest
    from veneer.build.validation import Wanted
    from veneer.config import Config
    from veneer.oci.digest import ImageID
    from veneer.oci.manifest import Descriptor
    from veneer.oci.platform import Platform
    from veneer.store.image import Image
    from veneer.store.store import Store

    Squash = Callable[[Image, "Image | None", str], Image]


class NothingBuilt(InvalidRequest):
    """A Dockerfile that makes no image."""


class Built(Value):
    """What came out.

    `image` is the one that suits this machine (None after a dry run that missed), `images` are all, by platform.
    `tags` are the names they were given, `descriptor` points at the manifest or index that those stand for, or that
    was pushed.  `steps` were looked up, `hits` of them were in the cache.
    """

    image: ImageID | None
    tags: tuple[str, ...]
    images: dict[str, ImageID]
    steps: int
    hits: int
    warnings: tuple[str, ...] = ()
    descriptor: Descriptor | None = None

    @property
    def is_index(self) -> bool:
        """Whether the names stand for several platforms."""
        return self.descriptor is not None and self.descriptor.is_index

    def metadata(self) -> dict[str, Any]:
        """What `--metadata-file` holds, in buildx's keys."""
        found: dict[str, Any] = {}
        if self.descriptor is not None:
            found["containerimage.descriptor"] = self.descriptor.to_json()
            found["containerimage.digest"] = str(self.descriptor.digest)
        if self.image is not None and not self.is_index:
            found["containerimage.config.digest"] = str(self.image)
        if self.tags:
            found["image.name"] = ",".join(self.tags)
        return dict(sorted(found.items()))


def build(
    store: Store, config: Config, request: BuildRequest, tell: Listener = unheard, *, squash: Squash | None = None,
    stdout: BinaryIO | None = None, stop: threading.Event | None = None,
) -> Built:  # fmt: skip
    """Build what `request` asks for, telling what happens on the way.

    `squash` makes one layer of an image's layers above another image (None: above nothing), dated as told: as the image
    is, so that what was built before comes to what it came to before.  A request for that needs it.  `stdout` is where
    outputs with dest=- go.  Setting `stop` ends the build soon.
    Raises what looking through the request does, StoreReadOnly, DockerfileError, StageError, StepFailed and what a
    step's own trouble is; NotReproducible; Cancelled if `tell` does, or because of `stop`.
    """
    from veneer.build.validation import looked_through

    wanted = looked_through(request)
    if not request.dry_run:
        store.catalog.check_writable()  # else its IDs would be told of images that nobody can keep
    if request.verify:
        request = request.replaced(no_cache=True)
    moment = time.time_ns() if request.source_date_epoch is None else request.source_date_epoch * 10**9
    with Sources(store, request, tell) as sources, Checks(store, request, sources, tell) as checks:
        done: dict[Platform, Session] = {}
        images: dict[Platform, Image] = {}
        for platform in wanted.platforms:
            # Both builds of a verified one say the same of their time.
            fixed = moment if request.verify else None
            with Session(store, config, request, tell, sources, platform, moment=fixed, stop=stop) as session:
                made = session.run()
            done[platform] = session
            if request.dry_run:
                continue
            if made is None:
                raise NothingBuilt("No image was generated: there is nothing after FROM scratch",
                                   hint="add a step, be it LABEL or COPY")  # fmt: skip
            images[platform] = store.images.get(made)
            if request.verify:
                _verify(session, images[platform])
            if request.squash:
                assert squash is not None, "whoever takes requests to squash can"
                images[platform] = squash(images[platform], session.base(), images[platform].config.created)
        checks.done()
        return _finished(store, request, wanted, tell, sources, done, images, stdout)


def _finished(
    store: Store, request: BuildRequest, wanted: Wanted, tell: Listener, sources: Sources,
    done: Mapping[Platform, Session], images: dict[Platform, Image], stdout: BinaryIO | None,
) -> Built:  # fmt: skip
    """Name and write what was built, and put it together."""
    warnings = tuple(dict.fromkeys(text for session in done.values() for text in session.warnings))
    steps, hits = (sum(getattr(session, name) for session in done.values()) for name in ("steps", "hits"))
    best = _best(wanted.platforms)
    if request.dry_run:
        image = done[best].result
        tell(Finished(time.time(), None, (), warnings))
        found = {str(platform): session.result for platform, session in done.items() if session.result is not None}
        return Built(image, (), found, steps, hits, warnings)
    tags = tuple(reference.familiar for reference in wanted.tags)
    descriptor = _left(store, request, wanted, tell, sources, done, images, best, stdout)
    tell(Finished(time.time(), images[best].id, tags, warnings))
    by_text = {str(platform): image.id for platform, image in images.items()}
    return Built(images[best].id, tags, by_text, steps, hits, warnings, descriptor)


def _left(
    store: Store, request: BuildRequest, wanted: Wanted, tell: Listener, sources: Sources,
    done: Mapping[Platform, Session], images: dict[Platform, Image], best: Platform, stdout: BinaryIO | None,
) -> Descriptor:  # fmt: skip
    """Name the images, write the outputs and the caches; what the names stand for."""
    from veneer.build import outputs, results
    from veneer.oci.manifest import Manifest

    store.layers.settle_built()
    top = None
    if len(images) > 1 or wanted.annotations or wanted.compression:
        top = results.document(store, sources.lease, images, wanted.compression, wanted.annotations)
    results.name(store, images[best].id, wanted.names, top)
    if isinstance(top, Manifest) and not wanted.names:
        store.images.replace_manifest(sources.lease, images[best].id, top)
    images = {platform: store.images.get(image.id) for platform, image in images.items()}
    descriptor = top.descriptor if top is not None else results.own(store, images[best]).descriptor
    by_text = {str(platform): image for platform, image in images.items()}
    tags = [str(reference) for reference in wanted.tags]
    for spec in request.outputs:
        descriptor = outputs.write(store, spec, by_text, tags, tell, stdout, wanted.compression) or descriptor
    if request.cache_to:
        from veneer.build.caching.exported import export

        for cache in request.cache_to:
            stages = [list(images.values())] + [session.stage_images() for session in done.values()]
            export(store, sources.lease, cache, stages[0], [each for found in stages for each in found], tell)
    return descriptor


def _best(platforms: Sequence[Platform]) -> Platform:
    """The platform whose image a name means here."""
    from veneer.oci.platform import host

    ranked = [(rank, platform) for platform in platforms if (rank := host().suitability(platform)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else platforms[0]


def _verify(session: Session, image: Image) -> None:
    """Do everything a second time and compare.  Raises NotReproducible."""
    from veneer.build.verify import NotReproducible, compare

    store, tell = session.store, session.tell
    tell(Repeated(time.time()))
    with session.again() as second:
        made = second.run()
        assert made is not None, "the first build made something"
        difference = compare(store, image, store.images.get(made))
        second.discard()
    if difference is not None:
        raise NotReproducible(image, difference)
    tell(Verified(time.time(), image.id))
