"""What the commands that look into an image share: which image is meant, how paths and layers are written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from veneer.cli.app import App, Failure
from veneer.cli.flags import Option, Parsed
from veneer.cli.tables import harmless, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.looking.subject import Subject

ARCHIVE = Option("archive", "string", "Look into this docker archive or OCI layout (a tar, a directory, - for STDIN)")
REMOTE = Option("remote", "bool", "Look at the image in its registry; nothing is stored")
PLATFORM = Option("platform", "string", "Of an archive's or a registry's image, the one for this platform")
NO_TRUNC = Option("no-trunc", "bool", "Don't truncate output")
WHERE = (ARCHIVE, REMOTE, PLATFORM)
INSTRUCTION_WIDTH = 45
_ARCHIVE_PREFIX, _REMOTE_PREFIX = "archive:", "remote:"
SOURCES_HELP = "IMAGE may be archive:PATH, archive:PATH#NAME or remote:NAME"


@contextlib.contextmanager
def looked_at(app: App, given: Parsed, name: str) -> Iterator[Subject]:
    """The image that a command line means by `name`, and by --archive, --remote and --platform."""
    from pathlib import Path

    archive, remote = given.text("archive"), given.flag("remote")
    if archive and remote:
        raise Failure("--archive and --remote cannot be used together")
    if not archive and name.startswith(_ARCHIVE_PREFIX):
        archive, _, name = name.removeprefix(_ARCHIVE_PREFIX).partition("#")
    elif name.startswith(_REMOTE_PREFIX):
        name, remote = name.removeprefix(_REMOTE_PREFIX), True
    source = app.binary_in() if archive == "-" else Path(archive) if archive else None
    progress: dict[str, Any] = {"progress": _told(app)} if app.err.isatty() else {}
    with app.engine.looking.open(
        name, archive=source, remote=remote, platform=given.text("platform") or None, **progress
    ) as subject:
        yield subject


def _told(app: App) -> Any:
    """Progress of downloads, on standard error."""
    from veneer.cli.progress import Lines

    return Lines(app.err, live=True, columns=app.columns)


def image_and(app: App, given: Parsed, more: int, usage: str = "[OPTIONS] IMAGE") -> tuple[str, list[str]]:
    """The image's name and the `more` arguments behind it; "" with --archive, which may have but one image.

    Raises UsageError in docker's words where there are too few.
    """
    words = given.arguments
    if len(words) > more:
        return words[0], list(words[1:])
    if given.text("archive") and len(words) == more:
        return "", list(words)
    from veneer.cli.main import UsageError

    number = more + 1
    raise UsageError(f"veneer: '{app.path}' requires {'at least ' if usage.endswith(']') else ''}{number} "
                     f"argument{'s' if number != 1 else ''}\n\nUsage:  {app.path} {usage}\n\n"
                     f"Run '{app.path} --help' for more information\n", 1)  # fmt: skip


def path_bytes(text: str) -> bytes:
    """A path as somebody typed it, as layers have it."""
    import os

    return b"/".join(part for part in os.fsencode(text).split(b"/") if part not in (b"", b"."))


def spelled_out(path: bytes) -> bytes:
    """A path copied from veneer's output: `\\n`, `\\t`, `\\r`, `\\xNN` and `\\uNNNN` are what they stand for."""
    import re

    named = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"\\": b"\\"}

    def plain(found: re.Match[bytes]) -> bytes:
        if found[1]:
            return bytes([int(found[1], 16)])
        return chr(int(found[2], 16)).encode() if found[2] else named[found[3]]

    return re.sub(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|([ntr\\]))", plain, path)


def shown_path(path: bytes) -> str:
    """A path in an image for people: absolute, harmless."""
    return harmless("/" + path.decode("utf-8", "backslashreplace"))


def path_text(path: bytes) -> str:
    """A path in an image for programs: absolute; bytes that are no UTF-8 as \\xNN."""
    return "/" + path.decode("utf-8", "backslashreplace")


def layer_numbers(layers: Sequence[int]) -> str:
    """Layers as people count them, from 1: `1,3`; many as `1-3,5`."""
    spans: list[list[int]] = []
    for layer in layers:
        if spans and layer == spans[-1][1] + 1:
            spans[-1][1] = layer
        else:
            spans.append([layer, layer])
    return ",".join(f"{first + 1}" if first == last else f"{first + 1}{',' if last == first + 1 else '-'}{last + 1}"
                    for first, last in spans)  # fmt: skip


def instruction(text: str, *, truncate: bool) -> str:
    """What made a layer, for a table."""
    return shorten(harmless(text), INSTRUCTION_WIDTH) if truncate else text


def owner(uid: int, gid: int) -> str:
    return f"{uid}:{gid}"


def mode_text(mode: int) -> str:
    return f"{mode:04o}"


def objects(app: App, documents: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    from veneer.cli.gofunctions import to_json

    app.write("".join(to_json(document) + "\n" for document in documents))
