"""Builds as tests ask for them: a Dockerfile as text, and what the build told beside its result."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veneer.build.events import Event, Missed, Step, StepDone, Warned
from veneer.store.image import Image
from veneer.testing import images

if TYPE_CHECKING:
    from veneer.build.builder import Built
    from veneer.build.caching.explain import Miss
    from veneer.engine.engine import Engine
    from veneer.oci.digest import ImageID


@dataclass
class Done:
    """A build that ended well."""

    engine: Engine
    built: Built
    events: list[Event]

    @property
    def image(self) -> Image:
        assert self.built.image is not None
        return self.engine.images.get(str(self.built.image))

    @property
    def id(self) -> ImageID:
        return self.image.id

    @functools.cached_property
    def cached(self) -> list[bool]:
        """Of each step but FROM, in order: whether the cache had it."""
        return [each.cached for each in self.events if isinstance(each, StepDone) and not is_from(each.step)]

    @property
    def misses(self) -> list[Miss]:
        return [each.miss for each in self.events if isinstance(each, Missed)]

    @property
    def why(self) -> Miss:
        """The first miss."""
        return self.misses[0]

    @property
    def warnings(self) -> list[str]:
        return [*self.built.warnings, *(each.message for each in self.events if isinstance(each, Warned))]

    @property
    def rows(self) -> list[str]:
        """What history says, the oldest first."""
        return [row.created_by for row in self.image.config.history]


def is_from(step: Step) -> bool:
    return step.text.upper().startswith("FROM ")


def build(engine: Engine, dockerfile: str, context: Path | None = None, **fields: Any) -> Done:
    """Build the text; `fields` are those of BuildRequest.  Raises what building raises."""
    events: list[Event] = []
    asked = engine.build(context, dockerfile=dockerfile.encode(), on_event=events.append, **fields)
    return Done(engine, asked.result(), events)


def base(engine: Engine, name: str = "base:1", text: bytes = b"base\n", **config: Any) -> Image:
    """A base image of one layer without any programs, as if it had been pulled."""
    import io

    made = images.image({"etc": images.directory(), "etc/release": text}, config=config)
    engine.images.load(io.BytesIO(images.docker_archive((made, [name]))))
    return engine.images.get(name)


def with_programs(engine: Engine, rootfs: Path, name: str = "busybox:1") -> Image:
    """A base image that RUN can be done on."""
    with rootfs.open("rb") as tar:
        return engine.images.import_(tar, reference=name)
