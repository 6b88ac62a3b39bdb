"""`veneer peel`."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import FlagError, Option, Parsed
from veneer.cli.looked import WHERE, image_and, looked_at, needs_no_name, path_bytes, spelled_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from veneer.engine.looking.subject import Subject
    from veneer.view.peel.app import PeelApp
    from veneer.view.peel.around import Around
    from veneer.view.peel.model import Peel
    from veneer.view.peel.preferences import Preferences

SWITCH = 0.0002
"""Seconds after which a thread that computes lets the one go on that answers keys, which asks many times for each."""
LITTER = (20_000, 50, 100)
"""How much is made between two looks for garbage: what is read of an image stays, and there is much of it."""
MOMENT = 0.5
"""Seconds that leaving waits for work to end."""
THEMES = ("dark", "light", "contrast")


def run(app: App, given: Parsed) -> None:
    name, path = _named(app, given)
    at, since = _number(given, "at"), _number(given, "since")
    if given.text("theme") not in ("", *THEMES):
        raise Failure(f"invalid --theme {given.text('theme')!r}: one of {', '.join(THEMES)}")
    if given.flag("plain"):
        _plain(app, given, name, path, (at, since))
        return
    if app.on_terminal and given.text("archive") == "-":
        _from_standard_input(app, given)
    if not (app.on_terminal and app.stdin.isatty()):
        where = "input, where keys come from," if app.on_terminal else "output"
        raise Failure(f"peel is for a terminal, and standard {where} is none; --plain prints the same tables")
    from veneer.config import environment

    if environment().get("TERM") == "dumb":
        raise Failure("a terminal that is dumb (TERM) cannot show whole screens; --plain prints the same tables")
    from veneer.view.extras import need

    need("peel", "textual", "tui")
    left = _shown(app, given, name, path, (at, since))
    while left is not None:
        given.values["platform"], other = left
        left = _shown(app, given, other or name, path, (None, None))


def _from_standard_input(app: App, given: Parsed) -> None:
    """Keep the archive that comes there in a nameless file, and take the terminal for standard input: for keys."""
    import os
    import shutil
    import tempfile

    if app.stdin.isatty():
        raise Failure("standard input is this terminal, and no archive: give it as a file, or through a pipe")
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        raise Failure("standard input is the archive, and there is no other terminal that keys could come from; "
                      "--plain prints the same tables") from None  # fmt: skip
    file = os.dup(0)
    with tempfile.TemporaryFile(buffering=0) as kept:
        shutil.copyfileobj(app.binary_in(), kept, 1 << 20)
        os.dup2(kept.fileno(), file)  # open until the program ends: whoever chooses another platform reads it again
    os.dup2(terminal, 0)
    os.close(terminal)
    given.values["archive"] = f"/proc/self/fd/{file}"


def _named(app: App, given: Parsed) -> tuple[str, bytes]:
    words = given.arguments
    if needs_no_name(given) and len(words) == 1 and words[0].startswith("/"):
        return "", path_bytes(words[0])
    name, paths = image_and(app, given, 0, PEEL.usage)
    return name, path_bytes(paths[0]) if paths else b""


def _number(given: Parsed, option: str) -> int | None:
    text = given.text(option)
    if text and (not text.isascii() or not text.isdigit() or len(text) > 9):
        raise FlagError(f'invalid argument "{text}" for "--{option}" flag: a number is wanted')
    return int(text) if text else None


def _placed(subject: Subject, ends: tuple[int | None, int | None]) -> Peel:
    """The image with the slider where it is to be."""
    from veneer.analysis.view import NoSuchDepth
    from veneer.view.peel.model import Peel

    peel = Peel(subject)
    at, since = ends
    at = peel.layers if at is None else at
    since = max(at - 1, 0) if since is None else since
    if not 0 <= since <= at <= peel.layers:
        raise NoSuchDepth(f"no range from layer {since} to layer {at}: the image has {peel.layers} layers",
                          hint=f"give 0 <= since <= at <= {peel.layers}")  # fmt: skip
    if ends != (None, None):
        peel.go(at, since)
    return peel


def _plain(app: App, given: Parsed, name: str, path: bytes, ends: tuple[int | None, int | None]) -> None:
    from veneer.view.peel.plain import plain_lines

    with looked_at(app, given, name) as subject:
        peel = _placed(subject, ends)
        peel.load()
        looking = app.engine.looking
        peel.base, peel.shared = looking.stands_on(subject), tuple(looking.shared_with(subject))
        for line in plain_lines(peel, _there(peel, path), app.columns):
            app.line(line.rstrip())


def _there(peel: Peel, path: bytes) -> bytes:
    """The path as layers have it.  Raises NotThere."""
    from veneer.analysis.view import NotThere
    from veneer.cli.looked import shown_path

    for each in (path, spelled_out(path)):
        copies, place = peel.subject.table.find(each)
        if copies or place is not None:
            return each
    raise NotThere(f"{shown_path(path)} is in no layer of {peel.subject.name}")


def _shown(
    app: App, given: Parsed, name: str, path: bytes, ends: tuple[int | None, int | None]
) -> tuple[str, str] | None:  # fmt: skip
    """The application, until it is left; the platform that is to be shown instead, and its image's name ("": this)."""
    from veneer.errors import VeneerError
    from veneer.view.peel.app import PeelApp
    from veneer.view.peel.around import News

    news = News()
    with looked_at(app, given, name, progress=news) as subject:
        peel = _placed(subject, ends)
        left = _run(PeelApp(peel, _around(app, given), _preferences(app, given), news, path=path))
    if isinstance(left, VeneerError):
        raise left
    return left[1:] if isinstance(left, tuple) else None


