"""`veneer push`, `veneer image push`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.errors import NotFound
from veneer.oci.reference import Reference
from veneer.progress import silent


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


def run(app: App, given: Parsed) -> None:
    reference = Reference.parse(given.arguments[0])
    quiet = given.flag("quiet")
    lines = app.progress()
    if given.flag("all_tags"):
        if reference.tag or reference.digest:
            raise Failure("tag can't be used with --all-tags/-a")
        references = _tags_of(app, reference)
    else:
        if not quiet and reference != reference.tagged():
            lines.say(f"Using default tag: {reference.tagged().tag}")
        references = [reference.tagged()]
    if not quiet:
        lines.say(f"The push refers to repository [{reference.name}]")
    for each in references:
        pushed = app.engine.images.push(str(each), progress=silent if quiet else lines)
        if not quiet:
            lines.say(f"{each.tag}: digest: {pushed.digest} size: {pushed.size}")
    if quiet:
        app.line(reference.familiar if given.flag("all_tags") else str(references[0]))


PUSH = Command(
    run,
    "Upload an image to a registry",
    "[OPTIONS] NAME[:TAG]",
    least=1,
    most=1,
    names=("image push", "push"),
    options=(
        Option("a,all-tags", "bool", "Push all tags of an image to the repository"),
        Option("q,quiet", "bool", "Suppress verbose output"),
    ),
)
