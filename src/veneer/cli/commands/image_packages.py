"""`veneer image packages`: whose the bytes of an image are, from a directory to a package to a layer."""

from __future__ import annotations

import heapq

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
    needs_no_name,
    path_bytes,
    path_text,
    spelled_out,
)
from veneer.cli.reworked import counted
from veneer.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from veneer.engine.looking.packages import Owned, Package
    from veneer.engine.looking.subject import Subject

MOST = 20
NOBODY = "(no package)"


def run(app: App, given: Parsed) -> None:
    from veneer.engine.looking import packages

    if needs_no_name(given) and len(given.arguments) == 1 and given.arguments[0].startswith("/"):
        name, paths = "", given.arguments
    else:
        name, paths = image_and(app, given, 0, PACKAGES.usage)
    limit, human = given.text("limit") or str(MOST), in_words(given)
    if not limit.isdigit():
        raise FlagError(f'invalid argument "{limit}" for "--limit" flag: a number is wanted')

    def size(number: int) -> str:
        return human_size(number) if human else str(number)

    with looked_at(app, given, name) as subject:
        path = path_bytes(paths[0]) if paths else b""
        if path and subject.table.tree.find(path) is None:
            path = spelled_out(path)
        if given.text("of"):
            _files(app, given, subject, packages.files_of(subject, given.text("of"), path), size, int(limit))
        else:
            _packages(app, given, subject, packages.packages(subject, path), size, int(limit))


def _packages(
    app: App, given: Parsed, subject: Subject, found: Sequence[Package], size: Callable[[int], str], limit: int
) -> None:
    format = given.text("format")
    if given.flag("quiet") and format in ("", "table"):
        for each in found:
            if each.name:
                app.line(each.name)
        return
    kind: Listing[Package] = Listing("package of an image", (
        Column("Name", "PACKAGE", lambda each: each.name or NOBODY),
        Column("Version", "VERSION", lambda each: each.version or "-"),
        Column("Kind", "KIND", lambda each: each.kind or "-"),
        Column("Files", "FILES", lambda each: str(each.files)),
        Column("Size", "SIZE", lambda each: size(each.bytes)),
        Column("Layers", "LAYERS", lambda each: layer_numbers(each.layers)),
    ))  # fmt: skip
    is_table = format in ("", "table")
    shown = found[:limit] if limit and is_table else found
    kind.show(app, shown, format, ("Name", "Version", "Kind", "Files", "Size", "Layers"))
    if not is_table:
        return
    if len(shown) < len(found):
        left = sum(each.bytes for each in found[limit:])
        app.line(f"... {len(found) - limit} more, {size(left)}; --limit 0 shows all")
    owned = [each for each in found if each.name]
    nobody = sum(each.bytes for each in found if not each.name)
    app.line("")
    app.line(f"{subject.name}: {counted(len(owned), 'package')} with {size(sum(each.bytes for each in owned))}, "
             f"{size(nobody)} in files of none")  # fmt: skip


def _files(
    app: App, given: Parsed, subject: Subject, found: Iterator[Owned], size: Callable[[int], str], limit: int
) -> None:
    """The files of one package, and which layer each comes from."""
    format, truncate = given.text("format"), not given.flag("no_trunc")
    is_table = format in ("", "table")
    quiet = given.flag("quiet") and is_table
    count = 0

    def told() -> Iterator[Owned]:
        nonlocal count
        for file in found:
            count += 1
            yield file

    def order(file: Owned) -> tuple[int, bytes]:
        return -file.bytes, file.path

    # Of a package with a million files no more are kept than are shown.
    limited = limit and is_table and not quiet
    rows = heapq.nsmallest(limit, told(), key=order) if limited else sorted(told(), key=order)
    if not rows:
        raise Failure(f"no package {given.text('of')} has files in {subject.name}")
    if quiet:
        for row in rows:
            app.line(path_text(row.path))
        return
    origins = subject.origins
    kind: Listing[Owned] = Listing("file of a package", (
        Column("Size", "SIZE", lambda file: size(file.bytes)),
        Column("Layer", "LAYER", lambda file: str(file.layer + 1)),
        Column("Path", "PATH", lambda file: path_text(file.path)),
        Column("Instruction", "INSTRUCTION", lambda file: instruction(origins[file.layer].shown, truncate=truncate)),
    ))  # fmt: skip
    kind.show(app, rows, format, ("Size", "Layer", "Path", "Instruction"))
    if len(rows) < count:
        app.line(f"... {count - limit} more; --limit 0 shows all")


PACKAGES = Command(
    run,
    "Show which packages an image's files belong to, and what they take",
    "[OPTIONS] IMAGE [PATH]",
    most=2,
    options=(
        Option("format", "string", LIST_FORMAT),
        HUMAN,
        Option("limit", "int", "Rows of the table; 0 shows all", shown_default=str(MOST)),
        NO_TRUNC,
        Option("of", "string", "Show the files of this package, and the layer each comes from"),
        Option("q,quiet", "bool", "Only show names of packages, or paths"),
        *WHERE,
    ),
    only_looks=True,
)
