"""`veneer history`, `veneer image history`."""

from __future__ import annotations

from veneer.cli import units
from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.foreign import foreign_root
from veneer.cli.listing import Column, Listing
from veneer.cli.tables import harmless, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.analysis.history import HistoryRow

MISSING = "<missing>"
CREATED_BY_WIDTH = 45
NO_LAYER = ""


def listing(app: App, *, truncate: bool, human: bool) -> Listing[HistoryRow]:
    """The columns of a history; the last four are veneer's own."""

    def identifier(row: HistoryRow) -> str:
        if row.id is None:
            return MISSING
        return row.id.short if truncate else str(row.id)

    def created_by(row: HistoryRow) -> str:
        # The text is anybody's: what would move the cursor is spelled out before it is cut.
        text = harmless(row.created_by.replace("\t", " ")) if truncate else row.created_by.replace("\t", " ")
        return shorten(text, CREATED_BY_WIDTH) if truncate else text

    def of_layer(name: str) -> Column[HistoryRow]:
        def text(row: HistoryRow) -> str:
            value = getattr(row.layer, name) if row.layer else None
            if value is None:
                return NO_LAYER
            return value.short if truncate else str(value)

        headings = {"diff_id": "DIFF ID", "chain_id": "CHAIN ID", "blob": "BLOB DIGEST"}
        fields = {"diff_id": "DiffID", "chain_id": "ChainID", "blob": "Blob"}
        return Column(fields[name], headings[name], text)

    return Listing("*image.historyContext", (
        Column("ID", "IMAGE", identifier),
        Column("CreatedAt", "CREATED AT", lambda row: units.local_rfc3339(row.created)),
        Column("CreatedSince", "CREATED",
               lambda row: units.ago(row.created, app.now) if human else units.local_rfc3339(row.created)),
        Column("CreatedBy", "CREATED BY", created_by),
        Column("Size", "SIZE", lambda row: units.human_size(row.size) if human else str(row.size)),
        Column("Comment", "COMMENT", lambda row: row.comment),
        of_layer("diff_id"),
        of_layer("chain_id"),
        of_layer("blob"),
        Column("Directory", "DIRECTORY",
               lambda row: str(row.layer.directory) if row.layer and row.layer.directory else NO_LAYER),
    ))  # fmt: skip


def run(app: App, given: Parsed) -> None:
    foreign = foreign_root(app)
    if foreign is not None:
        from veneer.engine.foreign import history

        rows = history(foreign, given.arguments[0])
    else:
        rows = app.engine.images.history(given.arguments[0], layers=given.flag("layers"))
    format = given.text("format")
    kind = listing(app, truncate=not given.flag("no_trunc"), human=given.flag("human"))
    if given.flag("quiet") and format in ("", "table"):
        app.write("".join(kind.columns["ID"].text(row) + "\n" for row in rows))
        return
    layers = ("DiffID", "Blob", "Directory") if given.flag("layers") else ()
    # A row as JSON keeps to docker's fields unless layers are asked for: scripts compare whole objects.
    if (format == "json" or "{{json .}}" in format) and not layers:
        kind = Listing(kind.what, list(kind.columns.values())[:6])
    created = "CreatedSince" if given.flag("human") else "CreatedAt"
    kind.show(app, rows, format, ("ID", created, "CreatedBy", "Size", "Comment", *layers))


HISTORY = Command(
    run,
    "Show the history of an image",
    "[OPTIONS] IMAGE",
    least=1,
    most=1,
    names=("image history", "history"),
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("H,human", "bool", "Print sizes and dates in human readable format", default=True, shown_default="true"),
        Option("layers", "bool", "Show each row's layer too: diff ID, blob digest and directory"),
        Option("no-trunc", "bool", "Don't truncate output"),
        Option("q,quiet", "bool", "Only show image IDs"),
    ),
    only_looks=True,
)
