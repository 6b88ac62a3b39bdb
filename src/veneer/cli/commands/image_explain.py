"""`veneer image explain`: an image told to somebody who did not build it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import NO_TRUNC, WHERE, image_and, looked_at, show_documents, shown_path
from veneer.cli.reworked import counted, joined
from veneer.cli.tables import harmless, shorten
from veneer.cli.units import ago, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.looking.findings import Finding
    from veneer.engine.looking.subject import Origin, Subject

MOST_PATHS = 5
MOST_WASTE = 5
_TEXT_WIDTH = 100
_ALL = 1 << 20
Section = tuple[str, list[str]]
Told = Callable[[str], str]
"""How a text that is the image's own is written among ours."""

_CONCERNS = {
    "setuid": ("runs with its owner's rights, whoever starts it (setuid)", "run with their owner's rights (setuid)"),
    "setgid": ("runs with its group's rights (setgid)", "run with their group's rights (setgid)"),
    "world-writable": ("can be changed by everybody", "can be changed by everybody"),
    "secret": ("has a name that secrets have", "have names that secrets have"),
    "stored-secret": ("has a name that secrets have; it is deleted or changed, and still stored in the image",
                      "have names that secrets have; they are deleted or changed, and still stored in the image"),
    "repository": ("is a whole repository", "are whole repositories"),
}  # fmt: skip
_CAUSES = {
    "deleted": "deleted",
    "shadowed": "hidden by a directory made anew",
    "replaced": "replaced by another kind of thing",
    "overwritten": "overwritten",
    "rewritten": "stored once more with the same bytes (owner, mode or time changed)",
}


def identity(app: App, subject: Subject, told: Told) -> Section:
    """What it is, how big, and what it stands on."""
    config, documents = subject.config, subject.documents
    from veneer.oci import timestamp

    created = timestamp.parse(config.created)
    age = ago(created, app.now)
    made = f", made {age[0].lower()}{age[1:]}" if age != "N/A" else ""
    what = "a container" if documents.where == "container" else "an image"
    lines = [
        f"{told(subject.name)} is {what} for {config.platform}{made}, of {counted(len(config.diff_ids), 'layer')}."
    ]
    pull = sum(blob.size for blob in documents.blobs if blob is not None)
    download = f"{human_size(pull)} to download"
    if documents.pull_at_most:
        download = f"at most {download} (a push compresses what is not compressed yet)"
    sizes = [download] if pull else []
    if inside(subject):
        account = subject.account
        sizes.append(f"{human_size(account.stored)} stored, {human_size(account.visible)} of it to be seen")
    if sizes:
        lines.append(f"It takes {' and '.join(sizes)}.")
    base = app.engine.looking.stands_on(subject)
    if base is not None:
        how = {"label": "its labels say so", "annotation": "its manifest says so", "parent": "it was built here",
               "container": "it is a container of it",
               "layers": "its lowest layers are that image's"}[base.how]  # fmt: skip
        of = f", with {counted(base.layers, 'layer')} of it" if base.layers else ""
        lines.append(f"It stands on {told(base.name)}{of}: {how}.")
    else:
        lines.append("Nothing tells what it was built on.")
    return "What it is", lines


def inside(subject: Subject) -> bool:
    """Whether looking into the layers costs no download."""
    return subject.documents.where != "registry"


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else [str(value)] if value else []


def start(subject: Subject, width: int, told: Told) -> Section:
    """What happens when it is started."""
    import shlex

    run = subject.config.run
    command = [*_words(run.get("Entrypoint")), *_words(run.get("Cmd"))]
    lines = []
    if command:
        lines.append(f"It starts: {told(shorten(shlex.join(command), width))}")
    else:
        lines.append("It says no command: one must be given to start it.")
    user = str(run.get("User") or "")
    lines.append(f"It runs as user {told(user)}." if user not in ("", "0", "root") else "It runs as root.")
    if run.get("WorkingDir"):
        lines.append(f"It begins in {told(str(run['WorkingDir']))}.")
    ports, volumes = run.get("ExposedPorts"), run.get("Volumes")
    if isinstance(ports, dict) and ports:
        lines.append(f"It listens on {joined(map(told, sorted(ports)))}.")
    if isinstance(volumes, dict) and volumes:
        lines.append(f"It keeps data in {joined(map(told, sorted(volumes)))}.")
    names = [str(pair).partition("=")[0] for pair in run.get("Env") or () if not str(pair).startswith("PATH=")]
    if names:
        lines.append(
            f"It is told by its environment: {', '.join(map(told, names[:12]))}{', ...' if len(names) > 12 else ''}."
        )
    if isinstance(run.get("Healthcheck"), dict):
        test = _words(run["Healthcheck"].get("Test"))
        if test[:1] in (["CMD"], ["CMD-SHELL"]):  # how it is run is not what is run
            del test[0]
        if test and test != ["NONE"]:
            lines.append(f"Its health is asked for by: {told(shorten(' '.join(test), 80))}")
    return "When it is started", lines


def steps(subject: Subject, width: int, told: Told) -> Section:
    """How it was made, layer by layer."""
    lines = []
    figures: Sequence[Any] = subject.account.layers if inside(subject) else [None] * len(subject.origins)
    for number, (origin, figure) in enumerate(zip(subject.origins, figures, strict=True), 1):
        lines.append(f"{number}. {told(shorten(harmless(origin.shown), width))}")
        done = _done(figure) if figure is not None else _download(origin)
        if done:
            lines.append(f"   {done}")
    if subject.unplaced:
        lines.append("Its history has fewer rows than there are layers, and does not tell which made which:")
        lines += [f"   {told(shorten(harmless(each.shown), width))}" for each in subject.unplaced]
    return "How it was made", lines


