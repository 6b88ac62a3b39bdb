"""`engine.looking`: images looked at from Python."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from veneer.progress import Progress, silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from veneer.analysis.sharing import Branch, Stack, Totals
    from veneer.engine.engine import Engine
    from veneer.engine.looking.origins import SharedWith, StandsOn
    from veneer.engine.looking.subject import Subject
    from veneer.engine.rework.dockerfile import Recovered
    from veneer.store.images import Image


class Looking:
    """Looking at images, wherever they are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(
        self,
        name: str = "",
        *,
        archive: Path | BinaryIO | None = None,
        remote: bool = False,
        container: bool = False,
        platform: str | None = None,
        progress: Progress = silent,
        contents: bool = True,
    ) -> contextlib.AbstractContextManager[Subject]:
        """An image, or a container, to be looked at; see `sources.opened`.  Use it in a `with`."""
        from veneer.engine.looking.sources import opened

        return opened(
            self._engine, name, archive=archive, remote=remote, container=container, platform=platform,
            progress=progress, contents=contents,
        )  # fmt: skip

    def stands_on(self, subject: Subject) -> StandsOn | None:
        """What the image was built on, None where nothing tells."""
        from veneer.engine.looking.origins import stands_on

        return stands_on(self._engine, subject)

    def shared_with(self, subject: Subject) -> Sequence[SharedWith]:
        """For each layer, base first, which images of the store have it in its place too."""
        from veneer.engine.looking.origins import shared_with

        return shared_with(self._engine, subject)

    def dockerfile(self, subject: Subject, *, base: str | None = None) -> Recovered:
        """The Dockerfile again, from the history; `.text` is the file.  See `dockerfiles`."""
        from veneer.engine.looking.dockerfiles import dockerfile

        return dockerfile(self._engine, subject, base)

    def shared(self, names: Sequence[str] = (), *, all: bool = False) -> Shared:
        """What the images of the store share; only those called `names`, if any; `all` takes intermediate ones too."""
        from veneer.analysis.sharing import forest, totals
        from veneer.engine.looking.origins import stacks

        images = [self._engine.images.get(name) for name in names] or self._engine.store.images.list(all=all)
        found = stacks(self._engine, images)
        return Shared({str(image.id): image for image in images}, found, forest(found), totals(found))


class Shared:
    """Images by ID, their stacks, the trees these make, and the sums."""

    __slots__ = ("images", "stacks", "totals", "trees")

    def __init__(
        self, images: dict[str, Image], stacks: Sequence[Stack], trees: Sequence[Branch], totals: Totals
    ) -> None:
        self.images = images
        self.stacks = stacks
        self.trees = trees
        self.totals = totals
