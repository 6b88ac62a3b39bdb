"""`veneer system check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli.app import App
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.listing import Column, Listing

if TYPE_CHECKING:
    from veneer.store.check import Finding


def run(app: App, given: Parsed) -> int:
    findings = list(app.engine.system.check(deep=given.flag("deep")))
    format = given.text("format")
    if not findings and format in ("", "table"):
        app.line("Everything stored is whole.")
        return 0
    kind: Listing[Finding] = Listing("finding", (
        Column("Code", "CODE", lambda finding: finding.code),
        Column("Subject", "SUBJECT", lambda finding: finding.subject),
        Column("Fact", "FACT", lambda finding: finding.fact),
        Column("Damage", "DAMAGE", lambda finding: "yes" if finding.damage else "no"),
    ))  # fmt: skip
    kind.show(app, findings, format, ("Code", "Damage", "Subject", "Fact"))
    app.out.flush()
    if any(finding.code.startswith("stray-") for finding in findings):
        app.hint("veneer system prune removes what is stray")
    damaged = any(finding.damage for finding in findings)
    if damaged:
        app.hint("pulling or loading a damaged image again repairs it")
    return 1 if damaged else 0


CHECK = Command(
    run,
    "Check that everything stored is whole",
    "[OPTIONS]",
    options=(
        Option("deep", "bool", "Read every byte again, instead of comparing names and sizes only"),
        Option("format", "string", LIST_FORMAT),
    ),
)
