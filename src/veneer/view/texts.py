"""Paths, layers and remedies as every view writes them."""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.copies import Cause

REMEDIES = {
    "deleted": "delete it in the same RUN that made it, or do not copy it",
    "shadowed": "replace the directory in the layer that made it",
    "replaced": "make it what it becomes at once",
    "overwritten": "write it once, in the last of these layers",
    "rewritten": "set owner and mode where the file comes in: COPY --chown, --chmod, or in the same RUN",
}


def remedy(causes: Sequence[Cause]) -> str:
    """What to do about waste of these causes; "" for several: the one with the most to win stands first in a ledger."""
    return REMEDIES[causes[0].shown] if len(causes) == 1 else ""


def path_text(path: bytes) -> str:
    """A path in an image for programs: absolute; bytes that are no UTF-8 as \\xNN."""
    return "/" + path.decode("utf-8", "backslashreplace")


def path_bytes(text: str) -> bytes:
    """A path as somebody typed it, as layers have it."""
    import os

    return b"/".join(part for part in os.fsencode(text).split(b"/") if part not in (b"", b"."))


def spelled_out(path: bytes) -> bytes:
    """A path copied from veneer's output: `\\n`, `\\t`, `\\r`, `\\xNN` and `\\uNNNN` are what they stand for."""
    import re

    named = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\"}

    def plain(found: re.Match[bytes]) -> bytes:
        if found[1]:
            return bytes([int(found[1], 16)])
        return chr(int(found[2], 16)).encode("utf-8", "replace") if found[2] else named[found[3]]

    return re.sub(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|([ntr\\]))", plain, path)


def layer_numbers(layers: Sequence[int]) -> str:
    """Layers (counted from 0) as people count them, from 1: `1,3`; many as `1-3,5`."""
    spans: list[list[int]] = []
    for layer in layers:
        if spans and layer == spans[-1][1] + 1:
            spans[-1][1] = layer
        else:
            spans.append([layer, layer])
    return ",".join(f"{first + 1}" if first == last else f"{first + 1}{',' if last == first + 1 else '-'}{last + 1}"
                    for first, last in spans)  # fmt: skip
