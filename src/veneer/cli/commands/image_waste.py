"""`veneer image waste`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import FlagError, Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.looked import (
    HUMAN,
    NO_TRUNC,
    WHERE,
    image_and,
    in_words,
    instruction,
    layer_numbers,
    looked_at,
    path_text,
    show_documents,
)
from veneer.cli.reworked import counted
from veneer.cli.units import human_size
from veneer.view.texts import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.waste import Waste
    from veneer.engine.looking.subject import Subject

KINDS = ("layer", "cause", "path", "duplicate")
MOST = 20
MOST_PATHS = 3


def _listing(subject: Subject, by: str, *, truncate: bool, human: bool) -> Listing[Waste]:
    origins = subject.origins
    total = subject.account.wasted or 1

    def size(waste: Waste) -> str:
        return human_size(waste.bytes) if human else str(waste.bytes)

    def key(waste: Waste) -> str:
        if by == "path":
            assert isinstance(waste.key, bytes)
            return path_text(waste.key)
        return waste.key.shown if by == "cause" else str(waste.key + 1)  # type: ignore[union-attr, operator]

    def makers(waste: Waste) -> str:
        if len(waste.makers) != 1:
            return f"{len(waste.makers)} layers"
        return instruction(origins[waste.makers[0]].shown, truncate=truncate)

    return Listing("waste", (
        Column("Key", by.upper(), key),
        Column("Waste", "WASTE", size),
        Column("Share", "SHARE", lambda waste: f"{100 * waste.bytes / total:.0f}%"),
        Column("Files", "FILES", lambda waste: str(waste.files)),
        Column("HeldIn", "HELD IN", lambda waste: layer_numbers(waste.holders)),
        Column("MadeBy", "MADE BY", lambda waste: layer_numbers(waste.makers)),
        Column("Cause", "CAUSE", lambda waste: ",".join(cause.shown for cause in waste.causes)),
        Column("Instruction", "INSTRUCTION", makers),
        Column("Remedy", "REMEDY", lambda waste: remedy(waste.causes)),
    ))  # fmt: skip


def _columns(by: str) -> tuple[str, ...]:
    if by == "cause":
        return ("Key", "Waste", "Share", "Files", "HeldIn", "MadeBy", "Remedy")
    if by == "layer":
        return ("Key", "Waste", "Share", "Files", "HeldIn", "Cause", "Instruction")
    return ("Key", "Waste", "Files", "HeldIn", "MadeBy", "Cause", "Instruction")


def _summary(app: App, subject: Subject, human: bool) -> None:
    found = subject.account

    def size(number: int) -> str:
        return human_size(number) if human else f"{number} bytes"

    app.line(f"{subject.name}: {size(found.stored)} stored, {size(found.visible)} visible, {size(found.wasted)} wasted"
             f", efficiency {100 * found.efficiency:.1f}%")  # fmt: skip


def run(app: App, given: Parsed) -> None:
    name, _ = image_and(app, given, 0)
    by, metric, format = given.text("by") or "path", given.text("metric") or "veneer", given.text("format")
    if by not in KINDS:
        raise Failure(f"invalid --by {by!r}: one of {', '.join(KINDS)}")
    if metric not in ("veneer", "dive"):
        raise Failure(f"invalid --metric {metric!r}: veneer or dive")
    limit = given.text("limit") or str(MOST)
    if not limit.isdigit():
        raise FlagError(f'invalid argument "{limit}" for "--limit" flag: a number is wanted')
    with looked_at(app, given, name, contents=by == "duplicate") as subject:
        if format == "dive-json":
            _dive_export(app, subject)
        elif metric == "dive":
            _dive(app, given, subject)
        elif by == "duplicate":
            _duplicates(app, given, subject, int(limit))
        elif given.text("squash"):
            _squash(app, given, subject, given.text("squash"))
        else:
            _ledger(app, given, subject, by, int(limit))


def _ledger(app: App, given: Parsed, subject: Subject, by: str, limit: int) -> None:
    from veneer.analysis import waste

    format, human = given.text("format"), in_words(given)
    group = {"path": waste.by_path, "layer": waste.by_maker, "cause": waste.by_cause}[by]
    rows = group(subject.account.losses)
    kind = _listing(subject, by, truncate=not given.flag("no_trunc"), human=human)
    if given.flag("quiet") and format in ("", "table"):
        for row in rows:
            app.line(kind.columns["Key"].text(row))
        return
    is_table = format in ("", "table")
    shown = rows[:limit] if limit and is_table else rows
    if is_table:
        _summary(app, subject, human)
        if not rows:
            return
        app.write("\n")
    kind.show(app, shown, format, _columns(by))
    if len(shown) < len(rows):
        left = sum(row.bytes for row in rows[limit:])
        size = human_size(left) if human else f"{left} bytes"
        app.line(f"... {len(rows) - limit} more, {size}; --limit 0 shows all")


def _duplicates(app: App, given: Parsed, subject: Subject, limit: int) -> None:
    """What is seen, and stored, under several paths: no waste, but room that hard links or symlinks would save."""
    from veneer.analysis.duplicates import Duplicate, duplicates

    format, human = given.text("format"), in_words(given)

    def size(number: int) -> str:
        return human_size(number) if human else str(number)

    def paths(each: Duplicate) -> str:
        shown = each.paths if given.flag("no_trunc") or format not in ("", "table") else each.paths[:MOST_PATHS]
        more = f" and {len(each.paths) - len(shown)} more" if len(shown) < len(each.paths) else ""
        return " ".join(map(path_text, shown)) + more

    rows = duplicates(subject.table)
    kind: Listing[Duplicate] = Listing("duplicate", (
        Column("Bytes", "BYTES", lambda each: size(each.bytes)),
        Column("Copies", "COPIES", lambda each: str(len(each.paths))),
        Column("Size", "SIZE", lambda each: size(each.size)),
        Column("HeldIn", "HELD IN", lambda each: layer_numbers(sorted(set(each.layers)))),
        Column("Paths", "PATHS", paths),
    ))  # fmt: skip
    is_table = format in ("", "table")
    shown = rows[:limit] if limit and is_table else rows
    if is_table:
        total = sum(each.bytes for each in rows)
        app.line(f"{subject.name}: {counted(len(rows), 'content')} under several paths, {size(total)} beyond the first")
        if not rows:
            return
        app.write("\n")
    kind.show(app, shown, format, ("Bytes", "Copies", "Size", "HeldIn", "Paths"))
    if len(shown) < len(rows):
        app.line(f"... {len(rows) - limit} more; --limit 0 shows all")


def _squash(app: App, given: Parsed, subject: Subject, text: str) -> None:
    from veneer.analysis.waste import saved_by_squashing

    first, dash, last = text.partition("-")
    layers = len(subject.origins)
    if not dash or not first.isdigit() or not last.isdigit() or not 1 <= int(first) <= int(last) <= layers:
        raise Failure(f"invalid --squash {text!r}: a range of layers is wanted, as 2-{max(layers, 2)}")
    saved = saved_by_squashing(subject.account.losses, int(first) - 1, int(last) - 1)
    found = subject.account
    format = given.text("format")
    if format not in ("", "table"):
        document = {"First": int(first), "Last": int(last), "Saved": saved, "Stored": found.stored - saved,
                    "StoredNow": found.stored}  # fmt: skip
        show_documents(app, [document], format)
        return

    def size(number: int) -> str:
        return human_size(number) if given.flag("human") else f"{number} bytes"

    app.line(f"Layers {first} to {last} of {subject.name} as one: {size(saved)} less, "
             f"{size(found.stored - saved)} stored instead of {size(found.stored)}")  # fmt: skip


def _dive(app: App, given: Parsed, subject: Subject) -> None:
    from veneer.analysis import dive

    found = dive.figures(subject.indexes)
    format, human = given.text("format"), in_words(given)
    kind: Listing[dive.Repeated] = Listing("path of several copies", (
        Column("Count", "COUNT", lambda each: str(each.count)),
        Column("Size", "TOTAL SPACE", lambda each: human_size(each.bytes) if human else str(each.bytes)),
        Column("Path", "PATH", lambda each: path_text(each.path)),
    ))  # fmt: skip
    if format in ("", "table"):
        app.line(f"efficiency: {100 * found.score:.4f} %")
        app.line(f"wastedBytes: {found.wasted} bytes ({human_size(found.wasted)})")
        app.line(f"userWastedPercent: {100 * found.wasted_percent:.4f} %")
        if not found.repeated:
            return
        app.write("\n")
    kind.show(app, found.repeated, format, ("Count", "Size", "Path"))


def _dive_export(app: App, subject: Subject) -> None:
    """dive's JSON document, a layer at a time: the files of an image are many."""
    import json

    from veneer.analysis import dive

    app.write('{\n  "layer": [')
    for number, (origin, index) in enumerate(zip(subject.origins, subject.indexes, strict=True)):
        layer: dict[str, Any] = {
            "index": number,
            "id": origin.chain_id.hex,
            "digestId": str(origin.diff_id),
            "sizeBytes": index.bytes_total,
            "command": origin.instruction.raw if origin.instruction else "",
        }
        app.write(("," if number else "") + "\n    " + json.dumps(layer)[:-1] + ', "fileList": [')
        for position, file in enumerate(dive.files(index)):
            app.write((", " if position else "") + json.dumps(file))
        app.write("]}")
    app.write('\n  ],\n  "image": ' + json.dumps(dive.summary(dive.figures(subject.indexes))) + "\n}\n")


WASTE = Command(
    run,
    "Show what an image stores and does not show",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option(
            "by",
            "string",
            'By "path", "layer" (that made it) or "cause"; "duplicate": what is seen several times',
            shown_default='"path"',
        ),
        Option("format", "string", LIST_FORMAT + "\n'dive-json':        The whole image as dive exports it"),
        HUMAN,
        Option("limit", "int", "Rows of the table; 0 shows all", shown_default=str(MOST)),
        Option("metric", "string", '"veneer", or "dive" for dive\'s own figures', shown_default='"veneer"'),
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show the paths, layers or causes"),
        Option("squash", "string", 'Tell what it would save to make these layers one ("2-5")'),
        *WHERE,
    ),
    only_looks=True,
)
