"""A tree cut in two, so that two processes look at it side by side."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

WORTHWHILE = 16_000
"""Entries below which one process is done before the other has begun well."""
_DIRECTORY = 4
"""How many entries' time it takes to open and list a directory."""
_MOST = 1000


def later_half(entries: Mapping[bytes, int]) -> list[bytes]:
    """Directories that with all beneath them take half of the time it takes to look at a tree, from its end.

    `entries` has how many names are in each directory, by path; those that are beneath none of the others are gone
    through in this order, and what is in them by name.  Empty for a tree that is not WORTHWHILE.
    """
    whole = {path: count + _DIRECTORY for path, count in entries.items()}
    inside: dict[bytes, list[bytes]] = {}
    for path in sorted(entries, key=lambda path: path.split(b"/"), reverse=True):  # what is beneath comes first
        above = path.rpartition(b"/")[0]
        if path and above in whole:
            whole[above] += whole[path]
            inside.setdefault(above, []).append(path)
    tops = [path for path in entries if not path or path.rpartition(b"/")[0] not in whole]
    wanted = sum(whole[path] for path in tops) // 2
    if wanted * 2 < WORTHWHILE:
        return []
    enough = wanted // 20
    found: list[bytes] = []
    todo = list(reversed(tops))
    while todo and wanted > enough and len(found) < _MOST:
        path = todo.pop(0)
        if whole[path] <= wanted:
            found.append(path)
            wanted -= whole[path]
        else:
            todo = inside.get(path, [])
    return found
