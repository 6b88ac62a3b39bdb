"""`veneer inspect`, `veneer image inspect`."""

from __future__ import annotations

from collections.abc import Callable

from veneer.cli.app import App, Failure
from veneer.cli.command import INSPECT_FORMAT, Command
from veneer.cli.flags import Option, Parsed
from veneer.errors import InvalidRequest, NotFound, VeneerError
from veneer.oci.reference import InvalidReference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.cli.gotemplate import Template

TEMPLATE_SYNTAX_EXIT = 64
"""docker's exit status for an inspect template that does not parse."""


def indented(documents: list[Any]) -> str:
    """The array docker prints: four spaces a level, nothing escaped for HTML."""
    import json

    return json.dumps(documents, indent=4, ensure_ascii=False) + "\n" if documents else "[]\n"


def _template(format: str) -> Template | None:
    """The template of `format`, None for JSON.  Raises Failure where it does not parse."""
    if format in ("", "json"):
        return None
    from veneer.cli.gotemplate import Template, TemplateError

    try:
        return Template(format)
    except TemplateError as error:
        raise Failure(error.message, TEMPLATE_SYNTAX_EXIT) from None


def _compact(document: Any) -> str:
    from veneer.cli.gofunctions import to_json

    return to_json(document)


def show_one(app: App, format: str, document: dict[str, Any]) -> None:
    """Print one document by a template, or as JSON on one line."""
    template = _template(format)
    app.write_foreign((template.execute(document) if template else _compact(document)) + "\n")


def require_template(format: str, document: dict[str, Any]) -> None:
    """Raise what `show_one` would, of a template, or of what it asks a document like this for."""
    template = _template(format)
    if template is not None:
        template.execute(document)


def show_all(
    app: App,
    names: list[str],
    format: str,
    find: Callable[[str], dict[str, Any]],
    typed: Callable[[dict[str, Any]], Any],
) -> int:
    """Print what `find` gives for each name, whatever is not found told after the rest, as docker does.

    `typed` turns a document into what a template sees.
    """
    from veneer.cli.main import say

    template = _template(format)
    found: list[dict[str, Any]] = []
    problems: list[VeneerError] = []
    for name in names:
        try:
            found.append(find(name))
        except VeneerError as error:
            problems.append(error)
    if template is not None:
        for document in found:
            app.write_foreign(template.execute(typed(document)) + "\n")
    elif format == "json":
        for document in found:
            app.write_foreign(_compact(document) + "\n")
    else:
        app.write_foreign(indented(found))
    app.out.flush()
    for problem in problems:
        say(app, problem)
    return max((problem.exit_code for problem in problems), default=0)


def _typed(document: dict[str, Any]) -> Any:
    from veneer.cli.inspected import typed

    return typed(document)


def run_image(app: App, given: Parsed) -> int:
    return show_all(app, given.arguments, given.text("format"), app.engine.images.inspect, _typed)


TYPES = ("container", "image", "volume", "network", "layer")
"""What `inspect` finds, in the order it looks (layers only where they are asked for)."""


def _finder(app: App, kind: str, *, size: bool) -> Callable[[str], dict[str, Any]]:
    if kind == "container":
        return lambda name: dict(app.engine.containers.inspect(name, size=size))
    if kind == "volume":
        return app.engine.volumes.inspect
    return app.engine.networks.inspect if kind == "network" else app.engine.images.inspect


def _typed_any(document: dict[str, Any]) -> Any:
    """A document of any kind as templates see it."""
    if "HostConfig" in document:
        from veneer.cli.inspected import typed_container

        return typed_container(document)
    if "Mountpoint" in document:
        from veneer.cli.commands.volume import typed as typed_volume

        return typed_volume(document)
    if "IPAM" in document:
        from veneer.cli.commands.network import _typed as typed_network

        return typed_network(document)
    return _typed(document)


def run_any(app: App, given: Parsed) -> int:
    """`inspect` looks for anything of that name: a container first, then an image, a volume, a network."""
    wanted = given.text("type")
    if wanted not in ("", *TYPES):
        raise Failure(f'"{wanted}" is not a valid value for --type')
    if wanted == "layer":
        from veneer.cli.commands.layer import run_inspect

        return run_inspect(app, given)

    if given.flag("size"):
        app.enter_namespace()

    def find(name: str) -> dict[str, Any]:
        for kind in (wanted,) if wanted else TYPES[:-1]:
            try:
                return _finder(app, kind, size=given.flag("size"))(name)
            except (NotFound, InvalidRequest) as error:
                if wanted or not isinstance(error, NotFound | InvalidReference):
                    raise
        raise NotFound(f"No such object: {name[:1024]}")

    return show_all(app, given.arguments, given.text("format"), find, _typed_any)


_FORMAT = Option("f,format", "string", INSPECT_FORMAT)
INSPECT_IMAGE = Command(
    run_image,
    "Display detailed information on one or more images",
    "[OPTIONS] IMAGE [IMAGE...]",
    least=1,
    most=None,
    options=(_FORMAT,),
    only_looks=True,
)
INSPECT = Command(
    run_any,
    "Return low-level information on containers, images, volumes, networks",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    least=1,
    most=None,
    options=(
        _FORMAT,
        Option("s,size", "bool", "Display total file sizes if the type is container"),
        Option("type", "string", "Only inspect objects of the given type"),
    ),
    only_looks=True,
)
