"""What an image says of itself: how it is started, its labels and where they stand, what it does not say."""

from __future__ import annotations

import shlex
from typing import Any

from veneer.engine.looking.origins import labels, missing_labels
from veneer.view.cells import width
from veneer.view.peel.model import Peel
from veneer.view.peel.spans import Spans, plain, wrapped

_NAME = 14


def about_lines(peel: Peel, room: int) -> list[Spans]:
    """Identity, configuration, labels."""
    subject = peel.subject
    config, documents = subject.config, subject.documents
    run = config.run
    lines: list[Spans] = []

    def say(name: str, value: object, *, margin: int = _NAME) -> None:
        """A name and a value, as many lines as it needs; nothing for nothing."""
        if not value:
            return
        text = plain(str(value))
        for number, line in enumerate(wrapped(text, max(room - margin, 10))):
            head = name if not number else ""
            lines.append([(head + " " * max(margin - width(head), 1), "dim"), (line, "")])

    def title(text: str) -> None:
        lines.extend([[], [(text, "strong")]] if lines else [[(text, "strong")]])

    title("Identity")
    say("names", ", ".join(reference.familiar for reference in documents.references))
    say("image ID", config.image_id)
    say("digest", documents.digest)
    say("platform", config.platform)
    if documents.index is not None:
        say("also for", ", ".join(str(each.platform) for each in documents.index.images() if each.platform))
    say("created", config.created)
    say("author", config.document.get("author"))
    if peel.base is not None:
        of = f", {peel.base.layers} of its layers" if peel.base.layers else ""
        say("stands on", f"{peel.base.name} (known by {peel.base.how}{of})")
    title("When it is started")
    say("entrypoint", _command(run.get("Entrypoint")))
    say("command", _command(run.get("Cmd")))
    say("user", run.get("User") or "root")
    say("directory", run.get("WorkingDir"))
    say("ports", _names(run.get("ExposedPorts")))
    say("volumes", _names(run.get("Volumes")))
    say("stop signal", run.get("StopSignal"))
    health = run.get("Healthcheck")
    say("health", _command(health.get("Test")) if isinstance(health, dict) else "")
    for pair in run.get("Env") or ():
        say("environment", pair)
    for step in run.get("OnBuild") or ():
        say("on build", step)
    found = labels(subject)
    title("Labels and annotations")
    margin = min(max((width(plain(label.key)) + 2 for label in found), default=_NAME), room // 2)
    for label in found:
        say(plain(label.key), f"{label.value}  ({label.source})", margin=margin)
    if not found:
        lines.append([("It says nothing of itself.", "dim")])
    if missing := missing_labels(found):
        say("not said", ", ".join(missing))
    return lines


def _command(value: Any) -> str:
    return shlex.join(map(str, value)) if isinstance(value, list) else str(value or "")


def _names(value: Any) -> str:
    return ", ".join(sorted(map(str, value))) if isinstance(value, dict) else ""
