"""`veneer image cost`: what paths or layers cost on the disk and to pull, and what a host that has something saves."""

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
    needs_no_name,
    path_bytes,
    shown_path,
)
from veneer.cli.reworked import joined
from veneer.cli.units import AT_MOST, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from veneer.analysis.cost import Cost
    from veneer.engine.looking.subject import Subject
    from veneer.oci.digest import DiffID

MOST_NAMES = 3


def _had(app: App, given: Parsed) -> set[DiffID]:
    """The layers of the images that the host has."""
    found: set[DiffID] = set()
    for name in given.texts("have"):
        with looked_at(app, given, name, contents=False) as subject:
            found.update(subject.config.diff_ids)
    return found


def _path(subject: Subject, path: bytes) -> bytes:
    """The path that is meant: where it is nothing but a symlink, or beneath one, what that leads to."""
    from veneer.changeset.entry import Kind
    from veneer.engine.looking.links import resolved

    table = subject.table
    copies, place = table.find(path)
    if place is not None or any(table.entry(copy, path).kind is not Kind.SYMLINK for copy in copies):
        return path  # a layer stores it, whatever took its place later
    return resolved(table.tree, path)


def run(app: App, given: Parsed) -> None:
    from veneer.analysis.cost import cost

    if needs_no_name(given) and all(word.startswith("/") for word in given.arguments):
        name, words = "", given.arguments
    else:
        name, words = image_and(app, given, 0, COST.usage)
    human = in_words(given)

    def size(number: int | None) -> str:
        return "-" if number is None else human_size(number) if human else str(number)

    had = _had(app, given)
    with looked_at(app, given, name, contents=False) as subject:
        paths = [_path(subject, path_bytes(word)) for word in words]
        blobs = [blob.size if blob is not None else None for blob in subject.documents.blobs]
        rows = cost(subject.table, blobs, paths or (b"",))
        if not rows:
            from veneer.analysis.view import NotThere

            raise NotThere(f"{shown_path(paths[0])} is in no layer of {subject.name}",
                           hint="veneer image find IMAGE '*name*' finds it wherever it is")  # fmt: skip
        is_table = given.text("format") in ("", "table")
        kind = _listing(subject, had, size, truncate=not given.flag("no_trunc"), human=human)
        kind.show(app, rows, given.text("format"), ("Layer", "Stored", "Pull", "Entries", *(["Have"] if had else []),
                                                    "Instruction"))  # fmt: skip
        if is_table:
            app.line("")
            _summary(app, subject, rows, paths, had, human_size if human else "{} bytes".format)


def _listing(
    subject: Subject, had: set[DiffID], size: Callable[[int | None], str], *, truncate: bool, human: bool
) -> Listing[Cost]:
    origins = subject.origins

    def pull(row: Cost) -> str:
        return (AT_MOST if origins[row.layer].at_most and human else "") + size(row.pull)

    return Listing("layer of an image", (
        Column("Layer", "LAYER", lambda row: str(row.layer + 1)),
        Column("Stored", "STORED", lambda row: size(row.stored)),
        Column("Pull", "PULL", pull),
        Column("PullAtMost", "PULL AT MOST", lambda row: str(origins[row.layer].at_most).lower()),
        Column("Entries", "ENTRIES", lambda row: str(row.entries)),
        Column("Have", "HAVE", lambda row: "yes" if origins[row.layer].diff_id in had else "no"),
        Column("Instruction", "INSTRUCTION",
               lambda row: instruction(origins[row.layer].shown, truncate=truncate)),
    ))  # fmt: skip


def _summary(
    app: App, subject: Subject, rows: list[Cost], paths: list[bytes], had: set[DiffID], size: Callable[[int], str]
) -> None:
    stored, known = sum(row.stored for row in rows), all(row.pull is not None for row in rows)
    pull = sum(row.pull or 0 for row in rows)

    def most(rows: list[Cost]) -> str:
        return "at most " if any(subject.origins[row.layer].at_most for row in rows) else ""

    if paths:
        about = f", about {most(rows)}{size(pull)} less to pull" if known else ""
        app.line(f"Without {' and '.join(map(shown_path, paths))}: {size(stored)} less stored{about}")
        kept = sum(row.kept for row in rows)
        if kept:
            names = list(dict.fromkeys(name for row in rows for name in row.names))
            more = [f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
            shown = joined([*map(shown_path, names[:MOST_NAMES]), *more])
            app.line(f"Another {size(kept)} would stay: hard links of it are {shown}")
    else:
        app.line(f"{subject.name}: {size(stored)} stored{f', {most(rows)}{size(pull)} to pull' if known else ''}")
    if had:
        needed = [row for row in rows if subject.origins[row.layer].diff_id not in had]
        left = sum(row.pull or 0 for row in needed) if paths else subject.to_pull(had)
        app.line(f"A host with {len(rows) - len(needed)} of these {len(rows)} layers pulls "
                 f"{most(needed)}{size(left)} of it")  # fmt: skip


COST = Command(
    run,
    "Show what an image, or paths in it, cost on the disk and to pull",
    "[OPTIONS] IMAGE [PATH...]",
    most=None,
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("have", "list", "An image that the host has already; its layers are not pulled", many=True),
        HUMAN,
        NO_TRUNC,
        *WHERE,
    ),
    only_looks=True,
)
