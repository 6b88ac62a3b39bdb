"""Which file made a COPY or ADD miss the cache: what is to be copied now, beside the layer that the step made before.

The layer's index is the old list of files; nothing was kept for it.  For a RUN's mounts something is: mounted.py.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping

from veneer.build.caching.explain import MAX_DETAILS, Miss
from veneer.build.context.scan import MODE, SIZE, WIDTH
from veneer.changeset.entry import Entry, Kind
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.build.context.select import Selection
    from veneer.changeset.index import LayerIndex

_KINDS = {
    stat.S_IFREG: Kind.REGULAR, stat.S_IFDIR: Kind.DIRECTORY, stat.S_IFLNK: Kind.SYMLINK, stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER, stat.S_IFBLK: Kind.BLOCK,
}  # fmt: skip
_CALLED = {
    Kind.REGULAR: "file", Kind.DIRECTORY: "directory", Kind.SYMLINK: "symbolic link", Kind.FIFO: "named pipe",
    Kind.CHARACTER: "character device", Kind.BLOCK: "block device", Kind.WHITEOUT: "deletion",
}  # fmt: skip


class Seen(Value):
    """One path to be copied, or mounted: `name` is what the user calls it."""

    __slots__ = ()
    name: bytes
    kind: Kind
    mode: int
    size: int
    digest: bytes


def chosen(selection: Selection, destination: bytes, into: bool) -> dict[bytes, Seen]:
    """What a selection would put where; call after its `complete()`.

    `destination` is the path in the image without its first slash, `into` whether it is a directory.
    """
    found: dict[bytes, Seen] = {}
    for root in selection.roots:
        place = _joined(destination, root.base) if into or root.folder is not None else destination
        if root.folder is None:
            found[place] = seen(root.given, root.row[MODE], root.row[SIZE], root.digest)
            continue
        if root.base:
            found[place] = seen(root.given, root.row[MODE], 0, b"")
        begin = len(root.folder.path)
        for folder in root.folder.walk():
            below = folder.path[begin:].strip(b"/")
            for number, name in enumerate(folder.names):
                at = number * WIDTH
                digest = bytes(folder.digests[32 * number : 32 * number + 32]) if folder.digests else b""
                path = _joined(place, _joined(below, name))
                given = _joined(_joined(root.given, below), name)
                found[path] = seen(given, folder.rows[at + MODE], folder.rows[at + SIZE], digest)
    return found


def _joined(one: bytes, other: bytes) -> bytes:
    return one + b"/" + other if one and other else one or other


def seen(name: bytes, mode: int, size: int, digest: bytes) -> Seen:
    """A path by its st_mode, its size and the digest of its content (zeros, or nothing, where it has none)."""
    kind = _KINDS.get(stat.S_IFMT(mode), Kind.REGULAR)
    return Seen(name, kind, stat.S_IMODE(mode), size if kind is Kind.REGULAR else 0, digest.strip(b"\0") and digest)


def compare(
    selection: Selection, destination: bytes, into: bool, index: LayerIndex, *, modes: bool,
    hidden: Callable[[bytes], str] = lambda path: "",
) -> Miss | None:  # fmt: skip
    """The files that differ from a former layer's; None if none does.

    `modes`: permissions come from the files (no --chmod).  `hidden` gives the pattern that keeps a path out of the
    context, "" if none does.
    """
    now = chosen(selection, destination, into)
    before = {entry.path: entry for entry in index if _is_copied(entry, destination, now)}
    summaries = [line for _, line in sorted(_lines(now, before, destination, modes, hidden))]
    if not summaries:
        return None
    more = len(summaries) - MAX_DETAILS
    details = (*summaries[1:MAX_DETAILS], *([f"and {more} more"] if more > 0 else ()))
    return Miss("file", summaries[0], details)


def lines(now: dict[bytes, Seen], before: dict[bytes, Seen]) -> list[str]:
    """What differs between two lists of files by the name the user has for them, the first thing first."""
    found = _lines(now, before, b"", True, lambda path: "")
    for path, each in now.items():
        old = before.get(path)
        if old is not None and each.kind is old.kind is Kind.SYMLINK and each.digest != old.digest:
            found.append((1, f"{_shown(each.name)}: the link points elsewhere"))
    return [line for _, line in sorted(found)]


def _is_copied(entry: Entry, destination: bytes, now: dict[bytes, Seen]) -> bool:
    """Whether an entry of the old layer is one of the files, not a directory that leads to them."""
    if entry.implied or entry.kind is Kind.WHITEOUT:
        return False
    if entry.kind is Kind.DIRECTORY and (destination + b"/").startswith(entry.path + b"/"):
        return entry.path in now
    return True


def _lines(
    now: Mapping[bytes, Seen], before: Mapping[bytes, Entry | Seen], destination: bytes, modes: bool,
    hidden: Callable[[bytes], str],
) -> list[tuple[int, str]]:  # fmt: skip
    found: list[tuple[int, str]] = []
    gone = {path: entry for path, entry in before.items() if path not in now}
    added = {path: seen for path, seen in now.items() if path not in before}
    for old, new in list(_renamed(gone, added)):
        found.append((2, f"{_shown(_source(old, destination))} is now called {_shown(added[new].name)}"))
        del gone[old], added[new]
    for path, seen in now.items():
        if path in before:
            found += [(1, line) for line in _changed(seen, before[path], modes)]
    for seen in added.values():
        what = "directory" if seen.kind is Kind.DIRECTORY else f"{seen.size} bytes"
        found.append((3, f"{_shown(seen.name)} is new ({what})"))
    for path in gone:
        name = _source(path, destination)
        pattern = hidden(name)
        why = f": .dockerignore excludes it now ({pattern})" if pattern else ""
        found.append((4, f"{_shown(name)} is gone{why}"))
    return found


def _renamed(gone: dict[bytes, Entry | Seen], added: dict[bytes, Seen]) -> Iterator[tuple[bytes, bytes]]:
    """Files that went under one name and came under another with the same content."""
    by_content: dict[tuple[bytes, int], list[bytes]] = {}
    for path, entry in gone.items():
        if entry.kind is Kind.REGULAR and entry.digest:
            by_content.setdefault((entry.digest, entry.size), []).append(path)
    for path, seen in added.items():
        if olds := by_content.get((seen.digest, seen.size)):
            yield olds.pop(0), path


def _changed(seen: Seen, entry: Entry | Seen, modes: bool) -> Iterator[str]:
    name = _shown(seen.name)
    kind = Kind.REGULAR if entry.kind is Kind.HARDLINK else entry.kind
    if kind is not seen.kind:
        yield f"{name}: was a {_CALLED[kind]}, is a {_CALLED[seen.kind]}"
        return
    if entry.kind is Kind.REGULAR and seen.digest and entry.digest != seen.digest:
        old, new = entry.digest.hex()[:12], seen.digest.hex()[:12]
        sizes = f"{entry.size} -> {seen.size} bytes, " if entry.size != seen.size else f"{seen.size} bytes, "
        yield f"{name}: other content ({sizes}sha256 {old} -> {new})"
    if modes and kind is not Kind.SYMLINK and entry.kind is not Kind.HARDLINK and entry.mode != seen.mode:
        yield f"{name}: mode {entry.mode:04o} -> {seen.mode:04o}"


def _source(path: bytes, destination: bytes) -> bytes:
    """What a path of the layer was probably called in the context."""
    inside = path.removeprefix(destination).lstrip(b"/") if path.startswith(destination) else path
    return inside or path.rpartition(b"/")[2]


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
