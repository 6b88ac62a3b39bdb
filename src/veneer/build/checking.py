"""What the linter says about the Dockerfile of a build, with what is known here: the ignore file, the bases."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable
from types import TracebackType

from veneer.build.events import Warned
from veneer.build.language import lint
from veneer.build.runconfig import RunConfig
from veneer.errors import InvalidRequest, VeneerError
from veneer.progress import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.events import Listener
    from veneer.build.language.lint_report import Finding
    from veneer.build.request import BuildRequest
    from veneer.build.source import Sources
    from veneer.store.store import Store


class LintViolation(InvalidRequest):
    """Findings of the linter where the Dockerfile, or BUILDKIT_DOCKERFILE_CHECK, makes them errors."""


def findings(
    store: Store, request: BuildRequest, sources: Sources, stages: Collection[int] | None = None
) -> list[Finding]:
    """Every finding in the Dockerfile, by line; of the instructions of `stages` alone, if they are given.

    Raises DockerfileError for what could not be built at all.
    """
    from veneer.oci.platform import Platform

    return lint.check(
        sources.dockerfile,
        build_args=dict(request.args),
        context_ignore=sources.ignore if _looks_at_files(request, sources) else None,
        base_names=lambda image: _variables(store, image),
        platform=Platform.parse(request.platforms[0]) if request.platforms else None,
        stages=stages,
    )


def _looks_at_files(request: BuildRequest, sources: Sources) -> bool:
    """Whether the rule that wants the ignore file is asked for; else no context is opened for it."""
    return bool(lint.wanted_options(sources.dockerfile, dict(request.args)).experimental)


def _variables(store: Store, image: str) -> Iterable[str] | None:
    """The names of the variables an image of this store sets; None if it is not here."""
    try:
        found = store.images.find(image)
    except VeneerError:  # a name that is none, or nobody's: the build says so
        return None
    return [pair.partition("=")[0] for pair in RunConfig.from_json(found.config.run).env]


def needed(request: BuildRequest, sources: Sources) -> set[int]:
    """The numbers of the stages a build works on, whatever the platform.  Raises what planning does."""
    from veneer.build.stages import plan
    from veneer.oci.platform import Platform, host

    contexts = {name.lower(): value for name, value in request.contexts}
    plans = (
        plan(sources.dockerfile, target=request.target, given=dict(request.args), contexts=contexts, platform=platform)
        for platform in [Platform.parse(text) for text in request.platforms] or [host()]
    )
    return {planned.index for found in plans for planned in found.stages}


class Checks:
    """The checks of one build: errors before anything is done, if they are to be, and else warnings at its end.

    In a `with`: a build that fails tells them too, since the one may be why of the other.
    """

    def __init__(self, store: Store, request: BuildRequest, sources: Sources, tell: Listener) -> None:
        self._store, self._request, self._sources, self._tell = store, request, sources, tell
        self._strict = lint.wanted_options(sources.dockerfile, dict(request.args)).error
        self._told = False

    def __enter__(self) -> Checks:
        """Raises LintViolation."""
        if self._strict and self._found():
            self.done()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, VeneerError) and not isinstance(error, Cancelled):
            with contextlib.suppress(VeneerError):  # that the Dockerfile is wrong is what the build failed of
                self._tell_all()

    def done(self) -> None:
        """Tell what was found.  The bases are here now, and their variables known.  Raises LintViolation."""
        found = self._tell_all()
        if self._strict and found:
            raise LintViolation(lint.violation(found), hint="veneer build --check shows them in their places")

    def _tell_all(self) -> list[Finding]:
        if self._told:
            return []
        found = self._found()
        self._told = True
        for each in found:
            self._tell(Warned(time.time(), each.rule, each.message, each.line))
        return found

    def _found(self) -> list[Finding]:
        return findings(self._store, self._request, self._sources, needed(self._request, self._sources))
