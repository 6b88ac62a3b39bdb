"""`--parents`: sources keep the directories they are in, from `/./` on if that is there.

Directories on the way get the source's attributes.  No link is followed on the way, `**` matches across directories.
Source: moby/buildkit frontend/dockerfile/docs/reference.md (COPY --parents), dockerfile2llb/convert_copy.go.
"""

from __future__ import annotations

import os
import posixpath
import stat

from veneer.build.context import globs
from veneer.build.context.ignore import Ignore
from veneer.build.context.scan import MODE, WIDTH, Folder, Tree, row_of
from veneer.build.context.select import Root, expand, missing


def with_parents(tree: Tree, pattern: str, keyword: str) -> list[Root]:
    """The sources that one pattern names.  Raises SourceNotFound unless it has wildcards."""
    before, pivot, after = pattern.partition("/./")
    if not pivot:
        before, after = "", pattern
    start = posixpath.normpath("/" + before).lstrip("/")
    wanted = posixpath.normpath("/" + after).lstrip("/")
    wild = globs.has_wildcards(start) or globs.has_wildcards(wanted)
    starts = expand(tree, start) if globs.has_wildcards(start) else [os.fsencode(globs.unescaped(start))]
    found: list[Root] = []
    for given in starts:
        resolved = tree.resolve(given)
        if resolved is None or not stat.S_ISDIR(resolved[1].st_mode):
            continue
        base = resolved[0]
        if not wanted:
            found.append(Root(b"", given, base, row_of(resolved[1]), tree.folder(base)))
        elif wild:
            found += _matching(tree, tree.folder(base), base, wanted)
        else:
            found += _exactly(tree, base, os.fsencode(globs.unescaped(wanted)))
    if not found and not wild:
        raise missing(tree, os.fsencode(globs.unescaped(f"{start}/{wanted}" if start else wanted)), keyword)
    return found


def _exactly(tree: Tree, base: bytes, wanted: bytes) -> list[Root]:
    path = base + b"/" + wanted if base else wanted
    resolved = tree.resolve(path, follow=False)
    if resolved is None or resolved[0] != path:
        return []  # nothing there, or a link on the way
    status = resolved[1]
    excluded = bool(tree.ignore) and tree.ignore.excludes(path)
    folder = tree.folder(path) if stat.S_ISDIR(status.st_mode) else None
    if excluded and not (folder is not None and folder.names):
        return []
    root = Root(wanted, path, path, row_of(status), folder)
    parts = wanted.split(b"/")
    for count in range(1, len(parts)):
        above = b"/".join(parts[:count])
        there = tree.status(base + b"/" + above if base else above)
        if there is not None:
            root.parents.append((above, row_of(there)))
    return [root]


def _matching(tree: Tree, top: Folder, base: bytes, pattern: str) -> list[Root]:
    """What the pattern matches below `top`: whole directories, and files with those they are in."""
    matcher = Ignore([pattern.replace("!", "\\!") if pattern.startswith("!") else pattern], source="--parents")
    found: list[Root] = []
    stack: list[tuple[Folder, list[tuple[bytes, tuple[int, ...]]]]] = [(top, [])]
    while stack:
        folder, above = stack.pop()
        below = []
        for number, name in enumerate(folder.names):
            path = folder.child(name)
            relative = path[len(base) + 1 :] if base else path
            row = tuple(folder.rows[number * WIDTH : number * WIDTH + WIDTH])
            matched = matcher.enter(os.fsdecode(relative), matcher.start)[0]
            is_dir = stat.S_ISDIR(row[MODE])
            if matched:
                root = Root(relative, path, path, row, folder.folders[name] if is_dir else None)
                root.parents = list(above)
                found.append(root)
            elif is_dir:
                below.append((folder.folders[name], [*above, (relative, row)]))
        stack.extend(reversed(below))
    return found
