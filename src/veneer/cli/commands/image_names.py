"""`veneer image catalog`, `tags` and `identical`: which repositories a registry has, which names there are of an image,
and which images are the same."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import FlagError, Option, Parsed
from veneer.cli.listing import Column, Listing
from veneer.cli.looked import NO_TRUNC, WHERE, image_and, looked_at
from veneer.cli.units import ago

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.looking.tags import Tagged
    from veneer.engine.looking.twins import Twin
    from veneer.oci.reference import Reference


def _short(digest: str, truncate: bool) -> str:
    return digest.partition(":")[2][:12] if truncate else digest


def run_tags(app: App, given: Parsed) -> None:
    from veneer.engine.looking import tags
    from veneer.oci.reference import Reference

    repository = Reference.parse(given.arguments[0])
    limit, truncate, format = given.text("limit") or str(tags.MOST), not given.flag("no_trunc"), given.text("format")
    if not limit.isdigit():
        raise FlagError(f'invalid argument "{limit}" for "--limit" flag: a number is wanted')
    remote = given.flag("remote")
    found = tags.there(app.engine, repository, int(limit)) if remote else tags.here(app.engine, repository)
    if not found.images and not remote:
        raise Failure(f"no image here has a name in {repository.familiar_name}; --remote asks the registry")
    if given.flag("quiet") and format in ("", "table"):
        for image in found.images:
            app.line(image.tags[0])
        return
    kind: Listing[Tagged] = Listing("image of a repository", (
        Column("Tags", "TAGS", lambda image: ", ".join(image.tags)),
        Column("Digest", "DIGEST", lambda image: _short(image.digest, truncate)),
        Column("ID", "IMAGE ID", lambda image: _short(image.id, truncate) or "-"),
        Column("CreatedSince", "CREATED", lambda image: ago(image.created, app.now)),
    ))  # fmt: skip
    kind.show(app, found.images, format, ("Tags", "Digest") if remote else ("Tags", "Digest", "ID", "CreatedSince"))
    if found.left_off and format in ("", "table"):
        app.line(f"... {found.left_off} tags more; --limit 0 asks after all")


def run_catalog(app: App, given: Parsed) -> None:
    from veneer.engine.looking.tags import catalog

    found, format = catalog(app.engine, given.arguments[0]), given.text("format")
    if given.flag("quiet") and format in ("", "table"):
        for each in found:
            app.line(each.familiar_name)
        return
    kind: Listing[Reference] = Listing("repository of a registry", (
        Column("Repository", "REPOSITORY", lambda each: each.repository),
        Column("Name", "NAME", lambda each: each.familiar_name),
    ))  # fmt: skip
    kind.show(app, found, format, ("Repository", "Name"))


def run_identical(app: App, given: Parsed) -> None:
    from veneer.engine.looking.twins import other_names, twins

    name, _ = image_and(app, given, 0)
    truncate, format = not given.flag("no_trunc"), given.text("format")
    with looked_at(app, given, name) as subject:
        found = [*other_names(app.engine, subject), *twins(app.engine, subject, files=given.flag("files"))]
    if given.flag("quiet") and format in ("", "table"):
        for shown in dict.fromkeys(str(twin.image.id.short if truncate else twin.image.id) for twin in found):
            app.line(shown)
        return
    kind: Listing[Twin] = Listing("image that is the same", (
        Column("Name", "IMAGE", lambda twin: twin.name),
        Column("ID", "IMAGE ID", lambda twin: str(twin.image.id.short if truncate else twin.image.id)),
        Column("Same", "SAME", lambda twin: twin.how),
        Column("CreatedSince", "CREATED", lambda twin: ago(twin.image.created, app.now)),
    ))  # fmt: skip
    kind.show(app, found, format, ("Name", "ID", "Same", "CreatedSince"))


CATALOG = Command(
    run_catalog,
    "Show the repositories of a registry, where it tells them",
    "[OPTIONS] REGISTRY",
    least=1,
    most=1,
    options=(Option("format", "string", LIST_FORMAT), Option("q,quiet", "bool", "Only show names")),
    only_looks=True,
)
TAGS = Command(
    run_tags,
    "Show a repository's tags, those of one image together",
    "[OPTIONS] REPOSITORY",
    least=1,
    most=1,
    options=(
        Option("format", "string", LIST_FORMAT),
        Option("limit", "int", "Tags of a registry to ask after; 0 asks after all", shown_default="100"),
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show one tag for each image, the one that says most"),
        Option("remote", "bool", "Ask the registry"),
    ),
    only_looks=True,
)
IDENTICAL = Command(
    run_identical,
    "Show the images here that are the same: in all, in their layers, or in their files",
    "[OPTIONS] IMAGE",
    most=1,
    options=(
        Option("files", "bool", "Also compare files with every image here, whatever layers it is made of"),
        Option("format", "string", LIST_FORMAT),
        NO_TRUNC,
        Option("q,quiet", "bool", "Only show image IDs"),
        *WHERE,
    ),
    only_looks=True,
)
