"""A judgement as text, Markdown, JSON, JUnit, SARIF, or GitHub's annotations.

Sources: SARIF 2.1.0 (OASIS); the JUnit XML that Jenkins and GitLab read; GitHub's workflow commands.
"""

from __future__ import annotations

from veneer.cli.looked import shown_path
from veneer.cli.tables import align, harmless
from veneer.cli.units import AT_MOST, human_size
from veneer.view.texts import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.looking.judging import Figures, Judgement, Verdict

MOST = 5
UNKNOWN = "not known"
_OF_WASTE = frozenset({"min-efficiency", "max-waste", "max-waste-percent"})
"""Rules whose reasons are the table of waste."""
_MARKS = {"pass": "PASS", "fail": "FAIL", "skip": "SKIP"}
_NOT_IN_XML = {code: " " for code in range(32) if code not in (9, 10, 13)} | {0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"}


def _failed(found: Judgement) -> list[Verdict]:
    return [verdict for verdict in found.verdicts if verdict.status == "fail"]


def _result(found: Judgement) -> str:
    failed = len(_failed(found))
    kept = f"{len(found.verdicts) - failed} of {len(found.verdicts)} rules kept"
    return f"{'FAIL' if failed else 'PASS'}: {kept}{'' if found.verdicts else ', for none is set'}"


def _deltas(found: Judgement) -> list[tuple[str, str, str]]:
    """(name, value, change against the baseline) of the figures."""

    def change(now: int, before: int | None) -> str:
        if before is None:
            return ""
        return ("+" if now >= before else "-") + human_size(abs(now - before))

    now, old = found.figures, found.baseline
    pull = UNKNOWN if now.pull is None else f"{AT_MOST if now.pull_at_most else ''}{human_size(now.pull)}"
    layers = f"{now.layers - old.layers:+d}" if old else ""
    # A bound and a size cannot be compared.
    pulled = old.pull if old and old.pull_at_most == now.pull_at_most and now.pull is not None else None
    efficiency = f"{100 * (now.efficiency - old.efficiency):+.1f}" if old else ""
    return [
        ("visible", human_size(now.visible), change(now.visible, old.visible if old else None)),
        ("stored", human_size(now.stored), change(now.stored, old.stored if old else None)),
        ("pull", pull, change(now.pull or 0, pulled)),
        ("layers", str(now.layers), layers),
        ("waste", human_size(now.waste), change(now.waste, old.waste if old else None)),
        ("efficiency", f"{100 * now.efficiency:.1f}%", efficiency),
    ]


def _causes(found: Judgement) -> list[tuple[str, str, str]]:
    """(bytes, what, remedy) of the most waste."""
    from veneer.analysis.waste import by_path

    told = []
    for row in by_path(found.losses)[:MOST]:
        assert isinstance(row.key, bytes)
        makers = ", ".join(str(maker + 1) for maker in row.makers)
        causes = ", ".join(cause.shown for cause in row.causes)
        told.append((human_size(row.bytes), f"{shown_path(row.key)} {causes} by layer {makers}", remedy(row.causes)))
    return told


def _left_out(found: Judgement) -> str:
    """What the figures do not count; "" if they count all."""
    if not found.left_out:
        return ""
    return f"Not counted: {human_size(found.left_out)} of waste that is the base's, or that ignore-paths names."


def text(found: Judgement, file: str) -> str:
    """For a terminal."""
    rows = [
        [_MARKS[verdict.status], verdict.rule, verdict.limit, harmless(verdict.found)] for verdict in found.verdicts
    ]
    figures = ", ".join(f"{name} {value}{f' ({delta})' if delta else ''}" for name, value, delta in _deltas(found))
    left_out = f"{_left_out(found)}\n" if found.left_out else ""
    out = f"{harmless(found.figures.image)}: {figures}\n{left_out}\n"
    out += align([["RESULT", "RULE", "LIMIT", "FOUND"], *rows])
    reasons: dict[tuple[str, ...], list[str]] = {}
    for verdict in _failed(found):
        if verdict.details:
            reasons.setdefault(tuple(verdict.told()), []).append(verdict.rule)
    for details, names in reasons.items():
        out += f"\n{', '.join(names)}:\n" + "".join(f"  {harmless(detail)}\n" for detail in details)
    return out + "\n" + _result(found) + "\n"


def markdown(found: Judgement, file: str) -> str:
    """For a comment on a change."""
    from veneer.cli import markdown as written

    lines = [
        f"### {written.code(found.figures.image)}: {_result(found)}",
        "",
        "| rule | limit | found | |",
        "|---|---|---|---|",
    ]
    lines += [f"| {verdict.rule} | {written.cell(verdict.limit)} | {written.cell(verdict.found)} "
              f"| {_MARKS[verdict.status]} |" for verdict in found.verdicts]  # fmt: skip
    lines += ["", "| | now | change |", "|---|---:|---:|"]
    lines += [f"| {name} | {value} | {delta} |" for name, value, delta in _deltas(found)]
    if found.left_out:
        lines += ["", _left_out(found)]
    for verdict in _failed(found):
        if verdict.details and verdict.rule not in _OF_WASTE:
            lines += ["", f"{verdict.rule}:", "", *(f"- {written.told(detail)}" for detail in verdict.told())]
    causes = _causes(found)
    if causes:
        lines += ["", "| waste | what | remedy |", "|---:|---|---|"]
        lines += [f"| {size} | {written.cell(what, always=True)} | {hint} |" for size, what, hint in causes]
    return "\n".join(lines) + "\n"


def json(found: Judgement, file: str) -> str:
    """For programs, and for `--baseline`."""
    from json import dumps

    def figures(each: Figures | None) -> Any:
        return each.document() if each is not None else None

    document = {
        "version": 1,
        "passed": found.passed,
        "figures": figures(found.figures),
        "baseline": figures(found.baseline),
        "rules": [
            {"rule": verdict.rule, "status": verdict.status.value, "limit": verdict.limit, "found": verdict.found,
             "details": list(verdict.details), "more": verdict.more}
            for verdict in found.verdicts
        ],
        "waste": [{"bytes": loss.bytes, "files": loss.files, "path": _path(loss.path), "cause": loss.cause.shown,
                   "holder": loss.holder + 1, "maker": loss.maker + 1} for loss in found.losses[:100]],
    }  # fmt: skip
    return dumps(document, indent=2) + "\n"


def _path(path: bytes) -> str:
    return "/" + path.decode("utf-8", "backslashreplace")


def _xml(value: str) -> str:
    from html import escape

    # XML 1.0 has no place for most control characters and for two more, not even written as references.
    return escape(harmless(value).translate(_NOT_IN_XML))


def junit(found: Judgement, file: str) -> str:
    """For CI that shows tests."""
    failed, skipped = len(_failed(found)), sum(verdict.status == "skip" for verdict in found.verdicts)
    name = _xml(found.figures.image)
    counts = f'tests="{len(found.verdicts)}" failures="{failed}" skipped="{skipped}" errors="0"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuite name="veneer check {name}" {counts}>']
    for verdict in found.verdicts:
        lines.append(f'  <testcase classname="{name}" name="{verdict.rule}">')
        message = _xml(f"limit {verdict.limit}, found {verdict.found}")
        if verdict.status == "fail":
            details = "\n".join(map(_xml, verdict.told()))
            lines.append(f'    <failure message="{message}">{details}</failure>')
        elif verdict.status == "skip":
            lines.append(f'    <skipped message="{message}"/>')
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def sarif(found: Judgement, file: str) -> str:
    """For code scanning; the place is the file with the rules, for an image has no lines."""
    from json import dumps
    from urllib.parse import quote

    from veneer import __version__

    where = quote(file.encode("utf-8", "surrogateescape")) or "Dockerfile"
    place = {"physicalLocation": {"artifactLocation": {"uri": where}, "region": {"startLine": 1}}}
    results = []
    for verdict in _failed(found):
        said = f"{found.figures.image}: {verdict.rule}: limit {verdict.limit}, found {verdict.found}"
        more = "".join(f"\n- {harmless(detail)}" for detail in verdict.told())
        results.append({"ruleId": verdict.rule, "level": "error", "message": {"text": harmless(said) + more},
                        "locations": [place]})  # fmt: skip
    driver = {
        "name": "veneer", "version": __version__,
        "rules": [{"id": verdict.rule, "shortDescription": {"text": verdict.rule.replace("-", " ")}}
                  for verdict in found.verdicts],
    }  # fmt: skip
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }  # fmt: skip
    return dumps(document, indent=2) + "\n"


def github(found: Judgement, file: str) -> str:
    """GitHub's workflow commands: one annotation for each rule that is not kept."""

    def escaped(value: str, *, parameter: bool = False) -> str:
        value = value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        return value.replace(":", "%3A").replace(",", "%2C") if parameter else value

    lines = []
    for verdict in found.verdicts:
        if verdict.status == "pass":
            continue
        said = [f"{found.figures.image}: limit {verdict.limit}, found {verdict.found}", *verdict.told()]
        kind = "error" if verdict.status == "fail" else "notice"
        place = f"file={escaped(file, parameter=True)}," if file else ""
        title = escaped(f"veneer {verdict.rule}", parameter=True)
        lines.append(f"::{kind} {place}title={title}::{escaped(chr(10).join(map(harmless, said)))}")
    return "".join(line + "\n" for line in [*lines, _result(found)])
