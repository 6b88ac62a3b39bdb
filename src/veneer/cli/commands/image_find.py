"""`veneer image find`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.looked import (
    HUMAN,
    NO_TRUNC,
    WHERE,
    image_and,
    in_words,
    instruction,
    looked_at,
    mode_text,
    owner,
    path_bytes,
    path_text,
    shown_path,
    spelled_out,
)
from veneer.cli.reworked import joined
from veneer.cli.units import human_size, local_rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from veneer.analysis.copies import Copy
    from veneer.analysis.events import Event
    from veneer.analysis.names import Relation
    from veneer.engine.looking.subject import Subject

MOST_NAMES = 3
_LETTERS = {
    "REGULAR": "file", "DIRECTORY": "directory", "SYMLINK": "symlink", "HARDLINK": "hard link",
    "CHARACTER": "device", "BLOCK": "device", "FIFO": "fifo",
}  # fmt: skip


def _changed(event: Event) -> str:
    from veneer.analysis.events import Op

    if event.op is Op.DELETED:
        how = event.cause.shown if event.cause else "deleted"
        return how if event.by == event.path else f"{how} with {shown_path(event.by)}"
    if event.op is Op.ADDED:
        return "-"
    return ",".join(event.changed) or "nothing"


def _named(paths: tuple[bytes, ...]) -> str:
    """Some names, for a sentence."""
    more = [f"{len(paths) - MOST_NAMES} more"] if len(paths) > MOST_NAMES else []
    return joined([*map(shown_path, paths[:MOST_NAMES]), *more])


def _links(subject: Subject, path: bytes, related: dict[int, Relation], human: bool) -> Iterator[str]:
    """What is to be said of a file's other names: by the layer of each copy."""
    shown, told = shown_path(path), None
    for layer, relation in related.items():
        if relation.broke:
            entry = subject.table.entry(next(copy for copy in subject.table.find(path)[0] if copy.layer == layer), path)
            size = human_size(entry.size) if human else str(entry.size)
            yield (f"Layer {layer + 1} breaks the hard link with {_named(relation.broke)}, which keeps the old file: "
                   f"{size} more are stored")  # fmt: skip
        if relation.others and relation.others != told:
            told = relation.others
            yield f"{shown} of layer {layer + 1} is a hard link: one file with {_named(relation.others)}"


def _history(subject: Subject, related: dict[int, Relation], *, truncate: bool, human: bool) -> Listing[Event]:
    from veneer.analysis.names import Relation

    origins, alone = subject.origins, Relation()

    def names(event: Event, which: str) -> str:
        relation = alone if event.op.value == "D" else related.get(event.layer, alone)
        return " ".join(map(shown_path, getattr(relation, which)))

    def size(event: Event) -> str:
        return human_size(event.entry.size) if human else str(event.entry.size)

    return Listing("file of an image", (
        Column("Layer", "LAYER", lambda event: str(event.layer + 1)),
        Column("Op", "OP", lambda event: event.op.value),
        Column("Kind", "KIND", lambda event: _LETTERS[event.entry.kind.name]),
        Column("Size", "SIZE", size),
        Column("Mode", "MODE", lambda event: mode_text(event.entry.mode)),
        Column("Owner", "OWNER", lambda event: owner(event.entry.uid, event.entry.gid)),
        Column("Changed", "CHANGED", _changed),
        Column("Instruction", "INSTRUCTION",
               lambda event: instruction(origins[event.layer].shown, truncate=truncate)),
        Column("Modified", "MODIFIED", lambda event: local_rfc3339(event.entry.mtime_ns / 1e9)),
        Column("Link", "LINK", lambda event: event.entry.link.decode("utf-8", "backslashreplace")),
        Column("Digest", "DIGEST",
               lambda event: (event.entry.digest.hex()[:12] if truncate else "sha256:" + event.entry.digest.hex())
               if event.entry.digest else ""),
        Column("ChainID", "CHAIN ID", lambda event: str(origins[event.layer].chain_id or "")),
        Column("Path", "PATH", lambda event: path_text(event.path)),
        Column("Names", "OTHER NAMES", lambda event: names(event, "others")),
        Column("Broke", "BREAKS LINK WITH", lambda event: names(event, "broke")),
    ))  # fmt: skip


