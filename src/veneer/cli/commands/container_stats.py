"""`veneer stats`, `veneer container stats`."""

from __future__ import annotations

import time

from veneer.cli import units
from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.errors import NotFound
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.engine.containers.statistics import Sample
    from veneer.store.containers import Container

_ONCE_SECONDS = 0.25
"""Between the two looks that the share of a processor needs."""
_REFRESH_SECONDS = 1.0
_SHOWN = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Row(Value):
    """A container, the word that chose it, and what it takes."""

    asked: str
    container: Container
    now: Sample
    processor: float


def listing(*, truncate: bool) -> Listing[Row]:
    def share(row: Row) -> str:
        return f"{100.0 * row.now.memory / row.now.memory_limit if row.now.memory_limit else 0.0:.2f}%"

    return Listing("*container.statsContext", (
        Column("Container", "CONTAINER", lambda row: row.asked),
        Column("Name", "NAME", lambda row: row.container.name),
        Column("ID", "CONTAINER ID", lambda row: row.container.id[:12] if truncate else row.container.id),
        Column("CPUPerc", "CPU %", lambda row: f"{row.processor:.2f}%"),
        Column("MemUsage", "MEM USAGE / LIMIT",
               lambda row: f"{units.memory_size(row.now.memory)} / {units.memory_size(row.now.memory_limit)}"),
        Column("MemPerc", "MEM %", share),
        Column("NetIO", "NET I/O",
               lambda row: f"{units.human_size(row.now.received)} / {units.human_size(row.now.sent)}"),
        Column("BlockIO", "BLOCK I/O",
               lambda row: f"{units.human_size(row.now.read)} / {units.human_size(row.now.written)}"),
        Column("PIDs", "PIDS", lambda row: str(row.now.processes)),
    ))  # fmt: skip


class _Watched:
    """Whose figures are shown, and the look before this one."""

    def __init__(self, app: App, names: Sequence[str], *, all: bool) -> None:
        self._containers = app.engine.containers
        self._names = names
        self._all = all
        self._before: dict[str, Sample] = {}
        if names:
            for name in names:  # one that is not there is an error, and not a gap
                self._containers.get(name)

    def look(self) -> list[Row]:
        from veneer.engine.containers.statistics import NOTHING, processor_share

        rows = []
        for asked, container in self._chosen():
            now = self._containers.statistics(container)
            if now == NOTHING and not self._all and not self._names:
                continue
            rows.append(Row(asked, container, now, processor_share(self._before.get(container.id, now), now)))
            self._before[container.id] = now
        return rows

    def _chosen(self) -> list[tuple[str, Container]]:
        if not self._names:
            return [(each.id[:12], each) for each in self._containers.list()]
        found = []
        for name in self._names:
            try:
                found.append((name, self._containers.get(name)))
            except NotFound:  # removed meanwhile
                continue
        return found


def run(app: App, given: Parsed) -> None:
    kind = listing(truncate=not given.flag("no_trunc"))
    watched = _Watched(app, given.arguments, all=given.flag("all"))
    format = given.text("format")
    watched.look()
    time.sleep(_ONCE_SECONDS)
    if given.flag("no_stream"):
        kind.show(app, watched.look(), format, _SHOWN)
        return
    _stream(app, kind, watched, format)


def _stream(app: App, kind: Listing[Row], watched: _Watched, format: str) -> None:
    """Look again and again, until we are interrupted or nobody reads us."""
    import io

    out = app.out
    first = True
    try:
        while True:
            rows = watched.look()
            app.out = io.StringIO()
            kind.show(app, rows, format, _SHOWN)
            text = app.out.getvalue()
            app.out = out
            if out.isatty():
                # Over the text before, so that nothing flickers.
                lines = text.replace("\n", _CLEAR_LINE + "\n")
                text = ("\x1b[2J" if first else "") + _HOME + lines + _CLEAR_BELOW
            out.write(text)
            out.flush()
            first = False
            time.sleep(_REFRESH_SECONDS)
    finally:
        app.out = out


STATS = Command(
    run,
    "Display a live stream of container(s) resource usage statistics",
    "[OPTIONS] [CONTAINER...]",
    most=None,
    names=("container stats", "stats"),
    options=(
        Option("a,all", "bool", "Show all containers (default shows just running)"),
        Option("format", "string", LIST_FORMAT),
        Option("no-stream", "bool", "Disable streaming stats and only pull the first result"),
        Option("no-trunc", "bool", "Do not truncate output"),
    ),
    only_looks=True,
)
