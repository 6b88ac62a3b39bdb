"""`veneer watch`: told when a tag moves in its registry."""

from __future__ import annotations

from functools import partial

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.distribution.retry import Policy
from veneer.errors import VeneerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from veneer.distribution.client import Registries
    from veneer.distribution.retry import Clock
    from veneer.oci.platform import Platform
    from veneer.oci.reference import Reference
    from veneer.view.watching import Asked, Sink

DEFAULT_INTERVAL = "5m"
SHORTEST_SECONDS = 1.0
POLICY = Policy(tries=2, first_wait=0.5, longest_wait=5.0, waits_in_all=4.0)
"""A connection that broke is tried once more.  Whoever says "later" is asked later, by the plan of the rounds."""


def _interval(given: Parsed) -> float:
    from veneer.build.language.durations import duration_ns

    text = given.text("interval") or DEFAULT_INTERVAL
    found = duration_ns(text)
    if found is None or found < SHORTEST_SECONDS * 1e9:
        raise Failure(f"invalid --interval {text!r}: a second or more, as 30s, 5m or 1h30m")
    return found / 1e9


def _sinks(given: Parsed) -> list[tuple[str, Sink]]:
    """Who is told, each with a name that stays the same from one start to the next."""
    from veneer.config import environment
    from veneer.distribution.webhook import Webhook, checked
    from veneer.view import watching_sinks

    secret = watching_sinks.read_secret(given.text("secret_file")) if given.text("secret_file") else b""
    if not given.texts("webhook") and (secret or given.flag("allow_private")):
        raise Failure("--secret-file and --allow-private are about a --webhook, and there is none")
    found: list[tuple[str, Sink]] = []
    for command in given.texts("exec"):
        found.append((f"exec {command}", partial(_run, command, environment=environment())))
    for url in given.texts("webhook"):
        checked(url)
        found.append(
            (f"webhook {url}", partial(watching_sinks.send, Webhook(url, secret, given.flag("allow_private"))))
        )
    return found


def _run(command: str, message: dict[str, Any], *, environment: Mapping[str, str]) -> None:
    from veneer.view.watching_sinks import run_command

    run_command(command, message, environment)


class _Round:
    """What stays the same from round to round."""

    def __init__(self, app: App, given: Parsed, registries: Registries, clock: Clock) -> None:
        from veneer.oci.platform import Platform, host

        self.app, self.registries, self.clock = app, registries, clock
        self.sinks = _sinks(given)
        self.interval = _interval(given)
        self.files = given.flag("files")
        self.platform: Platform = Platform.parse(given.text("platform")) if given.text("platform") else host()
        self.json = given.text("format") == "json"
        self.quiet = given.flag("quiet")
        self.failures: dict[Reference, int] = {}

    def ask(self, reference: Reference, together: int) -> float:
        """Ask after one tag and print what is new; the seconds until it is asked after again."""
        from veneer.cli.main import say
        from veneer.oci.timestamp import render
        from veneer.view import watching

        try:
            asked = watching.ask(self.app.engine, self.registries, reference, self.platform, self.sinks,
                                 files=self.files, now=render(float(int(self.clock.time()))))  # fmt: skip
            self._print(reference, asked)
            if asked.error is not None:
                raise asked.error
        except VeneerError as error:
            self.failures[reference] = self.failures.get(reference, 0) + 1
            say(self.app, error)
            return watching.pause(self.interval, failures=self.failures[reference], asked_for=self._later(error))
        self.failures.pop(reference, None)
        if asked.failures:
            self.failures[reference] = 0  # the registry is well, but something was not told
        return watching.pause(self.interval, standing=asked.standing, together=together)

    def _later(self, error: VeneerError) -> float | None:
        from veneer.distribution.retry import parse_retry_after

        text = getattr(error, "retry_after", None)
        return parse_retry_after(text, self.clock.time()) if text else None

    def _print(self, reference: Reference, asked: Asked) -> None:
        import json

        from veneer.cli.main import say
        from veneer.view import watching

        if asked.message is not None and self.json:
            self.app.write(json.dumps(asked.message) + "\n")
        elif asked.message is not None:
            for line in watching.lines(asked.message):
                self.app.line(line)
        elif asked.first and not self.quiet:
            stands = asked.standing
            found = f"is {stands.digest}" if stands and stands.digest else "is not there yet"
            self.app.warn(f"{reference.familiar} {found}; whatever becomes of it will be told")
        for error in asked.failures:
            say(self.app, error)
        self.app.out.flush()


def run(app: App, given: Parsed) -> int:
    import threading

    from veneer.distribution.client import Registries
    from veneer.distribution.retry import Clock
    from veneer.engine.looking.moves import watched

    if given.text("format") not in ("", "text", "json"):
        raise Failure(f"invalid --format {given.text('format')!r}: text or json")
    references = list(dict.fromkeys(watched(name) for name in given.arguments))
    clock = Clock()
    with Registries(app.engine.config, clock=clock, policy=POLICY) as registries:
        work = _Round(app, given, registries, clock)
        due = dict.fromkeys(references, 0.0)
        while True:
            reference = min(references, key=lambda each: due[each])
            if (wait := due[reference] - clock.monotonic()) > 0:
                clock.wait(wait, threading.Event())
            together = sum(each.registry == reference.registry for each in references)
            due[reference] = clock.monotonic() + work.ask(reference, together)
            if given.flag("once") and all(due.values()):
                return 1 if work.failures else 0


WATCH = Command(
    run,
    "Tell when tags move in their registry, and what that changes",
    "[OPTIONS] IMAGE [IMAGE...]",
    least=1,
    most=None,
    options=(
        Option("allow-private", "bool", "Let a webhook be a host of this network"),
        Option("exec", "list", "Run this shell command, with the message as JSON on its STDIN", many=True),
        Option("files", "bool", "Also tell which files differ; layers that changed are read for it"),
        Option("format", "string", '"text", or "json": one object a line', shown_default='"text"'),
        Option("interval", "string", "How often to ask after each tag", shown_default=f'"{DEFAULT_INTERVAL}"'),
        Option("once", "bool", "Ask once and end; what moved since the last time is told"),
        Option("platform", "string", "The platform whose image is compared (default: this machine's)"),
        Option("q,quiet", "bool", "Do not say where tags stand when they are seen for the first time"),
        Option("secret-file", "string", "A file with the secret that webhooks are signed with"),
        Option("webhook", "list", "POST the message as JSON to this URL", many=True),
    ),
    only_looks=True,
)
