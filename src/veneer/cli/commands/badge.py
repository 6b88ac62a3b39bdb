"""`veneer badge`: a fact of an image as a picture for a README."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import WHERE, alone, image_and, looked_at, needs_no_name


def run(app: App, given: Parsed) -> None:
    import json

    from veneer.cli.outfile import archive_out
    from veneer.view import badges
    from veneer.view.badge_facts import facts

    words = given.arguments
    kind = words[0] if words else ""
    if kind and kind not in badges.kinds():
        raise badges.UnknownBadge(f"no badge {kind!r}", hint=f"there are: {', '.join(badges.kinds())}")
    alone(given, words[1:])
    if len(words) < 2 and not (words and needs_no_name(given)):
        image_and(app, given, 1, BADGE.usage)
    format, style = given.text("format") or "svg", given.text("style") or badges.STYLES[0]
    if format not in ("svg", "json"):
        raise Failure(f"invalid --format {format!r}: svg or json")
    with looked_at(app, given, words[1] if len(words) > 1 else "") as subject:
        found = badges.badge(kind, facts(app.engine, subject, kind, app.now), label=given.text("label"),
                             color=given.text("color"))  # fmt: skip
    text = (
        badges.svg(found, style) if format == "svg" else json.dumps(badges.endpoint(found), ensure_ascii=False) + "\n"
    )
    if not given.text("output"):
        app.write(text)
        return
    with archive_out(app, given.text("output")) as out:
        out.write(text.encode())


BADGE = Command(
    run,
    "Draw a badge that tells one fact of an image",
    "[OPTIONS] KIND IMAGE",
    least=0,
    most=2,
    options=(
        Option("color", "string", "Another colour: a name (green, orange, ...) or hexadecimal digits"),
        Option("format", "string", '"svg", or "json" for services that draw badges', shown_default='"svg"'),
        Option("label", "string", "Another text on the left"),
        Option("o,output", "string", "Write to a file, instead of STDOUT"),
        Option("style", "string", '"flat" or "flat-square"', shown_default='"flat"'),
        *WHERE,
    ),
    only_looks=True,
)
