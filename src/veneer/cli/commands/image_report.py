"""`veneer report`: images as one HTML page."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import WHERE, alone, looked_at, needs_no_name
from veneer.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAILED_EXIT = 1


def run(app: App, given: Parsed) -> int:
    from veneer.cli import report_html
    from veneer.cli.outfile import archive_out

    alone(given, given.arguments)
    names = given.arguments or ([""] if needs_no_name(given) else [])
    if not names:
        from veneer.cli.looked import image_and

        image_and(app, given, 0, REPORT.usage)
    sections: list[str] = []
    summaries: list[dict[str, Any]] = []
    passed = True
    for name in names:
        with looked_at(app, given, name) as subject:
            found = None
            if given.flag("check"):
                from veneer.cli.commands.image_check import rules_of
                from veneer.engine.looking.judging import judge

                base = app.engine.looking.stands_on(subject)
                found = judge(subject, rules_of(given)[0], base_layers=base.layers if base else 0, size=human_size)
                passed = passed and found.passed
            sections.append(report_html.section(subject, found))
            summaries.append(report_html.summary(subject, found))
    if not given.text("output") and app.on_terminal:
        raise Failure("a page is nothing to read on a terminal: use -o or redirect")
    with archive_out(app, given.text("output")) as out:
        out.write(report_html.page(sections, summaries).encode("utf-8", "backslashreplace"))
    return 0 if passed else FAILED_EXIT


REPORT = Command(
    run,
    "Write an HTML page that shows images: layers, sizes, waste, findings",
    "[OPTIONS] IMAGE [IMAGE...]",
    most=None,
    options=(
        Option("check", "bool", "Also check the images against rules; exit with 1 if one is broken"),
        Option("o,output", "string", "Write to a file, instead of STDOUT"),
        Option("rule", "list", "One more rule, as max-waste=20MB", many=True),
        Option("rules", "string", "The file with the rules (default: veneer.toml or .dive-ci of this folder)"),
        *WHERE,
    ),
    only_looks=True,
)
