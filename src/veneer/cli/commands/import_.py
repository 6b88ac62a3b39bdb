"""`veneer import`, `veneer image import`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed


def run(app: App, given: Parsed) -> None:
    source = given.arguments[0]
    name = given.arguments[1] if len(given.arguments) > 1 else None
    if source.startswith(("http://", "https://")):
        raise Failure(f"import reads files and standard input: curl -fsSL {source} | veneer import -")

    def import_from(stream: object) -> None:
        image = app.engine.images.import_(
            stream,  # type: ignore[arg-type]
            reference=name,
            changes=given.texts("change"),
            message=given.text("message"),
            platform=given.text("platform") or None,
        )
        app.line(str(image.id))

    if source == "-":
        import_from(app.binary_in())
    else:
        with open(source, "rb") as stream:
            import_from(stream)


IMPORT = Command(
    run,
    "Import the contents from a tarball to create a filesystem image",
    "[OPTIONS] file|- [REPOSITORY[:TAG]]",
    least=1,
    most=2,
    names=("image import", "import"),
    options=(
        Option("c,change", "list", "Apply Dockerfile instruction to the created image", many=True),
        Option("m,message", "string", "Set commit message for imported image"),
        Option("platform", "string", "Set platform if server is multi-platform capable"),
    ),
)
