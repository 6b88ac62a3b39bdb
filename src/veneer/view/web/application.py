"""The whole application: every route, behind one guard."""

from __future__ import annotations

from aiohttp import web

from veneer.errors import VeneerError
from veneer.view.web import answers, api, badge_routes, elders, files, guard, pages, shell, static_files
from veneer.view.web.api import Asker
from veneer.view.web.live import Live
from veneer.view.web.subjects import NOBODY, Subjects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from veneer.engine.engine import Engine
    from veneer.engine.looking.subject import Subject

MOST_SENT = 64 << 10
"""Bytes of the body of a request."""
_PROGRAMS = (api.PREFIX, "/badges/", "/registry/", "/v1/", "/static/")
"""Where answers are for programs, failures too."""


def application(
    engine: Engine, bound: str, allowed: Collection[str] = (), guests: Mapping[str, Subject] = NOBODY
) -> web.Application:
    """The application for the images of `engine`, which stays open as long as it runs.

    `bound` is the address it will listen at, `allowed` are further names that it answers to, `guests` images that are
    not in the store, by what they are called here.
    """
    subjects = Subjects(engine, guests=guests)
    asker, live = Asker(engine, subjects), Live(engine)
    app = web.Application(middlewares=[guard.guarded(guard.Hosts(bound, allowed), _failed)], client_max_size=MOST_SENT)
    app.add_routes([
        *files.routes(asker), *api.routes(asker), *live.routes(), *badge_routes.routes(asker), *elders.routes(asker),
        *static_files.routes(), *pages.routes(asker),
    ])  # fmt: skip
    app.on_response_prepare.append(guard.signed)

    async def ended(_: web.Application) -> None:
        await live.close()

    async def closed(_: web.Application) -> None:
        await asker.asked_to_end()
        subjects.close()

    app.on_shutdown.append(ended)
    app.on_cleanup.append(closed)
    return app


def _failed(request: web.Request, error: VeneerError, status: int) -> web.Response:
    """A failure as a page, or as JSON where a program asks."""
    if request.path.startswith(_PROGRAMS):
        return answers.told(status, error.message, error.hint)
    return web.Response(status=status, body=shell.failure(status, error.message, error.hint),
                        headers={"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"})  # fmt: skip
