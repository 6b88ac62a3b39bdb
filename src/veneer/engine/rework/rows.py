"""An image's history and layers cut apart and put together again; pure functions over configs."""

from __future__ import annotations

from collections.abc import Sequence

from veneer.errors import InvalidRequest
from veneer.oci import strictjson
from veneer.oci.digest import DiffID
from veneer.oci.image import HistoryEntry, ImageConfig
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAKERS_OWN = ("container", "container_config", "comment", "docker_version", "moby.buildkit.buildinfo.v1")
"""What says how the old image was made, and is not true of the new one."""


class NoSuchStep(InvalidRequest):
    """A layer or history row that the image does not have, or a range of them that is none."""


class Step(Value):
    """One history row with the layer it made.

    `row` counts from 1, oldest first, None for a layer that no row tells of; `layer` counts from 1, base first,
    None for a row that made none, or of which nobody knows which it made (`unplaced`).
    """

    __slots__ = ()
    entry: HistoryEntry | None
    row: int | None
    layer: int | None
    diff_id: DiffID | None
    unplaced: bool = False


def steps(config: ImageConfig, *, skip: int = 0, layers: int = 0) -> list[Step]:
    """The rows, oldest first, and after them the layers that have no row; without the oldest `skip` and `layers`.

    Where there are fewer rows that made a layer than layers, nobody knows which made which, and none is given any.
    """
    rows = config.history[skip:]
    known = sum(not entry.empty_layer for entry in rows) == len(config.diff_ids) - layers
    found: list[Step] = []
    at = layers
    for number, entry in enumerate(rows, skip + 1):
        if entry.empty_layer or not known:
            found.append(Step(entry, number, None, None, not entry.empty_layer))
        else:
            found.append(Step(entry, number, at + 1, config.diff_ids[at]))
            at += 1
    return found + [Step(None, None, each + 1, config.diff_ids[each]) for each in range(at, len(config.diff_ids))]


def whole_history(*parts: tuple[Sequence[HistoryEntry], int, str]) -> list[HistoryEntry]:
    """One history of several, the oldest first, in which as many rows made a layer as there are layers; [] if none has
    a row.

    Each part: its rows, how many layers it has, and when it was made.  Where fewer rows than layers say that they made
    one, nobody knows which made which, and whoever reads them in order (docker, from the base on) guesses.  So they
    stay, but as rows without a layer, as those of a squash do, and a row without words comes after them for each layer.
    """
    found: list[HistoryEntry] = []
    if any(rows for rows, _, _ in parts):
        for rows, layers, created in parts:
            if sum(not entry.empty_layer for entry in rows) == layers:
                found += rows
            else:
                found += [entry.replaced(empty_layer=True) for entry in rows]
                found += [HistoryEntry(created)] * layers
    return found


def history_of(config: ImageConfig) -> tuple[Sequence[HistoryEntry], int, str]:
    """An image as a part of a `whole_history`."""
    return config.history, len(config.diff_ids), config.created


def rows_of_layers(history: Sequence[HistoryEntry], layers: int) -> int:
    """How many rows it takes until `layers` layers have been made."""
    if not layers:
        return 0
    made = 0
    for number, entry in enumerate(history, 1):
        made += not entry.empty_layer
        if made == layers:
            return number
    return len(history)


def rewritten(
    config: ImageConfig,
    *,
    diff_ids: Sequence[DiffID],
    history: Sequence[HistoryEntry],
    created: str,
    run: dict[str, Any] | None = None,
    **top: Any,
) -> bytes:
    """The bytes of `config` with other layers, rows and (unless None) run configuration; `top` replaces further keys.

    What tells of the old image's making goes.  Keys are sorted, as Docker writes them.
    """
    document = {key: value for key, value in config.document.items() if key not in _MAKERS_OWN}
    document["created"] = created
    document["rootfs"] = {"type": "layers", "diff_ids": [str(each) for each in diff_ids]}
    if history or "history" in document:
        document["history"] = [row.to_json() for row in history]
    if run is not None:
        document["config"] = run
    for key, value in top.items():
        document[key] = value
        if value is None:
            del document[key]
    return strictjson.dumps(dict(sorted(document.items())))
