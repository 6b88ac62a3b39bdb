"""Badges by URL, at MicroBadger's addresses and veneer's own."""

from __future__ import annotations

import time

from aiohttp import web

from veneer.errors import NotFound, VeneerError
from veneer.view import badges
from veneer.view.web import answers, words
from veneer.view.web.api import PREFIX, Asker, query_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.view.badges import Badge
    from veneer.view.web.query import Query

CACHE = "max-age=300"


class NoBadgeFormat(NotFound):
    """A badge's address that ends neither in .svg nor in .json."""


def routes(asker: Asker) -> list[web.RouteDef]:
    found = []
    for prefix in ("", PREFIX):
        found.append(web.get(f"{prefix}/badges/{{kind}}/{{name:.+}}", _handler(asker)))
    return [*found, web.get(f"{PREFIX}/badges", _kinds)]


async def _kinds(request: web.Request) -> web.StreamResponse:
    document = {"kinds": list(badges.kinds()), "styles": list(badges.STYLES), "colors": list(badges.COLOURS)}
    return answers.sent(request, answers.body(words.as_json(document), answers.JSON))


def _handler(asker: Asker) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        query = query_of(request)
        kind = request.match_info["kind"]
        name, dot, format = request.match_info["name"].rpartition(".")
        if not dot or format not in ("svg", "json"):
            raise NoBadgeFormat(f"no badge at {request.path[:200]}", hint="its address ends in .svg or .json")
        style = query.text("style") or badges.STYLES[0]

        def draw() -> tuple[answers.Body, int]:
            badge, status = _badge(asker, kind, name, query)
            if format == "json":
                return answers.body(words.as_json(badges.endpoint(badge)), answers.JSON), status
            return answers.body(badges.svg(badge, style).encode(), "image/svg+xml"), status

        found, status = await asker.asked(draw)
        response = answers.sent(request, found, status=200 if query.flag("soft") else status, cache=CACHE)
        # A badge is for other people's pages.
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        return response

    return handler


def _badge(asker: Asker, kind: str, name: str, query: Query) -> tuple[Badge, int]:
    """The badge and its status.  Raises UnknownBadge."""
    from veneer.view.badge_facts import facts
    from veneer.view.web.elders import meant

    badges.badge(kind, badges.Facts(), label=query.text("label"), color=query.text("color"))  # raises for a bad request
    try:
        with asker.subjects.opened(meant(asker.subjects, name), query.text("platform")) as looked, looked.lock:
            told = facts(asker.engine, looked.subject, kind, time.time())
    except NotFound:
        return badges.not_found(query.text("label") or "image"), 404
    except VeneerError as error:
        if error.http_status != 400:
            raise
        return badges.not_found(query.text("label") or "image"), 404
    return badges.badge(kind, told, label=query.text("label"), color=query.text("color")), 200
