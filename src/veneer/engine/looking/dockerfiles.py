"""The Dockerfile again of whatever is looked at: an image wherever it is, or a container."""

from __future__ import annotations

from veneer.engine.looking.subject import Subject

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.changeset.entry import Entry
    from veneer.engine.engine import Engine
    from veneer.engine.rework.dockerfile import Recovered
    from veneer.store.images import Image


def dockerfile(engine: Engine, subject: Subject, base: str | None = None) -> Recovered:
    """The Dockerfile of `subject`, on the image of the store called `base`.

    None: it is searched for, and scratch where nothing is found; "scratch" can also be asked for.  Of an image in a
    registry no layer is read: what COPY and ADD brought is not listed.  Raises NotTheBase.
    """
    from veneer.engine.rework import bases
    from veneer.engine.rework.dockerfile import FROM_SCRATCH, recover
    from veneer.engine.rework.recovering import FOUND_BY, not_the_base

    config = subject.config
    if subject.documents.where == "store":
        return engine.images.dockerfile(str(config.image_id), base=base)
    image: Image | None = None
    name, found = FROM_SCRATCH, ""
    if base is None:
        said = engine.looking.stands_on(subject)
        if said is not None and said.image is not None and bases.is_base(said.image.config, config):
            image, name, found = said.image, said.name, FOUND_BY[said.how]
    elif base != FROM_SCRATCH:
        image, name = engine.images.get(base), base
        if not bases.is_base(image.config, config):
            raise not_the_base(subject.name, name)

    def files(layer: int) -> Sequence[Entry]:
        if subject.documents.where == "registry":
            return ()
        return [entry for entry in subject.indexes[layer - 1] if not entry.implied]

    return recover(
        config, image.config if image else None, name, found,
        skip=bases.shared_rows(image.config, config) if image else 0,
        layers=len(image.config.diff_ids) if image else 0, files=files,
    )  # fmt: skip
