"""Answers: JSON with its tag, compressed where that is worth it; errors as a sentence and a way out.

An answer's tag says what it is made of.  Of what an image alone decides the tag is known before the answer is, so a
browser that has it already costs nothing; of everything else it is the answer's own digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from veneer import __version__
from veneer.errors import VeneerError
from veneer.values import Value
from veneer.view.web.words import as_json

Handled = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What answers a request."""
SMALL = 1400
"""Bytes that fit one packet: not worth compressing."""
JSON = "application/json"
_COMPRESSED = ("application/json", "text/", "image/svg+xml", "application/javascript")


class Body(Value):
    """The bytes of an answer, plain and (None: not worth it) compressed by gzip, what they are, and their tag."""

    __slots__ = ()
    plain: bytes
    packed: bytes | None
    type: str
    etag: str


def body(data: bytes, type: str, etag: str = "") -> Body:
    """Bytes made ready to be sent; without an `etag` they get one of their own."""
    packed = None
    if len(data) > SMALL and type.startswith(_COMPRESSED):
        from isal import igzip

        packed = igzip.compress(data, 1)
    return Body(data, packed, type, etag or tag_of(data))


def tag_of(*parts: bytes | str) -> str:
    """A tag for what is made of these parts by this veneer."""
    whole = hashlib.sha256(__version__.encode())
    for part in parts:
        whole.update(b"\0" + (part.encode("utf-8", "backslashreplace") if isinstance(part, str) else part))
    return f'"{whole.hexdigest()[:32]}"'


def has_it(request: web.Request, etag: str) -> bool:
    """Whether whoever asks has just that answer."""
    asked = request.headers.get("If-None-Match", "")
    return any(each.strip().removeprefix("W/") in (etag, "*") for each in asked.split(",")) if asked else False


def sent(request: web.Request, found: Body, *, status: int = 200, cache: str = "no-cache") -> web.Response:
    """The answer to a request: 304 if it is known there."""
    headers = {"ETag": found.etag, "Cache-Control": cache, "Vary": "Accept-Encoding"}
    if status == 200 and has_it(request, found.etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = found.type if found.type.startswith("image/") else f"{found.type}; charset=utf-8"
    if found.packed is not None and _takes_gzip(request):
        headers["Content-Encoding"] = "gzip"
        return web.Response(status=status, body=found.packed, headers=headers)
    return web.Response(status=status, body=found.plain, headers=headers)


def not_modified(etag: str) -> web.Response:
    return web.Response(status=304, headers={"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"})


def _takes_gzip(request: web.Request) -> bool:
    for part in request.headers.get("Accept-Encoding", "").split(","):
        coding, _, quality = part.strip().partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def failure(error: VeneerError, status: int = 0) -> web.Response:
    """What went wrong, as JSON."""
    return told(status or error.http_status, error.message, error.hint)


def told(status: int, message: str, hint: str = "") -> web.Response:
    return web.Response(
        status=status, body=as_json({"error": message, "hint": hint}),
        headers={"Content-Type": f"{JSON}; charset=utf-8", "Cache-Control": "no-store"},
    )  # fmt: skip
