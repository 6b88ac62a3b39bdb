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
MAX_SIZE = "10MB"


def run(app: App, given: Parsed) -> int:
    from veneer.cli import report_html
    from veneer.cli.outfile import archive_out
    from veneer.cli.report_style import Sheet

    alone(given, given.arguments)
    names = given.arguments or ([""] if needs_no_name(given) else [])
    if not names:
        from veneer.cli.looked import image_and

        image_and(app, given, 0, REPORT.usage)
    if not given.text("output") and app.on_terminal:
        raise Failure("a page is nothing to read on a terminal: use -o or redirect")
    limit = _limit(given.text("max_size"))
    sheet = Sheet()
    sections: list[str] = []
    verdicts: list[str] = []
    packs: list[bytes] = []
    summaries: list[dict[str, Any]] = []
    passed = True
    for name in names:
        with looked_at(app, given, name) as subject:
            base = app.engine.looking.stands_on(subject)
            found = None
            if given.flag("check"):
                from veneer.cli.commands.image_check import rules_of
                from veneer.engine.looking.judging import judge

                found = judge(subject, rules_of(given)[0], base_layers=base.layers if base else 0, size=human_size)
                passed = passed and found.passed
                verdicts.append(report_html.verdict(subject.name, found))
            sections.append(report_html.section(subject, sheet))
            summaries.append(report_html.summary(subject, found))
            if not given.flag("plain"):
                from veneer.view.web.embedded import embed

                shared = app.engine.looking.shared_with(subject)
                room = report_html.room(limit, len(names), sections[-1])
                packs.append(embed(subject, room, shared=shared, base=base))
    page = report_html.page(sections, summaries, sheet, verdicts=verdicts, packs=packs)
    data = page.encode("utf-8", "backslashreplace")
    if len(data) > limit and packs:
        app.warn(f"Warning: the page has {human_size(len(data))}: what is left when all files are folded into the root")
    with archive_out(app, given.text("output")) as out:
        out.write(data)
    return 0 if passed else FAILED_EXIT


def _limit(text: str) -> int:
    """How many bytes the page may have.  Raises BadRule."""
    from veneer.engine.looking.rules import size

    return size(text or MAX_SIZE, "--max-size")


REPORT = Command(
    run,
    "Write an HTML page that shows images: layers, sizes, waste, findings",
    "[OPTIONS] IMAGE [IMAGE...]",
    most=None,
    options=(
        Option("check", "bool", "Also check the images against rules; exit with 1 if one is broken"),
        Option("max-size", "string", "Fold small files until the page is no larger", shown_default=f'"{MAX_SIZE}"'),
        Option("o,output", "string", "Write to a file, instead of STDOUT"),
        Option("plain", "bool", "Only tables: no script, and no files but the largest"),
        Option("rule", "list", "One more rule, as max-waste=20MB", many=True),
        Option("rules", "string", "The file with the rules (default: veneer.toml or .dive-ci of this folder)"),
        *WHERE,
    ),
    only_looks=True,
)
