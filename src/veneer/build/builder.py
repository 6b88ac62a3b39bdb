"""One build from its request to its image: the context, the plan, the stages side by side, the names at the end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping

from veneer.build.cache import Cache
from veneer.build.events import Finished, unheard
from veneer.build.source import Sources
from veneer.build.stages import Plan, PlannedStage, plan
from veneer.progress import Cancelled
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.build.base import Bases
    from veneer.build.events import Listener
    from veneer.build.request import BuildRequest
    from veneer.build.stage import Outcome
    from veneer.config import Config
    from veneer.oci.digest import ImageID
    from veneer.oci.platform import Platform
    from veneer.oci.reference import Reference
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MAX_WORKERS = 8
"""Stages that are worked on at the same time."""


class Built(Value):
    """What came out: `image` (None after a dry run that missed), `images` by platform, the names they were given.

    `steps` were looked up, `hits` of them were in the cache.
    """

    image: ImageID | None
    tags: tuple[str, ...]
    images: dict[str, ImageID]
    steps: int
    hits: int
    warnings: tuple[str, ...] = ()

    def metadata(self) -> dict[str, Any]:
        """What `--metadata-file` holds, in BuildKit's keys."""
        found: dict[str, Any] = {}
        if self.image is not None:
            found |= {"containerimage.config.digest": str(self.image), "containerimage.digest": str(self.image)}
        if self.tags:
            found["image.name"] = ",".join(self.tags)
        return found


def build(store: Store, config: Config, request: BuildRequest, tell: Listener = unheard) -> Built:
    """Build what `request` asks for, telling what happens on the way.

    Raises DockerfileError, StageError, StepFailed and what a step's own trouble is; Cancelled if `tell` does.
    """
    from veneer.oci.platform import Platform, host
    from veneer.oci.reference import Reference

    references = [Reference.parse(name).tagged() for name in request.tags]
    platforms = [Platform.parse(text) for text in request.platforms] or [host()]
    images: dict[str, ImageID] = {}
    steps = hits = 0
    warnings: tuple[str, ...] = ()
    with Sources(store, request, tell) as sources:
        for platform in platforms:
            session = Session(store, config, request, tell, sources, platform)
            with session:
                image = session.run()
            steps, hits = steps + session.steps, hits + session.hits
            warnings = session.warnings
            if image is not None:
                images[str(platform)] = image
        first = images.get(str(platforms[0]))
        if first is not None and not request.dry_run:
            _settle(store, first, references)
    tags = tuple(reference.familiar for reference in references) if first is not None and not request.dry_run else ()
    tell(Finished(time.time(), first, tags, warnings))
    return Built(first, tags, images, steps, hits, warnings)


def _settle(store: Store, image: ImageID, references: list[Reference]) -> None:
    store.layers.settle_built()
    for reference in references:
        store.images.tag(image, reference)


