"""A server of veneer's pages in this process, on loopback, and a client that sends exactly what a test says."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from veneer.engine.engine import Engine
from veneer.engine.looking.subject import Subject
from veneer.view.web import serving
from veneer.view.web.application import application
from veneer.view.web.subjects import NOBODY

BOUND = "127.0.0.1"


@dataclass(frozen=True)
class Got:
    """An answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Requests to one server, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    @property
    def url(self) -> str:
        return f"http://{BOUND}:{self.port}"

    def send(
        self, target: str, method: str = "GET", *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Got:
        """`target` goes out as it is."""
        connection = http.client.HTTPConnection(BOUND, self.port, timeout=60)
        try:
            connection.putrequest(method, target, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
            return Got(answer.status, {name.lower(): value for name, value in answer.getheaders()}, data)
        finally:
            connection.close()

    def ask(self, target: str, status: int = 200, **arguments: Any) -> Any:
        """What the API answers there, decoded."""
        got = self.send(f"/api/v1{target}", **arguments)
        assert got.status == status, f"{target}: {got.status} {got.text[:500]}"
        assert got.headers["content-type"] == "application/json; charset=utf-8"
        return got.json

    def page(self, target: str, status: int = 200) -> str:
        got = self.send(target)
        assert got.status == status, f"{target}: {got.status} {got.text[:500]}"
        assert got.headers["content-type"] == "text/html; charset=utf-8"
        return got.text


def unpacked(got: Got) -> bytes:
    assert got.headers["content-encoding"] == "gzip"
    return gzip.decompress(got.body)


@contextlib.contextmanager
def served(
    engine: Engine, *, allowed: Collection[str] = (), host: str = BOUND, guests: Mapping[str, Subject] = NOBODY
) -> Iterator[Client]:
    """A running server of the engine's images; all of it has ended when the block ends."""
    listening = serving.bound(BOUND, 0)
    up = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def main() -> None:
        async with serving.running(listening, application(engine, host, allowed, guests)):
            up.set()
            await over.wait()

    def run() -> None:
        try:
            loop.run_until_complete(main())
        finally:
            up.set()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    thread = threading.Thread(target=run, name="served")
    thread.start()
    try:
        assert up.wait(120)
        yield Client(listening.getsockname()[1])
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(over.set)
        thread.join(120)
        listening.close()
        assert not thread.is_alive(), "the server did not end"
