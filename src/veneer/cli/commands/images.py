"""`veneer images`, `veneer image ls`."""

from __future__ import annotations

from veneer.cli import units
from veneer.cli.app import App, Failure
from veneer.cli.command import LIST_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.foreign import foreign_root
from veneer.cli.listing import Column, Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.engine.foreign import ListedImage
    from veneer.store.image import Image

NONE = "<none>"


class Row:
    """One line of the list: an image under one of its names."""

    __slots__ = ("digest", "image", "repository", "tag")

    def __init__(self, image: Image | ListedImage, repository: str = NONE, tag: str = NONE, digest: str = NONE) -> None:
        self.image = image
        self.repository = repository
        self.tag = tag
        self.digest = digest


def rows_of(image: Image | ListedImage, *, digests: bool, row_per_digest: bool) -> list[Row]:
    """The image's lines: one per tag (and per digest of the tag's repository, with `digests`), and one per repository
    (with `row_per_digest`: per digest) that is known by digest only.  Source: docker/cli formatter/image.go.
    """
    if not image.is_named:
        return [Row(image)]
    known: dict[str, list[str]] = {}
    if image.has_digests:
        for reference in image.digests:
            known.setdefault(reference.familiar_name, []).append(str(reference.digest))
    rows: list[Row] = []
    tagged = set()
    for reference in image.tags:
        name = reference.familiar_name
        tagged.add(name)
        shown = known.get(name, [NONE]) if digests else [NONE]
        rows += [Row(image, name, reference.tag or NONE, digest) for digest in shown]
    for name, values in known.items():
        if name not in tagged:
            rows += [Row(image, name, NONE, digest) for digest in (values if row_per_digest else [""])]
    return rows


def listing(app: App, *, truncate: bool) -> Listing[Row]:
    """The columns of a list of images."""
    not_available = "N/A"
    return Listing("*formatter.imageContext", (
        Column("ID", "IMAGE ID", lambda row: row.image.id.short if truncate else str(row.image.id)),
        Column("Repository", "REPOSITORY", lambda row: row.repository),
        Column("Tag", "TAG", lambda row: row.tag),
        Column("Digest", "DIGEST", lambda row: row.digest),
        Column("CreatedSince", "CREATED", lambda row: units.since(row.image.created, app.now)),
        Column("CreatedAt", "CREATED AT",
               lambda row: units.local_time(row.image.created) if row.image.created else not_available),
        Column("Size", "SIZE", lambda row: units.human_size(row.image.size)),
        Column("Containers", "CONTAINERS", lambda row: not_available),
        Column("VirtualSize", "SIZE", lambda row: units.human_size(row.image.size, 4)),
        Column("SharedSize", "SHARED SIZE", lambda row: not_available),
        Column("UniqueSize", "UNIQUE SIZE", lambda row: not_available),
    ))  # fmt: skip


def run(app: App, given: Parsed) -> None:
    format = given.text("format")
    name = given.arguments[0] if given.arguments else None
    images = _images(app, name, given)
    with_digests = given.flag("digests")
    wants_digest = with_digests or "{{.Digest}}" in format
    rows = [row for image in images
            for row in rows_of(image, digests=wants_digest, row_per_digest=with_digests)]  # fmt: skip
    kind = listing(app, truncate=not given.flag("no_trunc"))
    if given.flag("quiet") and format in ("", "table"):
        app.write("".join(kind.columns["ID"].text(row) + "\n" for row in rows))
        return
    digest = ("Digest",) if with_digests else ()
    kind.show(app, rows, format, ("Repository", "Tag", *digest, "ID", "CreatedSince", "Size"))


def _images(app: App, name: str | None, given: Parsed) -> Sequence[Image | ListedImage]:
    foreign = foreign_root(app)
    if foreign is None:
        return app.engine.images.list(all=given.flag("all"), name=name, filters=given.filters("filter"))
    from veneer.engine.foreign import images

    if given.filters("filter"):
        raise Failure(f"--filter is for images of veneer's own; {foreign.path} is {foreign.what}")
    return images(foreign, all=given.flag("all"), name=name)


IMAGES = Command(
    run,
    "List images",
    "[OPTIONS] [REPOSITORY[:TAG]]",
    most=1,
    names=("image ls", "image list", "images"),
    options=(
        Option("a,all", "bool", "Show all images (default hides intermediate images)"),
        Option("digests", "bool", "Show digests"),
        Option("f,filter", "filter", "Filter output based on conditions provided", many=True),
        Option("format", "string", LIST_FORMAT),
        Option("no-trunc", "bool", "Don't truncate output"),
        Option("q,quiet", "bool", "Only show image IDs"),
    ),
    only_looks=True,
)
