"""An image as one HTML page that needs nothing else: no network, no other file.  Without a script it is tables.

Everything a stranger named is escaped twice over: control characters and bidirectional marks are written out, then
HTML's own characters.  A summary for machines stands in `<script type="application/json" id="veneer-summary">`, which
no browser runs; the page's policy forbids everything from elsewhere and every script but the page's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape

from veneer.cli.looked import layer_numbers, shown_path
from veneer.cli.report_style import Sheet, beneath, hashed
from veneer.cli.reworked import counted
from veneer.cli.tables import harmless
from veneer.cli.units import human_size
from veneer.view.texts import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.analysis.copies import Place
    from veneer.analysis.view import Line, View
    from veneer.engine.looking.findings import Finding
    from veneer.engine.looking.judging import Judgement
    from veneer.engine.looking.subject import Subject

LEVELS = 4
"""How deep the map goes."""
LEAST_SHARE = 0.004
"""Of the whole; what is smaller is folded into "other"."""
MOST_WASTE = 40
_AROUND = 32 << 10
"""Bytes of a page that are neither an image's nor the script's."""


def text(value: str) -> str:
    """A text from anywhere, for a page."""
    return escape(harmless(value))


def _hue(layer: int) -> int:
    """Neighbouring layers have colours far apart."""
    return layer * 137 % 360


def _bar(sheet: Sheet, value: int, most: int, kind: str = "") -> str:
    share = 100 * value / most if most else 0
    return f'<span class="bar{kind} {sheet.of(f"width:{share:.1f}%")}"></span>'


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


def layers(subject: Subject, sheet: Sheet) -> str:
    figures = subject.account.layers
    most = max((each.stored for each in figures), default=0)
    rows = []
    for number, (origin, figure) in enumerate(zip(subject.origins, figures, strict=True), 1):
        before = "".join(f'<br><span class="dim">{text(each.shown)}</span>' for each in origin.before)
        rows.append([
            f'<span class="{sheet.of(f"color:hsl({_hue(number - 1)} 60% 45%)")}">&#9632;</span> {number}',
            f"<code>{text(origin.shown)}</code>{before}",
            human_size(figure.stored) + _bar(sheet, figure.stored, most),
            ("-" if figure.net < 0 else "") + human_size(abs(figure.net)),
            human_size(figure.made) + (_bar(sheet, figure.made, most, " w") if figure.made else ""),
            f"{figure.added} / {figure.modified} / {figure.metadata} / {figure.deleted}",
        ])  # fmt: skip
    return _table([("n", "#"), ("", "Instruction"), ("n", "Stored"), ("n", "Net"), ("n", "Waste made"),
                   ("n", "Added / changed / metadata / deleted")], rows)  # fmt: skip


def waste(subject: Subject, sheet: Sheet) -> str:
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
            human_size(row.bytes) + _bar(sheet, row.bytes, most, " w"), f"<code>{escape(shown_path(row.key))}</code>",
            causes, layer_numbers(row.holders), layer_numbers(row.makers), escape(remedy(row.causes)),
        ])  # fmt: skip
    left = rows[MOST_WASTE:]
    more = f"<p>... {len(left)} more, {human_size(sum(row.bytes for row in left))}</p>" if left else ""
    return _table([("n", "Waste"), ("", "Path"), ("", "Cause"), ("n", "Held in"), ("n", "Made by"), ("", "Remedy")],
                  cells) + more  # fmt: skip


def size_map(subject: Subject, sheet: Sheet) -> str:
    """Where the bytes are, level by level: a box is as wide as its share, and has its layer's colour if that is one."""
    from veneer.analysis.view import View

    view = View(subject.table, depths=subject.depths)
    whole = view.total().size
    if not whole:
        return "<p>There are no bytes.</p>"
    place = subject.table.root()
    label = "sizes of directories; the same as a tree: veneer image tree"
    boxes = "".join(_Map(view, sheet, whole).boxes(b"", place, whole, 1))
    return f'<div class="map" role="img" aria-label="{label}">{boxes}</div>'


class _Map:
    """The boxes of one image, whose bytes are `whole`."""

    def __init__(self, view: View, sheet: Sheet, whole: int) -> None:
        self._view = view
        self._sheet = sheet
        self._whole = whole

    def boxes(self, path: bytes, place: Place, of: int, level: int) -> Iterator[str]:
        """What is in a directory of `of` bytes, the largest first."""
        lines = sorted((line for line in self._view.beneath(path, place) if line.sums.size),
                       key=lambda line: -line.sums.size)  # fmt: skip
        small = [line for line in lines if line.sums.size < LEAST_SHARE * self._whole]
        for line in lines[: len(lines) - len(small)]:
            yield self._box(line, of, level)
        if small:
            size, number = sum(line.sums.size for line in small), len(small)
            title = f"{counted(number, 'other')}, {human_size(size)}"
            yield self._wide(size, of, self._label("background:#777", title, f"other ({number})"))

    def _box(self, line: Line, of: int, level: int) -> str:
        size = line.sums.size
        (layer, *others) = line.sums.layers or (0,)
        title = escape(f"{shown_path(line.path)}  {human_size(size)}, layers {layer_numbers(line.sums.layers)}")
        name = text(line.name.decode("utf-8", "backslashreplace") + ("/" if line.is_directory else ""))
        colour = "background:#4b5563" if others else f"background:hsl({_hue(layer)} 45% 38%)"
        inner = ""
        if line.place is not None and line.is_directory and level < LEVELS:
            inner = f'<div class="k">{"".join(self.boxes(line.path, line.place, size, level + 1))}</div>'
        return self._wide(size, of, self._label(colour, title, f"{name} {human_size(size)}") + inner)

    def _label(self, colour: str, title: str, inner: str) -> str:
        return f'<span class="b {self._sheet.of(colour)}" title="{title}">{inner}</span>'

    def _wide(self, size: int, of: int, inner: str) -> str:
        """A box as wide as its share of the one it is in."""
        return f'<div class="d {self._sheet.of(f"flex:0 1 {100 * size / of:.1f}%")}">{inner}</div>'


