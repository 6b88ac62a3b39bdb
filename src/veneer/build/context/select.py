"""Which files a COPY or ADD means, and what they are called at the destination.

A wildcard matches component by component and only real directories are searched; a source that is a link is followed
and keeps its own name; of a directory what is in it is copied, not itself.
Source: moby/buildkit frontend/dockerfile/docs/reference.md (COPY), tonistiigi/fsutil copy.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence

from veneer.build.context import checksum as sums
from veneer.build.context import globs
from veneer.build.context.failures import SourceNotFound, shown
from veneer.build.context.ignore import Ignore
from veneer.build.context.scan import MODE, SIZE, WIDTH, Folder, Tree, row_of

_MANY = 64
"""Entries from which on a selection's checksum is remembered as a whole."""


class Root:
    """One source.  `base`: its path at the destination, b"" if what is in it goes into the destination.

    `given`: its path in the tree as named, `path`: the real one.  `folder` is None for what is no directory.
    `parents`: the directories to make for `base`, nearest to the destination first, with the rows of those copied.
    """

    __slots__ = ("base", "digest", "folder", "given", "parents", "path", "row", "sum")

    def __init__(self, base: bytes, given: bytes, path: bytes, row: tuple[int, ...], folder: Folder | None) -> None:
        self.base = base
        self.given = given
        self.path = path
        self.row = row
        self.folder = folder
        self.parents: list[tuple[bytes, tuple[int, ...]]] = []
        self.sum = b""
        self.digest = b""

    @property
    def is_dir(self) -> bool:
        return self.folder is not None

    @property
    def name(self) -> bytes:
        """What the source is called: the last component as named."""
        return self.given.rpartition(b"/")[2]


class Selection:
    """The sources of one instruction, in order; see `select`."""

    def __init__(self, tree: Tree, roots: Sequence[Root]) -> None:
        self.tree = tree
        self.roots = tuple(roots)

    def folders(self) -> Iterator[Folder]:
        """Every directory of every source."""
        for root in self.roots:
            if root.folder is not None:
                yield from root.folder.walk()

    @property
    def files(self) -> int:
        """Everything but directories."""
        inside = sum(len(folder.names) - len(folder.folders) for folder in self.folders())
        return inside + sum(root.folder is None for root in self.roots)

    @property
    def bytes(self) -> int:
        """The sizes of all regular files."""
        total = sum(root.row[SIZE] for root in self.roots if stat.S_ISREG(root.row[MODE]))
        for folder in self.folders():
            modes, sizes = folder.rows[MODE::WIDTH], folder.rows[SIZE::WIDTH]
            total += sum(size for mode, size in zip(modes, sizes, strict=True) if stat.S_ISREG(mode))
        return total

    def checksum(self) -> str:
        """`file:...`, `dir:...` or `multi:...`: docker's checksum, the cache's view of what is copied.

        Reads only what the stat memory does not know; of what it knows as a whole, entries are not looked up.
        Raises SourceNotFound, SourceChanged, BadContext.
        """
        memory, identity = self.tree.memory, self._identity()
        if memory is None or not identity:
            self.complete()
            return self.summary()
        known = memory.total(identity)
        if not known:
            self.complete()
            known = self.summary()
            memory.learn_total(self._identity(), self.folders(), known)
        return known

    def complete(self) -> None:
        """Have every entry's checksum and digest known.  Raises as `checksum` does."""
        from veneer.build.context.hashing import complete

        complete(self)

    def _identity(self) -> str:
        """A hash of everything but contents that the checksum hangs on; "" for sources that are not all directories,
        or small: those are quickly summed."""
        if any(root.folder is None for root in self.roots):
            return ""
        pieces = [repr((root.base, root.given, root.path, root.row, root.parents)).encode() for root in self.roots]
        count = 0
        for folder in self.folders():
            count += len(folder.names)
            # Unambiguous: names hold no NUL, and as many rows follow as there were names.
            pieces += (folder.path, *folder.names, b"", folder.rows.tobytes())
        if count < _MANY:
            return ""
        return hashlib.sha256(b"\0".join(pieces)).hexdigest() + ("n" if self.tree.normalised else "")

    def summary(self) -> str:
        """The checksum, when every file's is known."""
        found = [self._of(root) for root in self.roots]
        return found[0] if len(found) == 1 else sums.of_several(found)

    def _of(self, root: Root) -> str:
        if root.folder is None and not root.parents:
            return "file:" + root.sum.hex()
        parts = [sums.of_parent(path, row[MODE]) for path, row in root.parents]
        if root.folder is None or root.folder.path:
            parts.append(root.sum)
        for folder in root.folder.walk() if root.folder is not None else ():
            assert folder.sums is not None
            known = bytes(folder.sums)
            parts += [known[at : at + 32] for at in range(0, len(known), 32)]
        return sums.of_directory(parts)


