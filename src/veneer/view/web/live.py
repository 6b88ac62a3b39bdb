"""What happens to images, told to browsers as it happens (server-sent events).

One thread reads the store's events while anybody listens, and none otherwise.  Who is slow misses the oldest.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time

from aiohttp import web

from veneer.errors import Unavailable, VeneerError
from veneer.view.web.api import PREFIX
from veneer.view.web.words import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from veneer.engine.engine import Engine
    from veneer.store.events import Event

MOST_LISTENERS = 32
MOST_UNREAD = 256
HEARTBEAT = 15.0
"""Seconds between two signs of life, by which a connection that has gone is found out."""
_WHAT = {"pull": "created", "load": "created", "import": "created", "build": "created", "commit": "created",
         "tag": "tagged", "untag": "untagged", "delete": "removed", "prune": "removed"}  # fmt: skip
_log = logging.getLogger(__name__)


class TooManyListeners(Unavailable):
    """More pages want to be told of changes than one server tells."""


class _Over(Exception):
    """Nobody listens any more."""


def told(event: Event) -> str:
    """An event of the store as browsers get it."""
    actor = event["Actor"]
    document = {
        "what": _WHAT.get(event["Action"], "changed"), "id": actor["ID"],
        "ref": actor["Attributes"].get("name", actor["ID"]), "time": moment(event["timeNano"] / 1e9),
    }  # fmt: skip
    return f"event: image\ndata: {json.dumps(document)}\n\n"


class Live:
    """The listeners of one server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._listeners: set[asyncio.Queue[str | None]] = set()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self._closed = False

    def routes(self) -> list[web.RouteDef]:
        return [web.get(f"{PREFIX}/events", self.handler)]

    async def handler(self, request: web.Request) -> web.StreamResponse:
        """Tell of images until the page goes or the server ends.  Raises TooManyListeners."""
        if len(self._listeners) >= MOST_LISTENERS or self._closed:
            raise TooManyListeners(f"{MOST_LISTENERS} pages listen already", hint="close some")
        response = web.StreamResponse(headers={
            "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-store",
        })  # fmt: skip
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        queue: asyncio.Queue[str | None] = asyncio.Queue(MOST_UNREAD)
        self._join(queue)  # first: who sees the answer begin is told of all that happens from then on
        try:
            await response.prepare(request)
            await response.write(b"retry: 3000\n: listening\n\n")
            while True:
                try:
                    text = await asyncio.wait_for(queue.get(), HEARTBEAT)
                except TimeoutError:
                    text = ": alive\n\n"
                if text is None:
                    break
                await response.write(text.encode())
        except ConnectionError:
            pass  # the page has gone
        finally:
            self._listeners.discard(queue)
        return response

    def _join(self, queue: asyncio.Queue[str | None]) -> None:
        with self._guard:
            self._listeners.add(queue)
            if self._thread is None:
                loop = asyncio.get_running_loop()
                self._thread = threading.Thread(target=self._follow, args=(loop, time.time()), name="events")
                self._thread.start()

    def _follow(self, loop: asyncio.AbstractEventLoop, since: float) -> None:
        from veneer.store import events

        try:
            for event in events.read(self._engine.config.root_name, since=since, follow=True,
                                     wanted=lambda event: event["Type"] == "image", check=self._check):  # fmt: skip
                loop.call_soon_threadsafe(self._tell, told(event))
        except _Over:
            pass
        except (OSError, VeneerError) as error:
            _log.warning("events: %s", error)
            with self._guard:
                self._thread = None
            loop.call_soon_threadsafe(self._send_away)  # they come again, and are told by another thread

    def _check(self) -> None:
        """Raises _Over where nobody listens; whoever comes next starts another thread."""
        with self._guard:
            if self._closed or not self._listeners:
                self._thread = None
                raise _Over

    def _tell(self, text: str) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    def _send_away(self) -> None:
        for queue in list(self._listeners):
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def close(self) -> None:
        """Send all listeners away, and end the thread."""
        with self._guard:
            self._closed = True
            thread = self._thread
        self._send_away()
        if thread is not None:
            await asyncio.to_thread(thread.join)
