"""`veneer pull`, `veneer image pull`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.oci.reference import DEFAULT_REGISTRY, Reference
from veneer.progress import Progress, Report, silent


def _full(reference: Reference) -> str:
    """The name docker ends with: the whole of it, host included."""
    return str(reference) if reference.registry == DEFAULT_REGISTRY else reference.familiar


def run(app: App, given: Parsed) -> None:
    reference = Reference.parse(given.arguments[0])
    platform = given.text("platform") or None
    lines = app.progress()
    progress: Progress = silent if given.flag("quiet") else lines
    if given.flag("all_tags"):
        if reference.tag or reference.digest:
            raise Failure("tag can't be used with --all-tags/-a")
        _pull_all_tags(app, reference, platform, progress)
    else:
        if reference != reference.tagged():
            reference = reference.tagged()
            progress(Report("", f"Using default tag: {reference.tag}"))
        everything = given.flag("all_platforms")
        app.engine.images.pull(str(reference), platform=platform, all_platforms=everything, progress=progress)
    app.line(_full(reference))


def _pull_all_tags(app: App, reference: Reference, platform: str | None, progress: Progress) -> None:
    def without_status(report: Report) -> None:
        # docker tells once how the repository as a whole fared, not for each tag.
        if not report.status.startswith("Status: "):
            progress(report)

    pulled = app.engine.images.pull_all_tags(str(reference), platform=platform, progress=without_status)
    news = "Image is up to date for" if all(each.up_to_date for each in pulled) else "Downloaded newer image for"
    progress(Report("", f"Status: {news} {reference.familiar}"))


PULL = Command(
    run,
    "Download an image from a registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    least=1,
    most=1,
    names=("image pull", "pull"),
    options=(
        Option("all-platforms", "bool", "Download every platform of the image, not only the one that runs here"),
        Option("a,all-tags", "bool", "Download all tagged images in the repository"),
        Option("platform", "string", "Set platform if server is multi-platform capable"),
        Option("q,quiet", "bool", "Suppress verbose output"),
    ),
)