def _run(application: PeelApp) -> Any:
    """The application, until it is left, and what it says then.

    Raises Terminated for a signal that ended it, once the terminal is as before.
    """
    import asyncio
    import gc
    import os
    import signal
    import sys

    from veneer.cli.terminal import Terminated

    sys.setswitchinterval(SWITCH)
    gc.set_threshold(*LITTER)
    loop = asyncio.new_event_loop()
    ended: list[int] = []

    def end(number: int) -> None:
        ended.append(number)
        application.exit()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    left = application.run(loop=loop)
    if left is None and application.still_working(MOMENT):
        # A thread waits for a registry, or reads on.  It only looks, so nothing is to be undone; the terminal is as
        # before; and whoever leaves shall not wait for it.
        os._exit(128 + ended[0] if ended else 0)
    loop.close()
    if ended:
        raise Terminated(ended[0])
    return left


def _platforms(app: App, subject: Subject) -> dict[str, str]:
    """The platforms that a name can be looked at for, with the names of their images; see `Around`."""
    index = subject.documents.index
    if index is None:
        return {}
    if subject.documents.where != "store":
        return {str(each.platform): "" for each in index.images() if each.platform}
    here = {image.manifest: image for image in app.engine.images.list(all=True)}
    return {str(each.platform): str(here[each.digest].id) for each in index.images() if each.digest in here}


def _around(app: App, given: Parsed) -> Around:
    import os

    from veneer.view.peel.around import Around

    def other(name: str) -> AbstractContextManager[Subject]:
        alone = Parsed(WHERE)
        alone.values["platform"] = given.text("platform")
        return looked_at(app, alone, name)

    def names() -> list[str]:
        if not os.path.isdir(app.engine.config.root_name):
            return []
        return [reference.familiar for image in app.engine.store.images.list() for reference in image.references]

    looking = app.engine.looking
    return Around(other, names, looking.stands_on, looking.shared_with, lambda subject: _platforms(app, subject))


def _preferences(app: App, given: Parsed) -> Preferences:
    from veneer.config import beside
    from veneer.view.peel.preferences import Preferences, read

    file = beside("peel.toml", str(app.settings.get("config_file") or ""))
    try:
        with open(file, encoding="utf-8", errors="surrogateescape") as stream:
            found = read(stream.read(), file)
    except FileNotFoundError:
        found = Preferences()
    return found.replaced(theme=given.text("theme")) if given.text("theme") else found


PEEL = Command(
    run,
    "Peel an image in the terminal: layers, files at any depth, histories, waste, a map",
    "[OPTIONS] IMAGE [PATH]",
    most=2,
    options=(
        Option("at", "int", "Begin with the lowest layers, so many (default: all)"),
        Option("plain", "bool", "Print the same tables and end"),
        Option("since", "int", "Begin with what differs from the tree of the lowest layers, so many"),
        Option("theme", "string", 'Colours: "dark", "light" or "contrast"', shown_default='"dark"'),
        *WHERE,
    ),
    only_looks=True,
)
