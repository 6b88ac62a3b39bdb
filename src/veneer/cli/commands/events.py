"""`veneer events`, `veneer system events`."""

from __future__ import annotations

import time

from veneer.cli.app import App, Failure
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.commands.container_logs import moment
from veneer.cli.flags import Option, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from veneer.store.events import Event


def run(app: App, given: Parsed) -> None:
    from veneer.store import events

    filters = given.filters("filter")
    if unknown := [name for name in filters if name not in events.FILTERS]:
        raise Failure(f"invalid filter '{unknown[0]}'")
    since, until = moment(app, given, "since"), moment(app, given, "until")
    told = _teller(given.text("format"))
    found = events.read(app.engine.store.root, since=since, until=until, follow=until is None or until > app.now,
                        wanted=events.filtered(filters))  # fmt: skip
    for event in found:
        app.write_foreign(told(event) + "\n")
        app.out.flush()


def line(event: Event) -> str:
    """As docker prints it: when, what, to whom, and what is known of it."""
    nanoseconds = event["timeNano"]
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(nanoseconds // 10**9))
    zone = time.strftime("%z", time.localtime(nanoseconds // 10**9))
    zone = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    actor = event["Actor"]
    about = ", ".join(f"{name}={actor['Attributes'][name]}" for name in sorted(actor["Attributes"]))
    text = f"{when}.{nanoseconds % 10**9:09d}{zone} {event['Type']} {event['Action']} {actor['ID']}"
    return f"{text} ({about})" if about else text


def _teller(format: str) -> Callable[[Event], str]:
    if not format:
        return line
    if format in ("json", "{{json .}}"):
        from veneer.cli.gofunctions import to_json

        return to_json
    from veneer.cli.gofunctions import GoMap
    from veneer.cli.gotemplate import Struct, Template

    template = Template(format.replace("\\t", "\t").replace("\\n", "\n"))

    def filled(event: Event) -> str:
        actor = Struct({"ID": event["Actor"]["ID"], "Attributes": GoMap(event["Actor"]["Attributes"])}, {})
        fields = {**event, "Actor": actor, "Status": event.get("status", ""), "ID": event.get("id", ""),
                  "From": event.get("from", ""), "Scope": event["scope"], "Time": event["time"],
                  "TimeNano": event["timeNano"]}  # fmt: skip
        return template.execute(Struct(fields, {}))

    return filled


EVENTS = Command(
    run,
    "Get real time events from the store",
    "[OPTIONS]",
    names=("system events", "events"),
    options=(
        Option("f,filter", "filter", "Filter output based on conditions provided", many=True),
        Option("format", "string", INSPECT_FORMAT),
        Option("since", "string", "Show all events created since timestamp"),
        Option("until", "string", "Stream events until this timestamp"),
    ),
    only_looks=True,
)
