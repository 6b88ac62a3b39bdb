"""Images of the store that are the same as one that is looked at, in one of three ways."""

from __future__ import annotations

import contextlib

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.engine.engine import Engine
    from veneer.engine.looking.subject import Subject
    from veneer.oci.reference import Reference
    from veneer.store.images import Image

SAME, LAYERS, FILES = "image", "layers", "files"


class Twin(Value):
    """Another image, and `how` it is the same: the "image" itself, its "layers" with another configuration, or its
    "files" made by other layers (times aside).  `name` is what to call it."""

    __slots__ = ()
    image: Image
    how: str
    name: str


def other_names(engine: Engine, subject: Subject) -> Iterator[Twin]:
    """The names that an image of the store has beside the one it was asked for by."""
    if subject.documents.where == "store":
        image = engine.images.get(str(subject.config.image_id))
        asked = {str(reference) for reference in _meant(subject.name)}
        for reference in image.references:
            if reference.digest is None and str(reference) not in asked:
                yield Twin(image, SAME, reference.familiar)


def _meant(name: str) -> tuple[Reference, ...]:
    from veneer.oci.reference import InvalidReference, Reference

    try:
        return (Reference.parse(name).tagged(),)
    except InvalidReference:
        return ()  # an ID


def twins(engine: Engine, subject: Subject, *, files: bool = False) -> Iterator[Twin]:
    """The images of the store that are the same, the nearest kinds first.

    An image of the store is not its own twin: see `other_names`.  `files` also compares the files of every other image
    that shows as many bytes: slow in a large store.
    """
    import os

    from veneer.engine.looking.origins import name_of

    if not os.path.isdir(engine.config.root_name):
        return
    config, stored = subject.config, subject.documents.where == "store"
    others = []
    for image in engine.store.images.list():
        if image.id == config.image_id:
            if not stored:
                yield Twin(image, SAME, name_of(image))
        else:
            others.append(image)
    top = config.chain_ids[-1] if config.chain_ids else None
    yield from (Twin(image, LAYERS, name_of(image)) for image in others if image.top == top)
    if files:
        yield from (
            Twin(image, FILES, name_of(image))
            for image in others
            if image.top != top and _shows_the_same(engine, subject, image)
        )


def _shows_the_same(engine: Engine, subject: Subject, image: Image) -> bool:
    from veneer.engine.looking import differences
    from veneer.engine.looking.sources import of_image

    with contextlib.ExitStack() as stack:
        other = of_image(engine, stack, image)
        if other.account.visible != subject.account.visible:
            return False
        return next(iter(differences.files(subject, other, semantic=True)), None) is None
