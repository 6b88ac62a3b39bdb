"""The build cache: what a step depends on, as facts, and the image that an equal step made here before.

The facts are the fields that docker compares: the run configuration, with the whole instruction and the checksums of
its files in its command.  Its Image and Hostname are no facts.  Source: moby image/cache/{cache,compare}.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.build.request import BuildRequest
    from veneer.build.runconfig import RunConfig
    from veneer.oci.digest import ImageID
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
    """What one build asks the cache, and is told."""

    def __init__(self, store: Store, request: BuildRequest) -> None:
        self.builds = store.builds
        self._off = request.no_cache
        self._off_for = frozenset(name.lower() for name in request.no_cache_filter)
        self._used: list[ImageID] = []

    def is_off(self, stage: str, number: int) -> bool:
        """Whether the steps of a stage are to be done anew whatever the cache has."""
        return self._off or bool(self._off_for & {stage, str(number)})

    def find(self, parent: ImageID | None, facts: Facts) -> ImageID | None:
        """The newest image that this very step made on `parent`, if it is whole."""
        from veneer.store.builds import encode

        found = next(iter(self.builds.find(parent, encode(facts)[1])), None)
        if found is None:
            return None
        self._used.append(found.image)
        return found.image

    def may_have(self, parent: ImageID | None) -> bool:
        """Whether anything was ever done on `parent`: if not, a step's key need not be made before the step."""
        return self.builds.has_children(parent)

    def close(self) -> None:
        """Note which images were of use."""
        if self._used:
            used, self._used = self._used, []
            self.builds.used(used)
