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

    from veneer.engine.looking.judging import Judgement
    from veneer.engine.looking.subject import Subject

FAILED_EXIT = 1
MAX_SIZE = "10MB"


def run(app: App, given: Parsed) -> int:
    from veneer.cli.outfile import archive_out

    alone(given, given.arguments)
    names = given.arguments or ([""] if needs_no_name(given) else [])
    if not names:
        from veneer.cli.looked import image_and

        image_and(app, given, 0, REPORT.usage)
    if not given.text("output") and app.on_terminal:
        raise Failure("a page is nothing to read on a terminal: use -o or redirect")
    report = _Report(app, given, len(names))
    with looked_at(app, given, names[0]) as first:
        report.add(first)
        for name in names[1:]:
            with looked_at(app, given, name) as subject:
                report.add(subject, first)
    page = report.page()
    with archive_out(app, given.text("output")) as out:
        out.write(page)
    return 0 if report.passed else FAILED_EXIT


class _Report:
    """The page while images are added to it; how many there will be is known."""

    def __init__(self, app: App, given: Parsed, images: int) -> None:
        from veneer.cli.report_style import Sheet

        self._app = app
        self._given = given
        self._images = images
        self._limit = _limit(given.text("max_size"))
        self._sheet = Sheet()
        self._sections: list[str] = []
        self._verdicts: list[str] = []
        self._packs: list[bytes] = []
        self._summaries: list[dict[str, Any]] = []
        self.passed = True

    def add(self, subject: Subject, *before: Subject) -> None:
        """One more image, which is compared with those `before` it."""
        from veneer.cli import report_html
        from veneer.engine.looking.findings import findings

        _ = subject.depths  # for the map; the account is made on the same walk
        noted = findings(subject)
        base = self._app.engine.looking.stands_on(subject)
        found = self._judged(subject, base.layers if base else 0)
        section = report_html.section(subject, self._sheet, noted)
        self._sections.append(section)
        self._summaries.append(report_html.summary(subject, found))
        if not self._given.flag("plain"):
            from veneer.view.web.embedded import embed

            shared = self._app.engine.looking.shared_with(subject)
            room = report_html.room(self._limit, self._images, section)
            self._packs.append(embed(subject, room, shared=shared, base=base, before=before, noted=noted))

    def _judged(self, subject: Subject, base_layers: int) -> Judgement | None:
        if not self._given.flag("check"):
            return None
        from veneer.cli import report_html
        from veneer.cli.commands.image_check import rules_of
        from veneer.engine.looking.judging import judge

        found = judge(subject, rules_of(self._app, self._given)[0], base_layers=base_layers, size=human_size)
        self.passed = self.passed and found.passed
        self._verdicts.append(report_html.verdict(subject.name, found))
        return found

    def page(self) -> bytes:
        """The whole page; says so where it is larger than it was to be."""
        from veneer.cli import report_html

        page = report_html.page(
            self._sections, self._summaries, self._sheet, verdicts=self._verdicts, packs=self._packs
        ).encode("utf-8", "backslashreplace")
        if self._packs and len(page) > self._limit:
            self._app.warn(f"Warning: the page has {human_size(len(page))}: what is left when all files are folded "
                           "into the root")  # fmt: skip
        return page


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
