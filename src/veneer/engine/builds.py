"""Builds: from a Dockerfile and its context to an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from veneer.build.events import Event
from veneer.build.request import BuildRequest
from veneer.values import Value

if TYPE_CHECKING:
    import queue
    import threading

    from veneer.build.builder import Built
    from veneer.build.language.lint_report import Finding
    from veneer.build.outline import Outline, Target
    from veneer.engine.engine import Engine
    from veneer.store.build_prune import BuildPruned
    from veneer.store.build_usage import Record
    from veneer.store.image import Image

    Listener = Callable[[Event], None]


class Checked(Value):
    """What the linter says about a Dockerfile."""

    findings: list[Finding]
    name: str
    source: bytes


class Offered(Value):
    """The stages of a Dockerfile, in its order."""

    targets: list[Target]
    source: bytes


class Outlined(Value):
    """What building a target takes."""

    outline: Outline
    source: bytes


class Builds:
    """The builds of one engine; see Engine.builds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(
        self,
        request: BuildRequest,
        on_event: Listener | None = None,
        *,
        stdout: BinaryIO | None = None,
        stop: threading.Event | None = None,
    ) -> Built:
        """Build what is asked for and return the result; `on_event` is called from whichever thread has news.

        `stdout` takes what an output with dest=- writes.  Setting `stop` ends the build soon.
        Raises DockerfileError, StepFailed, NoSuchImage, ...; Cancelled if `on_event` raises it, or because of `stop`.
        """
        from veneer.build.builder import build
        from veneer.build.events import unheard

        return build(
            self._engine.store, self._engine.config, request, on_event or unheard, squash=self._squashed, stdout=stdout,
            stop=stop,
        )  # fmt: skip

    def _squashed(self, image: Image, base: Image | None, created: str) -> Image:
        """The image with all layers above `base` as one; as it is where there are not two of them."""
        from veneer.engine.rework.squashing import squash

        first, last = len(base.config.diff_ids) if base else 0, len(image.config.diff_ids) - 1
        if first >= last:
            return image
        return squash(self._engine.store, image, first, last, created=created, onto=base).image

    def check(self, request: BuildRequest) -> Checked:
        """Lint the Dockerfile of a request without building anything.

        Raises DockerfileError, StageError for one that cannot be built at all.
        """
        from veneer.build.checking import findings, needed
        from veneer.build.events import unheard
        from veneer.build.source import Sources

        with Sources(self._engine.store, request, unheard) as sources:
            dockerfile = sources.dockerfile
            needed(request, sources)
            return Checked(findings(self._engine.store, request, sources), dockerfile.name, dockerfile.source)

    def targets(self, request: BuildRequest) -> Offered:
        """What a request's Dockerfile can build.  Raises DockerfileError."""
        from veneer.build.events import unheard
        from veneer.build.outline import targets
        from veneer.build.source import Sources

        with Sources(self._engine.store, request, unheard) as sources:
            return Offered(targets(sources.dockerfile), sources.dockerfile.source)

    def outline(self, request: BuildRequest) -> Outlined:
        """The arguments, secrets and the like that building a request's target takes.  Nothing is built or fetched but
        what the Dockerfile lies in.  Raises DockerfileError, StageError."""
        from veneer.build.events import unheard
        from veneer.build.outline import outline
        from veneer.build.source import Sources
        from veneer.build.stages import plan
        from veneer.oci.platform import Platform, host

        with Sources(self._engine.store, request, unheard) as sources:
            given, contexts = dict(request.args), {name.lower(): value for name, value in request.contexts}
            platform = Platform.parse(request.platforms[0]) if request.platforms else host()
            planned = plan(
                sources.dockerfile, target=request.target, given=given, contexts=contexts, platform=platform
            )  # fmt: skip
            return Outlined(outline(planned, given), sources.dockerfile.source)

    def du(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[Record]:
        """What the build cache takes, the most recently used first; see store/build_usage.py."""
        return self._engine.store.builds.du(filters)

    def prune(
        self,
        *,
        all: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
        keep_storage: int = 0,
        dry_run: bool = False,
    ) -> BuildPruned:
        """Make the build cache smaller; see store/build_prune.py for what goes and what never does."""
        return self._engine.store.builds.prune(all=all, filters=filters, keep_storage=keep_storage, dry_run=dry_run)


class Build:
    """A build that is asked for: iterate over it for its events, or ask for its `result()`, or both.

    It runs in a thread of its own while it is iterated over; leaving the loop early cancels it.
    """

    def __init__(self, builds: Builds, request: BuildRequest, on_event: Listener | None = None) -> None:
        import threading

        self.request = request
        self._builds = builds
        self._on_event = on_event
        self._events: queue.SimpleQueue[Event | None] | None = None
        self._thread: threading.Thread | None = None
        self._built: Built | None = None
        self._failure: BaseException | None = None
        self._stop = threading.Event()

    def cancel(self) -> None:
        """Have it end soon, commands killed; what was done stays in the cache.  It fails with Cancelled."""
        self._stop.set()

    def result(self) -> Built:
        """What came out; waits for it.  Raises what made the build fail."""
        if self._thread is not None:
            self._thread.join()
        elif self._built is None and self._failure is None:
            self._work(self._tell)
        if self._failure is not None:
            raise self._failure
        assert self._built is not None
        return self._built

    def __iter__(self) -> Iterator[Event]:
        """The events in order.  Raises what made the build fail when they are all told."""
        import queue
        import threading

        events = self._events = queue.SimpleQueue()

        def work() -> None:
            self._work(self._put)
            events.put(None)

        self._thread = threading.Thread(target=work, name="veneer-build")
        self._thread.start()
        try:
            while (event := events.get()) is not None:
                yield event
        finally:
            self.cancel()  # if it is over, that is nothing
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _work(self, tell: Listener) -> None:
        try:
            self._built = self._builds.run(self.request, tell, stop=self._stop)
        except BaseException as error:  # noqa: BLE001  raised by whoever asks, from the thread that asked
            self._failure = error

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def _put(self, event: Event) -> None:
        from veneer.progress import Cancelled

        self._tell(event)
        if self._stop.is_set():
            raise Cancelled("nobody listens to the build any more")
        assert self._events is not None
        self._events.put(event)


def requested(**fields: Any) -> BuildRequest:
    """A request from what people write in Python: mappings for args, labels and the like; one tag as text."""
    for name in ("args", "labels", "annotations", "contexts", "add_hosts", "ssh"):
        if isinstance(fields.get(name), dict):
            fields[name] = tuple((str(key), str(value)) for key, value in fields[name].items())
    for name in ("tags", "platforms", "no_cache_filter", "allow", "ulimits"):
        if isinstance(fields.get(name), str):
            fields[name] = (fields[name],)
        elif isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    if isinstance(fields.get("secrets"), dict):
        from veneer.build.request import SecretSource

        fields["secrets"] = tuple(SecretSource(key, value) for key, value in fields["secrets"].items())
    return BuildRequest(**fields)
