"""How two images differ: in files, in configuration, in history."""

from __future__ import annotations

import json
from collections.abc import Iterator

from veneer.analysis.comparison import Difference, compare
from veneer.engine.looking.subject import Subject
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.oci.image import HistoryEntry

_TIMES = ("created",)
_MAKERS_OWN = ("container", "container_config", "docker_version", "moby.buildkit.buildinfo.v1", "id", "parent")


class Setting(Value):
    """A key of the two image configs with its values as JSON, "" where it is not set."""

    __slots__ = ()
    key: str
    before: str
    after: str


class RowChange(Value):
    """A history row that only one image has, or that is another one: row `number` counts from 1, oldest first."""

    __slots__ = ()
    number: int
    before: str
    after: str


def files(first: Subject, second: Subject, *, semantic: bool = False, expand: bool = False) -> Iterator[Difference]:
    """The paths that differ, by path; see `analysis.comparison`."""
    names = tuple(tuple(origin.diff_id for origin in subject.origins) for subject in (first, second))
    return compare(first.table, second.table, (names[0], names[1]), semantic=semantic, expand=expand)


def settings(first: Subject, second: Subject, *, semantic: bool = False) -> list[Setting]:
    """The keys of the configs that differ, by name; environment and labels one by one.

    `semantic` leaves out times and what only tells how the image was made.
    """
    one, other = (_flat(subject, semantic) for subject in (first, second))
    return [Setting(key, one.get(key, ""), other.get(key, ""))
            for key in sorted(one.keys() | other.keys()) if one.get(key) != other.get(key)]  # fmt: skip


def _flat(subject: Subject, semantic: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in subject.config.document.items():
        if key in ("config", "rootfs", "history") or (semantic and key in (*_TIMES, *_MAKERS_OWN)):
            continue
        found[key] = _json(value)
    for key, value in subject.config.run.items():
        if semantic and key in ("Image", "Hostname"):
            continue
        if key == "Env" and isinstance(value, list):
            for pair in value:
                name, _, text = str(pair).partition("=")
                found[f"Env.{name}"] = text
        elif isinstance(value, dict):
            for name, text in value.items():
                found[f"{key}.{name}"] = text if isinstance(text, str) else _json(text)
        elif value not in (None, "", [], False):  # Go writes what is not set, too
            found[key] = value if isinstance(value, str) else _json(value)
    return found


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def history(first: Subject, second: Subject, *, semantic: bool = False) -> list[RowChange]:
    """The rows that differ, oldest first, row against row as far as both begin alike, then the best match.

    `semantic` does not look at the times of rows.
    """
    import difflib

    def key(row: HistoryEntry) -> tuple[str, ...]:
        return (row.created_by, row.comment, str(row.empty_layer), "" if semantic else row.created)

    one, other = first.config.history, second.config.history
    matcher = difflib.SequenceMatcher(None, [key(row) for row in one], [key(row) for row in other], autojunk=False)
    found = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            continue
        for offset in range(max(b - a, d - c)):
            before = one[a + offset].created_by if a + offset < b else ""
            after = other[c + offset].created_by if c + offset < d else ""
            found.append(RowChange((a if a + offset < b else c) + offset + 1, before, after))
    return found
