"""What another engine's images are made of, told as our own are."""

from __future__ import annotations

from veneer.analysis.history import HistoryRow, LayerFacts
from veneer.analysis.history import history as rows_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.distribution.foreign.root import ForeignRoot
    from veneer.oci.digest import ImageID
    from veneer.oci.reference import Reference


def history(root: ForeignRoot, name: str) -> list[HistoryRow]:
    """How an image of another engine's came to be, newest step first, each with its layer where it made one.

    Raises NoSuchForeignImage, ForeignDamaged.
    """
    image = root.image(name)
    known = {each.config.image_id: each for each in root.images}
    ancestry: dict[ImageID, tuple[Reference, ...]] = {}
    step = image
    while step.config.image_id not in ancestry:
        ancestry[step.config.image_id] = step.references
        if step.parent is None or step.parent not in known:
            break
        step = known[step.parent]
    layers = [root.layer(chain) for chain in image.config.chain_ids]
    facts = [LayerFacts(each.diff_id, each.chain_id, each.size, None, each.directory) for each in layers]
    return rows_of(image.config, list(ancestry.items()), facts)
