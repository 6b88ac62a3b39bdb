"""Values as JSON has them: paths, times, entries, instructions."""

from __future__ import annotations

import base64
import json

from veneer.oci import timestamp
from veneer.view.texts import path_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from veneer.changeset.entry import Entry
    from veneer.engine.looking.instructions import Instruction

    Json = dict[str, Any]

UNCHANGED = "U"
_LATEST = 253_402_300_800
"""The year 10000, which RFC 3339 cannot write."""


def as_json(document: Any) -> bytes:
    """A document as UTF-8; what a question had that is no UTF-8 goes back as escapes."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=(",", ":")).encode()


def text(data: bytes) -> str:
    """Bytes from an image as a text: what is no UTF-8 as \\xNN."""
    return data.decode("utf-8", "backslashreplace")


def path_document(path: bytes) -> Json:
    """{"path"}, and {"raw"} where the text does not say which bytes it is."""
    shown = {"path": path_text(path)}
    return shown if is_text(path) else shown | {"raw": base64.b64encode(path).decode()}


def is_text(path: bytes) -> bool:
    """Whether its text stands for these bytes alone."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def moment(seconds: float | None) -> str:
    """RFC 3339; "" where nobody knows, or no such text can say it."""
    if seconds is None or not 0 <= seconds < _LATEST:
        return ""
    return timestamp.render(seconds)


def mtime(nanoseconds: int) -> str:
    """RFC 3339; "" before 1970 and after 9999."""
    return timestamp.render(None, nanoseconds=nanoseconds) if 0 <= nanoseconds < _LATEST * 10**9 else ""


def kind(entry: Entry) -> str:
    """What it is: "file", "directory", "symlink", "hardlink", "character", "block", "fifo" or "whiteout"."""
    name = entry.kind.name.lower()
    return "file" if name == "regular" else name


def stat(entry: Entry) -> Json:
    """What there is at a path."""
    return {
        "type": kind(entry), "size": entry.size, "mode": f"{entry.mode:04o}", "uid": entry.uid, "gid": entry.gid,
        "mtime": mtime(entry.mtime_ns), "link": text(entry.link),
    }  # fmt: skip


def numbers(layers: Iterable[int]) -> list[int]:
    """Layers, counted from 0, as they are told: from 1."""
    return [layer + 1 for layer in layers]


def instruction(row: Instruction) -> Json:
    return {
        "keyword": row.keyword, "text": row.text, "shown": row.shown, "raw": row.raw, "created": moment(row.created),
        "args": dict(row.args), "comment": row.comment,
    }  # fmt: skip
