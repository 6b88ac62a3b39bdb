"""Which layers of an image somebody means: `3`, `row:7`, a diff ID, the name of an image below."""

from __future__ import annotations

from collections.abc import Callable

from veneer.engine.rework.rows import NoSuchStep, steps
from veneer.oci.digest import ChainID
from veneer.oci.image import ImageConfig

_LEAST_HEX = 4
_LONGEST = 6
Find = Callable[[str], "ChainID | None"]
"""The chain ID of the top layer of the local image of that name, None where there is none."""


def layer_range(config: ImageConfig, first: str, last: str, find: Find, *, base: int = 0) -> tuple[int, int]:
    """The positions (base 0, both included) of the layers from `first` to `last`.

    Each is a layer's number (the base is 1), `row:N` (the oldest row is 1), a diff ID or chain ID or the unique
    beginning of one, or an image that this one is built on: as `first` the layer after that image's, as `last` its
    top one.  "" as `first` is the layer after the `base` lowest, as `last` the top.  Raises NoSuchStep.
    """
    what = f"image {config.image_id.short}"
    count = len(config.diff_ids)
    if not count:
        raise NoSuchStep(f"{what} has no layers")
    begin = _position(config, first, find, begins=True) if first else base
    end = _position(config, last, find, begins=False) if last else count - 1
    if begin > end:
        raise NoSuchStep(
            f"{what}: from {first or base + 1} to {last or count} is no layer: {begin + 1} comes after {end + 1}",
            hint=f"layers count from the base, 1 to {count}; veneer history --layers shows them, newest first",
        )
    return begin, end


def _position(config: ImageConfig, text: str, find: Find, *, begins: bool) -> int:
    count, what = len(config.diff_ids), f"image {config.image_id.short}"
    if text.isascii() and text.isdigit() and len(text) < _LEAST_HEX:
        if not 1 <= int(text) <= count:
            raise NoSuchStep(f"{what} has no layer {text}", hint=f"layers count from the base, 1 to {count}")
        return int(text) - 1
    if text.startswith("row:"):
        return _of_row(config, text, begins=begins)
    prefix = text if text.startswith("sha256:") else "sha256:" + text
    if len(prefix) >= len("sha256:") + _LEAST_HEX:
        found = {at for at, diff_id in enumerate(config.diff_ids) if diff_id.startswith(prefix)}
        found |= {at for at, chain_id in enumerate(config.chain_ids) if chain_id.startswith(prefix)}
        if len(found) == 1:
            return found.pop()
        if found:
            raise NoSuchStep(
                f"{what}: {text} may be any of the layers {', '.join(str(at + 1) for at in sorted(found))}"
            )
    top = find(text)
    if top in config.chain_ids:
        return config.chain_ids.index(top) + (1 if begins else 0)
    raise NoSuchStep(
        f"{what} has no layer {text}",
        hint=f"give a layer's number (1 to {count}), row:N, a diff ID, or an image that it is built on",
    )


def _of_row(config: ImageConfig, text: str, *, begins: bool) -> int:
    """The first layer made by that row or a later one; as an end, the last made by it or an earlier one."""
    rows = [step for step in steps(config) if step.row is not None]
    number = text.removeprefix("row:")
    if not (number.isascii() and number.isdigit() and len(number) < _LONGEST) or not 1 <= int(number) <= len(rows):
        raise NoSuchStep(
            f"image {config.image_id.short} has no history row {number}",
            hint=f"rows count from the oldest, 1 to {len(rows)}",
        )
    if any(step.unplaced for step in rows):
        raise NoSuchStep(
            f"image {config.image_id.short}: its history has fewer rows than there are layers, and does not tell which "
            "made which",
            hint=f"give a layer's number (1 to {len(config.diff_ids)})",
        )
    at = int(number) - 1
    layers = [step.layer for step in (rows[at:] if begins else rows[: at + 1]) if step.layer is not None]
    if not layers:
        side = "from" if begins else "up to"
        raise NoSuchStep(f"image {config.image_id.short}: no history row {side} {number} makes a layer")
    return (layers[0] if begins else layers[-1]) - 1
