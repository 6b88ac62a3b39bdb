"""`veneer image base` and `veneer image labels`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.looked import NO_TRUNC, WHERE, image_and, looked_at
from veneer.cli.tables import align, all_harmless, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.engine.looking.origins import Label, StandsOn

_WIDTH = 80


def run_base(app: App, given: Parsed) -> None:
    name, _ = image_and(app, given, 0)
    format, truncate = given.text("format"), not given.flag("no_trunc")
    with looked_at(app, given, name) as subject:
        found = app.engine.looking.stands_on(subject)
        if found is None:
            raise Failure(f"nothing tells what {subject.name} was built on: no label, no parent, and no image here "
                          "that its lowest layers are")  # fmt: skip
        layers = len(subject.config.diff_ids)

        def image_id(base: StandsOn) -> str:
            if base.image is None:
                return "-"
            return base.image.id.short if truncate else str(base.image.id)

        kind: Listing[StandsOn] = Listing("base of an image", (
            Column("Name", "BASE", lambda base: base.name),
            Column("ID", "IMAGE ID", image_id),
            Column("Layers", "LAYERS", lambda base: f"{base.layers} of {layers}" if base.layers else "-"),
            Column("How", "KNOWN BY", lambda base: base.how),
            Column("Digest", "DIGEST", lambda base: base.digest or "-"),
        ))  # fmt: skip
        if given.flag("quiet") and format in ("", "table"):
            app.line(found.name)
            return
        kind.show(app, [found], format, ("Name", "ID", "Layers", "How"))


def run_labels(app: App, given: Parsed) -> None:
    from veneer.engine.looking.origins import labels, missing_labels

    name, _ = image_and(app, given, 0)
    format, truncate = given.text("format"), not given.flag("no_trunc")
    with looked_at(app, given, name) as subject:
        found = labels(subject)
        if given.flag("missing"):
            _missing(app, missing_labels(found), format)
            return
        if given.flag("links"):
            _links(app, found, format)
            return

        def value(label: Label) -> str:
            # Cut where it is shown in a table only: programs get it whole.
            return shorten(label.value, _WIDTH) if truncate and format in ("", "table") else label.value

        kind: Listing[Label] = Listing("label", (
            Column("Key", "KEY", lambda label: label.key),
            Column("Value", "VALUE", value),
            Column("Source", "SOURCE", lambda label: label.source),
        ))  # fmt: skip
        if given.flag("quiet") and format in ("", "table"):
            for label in found:
                app.line(label.key)
            return
        kind.show(app, found, format, ("Key", "Value", "Source"))


def _missing(app: App, keys: Sequence[str], format: str) -> None:
    rows = [f"org.opencontainers.image.{key}" for key in keys]
    if format in ("", "table"):
        app.write("".join(row + "\n" for row in rows))
        return
    kind: Listing[str] = Listing("missing label", (Column("Key", "KEY", lambda row: row),))
    kind.show(app, rows, format, ("Key",))


def _links(app: App, found: Sequence[Label], format: str) -> None:
    """Where labels lead: the commit on its forge, licences, documentation."""
    from veneer.view.web.accounts import links

    values: dict[str, str] = {}
    for label in found:
        values.setdefault(label.key, label.value)
    told = links(values)
    rows = [(key, told[key]) for key in ("source", "commit_url", "documentation", "url") if told[key]]
    rows += [(f"licence {each['id']}", each["url"]) for each in told["licences"]]
    if format in ("", "table"):
        app.write(align([all_harmless(list(row)) for row in rows]) if rows else "")
        return
    kind: Listing[tuple[str, str]] = Listing("link of a label", (
        Column("Key", "KEY", lambda row: row[0]),
        Column("URL", "URL", lambda row: row[1]),
    ))  # fmt: skip
    kind.show(app, rows, format, ("Key", "URL"))


BASE = Command(
    run_base,
    "Show which image an image was built on",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("format", "string", LIST_FORMAT),
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show the base's name"),
        *WHERE,
    ),
    only_looks=True,
)
LABELS = Command(
    run_labels,
    "Show an image's labels and annotations",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("links", "bool", "Show where labels lead: commit, documentation, licences"),
        Option("missing", "bool", "Show which of the usual keys nothing says"),
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show keys"),
        *WHERE,
    ),
    only_looks=True,
)
