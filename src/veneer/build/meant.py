"""What the word in `COPY --from=` and in `from=` of a mount means: a context, an earlier stage, an image.

Source: moby/buildkit dockerfile2llb convert.go, convert_copy.go, convert_runmount.go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from veneer.build.base import IMAGE, LAYOUT
from veneer.build.context.scan import Tree
from veneer.build.stages import SCRATCH, find_stage
from veneer.errors import VeneerError
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.root import Context
    from veneer.build.stage import StageRun
    from veneer.oci.digest import ChainID


class Meant(Value):
    """A `context`, or else the file system `top` (None: an empty one), which people call `what`.

    `unforeseen` is why a dry run cannot know it; "": it is here.
    """

    __slots__ = ()
    context: Context | None
    top: ChainID | None
    what: str
    unforeseen: str = ""


_WRITTEN_AS_IMAGE = frozenset(":/@")
"""What no stage's name has in it."""


def meant(stage: StageRun, word: str) -> Meant:
    """What `word` ("": nothing was said) means to an instruction of the stage.

    Waits for a stage that is still worked on.  Raises StageError, NoSuchContext, and what getting an image raises.
    """
    session = stage.session
    if not word:
        return Meant(session.sources.context, None, "the build context")
    place = session.contexts.get(word.lower())
    if place is not None and not place.startswith((IMAGE, LAYOUT)):
        return Meant(session.sources.named(word.lower()), None, f"context {word}")
    index = None if place is not None else find_stage(session.plan.named, word, stage.planned.index)
    if index is not None:
        outcome, what = session.outcome(index), f"stage {word}"
        if outcome.unknown:
            return Meant(None, None, what, f"what it takes from {what} would be made anew")
        return Meant(None, stage.store.images.get(outcome.image).top if outcome.image else None, what)
    if word == SCRATCH and place is None:
        return Meant(None, None, SCRATCH)
    try:
        image, what = session.bases.image(word, stage.platform, stage.step), f"image {word}"
    except VeneerError as error:
        if place is None and not _WRITTEN_AS_IMAGE.intersection(word):
            error.message = f"{word} is no stage before this one, and was taken for an image: {error.message}"
        raise
    if image is None:
        return Meant(None, None, what, f"{what}, which it takes from, would be pulled")
    return Meant(None, image.top, what)


@contextlib.contextmanager
def opened_tree(stage: StageRun, found: Meant) -> Iterator[Tree]:
    """The files of what is meant, for this `with`; those of a file system are kept as long as the build goes on."""
    if found.context is not None:
        yield found.context
        return
    from veneer.drivers.mount import opened

    layers = stage.store.layers
    if found.top is not None:
        with stage.store.catalog.transaction(durable=False) as transaction:
            stage.session.lease.hold_layer(transaction, found.top)
        layers.ensure(found.top)
    with opened(layers.mounts(found.top)) as root:
        yield Tree(root, found.what)
