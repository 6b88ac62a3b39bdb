"""`veneer push`, `veneer image push`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.errors import NotFound
from veneer.oci.reference import Reference
from veneer.progress import Progress, Report, silent


def _tags_of(app: App, reference: Reference) -> list[Reference]:
    """Every local tag of the repository, in order.  Raises NotFound if there is none."""
    found = sorted(
        {tag for image in app.engine.images.list(name=reference.familiar_name) for tag in image.tags
         if tag.name == reference.name},
        key=str,
    )  # fmt: skip
    if not found:
        raise NotFound(f"An image does not exist locally with the tag: {reference.familiar_name}")
    return found


class _Once:
    """Passes reports on, but for a heading that was there before: pushing several tags is one push to people."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._headings: set[str] = set()

    def __call__(self, report: Report) -> None:
        if report.status.startswith("The push refers to "):
            if report.status in self._headings:
                return
            self._headings.add(report.status)
        self._progress(report)


def run(app: App, given: Parsed) -> None:
    reference = Reference.parse(given.arguments[0])
    quiet, everything = given.flag("quiet"), given.flag("all_tags")
    progress: Progress = silent if quiet else _Once(app.progress())
    if everything and (reference.tag or reference.digest):
        raise Failure("tag can't be used with --all-tags/-a")
    if not everything and reference != reference.tagged():
        reference = reference.tagged()
        progress(Report("", f"Using default tag: {reference.tag}"))
    for each in _tags_of(app, reference) if everything else [reference]:
        app.engine.images.push(str(each), compression=given.text("compression"), progress=progress)
    if quiet:
        app.line(str(reference))


PUSH = Command(
    run,
    "Upload an image to a registry",
    "[OPTIONS] NAME[:TAG]",
    least=1,
    most=1,
    names=("image push", "push"),
    options=(
        Option("a,all-tags", "bool", "Push all tags of an image to the repository"),
        Option(
            "compression",
            "string",
            'How to compress layers that were made here: "gzip" or "zstd"',
            shown_default='"gzip"',
        ),
        Option("q,quiet", "bool", "Suppress verbose output"),
    ),
)
