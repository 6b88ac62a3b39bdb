"""`veneer image diff`."""

from __future__ import annotations

from collections.abc import Sequence

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import (
    DOCUMENTS_FORMAT,
    NO_TRUNC,
    SEVERAL,
    looked_at,
    mode_text,
    owner,
    path_text,
    show_documents,
    shown_path,
)
from veneer.cli.reworked import counted
from veneer.cli.tables import align, all_harmless, shorten
from veneer.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.comparison import Difference
    from veneer.changeset.entry import Entry
    from veneer.engine.looking.differences import RowChange, Setting
    from veneer.engine.looking.subject import Subject

PARTS = ("files", "config", "history")
WIDTH = 60


def _entry(entry: Entry | None, size: int) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "Kind": entry.kind.name.lower(), "Size": size, "Mode": mode_text(entry.mode),
        "Owner": owner(entry.uid, entry.gid), "Link": entry.link.decode("utf-8", "backslashreplace"),
        "Digest": "sha256:" + entry.digest.hex() if entry.digest else "",
    }  # fmt: skip


def file_document(each: Difference) -> dict[str, Any]:
    """A difference of files for programs."""
    return {
        "Part": "files", "Path": path_text(each.path), "Op": each.op.value, "Changed": list(each.changed),
        "Entries": each.entries, "Before": _entry(each.before, each.size_before),
        "After": _entry(each.after, each.size_after),
    }  # fmt: skip


def _file_rows(found: Sequence[Difference]) -> list[list[str]]:
    rows = [["OP", "BEFORE", "AFTER", "CHANGED", "PATH"]]
    for each in found:
        beneath = f" ({counted(each.entries, 'entry', 'entries')} in it)" if each.entries > 0 else ""
        rows.append([
            each.op.value,
            human_size(each.size_before) if each.before is not None else "-",
            human_size(each.size_after) if each.after is not None else "-",
            ",".join(each.changed) or "-",
            shown_path(each.path) + beneath,
        ])  # fmt: skip
    return rows


def _sum(found: Sequence[Difference], first: Subject, second: Subject) -> str:
    """How many paths differ in which way, those in a directory that one image alone has too; and by how many bytes."""
    from collections import Counter

    from veneer.changeset.entry import Kind

    counts: Counter[str] = Counter()
    for each in found:
        counts[each.op.value] += 1
        if each.entries > 0:
            counts["A" if each.after is not None and each.after.kind is Kind.DIRECTORY else "D"] += each.entries
    more = second.account.visible - first.account.visible
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return f"{kinds}: {human_size(abs(more))} {'less' if more < 0 else 'more'} to be seen\n"


def _columns(rows: list[list[str]]) -> str:
    return align([all_harmless(row) for row in rows])


def _setting_rows(found: Sequence[Setting], cut: bool) -> list[list[str]]:
    def text(value: str) -> str:
        return (shorten(value, WIDTH) if cut else value) or "-"

    return [["KEY", "BEFORE", "AFTER"], *([each.key, text(each.before), text(each.after)] for each in found)]


def _history_rows(found: Sequence[RowChange], cut: bool) -> list[list[str]]:
    def text(value: str) -> str:
        line = " ".join(value.split())
        return (shorten(line, WIDTH) if cut else line) or "-"

    return [["ROW", "BEFORE", "AFTER"], *([str(each.number), text(each.before), text(each.after)] for each in found)]


def _parts(given: Parsed) -> tuple[str, ...]:
    chosen = given.texts("part")
    for part in chosen:
        if part not in PARTS:
            raise Failure(f"invalid --part {part!r}: one of {', '.join(PARTS)}")
    return tuple(chosen) or PARTS


def run(app: App, given: Parsed) -> int:
    one, other = given.arguments
    with looked_at(app, given, one) as first, looked_at(app, given, other, position=1) as second:
        parts = _parts(given)
        semantic = given.flag("semantic")
        found = _found(first, second, parts, semantic=semantic, expand=given.flag("all"))
        format = given.text("format")
        if format not in ("", "table"):
            _documents(app, format, *found)
        elif given.flag("quiet"):
            for each in found[0]:
                app.line(f"{each.op.value} {path_text(each.path)}")
        else:
            _tables(app, given, first, second, found)
    return 1 if given.flag("exit_code") and any(found) else 0


def _found(
    first: Subject, second: Subject, parts: tuple[str, ...], *, semantic: bool, expand: bool
) -> tuple[list[Difference], list[Setting], list[RowChange]]:
    from veneer.engine.looking import differences

    return (
        list(differences.files(first, second, semantic=semantic, expand=expand)) if "files" in parts else [],
        differences.settings(first, second, semantic=semantic) if "config" in parts else [],
        differences.history(first, second, semantic=semantic) if "history" in parts else [],
    )


def _documents(app: App, format: str, files: list[Difference], settings: list[Setting], rows: list[RowChange]) -> None:
    documents = [file_document(each) for each in files]
    documents += [{"Part": "config", "Key": each.key, "Before": each.before, "After": each.after} for each in settings]
    documents += [{"Part": "history", "Row": each.number, "Before": each.before, "After": each.after} for each in rows]
    show_documents(app, documents, format)


def _tables(
    app: App, given: Parsed, first: Subject, second: Subject,
    found: tuple[list[Difference], list[Setting], list[RowChange]],
) -> None:  # fmt: skip
    files, settings, rows = found
    cut = not given.flag("no_trunc")
    shown: list[str] = []
    if files:
        shown.append(_columns(_file_rows(files)) + _sum(files, first, second))
    if settings:
        shown.append(_columns(_setting_rows(settings, cut)))
    if rows:
        shown.append(_columns(_history_rows(rows, cut)))
    if shown:
        app.write("\n".join(shown))
    else:
        app.line(f"{first.name} and {second.name}: no difference")


DIFF = Command(
    run,
    "Show how two images differ: files, configuration, history",
    "[OPTIONS] IMAGE IMAGE",
    least=2,
    most=2,
    options=(
        Option("a,all", "bool", "Show everything in a directory that only one of them has"),
        Option("exit-code", "bool", "Exit with 1 if there are differences"),
        Option("format", "string", DOCUMENTS_FORMAT),
        NO_TRUNC,
        Option("part", "list", 'Only "files", "config" or "history"', many=True),
        Option("q,quiet", "bool", "Only show operations and paths of files"),
        Option("semantic", "bool", "Do not look at times, nor at what only tells how an image was made"),
        *SEVERAL,
    ),
    only_looks=True,
)
