"""`veneer build --check`: what the linter found, as buildx shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from veneer.cli.app import App
from veneer.cli.tables import harmless

if TYPE_CHECKING:
    from veneer.engine.builds import Checked

_AROUND = 2
"""Lines of the Dockerfile shown before and after the ones a finding is about."""


def excerpt(source: Sequence[str], first: int, last: int) -> list[str]:
    """The lines around `first` to `last` (from 1), numbered, with `>>>` on those."""
    low, high = max(1, first - _AROUND), min(len(source), last + _AROUND)
    return [f"{number:4d} | {'>>>' if first <= number <= last else '   '} {harmless(source[number - 1], keep=chr(9))}"
            for number in range(low, high + 1)]  # fmt: skip


def show(app: App, checked: Checked, format: str) -> int:
    """Print every finding; 1 if there are any, else 0."""
    findings = checked.findings
    if format == "json":
        import json

        app.write(json.dumps({"warnings": [
            {"ruleName": each.rule, "description": each.description, "detail": each.message,
             "location": {"startLine": each.line, "endLine": each.end_line}} for each in findings
        ]}, indent=2) + "\n")  # fmt: skip
        return 1 if findings else 0
    if not findings:
        app.line("Check complete, no warnings found.")
        return 0
    app.line(f"Check complete, {len(findings)} warning{'s have' if len(findings) > 1 else ' has'} been found!")
    source = checked.source.decode("utf-8", "replace").splitlines()
    for each in findings:
        app.line("")
        app.line(f"WARNING: {each.rule}")
        app.line(each.description)
        app.line("")
        app.line(f"{checked.name}:{each.line}")
        app.line("--------------------")
        for line in excerpt(source, each.line, each.end_line):
            app.write(line + "\n")
        app.line("--------------------")
        app.line(each.message)
    return 1
