"""Images of the store that are the same as one that is looked at, in one of three ways."""

from __future__ import annotations

import contextlib

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.engine.engine import Engine
    from veneer.engine.looking.subject import Subject
    from veneer.store.images import Image

SAME, LAYERS, FILES = "image", "layers", "files"


class Twin(Value):
    """Another image, and `how` it is the same: the "image" itself, its "layers" with another configuration, or its
    "files" made by other layers (times aside)."""

    __slots__ = ()
    image: Image
    how: str


def twins(engine: Engine, subject: Subject, *, files: bool = False) -> Iterator[Twin]:
    """The images of the store that are the same, the nearest kinds first.

    An image of the store is not its own twin.  `files` also compares the files of every other image that shows as many
    bytes: slow in a large store.
    """
    import os

    if not os.path.isdir(engine.config.root_name):
        return
    config, stored = subject.config, subject.documents.where == "store"
    others = []
    for image in engine.store.images.list():
        if image.id == config.image_id:
            if not stored:
                yield Twin(image, SAME)
        else:
            others.append(image)
    top = config.chain_ids[-1] if config.chain_ids else None
    yield from (Twin(image, LAYERS) for image in others if image.top == top)
    if files:
        yield from (
            Twin(image, FILES) for image in others if image.top != top and _shows_the_same(engine, subject, image)
        )


def _shows_the_same(engine: Engine, subject: Subject, image: Image) -> bool:
    from veneer.engine.looking import differences
    from veneer.engine.looking.sources import of_image

    with contextlib.ExitStack() as stack:
        other = of_image(engine, stack, image)
        if other.account.visible != subject.account.visible:
            return False
        return next(iter(differences.files(subject, other, semantic=True)), None) is None
