"""The server: a socket bound, the application on it, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping

from aiohttp import web

from veneer.errors import Conflict, Denied, InvalidRequest, Unavailable
from veneer.view.web.application import application
from veneer.view.web.subjects import NOBODY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.engine import Engine
    from veneer.engine.looking.subject import Subject

LONGEST_LINE = 32 << 10
"""Bytes of a request's first line: a path of 4096 bytes, each of them percent-encoded, and more."""
MOST_HEADERS = 64
LONGEST_HEADER = 8 << 10
IDLE_SECONDS = 30.0
LEAVE_SECONDS = 2.0
"""How long answers that are being sent are waited for at the end."""
_BACKLOG = 64
_ENDING = (signal.SIGINT, signal.SIGTERM)


class PortInUse(Conflict):
    """Somebody else listens there."""


class PortDenied(Denied):
    """The kernel does not let this user listen there."""


class NoSuchAddress(InvalidRequest):
    """A text that is no address of this machine."""


class CannotListen(Unavailable):
    """The kernel has no socket for us."""


def bound(host: str, port: int) -> socket.socket:
    """A listening socket.  Raises PortInUse, PortDenied, NoSuchAddress, CannotListen."""
    where = f"{host} port {port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise NoSuchAddress(f"--host {host}: {getattr(error, 'strerror', None) or error}") from None
    found = socket.socket(family, kind, protocol)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(_BACKLOG)
        found.setblocking(False)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            hint = f"--port 0 takes any that is free; ss -ltnp 'sport = :{port}' shows who has it"
            raise PortInUse(f"{where} is in use", hint=hint) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise PortDenied(f"{where}: {os.strerror(error.errno).lower()}",
                             hint="ports from 1024 on are for everybody") from None  # fmt: skip
        if error.errno == errno.EADDRNOTAVAIL:
            raise NoSuchAddress(f"--host {host}: this machine has no such address") from None
        raise CannotListen(f"{where}: {error.strerror}") from None
    return found


def url_of(listening: socket.socket) -> str:
    """Where a browser finds it."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def serve(
    engine: Engine, host: str, port: int, *, allowed: Collection[str] = (), guests: Mapping[str, Subject] = NOBODY,
    ready: Callable[[str], None] = lambda url: None,
) -> None:  # fmt: skip
    """Show the images of `engine` at that address until SIGINT or SIGTERM; `ready` is told its URL once it answers.

    A second signal ends the process at once, whatever is being answered.
    Port 0 takes any that is free; `allowed` are further names that the server answers to, `guests` images from
    elsewhere by what they are called here, open until this returns.  Raises what `bound` raises.
    """
    listening = bound(host, port)
    try:
        with asyncio.Runner() as runner:
            runner.run(_served(listening, application(engine, host, allowed, guests), ready))
    finally:
        listening.close()


async def _served(listening: socket.socket, app: web.Application, ready: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        ended.set()
        for number in _ENDING:  # who tells it twice does not want to wait for questions that are being answered
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in _ENDING:
        loop.add_signal_handler(number, told)
    async with running(listening, app):
        ready(url_of(listening))
        await ended.wait()


@contextlib.asynccontextmanager
async def running(listening: socket.socket, app: web.Application) -> AsyncIterator[None]:
    """The application on a socket for as long as the block lasts."""
    runner = web.AppRunner(
        app, access_log=None, max_line_size=LONGEST_LINE, max_headers=MOST_HEADERS,
        max_field_size=LONGEST_HEADER, keepalive_timeout=IDLE_SECONDS, shutdown_timeout=LEAVE_SECONDS,
    )  # fmt: skip
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()