class Session:
    """One platform's build while it runs; what its stages share."""

    def __init__(
        self, store: Store, config: Config, request: BuildRequest, tell: Listener, sources: Sources, platform: Platform
    ) -> None:
        from veneer.build.base import Bases

        self.store = store
        self.config = config
        self.request = request
        self.tell = tell
        self.sources = sources
        self.platform = platform
        self.given: Mapping[str, str] = dict(request.args)
        self.contexts = {name.lower(): value for name, value in request.contexts}
        self.bases: Bases = Bases(store, self.contexts, tell, pull=request.pull, dry_run=request.dry_run)
        self.cache = Cache(store, request)
        self.plan: Plan = plan(
            sources.dockerfile, target=request.target, given=self.given, contexts=self.contexts, platform=platform,
            labels=request.labels,
        )  # fmt: skip
        self.steps = self.hits = 0
        self.warnings: tuple[str, ...] = ()
        self.stopping = threading.Event()
        self._guard = threading.Lock()
        self._places: dict[int, _Place] = {each.index: _Place(each) for each in self.plan.stages}
        self._declared: set[str] = {name for arg in sources.dockerfile.global_args for name, _ in arg.pairs}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.close()

    @property
    def lease(self) -> Lease:
        return self.sources.lease

    def run(self) -> ImageID | None:
        """Work on every stage that is needed; the target's image."""
        stages = self.plan.stages
        if len(stages) == 1:
            outcome = self.outcome(stages[0].index)
        else:
            self._run_all()
            outcome = self.outcome(self.plan.target)
        self._warn()
        return outcome.image

    def _run_all(self) -> None:
        order = iter(self.plan.stages)  # a stage only waits for earlier ones, and those were begun before it

        def work() -> None:
            while not self.stopping.is_set():
                with self._guard:
                    each = next(order, None)
                if each is None:
                    return
                with contextlib.suppress(BaseException):  # kept in its place, and raised from there below
                    self.outcome(each.index)

        threads = [
            threading.Thread(target=work, name=f"veneer-stage-{number}", daemon=True)
            for number in range(min(MAX_WORKERS, len(self.plan.stages)) - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            work()
        finally:
            for thread in threads:
                thread.join()
        failures = [place.failure for place in self._places.values() if place.failure is not None]
        if failures:
            # The one that made the others stop.
            raise next((each for each in failures if not isinstance(each, Cancelled)), failures[0])

    def outcome(self, index: int) -> Outcome:
        """What a stage came to; it is worked on first if nobody did.  Raises what made it fail."""
        with self._guard:
            place = self._places.get(index)
            if place is None:  # only a trigger of a base image can ask for a stage that the plan does not have
                stage = plan(
                    self.plan.dockerfile, target=str(index), given=self.given, contexts=self.contexts,
                    platform=self.platform,
                ).stages[-1]  # fmt: skip
                place = self._places[index] = _Place(stage)
        with place.lock:
            if place.result is None and place.failure is None:
                try:
                    from veneer.build.stage import StageRun

                    place.result = StageRun(self, place.stage).run()
                except BaseException as error:
                    self.stopping.set()
                    place.failure = error
            if place.failure is not None:
                raise place.failure
            assert place.result is not None
            return place.result

    def check(self) -> None:
        """Raise Cancelled if another stage has failed, so that this one need not go on."""
        if self.stopping.is_set():
            raise Cancelled("another stage of the build failed")

    def count(self, *, hit: bool) -> None:
        with self._guard:
            self.steps += 1
            self.hits += hit

    def declared(self, names: set[str]) -> None:
        """Note the ARGs that a stage has."""
        with self._guard:
            self._declared |= names

    def created(self) -> str:
        """What images and history rows made now say of their time."""
        from veneer.oci import timestamp

        epoch = self.request.source_date_epoch
        return timestamp.now() if epoch is None else timestamp.render(None, nanoseconds=epoch * 10**9)

    def created_ns(self) -> int:
        """The same for files."""
        epoch = self.request.source_date_epoch
        return time.time_ns() if epoch is None else epoch * 10**9

    def position(self, planned: PlannedStage) -> tuple[int, int]:
        """How many steps come before a stage's, and how many there are in all."""
        before = of = 0
        for each in self.plan.stages:
            if each.index == planned.index:
                before = of
            of += 1 + len(self.plan.steps(each))
        return before, of

    def _warn(self) -> None:
        from veneer.build.state import PROXIES

        unused = sorted(self.given.keys() - self._declared - PROXIES - self.plan.meta.keys())
        if unused:
            text = f"One or more build-args [{' '.join(unused)}] were not consumed"
            self.warnings = (text,)


class _Place:
    """Where a stage's outcome is kept; whoever holds the lock works on it."""

    def __init__(self, stage: PlannedStage) -> None:
        self.stage = stage
        self.lock = threading.RLock()
        self.result: Outcome | None = None
        self.failure: BaseException | None = None
