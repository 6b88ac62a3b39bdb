"""`--exclude`: parts of a selection that are not copied after all.

A directory's entries are matched by their path below it, any other source by its name.
Source: moby/buildkit frontend/dockerfile/docs/reference.md (COPY --exclude).
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Sequence

from veneer.build.context.ignore import Ignore, State
from veneer.build.context.scan import MODE, WIDTH, Folder
from veneer.build.context.select import Root


def without(roots: Sequence[Root], ignore: Ignore) -> list[Root]:
    """The sources, each without what is excluded."""
    left = []
    for root in roots:
        if root.folder is None:
            if not ignore.excludes(root.base.rpartition(b"/")[2]):
                left.append(root)
            continue
        root.folder = _without(root.folder, "", ignore, ignore.start)
        left.append(root)
    return left


def _without(folder: Folder, below: str, ignore: Ignore, state: State) -> Folder:
    """A folder's copy with what is left of it; itself if that is all."""
    excluded = ignore.filter(state) or (lambda path, name: False)
    names: list[bytes] = []
    rows = array("q")
    folders: dict[bytes, Folder] = {}
    for number, name in enumerate(folder.names):
        text = os.fsdecode(name)
        path = f"{below}/{text}" if below else text
        gone = excluded(path, text)
        row = folder.rows[number * WIDTH : number * WIDTH + WIDTH]
        if stat.S_ISDIR(row[MODE]):
            if gone and ignore.hopeless(path):
                continue
            inside = _without(folder.folders[name], path, ignore, ignore.enter(path, state)[1])
            if gone and not inside.names:
                continue
            folders[name] = inside
        elif gone:
            continue
        names.append(name)
        rows.extend(row)
    if len(names) == len(folder.names) and all(folders[name] is folder.folders[name] for name in folders):
        return folder
    found = Folder(folder.path, folder.row, names, rows)
    found.folders = folders
    return found
