"""What every request must pass and every answer carries.

A browser will send requests here for any page that asks it to.  The Host header says by which name it got here: a name
that somebody else's DNS may point at this machine is not answered, so no foreign page reads an answer.  Browsers also
say from where a request comes (Fetch Metadata): pages from elsewhere may lead here, and show badges, but ask nothing;
so not even how long an answer takes tells them anything.  Nothing here changes anything: GET and HEAD alone are
answered, but for one question that is asked by POST.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Collection
from contextvars import ContextVar

from aiohttp import web

from veneer.errors import Denied, InvalidRequest, VeneerError
from veneer.view.web import answers
from veneer.view.web.answers import Handled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SECONDS = 60.0
"""How long an answer may take, and each piece of one that comes in pieces."""
MOST_WAITING = 256
"""Requests that are answered or wait for it at once; more are told to come again."""
ASKED_BY_POST = "/registry/analyze"
ENDLESS = "/api/v1/events"
FOR_EVERYBODY = ("/badges/", "/api/v1/badges/")
"""What pages from elsewhere show as their own."""
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_limit: ContextVar[asyncio.Timeout] = ContextVar("limit")
_log = logging.getLogger(__name__)


class ForeignHost(Denied):
    """A request that came by a name this server does not have."""


class NoHost(InvalidRequest):
    """A request that does not say by which name it came, or says it wrongly."""


class ForeignOrigin(Denied):
    """A page from elsewhere asked for something that only our own pages may ask for."""


class Hosts:
    """The names that this server answers to."""

    def __init__(self, bound: str, allowed: Collection[str] = ()) -> None:
        self._names = {name.lower().rstrip(".") for name in allowed} | {"localhost", bound.lower()}
        self._any_address = not is_loopback(bound)

    def check(self, header: str | None) -> None:
        """Raises NoHost, ForeignHost."""
        name = host_of(header or "")
        if not name:
            raise NoHost("the request has no Host header that could be read")
        if name in self._names or name.rstrip(".") in self._names:
            return
        # An address is no name that could be made to point elsewhere.
        if self._any_address and is_address(name):
            return
        if is_address(name) and is_loopback(name):
            return
        raise ForeignHost(f"this server is not called {name}", hint=f"veneer serve --allow-host {name}")


def host_of(header: str) -> str:
    """The name in a Host header, without its port, lower case; "" for what is none."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, port = header[1:].partition("]")
        return name if bracket and (not port or _is_port(port)) and is_address(name) else ""
    name, colon, port = header.partition(":")
    if colon and not _is_port(":" + port):
        return ""
    return name if name and all(char.isalnum() or char in ".-_" for char in name) and name.isascii() else ""


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    return name in _LOCAL or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def _method(request: web.Request) -> None:
    """Raises HTTPMethodNotAllowed, ForeignOrigin."""
    if request.method in ("GET", "HEAD"):
        _origin(request)
        return
    if request.method != "POST" or request.path != ASKED_BY_POST:
        raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site", "none")
    own = origin is None or origin.partition("://")[2].lower() == request.headers.get("Host", "").strip().lower()
    if not own or site not in ("none", "same-origin"):
        raise ForeignOrigin("only pages of this server may ask that")


def _origin(request: web.Request) -> None:
    """Raises ForeignOrigin.  Source: W3C, Fetch Metadata Request Headers."""
    headers = request.headers
    if headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return
    leads_here = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    if not leads_here and not request.path.startswith(FOR_EVERYBODY):
        raise ForeignOrigin("only pages of this server may ask that")


def goes_on() -> None:
    """A piece of the answer has been taken: there is as much time for the next one."""
    limit = _limit.get(None)
    if limit is not None:
        limit.reschedule(asyncio.get_running_loop().time() + SECONDS)


def guarded(hosts: Hosts, told: Callable[[web.Request, VeneerError, int], web.StreamResponse]) -> Any:
    """The middleware.  `told` makes the answer for an error and its status, as a page or as JSON."""
    waiting = 0

    def failed(request: web.Request, error: VeneerError, status: int) -> web.StreamResponse:
        if request.writer.output_size and request.transport is not None:
            request.transport.abort()  # an answer that has begun is cut off: nothing else may stand in it
        return told(request, error, status)

    async def answered(request: web.Request, handler: Handled) -> web.StreamResponse:
        nonlocal waiting
        if waiting >= MOST_WAITING:
            return answers.told(503, "too many questions at once", "ask again in a moment")
        endless = request.path == ENDLESS
        waiting += not endless
        try:
            hosts.check(request.headers.get("Host"))
            _method(request)
            if endless:
                return await handler(request)
            async with asyncio.timeout(SECONDS) as limit:
                _limit.set(limit)
                return await handler(request)
        except VeneerError as error:
            return failed(request, error, error.http_status)
        except web.HTTPMethodNotAllowed as error:
            found = failed(request, InvalidRequest(f"{request.method} is not answered here",
                                                   hint="nothing can be changed; ask with GET"), 405)  # fmt: skip
            found.headers["Allow"] = error.headers.get("Allow", "GET, HEAD")
            return found
        except web.HTTPRequestEntityTooLarge:
            return failed(request, InvalidRequest("the request's body is too large"), 413)
        except web.HTTPNotFound:
            return failed(request, InvalidRequest("there is no such page", hint="the images are at /"), 404)
        except TimeoutError:
            return failed(request, VeneerError(f"no answer within {SECONDS:.0f} s"), 503)
        except OSError as error:
            _log.warning("%s: %s", request.path, error)
            return failed(request, VeneerError(f"this machine refused: {error.strerror or error}"), 500)
        finally:
            waiting -= not endless

    @web.middleware
    async def middleware(request: web.Request, handler: Handled) -> web.StreamResponse:
        try:
            return await answered(request, handler)
        except (web.HTTPException, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001  the one place where a bug becomes an answer
            _log.exception("%s", request.path)
            return failed(request, VeneerError(f"veneer failed: {type(error).__name__}"), 500)

    return middleware


async def signed(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every answer what browsers are to heed."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "veneer"
