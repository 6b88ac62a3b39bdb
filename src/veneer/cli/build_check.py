"""`veneer build --check`: what the linter found, as buildx shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.build.language.errors import excerpt
from veneer.cli.app import App

if TYPE_CHECKING:
    from veneer.engine.builds import Checked

MAX_LINES = 10


def show(app: App, checked: Checked, format: str) -> int:
    """Print every finding; 1 if there are any, else 0, as buildx has it.

    Source: moby/buildkit frontend/subrequests/lint (its text and its JSON).
    """
    findings = checked.findings
    if format == "json":
        app.write(_json(checked))
        return 1 if findings else 0
    if not findings:
        app.line("Check complete, no warnings found.")
        return 0
    app.line(f"Check complete, {len(findings)} warning{'s have' if len(findings) > 1 else ' has'} been found!")
    source = checked.source.decode("utf-8", "replace").split("\n")
    for each in findings:
        app.line("")
        app.line(f"WARNING: {each.rule} - {each.url}")
        app.line(each.message)
        app.line(f"{checked.name}:{each.line}")
        app.line("--------------------")
        # A here-document of a thousand lines is not shown whole.
        app.write(excerpt(source, each.line, min(each.end_line, each.line + MAX_LINES)) + "\n")
        app.line("--------------------")
    return 1


def _json(checked: Checked) -> str:
    import base64
    import json

    document = {
        "warnings": [
            {"ruleName": each.rule, "description": each.description, "url": each.url, "detail": each.message,
             "location": {"ranges": [{"start": {"line": each.line}, "end": {"line": each.end_line}}]}}
            for each in checked.findings
        ],
        "sources": [
            {"filename": checked.name, "language": "Dockerfile", "data": base64.b64encode(checked.source).decode()}
        ],
    }  # fmt: skip
    return json.dumps(document, indent=2) + "\n"
