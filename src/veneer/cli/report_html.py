"""An image as one HTML page that needs nothing else: no script, no network, no other file.

Everything a stranger named is escaped twice over: control characters and bidirectional marks are written out, then
HTML's own characters.  A summary for machines stands in `<script type="application/json" id="veneer-summary">`, which
no browser runs; the page's policy forbids scripts and everything from elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape

from veneer.cli.looked import layer_numbers, shown_path
from veneer.cli.reworked import counted
from veneer.cli.tables import harmless
from veneer.cli.units import human_size
from veneer.view.texts import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.copies import Place
    from veneer.analysis.view import Line, View
    from veneer.engine.looking.judging import Judgement
    from veneer.engine.looking.subject import Subject

LEVELS = 4
"""How deep the map goes."""
LEAST_SHARE = 0.004
"""Of the whole; what is smaller is folded into "other"."""
MOST_WASTE = 40

_STYLE = """
:root{color-scheme:light dark;--line:#8886;--bg:#fff;--fg:#1b1f24;--dim:#57606a;--bar:#2f6fb3;--bad:#b3261e;
--good:#1a7f37}
@media(prefers-color-scheme:dark){:root{--bg:#0f1216;--fg:#e6e9ed;--dim:#9aa4af;--bar:#6aa9e9;--bad:#ff8a80;
--good:#6fd08c}}
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1.5rem;background:var(--bg);
color:var(--fg)}
section+section{margin-top:3.5rem}
h1{font-size:1.5rem;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:2rem 0 .6rem}
.facts{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin:.6rem 0;padding:0;list-style:none}
.facts b{font-size:1.15rem}
.facts span,.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%}
td,th{padding:.28rem .6rem;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
th{font-weight:600}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
code{font:13px/1.4 ui-monospace,monospace}
.bar{height:.6rem;min-width:1px;background:var(--bar);display:block}
.bar.w{background:var(--bad)}
.map,.map div{display:flex}
.map{border:1px solid var(--line)}
.map .d{flex-direction:column;min-width:0;overflow:hidden}
.map .k{flex-direction:row}
.map .b{display:block;padding:.15rem .3rem;border:1px solid var(--bg);white-space:nowrap;overflow:hidden;
text-overflow:ellipsis;font-size:12px;color:#fff;min-height:1.2rem}
.FAIL{color:var(--bad);font-weight:600}
.PASS{color:var(--good);font-weight:600}
@media print{body{max-width:none;padding:0}
h2{break-after:avoid}
tr{break-inside:avoid}}
""".strip().replace("\n", "")


def text(value: str) -> str:
    """A text from anywhere, for a page."""
    return escape(harmless(value))


def _hue(layer: int) -> int:
    """Neighbouring layers have colours far apart."""
    return layer * 137 % 360


def _bar(value: int, most: int, kind: str = "") -> str:
    share = 100 * value / most if most else 0
    return f'<span class="bar{" " + kind if kind else ""}" style="width:{share:.2f}%"></span>'


def _table(head: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """A table; `head` are (class, heading), cells are HTML."""
    heads = "".join(f'<th scope="col" class="{kind}">{escape(heading)}</th>' for kind, heading in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kind}">{cell}</td>' for (kind, _), cell in zip(head, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}</tbody></table>"


def facts(subject: Subject) -> str:
    account = subject.account
    pull = sum(blob.size for blob in subject.documents.blobs if blob is not None)
    told = [
        ("visible", human_size(account.visible)), ("stored", human_size(account.stored)),
        ("wasted", human_size(account.wasted)), ("efficiency", f"{100 * account.efficiency:.1f}%"),
        ("to pull", human_size(pull) if pull else "-"), ("layers", str(len(subject.origins))),
        ("platform", str(subject.config.platform)), ("created", subject.config.created[:19] or "-"),
    ]  # fmt: skip
    items = "".join(f"<li><b>{text(value)}</b> <span>{name}</span></li>" for name, value in told)
    return f'<ul class="facts">{items}</ul>\n<p class="dim"><code>{subject.config.image_id}</code></p>'


def layers(subject: Subject) -> str:
    figures = subject.account.layers
    most = max((each.stored for each in figures), default=0)
    rows = []
    for number, (origin, figure) in enumerate(zip(subject.origins, figures, strict=True), 1):
        before = "".join(f'<br><span class="dim">{text(each.shown)}</span>' for each in origin.before)
        rows.append([
            f'<span style="color:hsl({_hue(number - 1)} 60% 45%)">&#9632;</span> {number}',
            f"<code>{text(origin.shown)}</code>{before}",
            human_size(figure.stored) + _bar(figure.stored, most),
            ("-" if figure.net < 0 else "") + human_size(abs(figure.net)),
            human_size(figure.made) + (_bar(figure.made, most, "w") if figure.made else ""),
            f"{figure.added} / {figure.modified} / {figure.metadata} / {figure.deleted}",
        ])  # fmt: skip
    return _table([("n", "#"), ("", "Instruction"), ("n", "Stored"), ("n", "Net"), ("n", "Waste made"),
                   ("n", "Added / changed / metadata / deleted")], rows)  # fmt: skip


def waste(subject: Subject) -> str:
    from veneer.analysis.waste import by_path

    rows = by_path(subject.account.losses)
    if not rows:
        return "<p>Nothing: every byte stored is to be seen.</p>"
    most = rows[0].bytes
    cells = []
    for row in rows[:MOST_WASTE]:
        assert isinstance(row.key, bytes)
        causes = ", ".join(cause.shown for cause in row.causes)
        cells.append([
            human_size(row.bytes) + _bar(row.bytes, most, "w"), f"<code>{escape(shown_path(row.key))}</code>",
            causes, layer_numbers(row.holders), layer_numbers(row.makers), escape(remedy(row.causes)),
        ])  # fmt: skip
    left = rows[MOST_WASTE:]
    more = f"<p>... {len(left)} more, {human_size(sum(row.bytes for row in left))}</p>" if left else ""
    return _table([("n", "Waste"), ("", "Path"), ("", "Cause"), ("n", "Held in"), ("n", "Made by"), ("", "Remedy")],
                  cells) + more  # fmt: skip


def size_map(subject: Subject) -> str:
    """Where the bytes are, level by level: a box is as wide as its share, and has its layer's colour if that is one."""
    from veneer.analysis.view import View

    view = View(subject.table)
    whole = view.total().size
    if not whole:
        return "<p>There are no bytes.</p>"
    place = subject.table.root()
    label = "sizes of directories; the same as a tree: veneer image tree"
    boxes = "".join(_boxes(view, b"", place, whole, whole, 1))
    return f'<div class="map" role="img" aria-label="{label}">{boxes}</div>'


def _boxes(view: View, path: bytes, place: Place, of: int, whole: int, level: int) -> Iterator[str]:
    lines = sorted((line for line in view.beneath(path, place) if line.sums.size), key=lambda line: -line.sums.size)
    small = [line for line in lines if line.sums.size < LEAST_SHARE * whole]
    for line in lines[: len(lines) - len(small)]:
        yield _box(view, line, of, whole, level)
    if small:
        size = sum(line.sums.size for line in small)
        yield _wide(size, of, f'<span class="b" style="background:#777" title="{counted(len(small), "other")}, '
                              f'{human_size(size)}">other ({len(small)})</span>')  # fmt: skip


def _box(view: View, line: Line, of: int, whole: int, level: int) -> str:
    size = line.sums.size
    (layer, *others) = line.sums.layers or (0,)
    title = escape(f"{shown_path(line.path)}  {human_size(size)}, layers {layer_numbers(line.sums.layers)}")
    name = text(line.name.decode("utf-8", "backslashreplace") + ("/" if line.is_directory else ""))
    colour = "background:#4b5563" if others else f"background:hsl({_hue(layer)} 45% 38%)"
    own = f'<span class="b" style="{colour}" title="{title}">{name} {human_size(size)}</span>'
    inner = ""
    if line.place is not None and line.is_directory and level < LEVELS:
        inner = '<div class="k">' + "".join(_boxes(view, line.path, line.place, size, whole, level + 1)) + "</div>"
    return _wide(size, of, own + inner)


def _wide(size: int, of: int, inner: str) -> str:
    """A box as wide as its share of the one it is in."""
    return f'<div class="d" style="flex:0 1 {100 * size / of:.3f}%">{inner}</div>'


def rules(found: Judgement) -> str:
    rows = []
    for verdict in found.verdicts:
        status = verdict.status.upper()
        mark = f'<span class="{status}">{status}</span>'
        rows.append([mark, verdict.rule, text(verdict.limit), text(verdict.found)])
    return _table([("", ""), ("", "Rule"), ("n", "Limit"), ("n", "Found")], rows)


def labels(subject: Subject) -> str:
    from veneer.engine.looking.origins import labels as said

    rows = [[f"<code>{text(label.key)}</code>", text(label.value), label.source] for label in said(subject)]
    return _table([("", "Key"), ("", "Value"), ("", "Source")], rows) if rows else "<p>It says nothing of itself.</p>"


def noteworthy(subject: Subject) -> str:
    from veneer.engine.looking.findings import findings

    rows = [
        [each.concern.value, f"<code>{escape(shown_path(each.path))}</code>", str(each.layer + 1), text(each.detail)]
        for each in findings(subject)
    ]
    if not rows:
        return "<p>Nothing was found by names and modes.</p>"
    return _table([("", "Concern"), ("", "Path"), ("n", "Layer"), ("", "")], rows)


def summary(subject: Subject, found: Judgement | None) -> dict[str, Any]:
    """What machines get of an image."""
    account = subject.account
    return {
        "image": subject.name, "id": str(subject.config.image_id), "digest": str(subject.documents.digest or ""),
        "platform": str(subject.config.platform), "stored": account.stored, "visible": account.visible,
        "wasted": account.wasted, "efficiency": account.efficiency, "layers": len(subject.origins),
        "passed": found.passed if found is not None else None,
    }  # fmt: skip


def section(subject: Subject, found: Judgement | None) -> str:
    """One image's part of the page."""
    parts = [f"<h1>{text(subject.name)}</h1>", facts(subject)]
    if found is not None:
        parts += ["<h2>Rules</h2>", rules(found)]
    parts += [
        "<h2>Layers</h2>", layers(subject), "<h2>Where the bytes are</h2>", size_map(subject),
        "<h2>Stored in vain</h2>", waste(subject), "<h2>Worth knowing</h2>", noteworthy(subject),
        "<h2>Labels</h2>", labels(subject),
    ]  # fmt: skip
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def page(sections: Sequence[str], summaries: Sequence[dict[str, Any]]) -> str:
    """The whole page."""
    from veneer import __version__

    title = ", ".join(each["image"] for each in summaries)
    # In a script element only "</" and "<!--" could end what stands there.
    data = json.dumps({"version": 1, "veneer": __version__, "images": list(summaries)}).replace("<", "\\u003c")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>veneer report: {text(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(sections)
        + f'\n<p class="dim">Made by veneer {__version__}: {counted(len(summaries), "image")}.</p>\n'
        f'<script type="application/json" id="veneer-summary">{data}</script>\n</body></html>\n'
    )
