"""`veneer build --call`: questions about a Dockerfile that nothing is built for, answered as buildx shows them.

Sources: moby/buildkit frontend/subrequests/{lint,outline,targets} (their texts and their JSON).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veneer.build.language.errors import excerpt
from veneer.cli.app import App

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.build.language.instructions import Location
    from veneer.build.outline import Outline, Target, Wanted
    from veneer.build.request import BuildRequest
    from veneer.engine.builds import Checked

MAX_LINES = 10
_PADDING = 3


def answer(app: App, method: str, request: BuildRequest, format: str) -> int:
    """Answer `check`, `outline` or `targets` as `table` or `json`; the exit status."""
    builds = app.engine.builds
    if method == "check":
        return show(app, builds.check(request), format)
    if method == "targets":
        offered = builds.targets(request)
        told = _targets_json(offered.targets) if format == "json" else _targets_text(offered.targets)
        source = offered.source
    else:
        found = builds.outline(request)
        told = _outline_json(found.outline) if format == "json" else _outline_text(found.outline)
        source = found.source
    app.write(told if isinstance(told, str) else _document({**told, "sources": [_base64(source)]}))
    return 0


def show(app: App, checked: Checked, format: str) -> int:
    """Print every finding; 1 if there are any, else 0, as buildx has it."""
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
    return _document({
        "warnings": [
            {"ruleName": each.rule, "description": each.description, "url": each.url, "detail": each.message,
             "location": _lines(each.line, each.end_line)}
            for each in checked.findings
        ],
        "sources": [{"filename": checked.name, "language": "Dockerfile", "data": _base64(checked.source)}],
    })  # fmt: skip


# ---- targets


def _targets_text(targets: Sequence[Target]) -> str:
    rows = [("TARGET", "DESCRIPTION")]
    for each in targets:
        mark = "(default)" if each.default else ""
        rows.append((" ".join(filter(None, (each.name, mark))), each.description))
    return _table(rows)


def _targets_json(targets: Sequence[Target]) -> dict[str, Any]:
    return {
        "targets": [
            {**_said(name=each.name, default=each.default, description=each.description, base=each.base,
                     platform=each.platform), "location": _place(each.place)}
            for each in targets
        ]
    }  # fmt: skip


# ---- an outline


def _outline_text(found: Outline) -> str:
    parts = []
    if found.name or found.description:
        head = [("TARGET:", found.name or "(default)"), ("DESCRIPTION:", found.description)]
        parts.append(_table([row for row in head if row[1]], padding=1))
    if found.arguments:
        rows = [(each.name, each.value, each.description) for each in found.arguments]
        parts.append(_table([("BUILD ARG", "VALUE", "DESCRIPTION"), *rows]))
    for title, wanted in (("SECRET", found.secrets), ("SSH", found.ssh)):
        if wanted:
            rows_of = [(each.id, "true" if each.required else "") for each in wanted]
            parts.append(_table([(title, "REQUIRED"), *rows_of]))
    if found.caches:
        parts.append(_table([("CACHE",), *((each.id,) for each in found.caches)]))
    return "\n".join(parts)


def _outline_json(found: Outline) -> dict[str, Any]:
    def wanted(each: Wanted) -> dict[str, Any]:
        return {"name": each.id, **_said(required=each.required), "location": _place(each.place)}

    arguments = [
        {"name": each.name, **_said(description=each.description, value=each.value), "location": _place(each.place)}
        for each in found.arguments
    ]
    return _said(
        name=found.name, description=found.description, args=arguments, secrets=list(map(wanted, found.secrets)),
        ssh=list(map(wanted, found.ssh)),
        cache=[{"ID": each.id, "location": _place(each.place)} for each in found.caches],
    )  # fmt: skip


# ---- what they share


def _said(**fields: Any) -> dict[str, Any]:
    """The fields that say something, as Go leaves out empty ones."""
    return {name: value for name, value in fields.items() if value}


def _place(place: Location) -> dict[str, Any]:
    return _lines(place.line, place.end_line)


def _lines(first: int, last: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": first}, "end": {"line": last}}]}


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _document(fields: dict[str, Any]) -> str:
    import json

    return json.dumps(fields, indent=2) + "\n"


def _table(rows: Sequence[Sequence[str]], padding: int = _PADDING) -> str:
    """Columns as wide as what is in them and the padding; what a Dockerfile says steers no terminal."""
    from veneer.cli.tables import harmless, width

    shown = [[harmless(cell) for cell in row] for row in rows]
    wide = [max(map(width, column)) + padding for column in zip(*shown, strict=True)]
    lines = ("".join(cell + " " * (room - width(cell)) for cell, room in zip(row, wide, strict=True)) for row in shown)
    return "".join(line.rstrip(" ") + "\n" for line in lines)
