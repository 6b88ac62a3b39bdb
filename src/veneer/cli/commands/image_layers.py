"""`veneer image layers`."""

from __future__ import annotations

from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.looked import HUMAN, NO_TRUNC, WHERE, image_and, in_words, instruction, looked_at
from veneer.cli.tables import harmless, shorten
from veneer.cli.units import AT_MOST, human_size, local_rfc3339
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.waste import LayerFigures
    from veneer.engine.looking.origins import SharedWith
    from veneer.engine.looking.subject import Origin

UNKNOWN = "-"
AFTER_WIDTH = 120
UNPLACED = "The history has fewer rows than there are layers, and does not tell which made which"


class Line(Value):
    """One layer: its number from 1, where it comes from, its figures (None: nobody looked into it), who shares it.

    `after`: of the last one, the steps above it, which made no layer; `unplaced`: there too, those of which nobody
    knows the layer.
    """

    __slots__ = ()
    number: int
    origin: Origin
    figures: LayerFigures | None
    shared: SharedWith
    after: str = ""
    unplaced: str = ""


def _columns(*, truncate: bool, human: bool) -> list[Column[Line]]:
    def size(number: int | None) -> str:
        if number is None:
            return UNKNOWN
        return ("-" if number < 0 else "") + human_size(abs(number)) if human else str(number)

    def figure(name: str, heading: str, field: str) -> Column[Line]:
        return Column(name, heading, lambda line: size(getattr(line.figures, field) if line.figures else None))

    def count(name: str, field: str) -> Column[Line]:
        return Column(name, name.upper(), lambda line: str(getattr(line.figures, field)) if line.figures else UNKNOWN)

    def identity(name: str, heading: str, field: str) -> Column[Line]:
        def text(line: Line) -> str:
            value = getattr(line.origin, field)
            return UNKNOWN if value is None else value.short if truncate else str(value)

        return Column(name, heading, text)

    def blob(line: Line) -> str:
        found = line.origin.blob
        return UNKNOWN if found is None else found.digest.short if truncate else str(found.digest)

    def pull(line: Line) -> str:
        # Bytes are for programs: what they are to do about the mark, PullAtMost tells them.
        mark = AT_MOST if line.origin.at_most and human else ""
        return mark + size(line.origin.blob.size if line.origin.blob else None)

    def created(line: Line) -> str:
        made = line.origin.instruction
        return local_rfc3339(made.created) if made and made.created is not None else UNKNOWN

    return [
        Column("Number", "#", lambda line: str(line.number)),
        identity("ChainID", "CHAIN ID", "chain_id"),
        identity("DiffID", "DIFF ID", "diff_id"),
        Column("Blob", "BLOB DIGEST", blob),
        Column("Instruction", "INSTRUCTION", lambda line: instruction(line.origin.shown, truncate=truncate)),
        Column("Before", "BEFORE", lambda line: "; ".join(each.shown for each in line.origin.before)),
        Column("After", "AFTER", lambda line: line.after),
        Column("Unplaced", "UNPLACED", lambda line: line.unplaced),
        Column("CreatedAt", "CREATED AT", created),
        Column("Pull", "PULL", pull),
        Column("PullAtMost", "PULL AT MOST", lambda line: str(line.origin.at_most).lower()),
        figure("Stored", "STORED", "stored"),
        figure("Net", "NET", "net"),
        figure("Total", "TOTAL", "total"),
        figure("WasteMade", "WASTE MADE", "made"),
        figure("WasteHeld", "WASTE HELD", "held"),
        count("Added", "added"),
        count("Modified", "modified"),
        count("Metadata", "metadata"),
        count("Deleted", "deleted"),
        count("Replaced", "exchanged"),
        Column("Shared", "SHARED", lambda line: line.shared.shown),
    ]


FIGURES = ("Stored", "Net", "Total", "WasteMade")


def run(app: App, given: Parsed) -> None:
    name, _ = image_and(app, given, 0)
    format = given.text("format")
    with looked_at(app, given, name, contents=False) as subject:
        kind: Listing[Line] = Listing(
            "layer of an image", _columns(truncate=not given.flag("no_trunc"), human=in_words(given))
        )
        # Of an image in a registry what its manifest tells is two requests; the rest is all of its bytes.
        inside = subject.documents.where != "registry" or given.flag("stored")
        figures = subject.account.layers if inside else (None,) * len(subject.origins)
        last = len(subject.origins)
        after, unplaced = ("; ".join(each.shown for each in rows) for rows in (subject.after, subject.unplaced))
        lines = [
            Line(number, origin, figure, shared, *((after, unplaced) if number == last else ()))
            for number, (origin, figure, shared) in enumerate(
                zip(subject.origins, figures, app.engine.looking.shared_with(subject), strict=True), 1
            )
        ]
        if given.flag("quiet") and format in ("", "table"):
            app.write("".join(kind.columns["ChainID"].text(line) + "\n" for line in lines))
            return
        columns = ("Number", "ChainID", "Instruction", "Pull", *(FIGURES if inside else ()), "Shared")
        kind.show(app, lines, format, columns)
        for what, steps in (("Then, without a layer", after), (UNPLACED, unplaced)):
            if steps and format in ("", "table"):
                told = harmless(steps)
                app.line(f"{what}: {told if given.flag('no_trunc') else shorten(told, AFTER_WIDTH)}")


LAYERS = Command(
    run,
    "Show an image's layers: what made each, its size and waste",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("format", "string", LIST_FORMAT),
        HUMAN,
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show chain IDs"),
        Option("stored", "bool", "Download the layers of a remote image, to tell what they store and waste"),
        *WHERE,
    ),
    only_looks=True,
)
