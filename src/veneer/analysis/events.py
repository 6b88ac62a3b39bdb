"""What layers did to paths: added, changed, deleted, replaced.  The history of one path; paths found by pattern."""

from __future__ import annotations

import enum
from collections.abc import Iterator

from veneer.analysis.copies import NEVER, Cause, Copy, Run
from veneer.analysis.table import Table
from veneer.changeset.entry import Entry, Kind
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_OPS = {Cause.OVERWRITTEN: "M", Cause.REWRITTEN: "P", Cause.REPLACED: "O"}
_WHITEOUT = int(Kind.WHITEOUT)


class Op(enum.StrEnum):
    """What happened to a path."""

    ADDED = "A"
    MODIFIED = "M"
    """Its content changed."""
    METADATA = "P"
    """It was stored once more with the same content: only what `Event.changed` names differs."""
    DELETED = "D"
    REPLACED = "O"
    """Something of another kind took its place."""


class Event(Value):
    """Layer `layer` (0 is the base) did `op` to `path`.

    `entry` is what is there afterwards; for DELETED what was there.  `changed` names the fields that differ from
    before: content, kind, link, device, mode, owner, mtime, xattrs.  DELETED: `cause` says how, at the path `by`, which
    may be a directory above.
    """

    __slots__ = ()
    path: bytes
    layer: int
    op: Op
    entry: Entry
    changed: tuple[str, ...] = ()
    cause: Cause | None = None
    by: bytes = b""


def events_of(table: Table, path: bytes, copies: tuple[Copy, ...]) -> list[Event]:
    """The events that the copies of a path stand for, lowest layer first."""
    found: list[Event] = []
    before: Copy | None = None
    for copy in copies:
        entry = table.entry(copy, path)
        if before is not None and before.ended == copy.layer and before.cause in _OPS:
            old = found[-1].entry
            found.append(Event(path, copy.layer, Op(_OPS[before.cause]), entry, changed_fields(old, entry)))
        else:
            if before is not None:
                found.append(_deletion(before, found[-1].entry))
            found.append(Event(path, copy.layer, Op.ADDED, entry))
        before = copy
    if before is not None and before.ended != NEVER:
        found.append(_deletion(before, found[-1].entry))
    return found


def _deletion(copy: Copy, entry: Entry) -> Event:
    return Event(entry.path, copy.ended, Op.DELETED, entry, cause=copy.cause, by=copy.by)


def changed_fields(old: Entry, new: Entry) -> tuple[str, ...]:
    """The names of what differs between two entries for one path; hard links are taken for their files before."""
    pairs: dict[str, tuple[object, object]] = {
        "kind": (old.kind, new.kind),
        # Contents of different sizes are not the same, and their digests may have to be made first.
        "content": (old.size, new.size) if old.size != new.size else (old.digest, new.digest),
        "link": (old.link, new.link),
        "device": (old.device, new.device),
        "mode": (old.mode, new.mode),
        "owner": ((old.uid, old.gid), (new.uid, new.gid)),
        "mtime": (old.mtime_ns, new.mtime_ns),
        "xattrs": (old.xattrs, new.xattrs),
    }
    return tuple(name for name, (before, after) in pairs.items() if before != after)


def history_of(table: Table, path: bytes) -> list[Event]:
    """All that layers did to one path, lowest layer first; [] if none has it."""
    copies, _ = table.find(path)
    return events_of(table, path, copies)


def matching(table: Table, pattern: re.Pattern[bytes]) -> Iterator[tuple[bytes, tuple[Copy, ...]]]:
    """(path, copies) of every path that any layer has and that `pattern` matches as a whole, by path."""
    matches = pattern.fullmatch
    for row in table.walk():
        if row.copies and matches(row.path):
            yield row.path, row.copies
        if row.run is not None:
            for number, path in entries_of(table, row.run, row.path):
                if matches(path):
                    yield path, (Copy(row.run.layer, number, row.run.ended, row.run.cause, row.run.by),)


def entries_of(table: Table, run: Run, path: bytes) -> Iterator[tuple[int, bytes]]:
    """(number, path) of what a run has beneath directory `path`, whiteouts left out."""
    if run.empty:
        return
    index = table.indexes[run.layer]
    kinds = index.kinds
    for number, below in index.subtree(run.start - 1, path) if path else _numbered(index.paths(), run.start):
        if kinds[number] != _WHITEOUT:
            yield number, below


def _numbered(paths: Iterator[bytes], start: int) -> Iterator[tuple[int, bytes]]:
    """Numbered paths from `start` on."""
    for number, path in enumerate(paths):
        if number >= start:
            yield number, path