_Found = tuple[bytes, "tuple[Copy, ...]"]


def _paths(subject: Subject, *, human: bool) -> Listing[_Found]:
    from veneer.analysis.events import events_of
    from veneer.analysis.names import Names

    table = subject.table

    holding = Names(table, len(table.indexes))

    def sizes(found: _Found) -> tuple[int, int, int]:
        return holding.of_path(found[1])

    def size(number: int) -> str:
        return human_size(number) if human else str(number)

    def events(found: _Found) -> str:
        return " ".join(f"{event.layer + 1}{event.op.value}" for event in events_of(table, *found))

    return Listing("file of an image", (
        Column("Events", "EVENTS", events),
        Column("Size", "SIZE", lambda found: size(sizes(found)[0])),
        Column("Hidden", "HIDDEN", lambda found: size(sizes(found)[1])),
        Column("Path", "PATH", lambda found: path_text(found[0])),
    ))  # fmt: skip


def run(app: App, given: Parsed) -> None:
    name, (text,) = image_and(app, given, 1, FIND.usage)
    path, format = path_bytes(text), given.text("format")
    human = in_words(given)
    with looked_at(app, given, name, contents=False) as subject:
        from veneer.analysis.events import history_of

        events = history_of(subject.table, path) or history_of(subject.table, spelled_out(path))
        if not events and any(char in text for char in "*?["):
            _by_pattern(app, given, subject, path)
            return
        if not events:
            raise not_there(subject, path)
        if given.flag("quiet") and format in ("", "table"):
            app.write("".join(f"{event.layer + 1}\n" for event in events))
            return
        from veneer.analysis.names import relations

        path = events[0].path
        copies, _ = subject.table.find(path)
        related = {copy.layer: each for copy, each in zip(copies, relations(subject.table, path, copies), strict=True)}
        kind = _history(subject, related, truncate=not given.flag("no_trunc"), human=human)
        kind.show(app, events, format, ("Layer", "Op", "Size", "Mode", "Owner", "Changed", "Instruction"))
        if format in ("", "table"):
            for number, line in enumerate(_links(subject, path, related, human)):
                app.line(line if number else f"\n{line}")


def _by_pattern(app: App, given: Parsed, subject: Subject, pattern: bytes) -> None:
    import fnmatch
    import re

    from veneer.analysis.events import matching

    format = given.text("format")
    # As `find -path` has it, `*` also stands for slashes; a pattern without any is looked for in all directories.
    wanted = re.compile((rb"" if b"/" in pattern else rb"(?:.*/)?") + fnmatch.translate(pattern.decode("latin-1"))
                        .encode("latin-1"), re.DOTALL)  # fmt: skip
    found = list(matching(subject.table, wanted))
    if not found:
        raise not_there(subject, pattern)
    if given.flag("quiet") and format in ("", "table"):
        for path, _ in found:
            app.line(path_text(path))
        return
    _paths(subject, human=in_words(given)).show(app, found, format, ("Events", "Size", "Hidden", "Path"))


def not_there(subject: Subject, path: bytes) -> Exception:
    """What to raise for a path that no layer has; where one above it is a symlink, it says where that leads."""
    from veneer.analysis.view import NotThere
    from veneer.changeset.entry import Kind

    table = subject.table
    above = path
    hint = "veneer image find IMAGE '*NAME*' finds it wherever it is"
    while above := above.rpartition(b"/")[0]:
        copies, _ = table.find(above)
        if copies:
            entry = table.entry(copies[-1], above)
            if entry.kind is Kind.SYMLINK:
                target = entry.link.decode("utf-8", "backslashreplace")
                hint = f"{shown_path(above)} is a symlink to {target}"
            break
    return NotThere(f"{shown_path(path)} is in no layer of {subject.name}", hint=hint)


FIND = Command(
    run,
    "Show what each layer did to a file: who added, changed and deleted it",
    "[OPTIONS] IMAGE PATH|PATTERN",
    most=2,
    options=(
        Option("format", "string", LIST_FORMAT),
        HUMAN,
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show the numbers of the layers; of a pattern, the paths"),
        *WHERE,
    ),
    only_looks=True,
)
