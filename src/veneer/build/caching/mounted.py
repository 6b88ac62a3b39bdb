"""Which mounted file made a RUN miss the cache: its layer does not hold them, so a list is kept beside the step.

The list is in the facts' note (store/builds.encode): for people, and no part of the key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from veneer.build.caching.explain import MAX_DETAILS, Miss
from veneer.build.context.scan import MODE, SIZE, WIDTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.build.context.select import Root, Selection

    Facts = Mapping[str, Any]
    Row = Sequence[Any]

MAX_FILES = 2_000
"""Files and directories of one mount that are remembered; of more, none is."""
MAX_BYTES = 256 << 10
"""What the lists of one step may take, about."""
_ROW_BYTES = 40
"""What a row takes beside its path."""
_DIGEST_BYTES = 6
"""Of a digest: twelve hexadecimal digits, as people are shown."""


def listed(selection: Selection) -> list[Row]:
    """`[path, st_mode, size, digest]` of everything below a mount's source; [] if that is too much to remember.

    The path is relative to the source, "" for the source itself where that is
    a file; the digest is the content's, or a link's checksum, in hexadecimal.
    """
    if sum(len(folder.names) for folder in selection.folders()) > MAX_FILES:
        return []
    selection.complete()
    rows = [row for root in selection.roots for row in _rows(root)]
    return rows if size(rows) <= MAX_BYTES else []


def size(rows: Sequence[Row]) -> int:
    """About what rows take, in bytes."""
    return sum(len(row[0]) + _ROW_BYTES for row in rows)


def _rows(root: Root) -> Iterator[Row]:
    if root.folder is None:
        yield "", root.row[MODE], root.row[SIZE], root.digest[:_DIGEST_BYTES].hex()
        return
    begin = len(root.folder.path)
    for folder in root.folder.walk():
        below = os.fsdecode(folder.path[begin:].strip(b"/"))
        assert folder.digests is not None and folder.sums is not None
        for number, name in enumerate(folder.names):
            at, digest = 32 * number, folder.digests
            if not any(digest[at : at + 32]):  # no regular file
                digest = folder.sums
            mode, length = folder.rows[number * WIDTH + MODE], folder.rows[number * WIDTH + SIZE]
            yield _joined(below, os.fsdecode(name)), mode, length, digest[at : at + _DIGEST_BYTES].hex()


def _joined(one: str, other: str) -> str:
    return f"{one}/{other}" if one and other else one or other


def differing(old: Facts, new: Facts) -> Miss:
    """What differs in the mounts of two steps, the first file of it first."""
    was, now = old.get("mounts") or {}, new.get("mounts") or {}
    names = [name for name in sorted({*was, *now}) if was.get(name) != now.get(name)]
    summaries = [line for name in names for line in _lines(name, old, new)]
    more = len(summaries) - MAX_DETAILS
    return Miss("mount", summaries[0], (*summaries[1:MAX_DETAILS], *([f"and {more} more"] if more > 0 else ())))


def _lines(name: str, old: Facts, new: Facts) -> Iterator[str]:
    """What differs in what is mounted from one source; see Source.name."""
    was, now = old.get("mounts") or {}, new.get("mounts") or {}
    place, _, inner = name.partition(":/")
    place = f"stage {place}" if place.isdecimal() else place
    fact = now.get(name) or was.get(name) or ""
    words = f"{place}'s {inner}{'/' if fact.startswith('dir:') else ''}" if inner else place
    if name not in was:
        yield f"{words} was not mounted"
    elif name not in now:
        yield f"{words} is not mounted any more"
    elif not now[name]:
        yield f"what is mounted from {words} is yet to be made"
    else:
        before, after = _remembered(old, name), _remembered(new, name)
        found = _compared(before, after, inner) if before and after else []
        yield from (f"mounted from {place}: {line}" for line in found)
        if not found:
            yield f"what is mounted from {words} is not the same{_why_no_file(before, after, fact)}"


def _remembered(facts: Facts, name: str) -> list[Row]:
    rows: list[Row] = facts.get("note", {}).get("mounts", {}).get(name, [])
    return rows


def _compared(before: Sequence[Row], after: Sequence[Row], inner: str) -> list[str]:
    from veneer.build.caching.difference import Seen, lines, seen

    def read(rows: Sequence[Row]) -> dict[bytes, Seen]:
        named = ((os.fsencode(_joined(inner, path)), mode, size, digest) for path, mode, size, digest in rows)
        return {path: seen(path, mode, size, bytes.fromhex(digest)) for path, mode, size, digest in named}

    return lines(read(after), read(before))


def _why_no_file(before: Sequence[Row], after: Sequence[Row], fact: str) -> str:
    if fact.startswith("layers:"):
        return ": it is another file system"
    if before and after:
        return ": an owner or an attribute of some file is another"
    if after:
        return "; which files it had was not noted"
    return f"; of more than {MAX_FILES} files, or very long names, it is not noted which they are"
