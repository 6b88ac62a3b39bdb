"""The routes under /api/v1: each a question to the engine, asked on a thread, answered as JSON."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from veneer.errors import NotFound
from veneer.view.web import accounts, answers, beside, comparing, images, searching, trees, words
from veneer.view.web.query import Query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from veneer.engine.engine import Engine
    from veneer.view.web.answers import Body
    from veneer.view.web.subjects import Looked, Subjects

    T = TypeVar("T")
    OfImage = Callable[[Subjects, Looked, str, Query], Any]
    OfStore = Callable[[Subjects, "web.Request", Query], Any]

PREFIX = "/api/v1"
THREADS = 4

OF_IMAGE: dict[str, tuple[OfImage, bool]] = {
    "": (lambda subjects, looked, ref, query: images.image_document(subjects, looked, ref), False),
    "/tree": (lambda subjects, looked, ref, query: trees.tree(looked, query), True),
    "/rollup": (lambda subjects, looked, ref, query: trees.rollup(looked, query), True),
    "/history": (lambda subjects, looked, ref, query: trees.history(looked, query), True),
    "/waste": (lambda subjects, looked, ref, query: accounts.waste(looked, query), True),
    "/findings": (lambda subjects, looked, ref, query: accounts.noteworthy(looked, query), True),
    "/labels": (lambda subjects, looked, ref, query: accounts.labels(subjects, looked), False),
    "/tags": (lambda subjects, looked, ref, query: accounts.tags(subjects, looked), False),
    "/dockerfile": (lambda subjects, looked, ref, query: accounts.dockerfile(subjects, looked), False),
    "/whatif": (lambda subjects, looked, ref, query: accounts.what_if(subjects, looked, query), False),
}
"""What can be asked of an image, and whether the image alone decides the answer."""
OF_STORE: dict[str, OfStore] = {
    "/images": lambda subjects, request, query: images.image_list(subjects, query),
    "/containers": lambda subjects, request, query: images.container_list(subjects),
    "/search": lambda subjects, request, query: searching.search(subjects, query),
    "/compare": lambda subjects, request, query: comparing.compare(subjects, query).text,
    "/compare/files": lambda subjects, request, query: beside.files(subjects, query),
    "/layers/{diff_id}/images":
        lambda subjects, request, query: images.layer_images(subjects, request.match_info["diff_id"]),
}  # fmt: skip


class Asker:
    """The engine asked on a few threads, so that no connection waits for another one's question."""

    def __init__(self, engine: Engine, subjects: Subjects) -> None:
        self.engine = engine
        self.subjects = subjects
        self._pool = ThreadPoolExecutor(THREADS, "web")

    async def asked(self, question: Callable[..., T], *arguments: Any) -> T:
        """What `question` gives, asked on one of the threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, functools.partial(question, *arguments))

    async def asked_to_end(self) -> None:
        """Ask nothing more, and wait for what is being asked."""
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)


def query_of(request: web.Request) -> Query:
    """The query string as it was sent.  Raises BadQuery."""
    return Query(request.raw_path.partition("?")[2])


def routes(asker: Asker) -> list[web.RouteDef]:
    """The routes of the API."""
    found = [web.get(f"{PREFIX}/images/{{ref}}{path}", _of_image(asker, question, certain))
             for path, (question, certain) in OF_IMAGE.items()]  # fmt: skip
    found += [web.get(PREFIX + path, _of_store(asker, question)) for path, question in OF_STORE.items()]
    return [*found, web.get(f"{PREFIX}/diff", _diff(asker))]


def _of_image(asker: Asker, question: OfImage, certain: bool) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        ref, query = request.match_info["ref"], query_of(request)
        known = answers.tag_of if certain else None

        def ask() -> Body | str:
            with asker.subjects.opened(ref, query.text("platform")) as looked:
                etag = known(looked.etag, request.raw_path) if known and looked.etag else ""
                if etag and answers.has_it(request, etag):
                    return etag
                with looked.lock:
                    document = question(asker.subjects, looked, ref, query)
            return answers.body(words.as_json(document), answers.JSON, etag)

        found = await asker.asked(ask)
        return answers.not_modified(found) if isinstance(found, str) else answers.sent(request, found)

    return handler


def _of_store(asker: Asker, question: OfStore) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        query = query_of(request)

        def ask() -> Body:
            try:
                document = question(asker.subjects, request, query)
            except NotFound:  # perhaps an image that went while it was listed; what is not here is not here again
                document = question(asker.subjects, request, query)
            data = document if isinstance(document, bytes) else words.as_json(document)
            return answers.body(data, answers.JSON)

        return answers.sent(request, await asker.asked(ask))

    return handler


def _diff(asker: Asker) -> answers.Handled:
    async def handler(request: web.Request) -> web.StreamResponse:
        query = query_of(request)
        names = (query.text("a"), query.text("b"))

        def ask() -> Body:
            with comparing.both(asker.subjects, names) as (first, second):
                document = comparing.diff(first, second, names, query)
            return answers.body(words.as_json(document), answers.JSON)

        return answers.sent(request, await asker.asked(ask))

    return handler
