"""`veneer serve`: the images of the store in a browser."""

from __future__ import annotations

from veneer.cli.app import App, Failure
from veneer.cli.command import Command
from veneer.cli.flags import Option, Parsed

HOST, PORT = "127.0.0.1", 8363
MOST_PORT = 65535


def run(app: App, given: Parsed) -> None:
    from veneer.view.extras import need

    host, port = given.text("host") or HOST, _port(given)
    need("serve", "aiohttp", "web")
    from veneer.view.web import guard, serving

    def ready(url: str) -> None:
        app.line(f"The images of {app.engine.config.root_name}: {url}")
        if not guard.is_loopback(host):
            app.warn(f"Warning: whoever reaches {url} sees what all images here are, and reads every file in them")
        app.out.flush()
        if given.flag("open"):
            _show(url)

    serving.serve(app.engine, host, port, allowed=given.texts("allow_host"), ready=ready)


def _port(given: Parsed) -> int:
    text = given.text("port")
    if not text:
        return PORT
    if not text.isascii() or not text.isdigit() or int(text[:9]) > MOST_PORT:
        raise Failure(f'invalid argument "{text}" for "--port" flag: a number from 0 to {MOST_PORT} is wanted')
    return int(text)


def _show(url: str) -> None:
    """Ask this machine's browser for the page, without waiting for it."""
    import threading
    import webbrowser

    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


SERVE = Command(
    run,
    "Show the images of this store in a browser: layers, files, sizes, histories, side by side",
    "[OPTIONS]",
    options=(
        Option("allow-host", "list", "Also answer to this name (default: only localhost and addresses)", many=True),
        Option("host", "string", "The address to listen at", shown_default=f'"{HOST}"'),
        Option("open", "bool", "Open a browser there"),
        Option("p,port", "string", "The port to listen at; 0 takes one that is free", shown_default=str(PORT)),
    ),
    only_looks=True,
)
