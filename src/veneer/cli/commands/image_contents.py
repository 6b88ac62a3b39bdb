"""`veneer image cat` and `veneer image extract`: what is in an image's files, at any of its layers."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed
from veneer.cli.looked import WHERE, image_and, looked_at, path_bytes, shown_path, spelled_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from veneer.engine.looking.subject import Subject

AT = Option("at", "int", "As it is with the lowest layers, so many; a file they delete as it was (default: all)")
MOST_COMPARED = 4 << 20


def _at(given: Parsed, subject: Subject) -> int:
    text, layers = given.text("at"), len(subject.origins)
    if not text:
        return layers
    if not text.isdigit() or not 1 <= int(text) <= layers:
        raise Failure(f"invalid --at {text!r}: {subject.name} has {layers} layers")
    return int(text)


def _path(subject: Subject, text: str, at: int) -> bytes:
    """The path that is meant; where it is a symlink or beneath one, what that leads to, as a container would see it."""
    from veneer.engine.looking.links import resolved

    tree = subject.table.up_to(at).tree
    path = path_bytes(text)
    led = resolved(tree, path)
    return led if led != path or subject.table.find(path)[0] or not path else resolved(tree, spelled_out(path))


def _layer(text: str, subject: Subject) -> int:
    layers = len(subject.origins)
    if not text.isdigit() or not 1 <= int(text) <= layers:
        raise Failure(f"invalid --diff: layers are 1 to {layers}, as in 2-{max(layers, 2)}")
    return int(text)


def _content(subject: Subject, path: bytes, at: int) -> BinaryIO:
    """The file with the lowest `at` layers; one that they delete as it was."""
    from veneer.analysis.view import NotThere
    from veneer.engine.looking.contents import content

    everywhere = subject.table.find(path)[0]
    copies = [copy for copy in everywhere if copy.layer < at]
    if not everywhere:
        raise NotThere(f"{shown_path(path)} is in no layer of {subject.name}",
                       hint="veneer image find IMAGE '*NAME*' finds all that match")  # fmt: skip
    if not copies:
        raise NotThere(f"{shown_path(path)} is in none of the lowest {at} layers of {subject.name}",
                       hint=f"veneer image find IMAGE {shown_path(path)} tells where it is")  # fmt: skip
    return content(subject, copies[-1].layer, copies[-1].number)


def run_cat(app: App, given: Parsed) -> None:
    import shutil

    name, (text,) = image_and(app, given, 1, CAT.usage)
    with looked_at(app, given, name) as subject:
        at = _at(given, subject)
        path = _path(subject, text, at)
        if given.text("diff"):
            _difference(app, subject, path, given.text("diff"))
            return
        with _content(subject, path, at) as source:
            if app.on_terminal:
                # Nothing in a stranger's file moves the cursor.
                for line in source:
                    app.write_foreign(line.decode("utf-8", "backslashreplace"))
            else:
                shutil.copyfileobj(source, app.binary_out(), 1 << 20)


def _difference(app: App, subject: Subject, path: bytes, layers: str) -> None:
    """What became of a text from one layer to another."""
    import difflib

    first, _, last = layers.partition("-")
    texts = []
    for at in (_layer(first, subject), _layer(last, subject)):
        with _content(subject, path, at) as source:
            raw = source.read(MOST_COMPARED + 1)
        if len(raw) > MOST_COMPARED or b"\0" in raw:
            raise Failure(f"{shown_path(path)} is no text, or more than {MOST_COMPARED >> 20} MiB of it")
        texts.append(raw.decode("utf-8", "backslashreplace").splitlines(keepends=True))
    before, after = (f"{shown_path(path)} in layer {number}" for number in (first, last))
    for line in difflib.unified_diff(texts[0], texts[1], before, after):
        app.write_foreign(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n")


def run_extract(app: App, given: Parsed) -> None:
    from veneer.cli.outfile import archive_out
    from veneer.engine.looking.extracting import write

    name, (text,) = image_and(app, given, 1, EXTRACT.usage)
    with looked_at(app, given, name) as subject, archive_out(app, given.text("output")) as out:
        at = _at(given, subject)
        write(subject, _path(subject, text, at), at, out)


CAT = Command(
    run_cat,
    "Print a file of an image, as any of its layers has it",
    "[OPTIONS] IMAGE PATH",
    most=2,
    options=(AT, Option("diff", "string", 'Show what changed in it between two layers ("2-5")'), *WHERE),
    only_looks=True,
)
EXTRACT = Command(
    run_extract,
    "Take a file, or a directory as a tar, out of an image",
    "[OPTIONS] IMAGE PATH",
    most=2,
    options=(AT, Option("o,output", "string", "Write to a file, instead of STDOUT"), *WHERE),
    only_looks=True,
)
