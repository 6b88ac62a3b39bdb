"""`veneer pull`, `veneer image pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.oci.reference import DEFAULT_REGISTRY, Reference
from veneer.progress import Progress, Report, silent

if TYPE_CHECKING:
    from veneer.cli.progress import Lines
    from veneer.distribution.pull import Pulled


class _Headed:
    """Passes reports on, and says what is pulled before the first of them: docker does so once the name is resolved."""

    def __init__(self, lines: Lines, heading: str) -> None:
        self._lines = lines
        self._heading = heading
        self._said = False

    def begin(self) -> None:
        if not self._said:
            self._said = True
            self._lines.say(self._heading)

    def __call__(self, report: Report) -> None:
        self.begin()
        self._lines(report)


def _heading(reference: Reference) -> str:
    what = reference.familiar if reference.digest else reference.tag
    return f"{what}: Pulling from {reference.repository}"


def _status(name: str, pulled: list[Pulled]) -> str:
    if all(each.up_to_date for each in pulled):
        return f"Status: Image is up to date for {name}"
    return f"Status: Downloaded newer image for {name}"


def _full(reference: Reference) -> str:
    """The name docker ends with: the whole of it, host included."""
    return str(reference) if reference.registry == DEFAULT_REGISTRY else reference.familiar


def run(app: App, given: Parsed) -> None:
    reference = Reference.parse(given.arguments[0])
    platform = given.text("platform") or None
    quiet = given.flag("quiet")
    if given.flag("all_tags"):
        _pull_all_tags(app, reference, platform, quiet=quiet)
        return
    lines = app.progress()
    if not quiet and reference != reference.tagged():
        lines.say(f"Using default tag: {reference.tagged().tag}")
    reference = reference.tagged()
    headed = _Headed(lines, _heading(reference))
    progress: Progress = silent if quiet else headed
    pulled = app.engine.images.pull(
        str(reference), platform=platform, all_platforms=given.flag("all_platforms"), progress=progress
    )
    if not quiet:
        headed.begin()
        lines.say(f"Digest: {pulled.digest}")
        lines.say(_status(reference.familiar, [pulled]))
    app.line(_full(reference))


def _pull_all_tags(app: App, reference: Reference, platform: str | None, *, quiet: bool) -> None:
    if reference.tag or reference.digest:
        raise Failure("tag can't be used with --all-tags/-a")
    lines = app.progress()
    pulled = app.engine.images.pull_all_tags(str(reference), platform=platform, progress=silent if quiet else lines)
    if not quiet:
        lines.say(_status(reference.familiar, pulled))
    app.line(_full(reference))


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
