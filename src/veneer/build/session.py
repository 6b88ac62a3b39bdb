"""One platform's build while it runs: its stages side by side, and what they share."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping

from veneer.build.caching.cache import Cache
from veneer.build.stages import Plan, PlannedStage, check_filter, plan
from veneer.errors import Conflict, NotFound
from veneer.oci.digest import BlobDigest
from veneer.progress import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from veneer.build.base import Bases
    from veneer.build.copying.crew import Crews
    from veneer.build.events import Listener
    from veneer.build.request import BuildRequest
    from veneer.build.source import Sources
    from veneer.build.stage import Outcome
    from veneer.config import Config
    from veneer.oci.digest import ImageID
    from veneer.oci.platform import Platform
    from veneer.store.image import Image
    from veneer.store.leases import Lease
    from veneer.store.store import Store

MAX_WORKERS = 8
"""Stages that are worked on at the same time."""
_FRONTEND = "BUILDKIT_"
"""Arguments for the builder itself begin so; nobody has to declare them."""


class Session:
    """What the stages of one platform's build share.  Use it in a `with`.

    `moment` (ns since 1970) is the time of everything made; None: each thing's own.  `stop` is set by whoever wants it
    to end early.
    """

    def __init__(
        self, store: Store, config: Config, request: BuildRequest, tell: Listener, sources: Sources, platform: Platform,
        *, moment: int | None = None, stop: threading.Event | None = None,
    ) -> None:  # fmt: skip
        from veneer.build.base import Bases

        epoch = request.source_date_epoch
        self._moment = moment if epoch is None else epoch * 10**9
        self._stop = stop
        self.store = store
        self.config = config
        self.request = request
        self.tell = tell
        self.sources = sources
        self.platform = platform
        self.given: Mapping[str, str] = dict(request.args)
        self.contexts = {name.lower(): value for name, value in request.contexts}
        stages = [each.name for each in sources.dockerfile.stages if each.name]
        store.require_known_driver()  # a build that the cache answers would not find out
        self.bases: Bases = Bases(
            store, self.contexts, tell, stages=stages, pull=request.pull, dry_run=request.dry_run, hold=self._hold
        )
        self.cache = Cache(store, request, self._hold)
        self.plan: Plan = plan(
            sources.dockerfile, target=request.target, given=self.given, contexts=self.contexts, platform=platform,
            labels=request.labels,
        )  # fmt: skip
        check_filter(self.plan, request.no_cache_filter)
        self.steps = self.hits = 0
        self.warnings: tuple[str, ...] = ()
        self.result: ImageID | None = None
        self.added: list[ImageID] = []
        """Images that were not in the store before, in the order they came in."""
        self.stopping = threading.Event()
        self._guard = threading.Lock()
        self._before: dict[int, int] = {}
        self._of = 0
        for planned in self.plan.stages:
            self._before[planned.index] = self._of
            self._of += 1 + len(self.plan.steps(planned))
        self._places: dict[int, _Place] = {each.index: _Place(each) for each in self.plan.stages}
        self._crews: Crews | None = None
        self._declared: set[str] = {name for arg in sources.dockerfile.global_args for name, _ in arg.pairs}

    def __enter__(self) -> Session:
        try:
            for text in self.cache.open(self.platform):
                self.warn(text)
        except BaseException:
            self.cache.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._crews is not None:
            self._crews.close()
        self.cache.close()

    @property
    def crews(self) -> Crews:
        """Who lends processes to large copies."""
        with self._guard:
            if self._crews is None:
                from veneer.build.copying.crew import Crews

                self._crews = Crews()
            return self._crews

    def again(self) -> Session:
        """The same build, to be done once more."""
        return Session(
            self.store, self.config, self.request, self.tell, self.sources, self.platform, moment=self._moment,
            stop=self._stop,
        )  # fmt: skip

    def discard(self) -> None:
        """Take away the images that this build added."""
        from veneer.store.removal import remove

        for image in reversed(self.added):
            with contextlib.suppress(Conflict, NotFound):  # somebody has use for it by now, or has removed it
                remove(self.store, str(image), prune=False)

    @property
    def lease(self) -> Lease:
        return self.sources.lease

    def _hold(self, image: ImageID) -> bool:
        """Keep an image while the build goes on; False if it is gone.  A dry run has no use for one."""
        return self.request.dry_run or self.store.blobs.acquire(self.lease, BlobDigest(image))

    def run(self) -> ImageID | None:
        """Work on every stage that is needed; the target's image."""
        if len(self.plan.stages) > 1:
            self._run_all()
        self.result = self.outcome(self.plan.target).image
        self._warn()
        return self.result

    def base(self) -> Image | None:
        """The image that the target's steps stand on."""
        base = self.outcome(self.plan.target).base
        return None if base is None else self.store.images.get(base)

    def stage_images(self) -> list[Image]:
        """The image of every stage that was worked on, in the order of the file."""
        outcomes = [self._places[index].result for index in sorted(self._places)]
        images = dict.fromkeys(each.image for each in outcomes if each is not None and each.image is not None)
        return [self.store.images.get(image) for image in images]

    def _run_all(self) -> None:
        order = iter(self.plan.stages)  # a stage only waits for earlier ones, and those were begun before it
        failures: list[BaseException] = []

        def work() -> None:
            while not self.stopping.is_set():
                with self._guard:
                    each = next(order, None)
                if each is None:
                    return
                try:
                    self.outcome(each.index)
                except BaseException as error:  # noqa: BLE001  raised below, from the thread that was asked
                    failures.append(error)
                    self.stopping.set()

        threads = [
            threading.Thread(target=work, name=f"veneer-stage-{number}", daemon=True)
            for number in range(min(MAX_WORKERS, len(self.plan.stages)) - 1)
        ]
        for thread in threads:
            thread.start()
        try:
            work()
            for thread in threads:
                thread.join()
        except BaseException:  # an interrupt of this thread
            self.stopping.set()
            raise
        finally:
            for thread in threads:
                thread.join()
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
                except BaseException as error:  # noqa: BLE001  raised below, to everybody who asks
                    self.stopping.set()
                    place.failure = error
            if place.failure is not None:
                raise place.failure
            assert place.result is not None
            return place.result

    def check(self) -> None:
        """Raise Cancelled if nobody wants the build any more, or another stage has failed."""
        if self._stop is not None and self._stop.is_set():
            raise Cancelled("the build was cancelled")
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

    def note(self, images: Iterable[ImageID]) -> None:
        """Remember images that this build added to the store."""
        with self._guard:
            self.added += images

    def created(self) -> str:
        """What images and history rows made now say of their time."""
        from veneer.oci import timestamp

        return timestamp.now() if self._moment is None else timestamp.render(None, nanoseconds=self._moment)

    def created_ns(self) -> int:
        """The same for files."""
        return time.time_ns() if self._moment is None else self._moment

    @property
    def is_dated(self) -> bool:
        """Whether all that is made gets one time."""
        return self._moment is not None

    def position(self, planned: PlannedStage) -> tuple[int, int]:
        """How many steps come before a stage's, and how many there are in all."""
        return self._before.get(planned.index, 0), self._of

    def warn(self, text: str) -> None:
        """Have something told at the end."""
        with self._guard:
            self.warnings = (*self.warnings, text)

    def _warn(self) -> None:
        from veneer.build.state import PROXIES

        known = self._declared | PROXIES | self.plan.meta.keys() | {"SOURCE_DATE_EPOCH"}
        unused = sorted(name for name in self.given if name not in known and not name.startswith(_FRONTEND))
        if unused:
            self.warn(f"One or more build-args [{' '.join(unused)}] were not consumed")


class _Place:
    """Where a stage's outcome is kept; whoever holds the lock works on it."""

    def __init__(self, stage: PlannedStage) -> None:
        self.stage = stage
        self.lock = threading.RLock()
        self.result: Outcome | None = None
        self.failure: BaseException | None = None
