"""`veneer system check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.store.repair import Repaired

if TYPE_CHECKING:
    from collections.abc import Sequence


def run(app: App, given: Parsed) -> int:
    deep, repair, format = given.flag("deep"), given.flag("repair"), given.text("format")
    findings = app.engine.system.check(deep=deep)
    if not findings and format in ("", "table"):
        app.line("Everything stored is whole.")
        return 0
    answers = app.engine.system.repair(findings) if repair else [Repaired(each, False, "") for each in findings]
    kind: Listing[Repaired] = Listing("finding", (
        Column("Code", "CODE", lambda each: each.finding.code),
        Column("Subject", "SUBJECT", lambda each: each.finding.subject),
        Column("Fact", "FACT", lambda each: each.finding.fact),
        Column("Damage", "DAMAGE", lambda each: "yes" if each.finding.damage else "no"),
        Column("Repaired", "REPAIRED", lambda each: "yes" if each.done else "no"),
        Column("How", "HOW", lambda each: each.how),
    ))  # fmt: skip
    shown = ("Code", "Damage", *(("Repaired", "How") if repair else ()), "Subject", "Fact")
    kind.show(app, answers, format, shown)
    app.out.flush()
    if not repair:
        _hints(app, answers, deep=deep)
    return 1 if any(each.finding.damage and not each.done for each in answers) else 0


def _hints(app: App, answers: Sequence[Repaired], *, deep: bool) -> None:
    if any(each.finding.code.startswith("stray-") for each in answers):
        app.hint("veneer system prune removes what is stray")
    if unfinished := app.engine.system.migration_cut_off():
        app.hint(unfinished)
    if any(each.finding.damage for each in answers):
        app.hint(
            f"veneer system check {'--deep ' * deep}--repair makes whole what can be, and says what to do of the rest"
        )


CHECK = Command(
    run,
    "Check that everything stored is whole",
    "[OPTIONS]",
    options=(
        Option("deep", "bool", "Read every byte again, instead of comparing names and sizes only"),
        Option("format", "string", LIST_FORMAT),
        Option("repair", "bool", "Make damaged layers anew from their blobs, and say what cannot be repaired"),
    ),
)