def rules(found: Judgement) -> str:
    rows = []
    for verdict in found.verdicts:
        status = verdict.status.upper()
        mark = f'<span class="{status}">{status}</span>'
        rows.append([mark, verdict.rule, text(verdict.limit), text(verdict.found)])
    table = _table([("", "Result"), ("", "Rule"), ("n", "Limit"), ("n", "Found")], rows)
    return table + "".join(
        f"<p>{verdict.rule}:</p><ul>{''.join(f'<li>{text(detail)}</li>' for detail in verdict.told())}</ul>"
        for verdict in found.verdicts if verdict.details
    )  # fmt: skip


def labels(subject: Subject) -> str:
    from veneer.engine.looking.origins import labels as said

    rows = [[f"<code>{text(label.key)}</code>", text(label.value), label.source] for label in said(subject)]
    return _table([("", "Key"), ("", "Value"), ("", "Source")], rows) if rows else "<p>It says nothing of itself.</p>"


def noteworthy(found: Sequence[Finding]) -> str:
    rows = [
        [each.concern.value, f"<code>{escape(shown_path(each.path))}</code>", str(each.layer + 1), text(each.detail)]
        for each in found
    ]
    if not rows:
        return "<p>Nothing was found by names and modes.</p>"
    return _table([("", "Concern"), ("", "Path"), ("n", "Layer"), ("", "Detail")], rows)


def summary(subject: Subject, found: Judgement | None) -> dict[str, Any]:
    """What machines get of an image."""
    account = subject.account
    return {
        "image": subject.name, "id": str(subject.config.image_id), "digest": str(subject.documents.digest or ""),
        "platform": str(subject.config.platform), "stored": account.stored, "visible": account.visible,
        "wasted": account.wasted, "efficiency": account.efficiency, "layers": len(subject.origins),
        "passed": found.passed if found is not None else None,
    }  # fmt: skip


def section(subject: Subject, sheet: Sheet, found: Sequence[Finding]) -> str:
    """One image's part of the page, whose style sheet is `sheet`; `found` is what one should know of it."""
    parts = [
        f"<h1>{text(subject.name)}</h1>", facts(subject), "<h2>Layers</h2>", layers(subject, sheet),
        "<h2>Where the bytes are</h2>", size_map(subject, sheet), "<h2>Stored in vain</h2>", waste(subject, sheet),
        "<h2>Worth knowing</h2>", noteworthy(found), "<h2>Labels</h2>", labels(subject),
    ]  # fmt: skip
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def verdict(name: str, found: Judgement) -> str:
    """What the rules say of an image; it stays on the page whatever a script draws below it."""
    word = "PASS" if found.passed else "FAIL"
    return (f'<section><h2>Rules for {text(name)}: <span class="{word}">{word}</span></h2>\n{rules(found)}'
            "</section>")  # fmt: skip


def page(
    sections: Sequence[str], summaries: Sequence[dict[str, Any]], sheet: Sheet, *, verdicts: Sequence[str] = (),
    packs: Sequence[bytes] = (),
) -> str:  # fmt: skip
    """The whole page.  With `packs`, one for each image as `view.web.embedded` makes them, a script draws them."""
    from veneer import __version__
    from veneer.view.web import bundle

    title = ", ".join(each["image"] for each in summaries)
    # In a script element only "</" and "<!--" could end what stands there.
    data = json.dumps({"version": 1, "veneer": __version__, "images": list(summaries)}).replace("<", "\\u003c")
    script = bundle.inline_script() if packs else ""
    styles = [beneath(bundle.inline_style()), sheet.text] if script else [sheet.text]
    policy = f"default-src 'none'; style-src {' '.join(map(hashed, styles))}"
    if script:
        policy += f"; script-src {hashed(script)}"
    judged = f'<div class="plain verdict">\n{"".join(verdicts)}</div>\n' if verdicts else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>veneer report: {text(title)}</title>{''.join(f'<style>{style}</style>' for style in styles)}"
        f'</head><body>\n{judged}<div id="veneer"><div class="plain">\n' + "\n".join(sections)
        + f'\n<p class="dim">Made by veneer {__version__}: {counted(len(summaries), "image")}.</p>\n</div></div>\n'
        f'<script type="application/json" id="veneer-summary">{data}</script>\n'
        + (_carried(packs) + f"<script>{script}</script>" if script else "") + "</body></html>\n"
    )  # fmt: skip


def _carried(packs: Sequence[bytes]) -> str:
    """What a script draws, in elements that no browser runs."""
    import base64

    return "".join(
        f'<script type="application/octet-stream">{base64.b64encode(pack).decode()}</script>\n' for pack in packs
    )


def room(limit: int, images: int, section: str) -> int:
    """How large an image's pack may be on a page of `limit` bytes with so many images, where this is its part."""
    from veneer.view.web import bundle

    around = len(bundle.inline_script()) + len(bundle.inline_style()) + _AROUND
    return max(((limit - around) // max(images, 1) - len(section.encode("utf-8", "backslashreplace"))) * 3 // 4, 0)
