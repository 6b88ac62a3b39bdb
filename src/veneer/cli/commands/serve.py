"""`veneer serve`: the images of the store in a browser."""

from __future__ import annotations

import contextlib

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import FlagError, Option, Parsed
from veneer.cli.looked import SEVERAL, looked_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from veneer.engine.looking.subject import Subject

HOST, PORT = "127.0.0.1", 8363
"""The port: V-E-N-E on the keys of a telephone."""
MOST_PORT = 65535
STORE = "store"
_PREFIXES = {"archive": "archive:", "registry": "remote:", "container": "container:"}
_FAR = ("archive", "registry")


def run(app: App, given: Parsed) -> None:
    from veneer.view.extras import need

    host, port = given.text("host") or HOST, _port(given)
    need("serve", "aiohttp", "web")
    browser = _Browser() if given.flag("open") else None
    _enter(app)
    from veneer.view.web import guard, serving

    page = ""

    def ready(url: str) -> None:
        url += page
        app.line(f"The images of {app.engine.config.root_name}: {url}")
        if not guard.is_loopback(host):
            app.warn(f"Warning: whoever reaches {url} sees what all images here are, and reads every file in them")
        app.out.flush()
        if browser is not None:
            browser.show(url)

    with contextlib.ExitStack() as stack:
        if browser is not None:
            stack.callback(browser.close)
        refs, guests = _shown(app, given, stack)
        page = _page(refs)
        serving.serve(app.engine, host, port, allowed=given.texts("allow_host"), guests=guests, ready=ready)


def _shown(app: App, given: Parsed, stack: contextlib.ExitStack) -> tuple[list[str], dict[str, Subject]]:
    """What the images of the command line are called on the pages, and those of them that are not in the store.

    These are read now, for no page asks for anything that lies elsewhere; they are open as long as `stack`.
    """
    refs: list[str] = []
    guests: dict[str, Subject] = {}
    for number, name in enumerate(given.arguments or ([""] if given.text("archive") else [])):
        subject = stack.enter_context(looked_at(app, given, name, number))
        where = subject.documents.where
        ref = name if where == STORE else f"{_PREFIXES[where]}{subject.name}"
        if where in _FAR and ref in guests:
            raise Failure(f"two images would be called {ref}")
        if where in _FAR:
            _ = subject.indexes
            guests[ref] = subject
        refs.append(ref)
    return refs, guests


def _page(refs: Sequence[str]) -> str:
    """The page to begin with."""
    from urllib.parse import quote

    if len(refs) > 1:
        return f"compare?images={','.join(quote(ref, safe=':@/') for ref in refs)}"
    return f"i/{quote(refs[0], safe=':@/')}" if refs else ""


def _enter(app: App) -> None:
    """Where a plain user's namespace can be had, what containers wrote is read as well."""
    from veneer.drivers.userns import NoNamespace

    try:
        app.enter_namespace()
    except NoNamespace as error:
        app.warn(f"Warning: what containers wrote cannot be shown: {error.message}")


def _port(given: Parsed) -> int:
    text = given.text("port")
    if not text:
        return PORT
    if not text.isascii() or not text.isdigit() or int(text[:9]) > MOST_PORT:
        raise FlagError(f'invalid argument "{text}" for "--port" flag: a number from 0 to {MOST_PORT} is wanted')
    return int(text)


class _Browser:
    """This machine's browser, started by a process of its own, which is there before we enter a namespace."""

    _CODE = "import sys, webbrowser; url = sys.stdin.readline().strip(); url and webbrowser.open(url)"

    def __init__(self) -> None:
        import subprocess
        import sys

        # What a browser says has no place between our lines; in a session of its own no Ctrl-C of ours ends it.
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    def show(self, url: str) -> None:
        """Ask it for the page, without waiting for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it could not start; the URL stands on the terminal too
            self._process.stdin.write(url + "\n")
        self.close()

    def close(self) -> None:
        """Ask for no page any more; the browser stays."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()


SERVE = Command(
    run,
    "Show the images of this store in a browser: layers, files, sizes, histories, side by side",
    "[OPTIONS] [IMAGE...]",
    most=None,
    options=(
        Option("allow-host", "list", "Also answer to this name (default: only localhost and addresses)", many=True),
        Option("host", "string", "The address to listen at", shown_default=f'"{HOST}"'),
        Option("open", "bool", "Open a browser there"),
        Option("p,port", "string", "The port to listen at; 0 takes one that is free", shown_default=str(PORT)),
        *SEVERAL,
    ),
    only_looks=True,
)