def select(
    tree: Tree,
    patterns: Sequence[str],
    *,
    excludes: Sequence[str] = (),
    parents: bool = False,
    keyword: str = "COPY",
) -> Selection:
    """What `patterns` (as written, expanded) name in `tree`.

    `excludes` are --exclude's patterns, relative to each source; `parents` is --parents.
    Raises SourceNotFound with the nearest name that is there, EscapesContext, BadPattern, BadContext.
    """
    found: list[Root] = []
    for pattern in patterns:
        text = posixpath.normpath("/" + pattern).lstrip("/")
        if parents:
            from veneer.build.context.parents import with_parents

            found += with_parents(tree, pattern, keyword)
        elif globs.has_wildcards(text):
            matches = [_root(tree, match, match) for match in expand(tree, text)]
            found += [match for match in matches if match is not None]
        else:
            path = os.fsencode(globs.unescaped(text))
            root = _root(tree, path, path.rpartition(b"/")[2])
            if root is None:
                error = missing(tree, path, keyword)
                if leads_out(pattern):
                    taken = f"{shown(os.fsencode(pattern))} was taken as /{shown(path)}"
                    error.hint = f".. leads out of {tree.what}; {taken}"
                raise error
            found.append(root)
    if excludes:
        from veneer.build.context.excluding import without

        found = without(found, Ignore(excludes, source="--exclude"))
    return Selection(tree, found)


def leads_out(pattern: str) -> bool:
    """Whether the `..` of a path go further up than its names go down."""
    depth = 0
    for part in pattern.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return False


def _root(tree: Tree, path: bytes, name: bytes) -> Root | None:
    """The source that `path` is, links followed; None if there is nothing to be seen."""
    resolved = tree.resolve(path)
    if resolved is None:
        return None
    real, status = resolved
    if stat.S_ISDIR(status.st_mode):
        folder = tree.folder(real)
        if not folder.names and real and tree.ignore and tree.ignore.excludes(real):
            return None
        return Root(b"", path, real, row_of(status), folder)
    if tree.ignore and tree.ignore.excludes(real):
        return None
    return Root(name.rpartition(b"/")[2], path, real, row_of(status), None)


def expand(tree: Tree, pattern: str) -> list[bytes]:
    """The paths in the tree that match, in order.  Raises BadPattern."""
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if globs.has_wildcards(part))
    base = os.fsencode(globs.unescaped("/".join(parts[:first])))
    matchers = [globs.matcher(part) for part in parts[first:]]
    resolved = tree.resolve(base)
    if resolved is None or not stat.S_ISDIR(resolved[1].st_mode):
        return []
    found = [(base, resolved[0])]
    for depth, match in enumerate(matchers, 1):
        found = [
            (given + b"/" + name if given else name, real + b"/" + name if real else name)
            for given, real in found
            for name, mode in tree.listing(real)
            if (depth == len(matchers) or stat.S_ISDIR(mode)) and match.fullmatch(os.fsdecode(name))
        ]
    return [given for given, _ in found]


def missing(tree: Tree, path: bytes, keyword: str) -> SourceNotFound:
    """The error for a source that is not there: why, or what was perhaps meant."""
    message = f"{keyword} failed: {shown(path)}: no such file or directory in {tree.what}"
    resolved = tree.resolve(path)
    if resolved is not None:
        pattern = tree.ignore.deciding(resolved[0])
        return SourceNotFound(message, hint=f"{tree.ignore.source} excludes it: {pattern}")
    if keyword == "COPY" and path.startswith((b"http:/", b"https:/")):
        return SourceNotFound(message, hint="COPY has files of the context; ADD fetches what stands at a URL")
    if stray := _stray_link(tree, path):
        return SourceNotFound(message, hint=f"{stray}, which is not in {tree.what}")
    near = nearest(tree, path)
    return SourceNotFound(message, hint=f"did you mean {near}?" if near else "")


def _stray_link(tree: Tree, path: bytes) -> str:
    """The link on the way to `path`, or at its end, that leads to nothing in the tree; "" if there is none."""
    parts = path.split(b"/")
    for count in range(1, len(parts) + 1):
        prefix = b"/".join(parts[:count])
        if tree.resolve(prefix) is not None:
            continue
        link = tree.resolve(prefix, follow=False)
        if link is None or not stat.S_ISLNK(link[1].st_mode):
            return ""
        what = "it" if count == len(parts) else shown(prefix)
        return f"{what} is a link to {shown(os.readlink(link[0], dir_fd=tree.fd))}"
    return ""


def nearest(tree: Tree, path: bytes) -> str:
    """The path in the tree most like one that is not there; "" if none is."""
    import difflib

    directory, _, name = path.rpartition(b"/")
    resolved = tree.resolve(directory)
    if resolved is not None and stat.S_ISDIR(resolved[1].st_mode):
        names = [shown(each) for each, _ in tree.listing(resolved[0])]
        same = [each for each in names if each.lower() == shown(name).lower()]
        close = same or difflib.get_close_matches(shown(name), names, 1, 0.6)
        if close:
            return shown(directory) + "/" + close[0] if directory else close[0]
    everywhere = (
        folder.child(name) for folder in tree.folder(b"").walk() if name in folder.folders or name in folder.names
    )
    return shown(next(everywhere, b""))
