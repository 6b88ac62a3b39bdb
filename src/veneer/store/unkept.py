"""What a store's disk could not keep of its layers: owners that no user namespace mapped, and device files.

Layers' indexes say what is true; only who reads merged files has to ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.changeset.entry import Entry, Kind
from veneer.drivers.userns import MACHINE, Standing, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.changeset.index import LayerIndex
    from veneer.store.layers import Layer, LayerStore

DEVICES = (Kind.CHARACTER, Kind.BLOCK)


def unkept(layers: LayerStore, stack: Sequence[Layer]) -> dict[bytes, Entry]:
    """What is true of paths in the union of `stack` (base first) whose files on the disk say something else.

    A path that nothing in the union has any more may be among them.
    """
    here = standing()
    found: dict[bytes, Entry] = {}
    if here.kind != MACHINE:
        for layer in stack:
            with layers.index(layer.diff_id) as index:
                _lay_over(found, index, here)
    return found


def _lay_over(found: dict[bytes, Entry], index: LayerIndex, here: Standing) -> None:
    links: dict[bytes, bytes] = {}
    for entry in index:
        if entry.implied:
            continue
        if entry.kind is Kind.HARDLINK:
            links[entry.path] = entry.link
        elif entry.kind is not Kind.WHITEOUT and (entry.kind in DEVICES or not here.keeps(entry.uid, entry.gid)):
            found[entry.path] = entry
        else:
            found.pop(entry.path, None)
    for path, target in links.items():
        seen = {path}
        while target in links and target not in seen:
            seen.add(target)
            target = links[target]
        if target in found:
            found[path] = found[target]
        else:
            found.pop(path, None)
