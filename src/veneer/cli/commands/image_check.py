"""`veneer check`: an image held against rules, for people and for CI."""

from __future__ import annotations

from collections.abc import Callable

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import WHERE, image_and, looked_at
from veneer.cli.units import human_size
from veneer.errors import VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from veneer.engine.looking.judging import Figures, Judgement
    from veneer.engine.looking.rules import Rules
    from veneer.engine.looking.subject import Subject

FAILED_EXIT, MISUSE_EXIT, UNKNOWN_EXIT = 1, 2, 3
RULES_FILES = ("veneer.toml", ".dive-ci")
FORMATS = ("text", "markdown", "json", "junit", "sarif", "github")


def rules_of(app: App, given: Parsed) -> tuple[Rules, str]:
    """The rules, and the file they stand in ("" for none)."""
    from pathlib import Path

    from veneer.engine.looking.rules import DEFAULTS, Rules, only_settings, read_rules, rules

    file = given.text("rules")
    if not file:
        here = [name for name in RULES_FILES if Path(name).is_file()]
        file = here[0] if here else ""
        if len(here) > 1:
            app.warn(f"{here[1]} is not read, since there is {here[0]}; --rules {here[1]} would read it")
    words: dict[str, object] = {}
    for word in given.texts("rule"):
        name, equals, value = word.partition("=")
        words[name.strip()] = value if equals else True
    found = read_rules(Path(file)) if file else rules(DEFAULTS if only_settings(words) else {}, "--rule")
    if words:
        said = rules(words, "--rule")
        plain = Rules()
        changed = {name: getattr(said, name) for name in Rules.__annotations__
                   if getattr(said, name) != getattr(plain, name)}  # fmt: skip
        found = found.replaced(**changed)
    return found, file


def _base_layers(app: App, given: Parsed, subject: Subject) -> int:
    """How many of the lowest layers are the base's; 0 where nothing tells."""
    if given.text("base"):
        with looked_at(app, given, given.text("base")) as base:
            from veneer.analysis.sharing import common_layers

            shared = common_layers(base.config.chain_ids, subject.config.chain_ids)
        if shared < len(base.config.chain_ids):
            from veneer.engine.rework.bases import NotTheBase

            raise NotTheBase(
                f"{subject.name} does not stand on {base.name}: {shared} of its {len(base.config.chain_ids)} layers",
                hint="without --base it is found out, as veneer image base does",
            )
        return shared
    found = app.engine.looking.stands_on(subject)
    return found.layers if found is not None else 0


def _baseline(app: App, given: Parsed, rules: Rules, dive: bool) -> Figures | None:
    """What the image was before: figures in a file, or another image."""
    import json
    from pathlib import Path

    from veneer.engine.looking.judging import figures_of, measure

    name = given.text("baseline")
    if not name:
        return None
    if Path(name).is_file():
        try:
            found = figures_of(json.loads(Path(name).read_text()))
        except (ValueError, AttributeError):
            found = None
        if found is None:
            raise Failure(f"{name}: no figures in it; make it by veneer check --format json", MISUSE_EXIT)
        return found
    with looked_at(app, given, name, contents=False) as subject:
        return measure(subject, rules, _base_layers(app, given, subject), dive=dive)


def run(app: App, given: Parsed) -> int:
    from veneer.engine.looking.rules import BadRule

    name, _ = image_and(app, given, 0, misuse=MISUSE_EXIT)
    format, metric = given.text("format") or "text", given.text("metric") or "veneer"
    if format not in FORMATS:
        raise Failure(f"invalid --format {format!r}: one of {', '.join(FORMATS)}", MISUSE_EXIT)
    if metric not in ("veneer", "dive"):
        raise Failure(f"invalid --metric {metric!r}: veneer or dive", MISUSE_EXIT)
    try:
        found = _judged(app, given, name, dive=metric == "dive")
    except VeneerError as error:
        from veneer.cli.main import say

        say(app, error)
        return MISUSE_EXIT if isinstance(error, BadRule) else UNKNOWN_EXIT
    _write(app, given.text("output"), _writer(format)(*found))
    return 0 if found[0].passed else FAILED_EXIT


def _judged(app: App, given: Parsed, name: str, *, dive: bool) -> tuple[Judgement, str]:
    """The judgement, and the file the rules stand in."""
    from veneer.engine.looking.judging import judge

    rules, file = rules_of(app, given)
    with looked_at(app, given, name, contents=False) as subject:
        baseline = _baseline(app, given, rules, dive)
        layers = _base_layers(app, given, subject)
        return judge(subject, rules, base_layers=layers, baseline=baseline, dive=dive, size=human_size), file


def _writer(format: str) -> Callable[[Judgement, str], str]:
    from veneer.cli import check_formats

    return getattr(check_formats, format)  # type: ignore[no-any-return]


def _write(app: App, target: str, text: str) -> None:
    if not target:
        app.write(text)
        return
    from pathlib import Path

    path: Path = Path(target)
    path.write_text(text)


CHECK_IMAGE = Command(
    run,
    "Check an image against rules: size, waste, growth, what may be in it",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("base", "string", "The image it stands on, whose waste is not its fault (default: found out)"),
        Option("baseline", "string", "What it was before: an image, or what --format json wrote"),
        Option("format", "string", '"text", "markdown", "json", "junit", "sarif" or "github"', shown_default='"text"'),
        Option("metric", "string", '"veneer", or "dive" for dive\'s own figures', shown_default='"veneer"'),
        Option("o,output", "string", "Write to a file, instead of STDOUT"),
        Option("rule", "list", "One more rule, as max-waste=20MB or ignore-paths=/opt/*,/srv", many=True),
        Option("rules", "string", "The file with the rules (default: veneer.toml or .dive-ci of this folder)"),
        *WHERE,
    ),
    only_looks=True,
    misuse=MISUSE_EXIT,
)
