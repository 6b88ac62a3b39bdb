"""Lists as docker prints them: a table, one JSON object a line, or a template filled in for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from veneer.cli.tables import align_columns, align_text, all_harmless, harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, TypeVar

    from veneer.cli.app import App

    T = TypeVar("T")
else:
    T = None
    Generic = {T: object}  # only the type checker needs to know more


class Column(Generic[T]):
    """A field of a row: its name in templates, its heading in tables, and its text for an item."""

    __slots__ = ("heading", "name", "text")

    def __init__(self, name: str, heading: str, text: Callable[[T], str]) -> None:
        self.name = name
        self.heading = heading
        self.text = text


class Listing(Generic[T]):
    """Rows of one kind.  `what` is docker's name for the kind, as template errors show it.

    With `labels`, what gives an item's labels, templates may ask for one: `{{.Label "key"}}`.
    """

    def __init__(
        self, what: str, columns: Iterable[Column[T]], labels: Callable[[T], Mapping[str, str]] | None = None
    ) -> None:
        self.what = what
        self.labels = labels
        self.columns: Mapping[str, Column[T]] = {column.name: column for column in columns}

    def show(self, app: App, items: Sequence[T], format: str, default: Sequence[str]) -> None:
        """Print the items in `format` ("" and "table": a table of the columns that `default` names).

        Raises TemplateError for a template that does not parse or names a field there is not.
        """
        if format in ("", "table"):
            app.write(self._table(items, default))
        elif format == "json":
            app.write("".join(self._json(item) + "\n" for item in items))
        elif format.startswith("table"):
            app.write(self._templated_table(items, format.removeprefix("table").lstrip(" ")))
        else:
            text = _unescaped(format)
            app.write_foreign("".join(line + "\n" for line in self._filled(items, text)))

    def _table(self, items: Sequence[T], names: Sequence[str]) -> str:
        # By columns, not by rows: a whole column is looked at once where there is nothing to make harmless.
        columns = [self.columns[name] for name in names]
        return align_columns([
            [column.heading, *all_harmless([column.text(item) for item in items])] for column in columns
        ])  # fmt: skip

    def _json(self, item: T) -> str:
        from veneer.cli.gofunctions import to_json
        from veneer.cli.gotemplate import Record

        return to_json(Record(self.what, self._fields(item)))

    def _fields(self, item: T, *, safe: bool = False) -> dict[str, Callable[[], Any]]:
        def field(column: Column[T]) -> Callable[[], Any]:
            return lambda: harmless(column.text(item)) if safe else column.text(item)

        return {name: field(column) for name, column in self.columns.items()}

    def _filled(self, items: Sequence[T], text: str, *, safe: bool = False) -> list[str]:
        from veneer.cli.gotemplate import Record, Template

        def label(item: T) -> Callable[[str], str]:
            def value(key: str) -> str:
                found = self.labels(item).get(key, "") if self.labels else ""
                return harmless(found) if safe else found

            return value

        template = Template(text)
        return [
            template.execute(
                Record(self.what, self._fields(item, safe=safe), {"Label": label(item)} if self.labels else {})
            )
            for item in items
        ]

    def _templated_table(self, items: Sequence[T], source: str) -> str:
        from veneer.cli.gofunctions import HEADING_FUNCTIONS, GoMap
        from veneer.cli.gotemplate import Record, Template

        text = _unescaped(source)
        rows = self._filled(items, text, safe=True)
        headings: GoMap | Record = GoMap({name: column.heading for name, column in self.columns.items()})
        if self.labels:
            fields = {name: lambda text=column.heading: text for name, column in self.columns.items()}
            headings = Record(self.what, fields, {"Label": _label_heading})
        heading = Template(text, functions=HEADING_FUNCTIONS).execute(headings)
        return align_text("".join(line + "\n" for line in [heading, *rows]))


def _label_heading(key: str) -> str:
    return key.rpartition(".")[2].replace("-", " ").replace("_", " ")


def _unescaped(format: str) -> str:
    return format.replace("\\t", "\t").replace("\\n", "\n")
