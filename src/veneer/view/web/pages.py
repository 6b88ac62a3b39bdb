"""The pages' addresses; those that ImageLayers and MicroBadger had lead to them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, urlencode

from aiohttp import web

from veneer.view.web import answers, comparing, elders, images, shell, trees
from veneer.view.web.api import Asker, query_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.view.web.query import Query

HTML = "text/html"


def routes(asker: Asker) -> list[web.RouteDef]:
    pages = _Pages(asker)

    def page(path: str, made: Callable[[web.Request, Query], bytes]) -> web.RouteDef:
        async def handler(request: web.Request) -> web.StreamResponse:
            query = query_of(request)
            found = await asker.asked(lambda: answers.body(made(request, query), HTML))
            return answers.sent(request, found)

        return web.get(path, handler)

    return [
        web.get("/", _front(page("/", pages.images).handler)),
        page("/i/{ref:.+}", pages.image), page("/compare", pages.compare), page("/history", pages.history),
        page("/diff", pages.diff), page("/l/{diff_id}", pages.layer), web.get("/images/{ref:.+}", _microbadger(asker)),
    ]  # fmt: skip


def _front(images_page: object) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        query = query_of(request)
        if "images" in query:  # an address of ImageLayers
            kept = {name: query.text(name) for name in ("images", "lock") if name in query}
            raise web.HTTPFound("/compare?" + urlencode(kept, safe=",:/@", errors="backslashreplace"))
        return await images_page(request)  # type: ignore[operator, no-any-return]

    return handler


def _microbadger(asker: Asker) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        ref = await asker.asked(lambda: elders.meant(asker.subjects, request.match_info["ref"]))
        raise web.HTTPFound("/i/" + quote(ref, safe=":@"))

    return handler


class _Pages:
    """What stands on each page before its script runs; asked on a thread."""

    def __init__(self, asker: Asker) -> None:
        self._subjects = asker.subjects

    def images(self, request: web.Request, query: Query) -> bytes:
        return shell.images(images.image_list(self._subjects, query))

    def image(self, request: web.Request, query: Query) -> bytes:
        ref = request.match_info["ref"]
        with self._subjects.opened(ref, query.text("platform")) as looked, looked.lock:
            return shell.image(images.image_document(self._subjects, looked, ref))

    def compare(self, request: web.Request, query: Query) -> bytes:
        if not query.text("images"):
            return shell.choice()
        found = comparing.compare(self._subjects, query)
        return shell.comparison(found.document, list(found.trie.rows()))

    def history(self, request: web.Request, query: Query) -> bytes:
        ref = query.text("image")
        with self._subjects.opened(ref, query.text("platform")) as looked, looked.lock:
            return shell.history(trees.history(looked, query), ref)

    def diff(self, request: web.Request, query: Query) -> bytes:
        names = (query.text("a"), query.text("b"))
        with comparing.both(self._subjects, names) as (first, second):
            return shell.diff(comparing.diff(first, second, names, query))

    def layer(self, request: web.Request, query: Query) -> bytes:
        return shell.layer(images.layer_images(self._subjects, request.match_info["diff_id"]))
