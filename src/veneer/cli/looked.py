"""What the commands that look into an image share: which image is meant, how paths and layers are written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from veneer.cli.app import App, Failure
from veneer.cli.flags import Option, Parsed
from veneer.cli.tables import harmless, shorten
from veneer.view.texts import layer_numbers as layer_numbers
from veneer.view.texts import path_bytes as path_bytes
from veneer.view.texts import path_text as path_text
from veneer.view.texts import spelled_out as spelled_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.looking.subject import Subject
    from veneer.progress import Progress

ARCHIVE = Option("archive", "string", "Look into this docker archive or OCI layout (a tar, a directory, - for STDIN)")
REMOTE = Option("remote", "bool", "Look at the image in its registry; nothing is stored")
CONTAINER = Option("container", "string", "Look at this container: its image's layers, and what it wrote on top")
PLATFORM = Option("platform", "string", "Of an archive's or a registry's image, the one for this platform")
PLATFORMS = Option("platform", "string", PLATFORM.help + '; "A,B": for A of the first, for B of the next')
NO_TRUNC = Option("no-trunc", "bool", "Don't truncate output")
HUMAN = Option("H,human", "bool", "Print sizes in human readable format", default=True, shown_default="true")
DOCUMENTS_FORMAT = "Format output: 'table' (default), 'table TEMPLATE', 'json' (one object a line) or a Go template"
SEVERAL = (ARCHIVE, REMOTE, PLATFORMS)
"""Where several images are; one of them may be `container:NAME`."""
WHERE = (ARCHIVE, CONTAINER, REMOTE, PLATFORM)
INSTRUCTION_WIDTH = 45
_ARCHIVE_PREFIX, _REMOTE_PREFIX, _CONTAINER_PREFIX = "archive:", "remote:", "container:"
SOURCES_HELP = "IMAGE may be archive:PATH, archive:PATH#NAME, remote:NAME or container:NAME"


@contextlib.contextmanager
def looked_at(
    app: App, given: Parsed, name: str, position: int = 0, *, progress: Progress | None = None, contents: bool = True
) -> Iterator[Subject]:  # fmt: skip
    """What a command line means by `name`, and by --archive, --container, --remote and --platform.

    `position` tells which of several platforms is this one's.  `progress` of downloads; None: lines on standard error,
    if that is a terminal.  Without `contents` few of them will be compared.
    """
    from pathlib import Path

    archive, remote, container = given.text("archive"), given.flag("remote"), str(given.values.get("container") or "")
    if sum(map(bool, (archive, remote, container))) > 1:
        raise Failure("only one of --archive, --container and --remote can be used")
    if name:
        container = ""  # another image that an option names, as --base does
    if not archive and name.startswith(_ARCHIVE_PREFIX):
        archive, _, name = name.removeprefix(_ARCHIVE_PREFIX).partition("#")
    elif name.startswith(_CONTAINER_PREFIX):
        name = container = name.removeprefix(_CONTAINER_PREFIX)
        archive, remote = "", False
    elif name.startswith(_REMOTE_PREFIX):
        name, remote = name.removeprefix(_REMOTE_PREFIX), True
    if container:
        app.enter_namespace()  # what it wrote belongs to users of its own
    source = app.binary_in() if archive == "-" else Path(archive) if archive else None
    if progress is None and app.err.isatty():
        progress = _told(app)
    told: dict[str, Any] = {"progress": progress} if progress is not None else {}
    with app.engine.looking.open(
        container or name, archive=source, remote=remote, container=bool(container),
        platform=_platform(given, position), contents=contents, **told,
    ) as subject:  # fmt: skip
        yield subject
        for doubt in subject.doubts:
            app.warn(f"Warning: {doubt}")


def _platform(given: Parsed, position: int) -> str | None:
    words = given.text("platform").split(",")
    return words[min(position, len(words) - 1)] or None


def _told(app: App) -> Any:
    """Progress of downloads, on standard error."""
    from veneer.cli.progress import Lines

    return Lines(app.err, live=True, columns=app.columns)


def in_words(given: Parsed) -> bool:
    """Whether sizes are for people: as JSON they are bytes, for programs count."""
    return given.flag("human") and given.text("format") != "json"


def alone(given: Parsed, names: Sequence[str]) -> None:
    """Refuse images beside --container, which says already what is looked at."""
    if given.text("container") and names:
        raise Failure(f"--container says what is looked at: there can be no {names[0]} beside it")


def needs_no_name(given: Parsed) -> bool:
    """Whether an option tells already what is looked at."""
    return bool(given.text("archive") or given.text("container"))


def image_and(
    app: App, given: Parsed, more: int, usage: str = "[OPTIONS] IMAGE", *, misuse: int = 0
) -> tuple[str, list[str]]:
    """The image's name and the `more` arguments behind it; "" with --container, or --archive with but one image.

    Raises UsageError in docker's words where there are too few, with `misuse` for an exit status.
    """
    words = given.arguments
    alone(given, words[more:])
    if len(words) > more:
        return words[0], list(words[1:])
    if needs_no_name(given) and len(words) == more:
        return "", list(words)
    from veneer.cli.command import arguments
    from veneer.cli.usage import wrong_count

    least = "at least " if usage.endswith("]") else ""
    raise wrong_count(app.path, usage, f"requires {least}{arguments(more + 1)}", misuse)


def shown_path(path: bytes) -> str:
    """A path in an image for people: absolute, harmless."""
    return harmless("/" + path.decode("utf-8", "backslashreplace"))


def instruction(text: str, *, truncate: bool) -> str:
    """What made a layer, for a table."""
    return shorten(harmless(text), INSTRUCTION_WIDTH) if truncate else text


def owner(uid: int, gid: int) -> str:
    return f"{uid}:{gid}"


def mode_text(mode: int) -> str:
    return f"{mode:04o}"


def show_documents(app: App, documents: Sequence[dict[str, Any]], format: str) -> None:
    """Each document as `format` has it: "json" (one object a line), "table TEMPLATE", or a template.

    Raises TemplateError for a template that does not parse or names a field that no document has.
    """
    from veneer.cli.gofunctions import HEADING_FUNCTIONS, GoMap, to_json
    from veneer.cli.gotemplate import Template
    from veneer.cli.tables import align_text

    if format == "json":
        app.write("".join(to_json(document) + "\n" for document in documents))
        return
    is_table = format.startswith("table ")
    text = (format.removeprefix("table") if is_table else format).lstrip(" " if is_table else "")
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    template = Template(text)
    names = {name: name.upper() for document in documents for name in document}
    # Documents of several kinds have fields of their own: those of another kind are nothing to them.
    kind = dict if all(len(document) == len(names) for document in documents) else GoMap
    if not is_table:
        app.write_foreign("".join(template.execute(kind(document)) + "\n" for document in documents))
        return
    heading = Template(text, functions=HEADING_FUNCTIONS).execute(GoMap(names))
    rows = [template.execute(kind({name: harmless(value) if isinstance(value, str) else value
                                   for name, value in document.items()})) for document in documents]  # fmt: skip
    app.write(align_text("".join(line + "\n" for line in [heading, *rows])))
