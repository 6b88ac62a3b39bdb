"""The parts of `image dockerfile` that look into the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.engine.rework import bases, stacking
from veneer.engine.rework.dockerfile import FROM_SCRATCH, Recovered, recover

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.changeset.entry import Entry
    from veneer.store.images import Image
    from veneer.store.store import Store

FOUND_BY = {
    "label": "the image's labels", "annotation": "the image's annotations",
    "parent": "the images it was made of step by step", "layers": "its layers, which are the lowest of this image's",
    "container": "the container, which was made of it",
}  # fmt: skip


def not_the_base(what: str, name: str) -> bases.NotTheBase:
    """What to raise where `what` does not have the layers of the image `name` below its own."""
    return bases.NotTheBase(
        f"{what} is not built on {name}: its lowest layers are others",
        hint="without --base the base is searched for; --base scratch shows every row",
    )


def recovered(store: Store, image: Image, base: Image | None, *, search: bool) -> Recovered:
    """The Dockerfile of `image` on `base`; without one it is searched for, or taken to be scratch."""
    config = image.config
    name, found = FROM_SCRATCH, ""
    if base is not None:
        name = bases.Base(base, "").name
    elif search and (guess := bases.find_base(store, image)) is not None:
        base, name, found = guess.image, guess.name, FOUND_BY[guess.how]
    if base is not None and not bases.is_base(base.config, config):
        raise not_the_base(f"image {image.id.short}", name)
    with stacking.opened_indexes(store, config) as indexes:

        def files(layer: int) -> Sequence[Entry]:
            return [entry for entry in indexes[layer - 1] if not entry.implied]

        return recover(
            config, base.config if base else None, name, found,
            skip=bases.shared_rows(base.config, config) if base else 0,
            layers=len(base.config.diff_ids) if base else 0, files=files,
        )  # fmt: skip