def _download(origin: Origin) -> str:
    return f"{human_size(origin.blob.size)} to download" if origin.blob else ""


def _done(figure: Any) -> str:
    counts = (("adds", figure.added), ("changes", figure.modified), ("changes the metadata of", figure.metadata),
              ("replaces", figure.exchanged), ("deletes", figure.deleted))  # fmt: skip
    parts = [f"{verb} {counted(count, 'path')}" for verb, count in counts if count]
    if figure.stored:
        parts.append(f"stores {human_size(figure.stored)}")
    if figure.made:
        parts.append(f"hides {human_size(figure.made)} of the layers below")
    return joined(parts) if parts else "changes nothing"


def waste(subject: Subject, told: Told) -> Section:
    """What is stored in vain, and what to do about it."""
    from veneer.analysis.waste import by_path
    from veneer.view.texts import remedy

    account = subject.account
    if not account.wasted:
        return "What is stored in vain", ["Nothing: every byte stored is to be seen.", *_broken(subject, told)]
    lines = [f"{human_size(account.wasted)}, {100 - 100 * account.efficiency:.1f}% of what is stored. The most:"]
    last = ""
    for row in by_path(account.losses)[:MOST_WASTE]:
        if row.bytes * 100 < account.wasted:
            break
        assert isinstance(row.key, bytes)
        made = "layer" + ("s " if len(row.makers) > 1 else " ") + joined(str(maker + 1) for maker in row.makers)
        how = joined(_CAUSES[cause.shown] for cause in row.causes)
        lines.append(f"{human_size(row.bytes)} {told(shown_path(row.key))}: {how}, by {made}")
        if (text := remedy(row.causes)) and text != last:
            lines.append(f"   {text}")
            last = text
    return "What is stored in vain", lines + _broken(subject, told)


def _broken(subject: Subject, told: Told) -> list[str]:
    """What is stored twice and seen twice, since a layer made one of a file's names another file."""
    from veneer.analysis.names import broken_links

    account, found = subject.account, broken_links(subject.table)
    return [
        f"{human_size(each.size)} {told(shown_path(each.path))}: stored once more with the same bytes by layer "
        f"{each.layer + 1}, which breaks its hard link with {told(shown_path(each.others[0]))}"
        for each in found[:MOST_WASTE] if each.size * 1000 >= account.stored
    ]  # fmt: skip


def noteworthy(subject: Subject, told: Told, most: int = MOST_PATHS) -> Section:
    """What one should know; of each concern `most` paths are named, and how many more there are."""
    from veneer.engine.looking.findings import findings

    groups: dict[str, list[Finding]] = {}
    for finding in findings(subject):
        groups.setdefault(finding.concern.value, []).append(finding)
    lines = []
    for concern, found in groups.items():
        if concern == "left-over":
            lines += [f"{told(shown_path(each.path))}: {human_size(each.bytes)} of {each.detail}" for each in found]
            continue
        one, many = _CONCERNS[concern]
        paths = list(dict.fromkeys(told(shown_path(each.path)) for each in found))  # several layers may have one
        more = f" and {len(paths) - most} more" if len(paths) > most else ""
        lines.append(f"{', '.join(paths[:most])}{more} {one if len(paths) == 1 else many}.")
    return "Worth knowing", lines or ["Nothing was found by names and modes. No file was read."]


def said(subject: Subject, width: int, told: Told) -> Section:
    """What it says of itself."""
    from veneer.engine.looking.origins import labels, missing_labels

    found = labels(subject)
    lines = [f"{told(label.key)} = {told(shorten(harmless(label.value), width))} ({label.source})" for label in found]
    missing = missing_labels(found)
    if missing:
        lines.append(f"It does not say: {', '.join(missing)}.")
    return "What it says of itself", lines


def sections(app: App, subject: Subject, width: int = _TEXT_WIDTH, told: Told = str) -> Iterator[Section]:
    """The whole account; texts of the image's own are cut to `width` cells, and written by `told`."""
    yield identity(app, subject, told)
    yield start(subject, width, told)
    yield steps(subject, width, told)
    if inside(subject):
        yield waste(subject, told)
        yield noteworthy(subject, told, MOST_PATHS if width <= _TEXT_WIDTH else _ALL)
    yield said(subject, width, told)


def _told(format: str) -> Told:
    if format != "markdown":
        return str
    from veneer.cli import markdown

    return markdown.told


def run(app: App, given: Parsed) -> None:
    name, _ = image_and(app, given, 0)
    format = given.text("format")
    if format not in ("", "text", "markdown", "json") and "{{" not in format:
        raise Failure(f"invalid --format {format!r}: text, markdown, json or a Go template")
    with looked_at(app, given, name, contents=False) as subject:
        found = list(sections(app, subject, _ALL if given.flag("no_trunc") else _TEXT_WIDTH, _told(format)))
        if format not in ("", "text", "markdown"):
            show_documents(app, [{"Title": title, "Lines": lines} for title, lines in found], format)
        else:
            mark, bullet = ("## ", "- ") if format == "markdown" else ("", "  ")
            for number, (title, lines) in enumerate(found):
                if number:
                    app.line("")
                app.line(f"{mark}{title}")
                for line in lines:
                    app.line((bullet if not line.startswith("   ") or not mark else "  ") + line)


EXPLAIN = Command(
    run,
    "Tell in words what an image is, runs, holds and wastes",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("format", "string", 'Format output: "text" (default), "markdown", "json" or a Go template'),
        NO_TRUNC,
        *WHERE,
    ),
    only_looks=True,
)
