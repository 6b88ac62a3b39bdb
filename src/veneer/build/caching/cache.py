"""The build cache: what a step depends on, as facts, and the image that an equal step made here before.

The facts are the fields that docker compares: the run configuration, with the whole instruction and the checksums of
its files in its command.  Its Image and Hostname are no facts.  Source: moby image/cache/{cache,compare}.go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.build.caching.imported import CachedStep, ImportedCaches
    from veneer.build.request import BuildRequest
    from veneer.build.runconfig import RunConfig
    from veneer.oci.digest import ImageID
    from veneer.oci.image import ImageConfig
    from veneer.oci.platform import Platform
    from veneer.store.store import Store

    Facts = dict[str, Any]

_COMPARED = (
    "env", "entrypoint", "shell", "ports", "volumes", "onbuild", "user", "working_dir", "stop_signal", "stop_timeout",
    "healthcheck", "args_escaped",
)  # fmt: skip


def facts_of(
    keyword: str, run: RunConfig, command: Sequence[str], platform: Platform, more: Mapping[str, Any] | None = None
) -> Facts:
    """The facts of a step done with `run` and `command`.

    `more` has what belongs to one kind of step: `args` (RUN's build arguments, which docker writes before the
    command), `checksum` and `from` (COPY), `mounts`.
    """
    facts: Facts = {"step": keyword, "cmd": list(command), "platform": str(platform)}
    for name in _COMPARED:
        if value := getattr(run, name):
            facts[name] = list(value) if isinstance(value, tuple) else value
    if run.labels:
        facts["labels"] = dict(run.labels)
    for name, value in (more or {}).items():
        if value:
            facts[name] = value
    return facts


class Cache:
    """What one build asks the caches, and is told: the store's own and those of `--cache-from`.

    `hold` keeps an image as long as the build goes on, and says whether it is still there.
    """

    def __init__(self, store: Store, request: BuildRequest, hold: Callable[[ImageID], bool]) -> None:
        self.builds = store.builds
        self._store = store
        self._request = request
        self._hold = hold
        self._off = request.no_cache
        self._off_for = frozenset(name.lower() for name in request.no_cache_filter)
        self._used: list[ImageID] = []
        self._stack = contextlib.ExitStack()
        self._elsewhere: ImportedCaches | None = None

    def open(self, platform: Platform) -> list[str]:
        """Get at the caches from elsewhere; why some of them cannot be used.  Raises BadCache."""
        if self._off or not self._request.cache_from:
            return []
        from veneer.build.caching.imported import opened

        self._elsewhere = self._stack.enter_context(opened(self._store, self._request.cache_from, platform))
        return self._elsewhere.warnings

    def is_off(self, stage: str, number: int) -> bool:
        """Whether the steps of a stage are to be done anew whatever the cache has."""
        return self._off or bool(self._off_for & {stage, str(number)})

    def dated(self, facts: Facts) -> Facts:
        """The facts of a step with what the whole build says of time, which is in all that it makes."""
        epoch = self._request.source_date_epoch
        if epoch is None:
            return facts
        told = {"source_date_epoch": epoch}
        return {**facts, **told, "rewrite_timestamp": True} if self._request.rewrite_timestamp else {**facts, **told}

    def find(self, parent: ImageID | None, facts: Facts) -> ImageID | None:
        """The newest image that this very step made on `parent`, if it is whole; kept as long as the build goes on."""
        from veneer.store.builds import encode

        for found in self.builds.find(parent, encode(self.dated(facts))[1]):
            # Held: a prune may run beside us, and what it took until now is no hit.
            if self._hold(found.image):
                self._used.append(found.image)
                return found.image
        return None

    def elsewhere(self, parent: Callable[[], ImageConfig | None], facts: Facts, created_by: str) -> CachedStep | None:
        """The step in a cache of `--cache-from`, by the text it has in history.

        Not for a RUN whose text does not say all it depends on: files of mounts, the script in a here-document.
        """
        if not self._elsewhere or facts.get("mounts") or facts.get("script"):
            return None
        return self._elsewhere.match(parent(), created_by)

    def may_have(self, parent: ImageID | None) -> bool:
        """Whether anything was ever done on `parent`: if not, a step's key need not be made before the step."""
        return bool(self._elsewhere) or self.builds.has_children(parent)

    def linked(self, note: str = "") -> Iterator[ImageID]:
        """The images that a COPY --link of that note made, whatever it stood on; without a note, of any."""
        for step in self.builds.noted(f'"link":"{note}'):
            if self._hold(step.image):
                yield step.image

    def close(self) -> None:
        """Note which images were of use, and let go of the caches."""
        self._stack.close()
        if self._used and not self._request.dry_run:  # that looked, and had no use
            from veneer.store.catalog import StoreFull

            used, self._used = self._used, []
            with contextlib.suppress(StoreFull):  # what a prune goes by is not worth hiding an error
                self.builds.used(used)
