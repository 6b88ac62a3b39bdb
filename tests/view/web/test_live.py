"""Pages are told what happens to images, as it happens."""

from __future__ import annotations

import errno
import http.client
import json
from typing import Any

import pytest

from tests.support.finished import loaded
from tests.support.served import Client, served
from tests.view.web.conftest import BASE
from veneer.engine.engine import Engine
from veneer.store import events
from veneer.view.web import live


class Listener:
    """A page that listens."""

    def __init__(self, client: Client) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
        self._connection.request("GET", "/api/v1/events")
        self.answer = self._connection.getresponse()

    def next(self) -> dict[str, Any] | None:
        """What is told next; None at the end."""
        while line := self.answer.readline():
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))  # type: ignore[no-any-return]
        return None

    def close(self) -> None:
        self._connection.close()


def test_changes_are_told_to_all_who_listen_until_the_server_ends(engine: Engine) -> None:
    with served(engine) as client:
        listeners = [Listener(client), Listener(client)]
        assert listeners[0].answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        for listener in listeners:
            assert listener.answer.readline() == b"retry: 3000\n"
        image = loaded(engine, "app:1", BASE)
        engine.images.tag("app:1", "app:2")
        told = [[listener.next() for _ in range(2)] for listener in listeners]
        for first, second in told:
            assert first and first["what"] == "created" and first["time"]
            assert second and (second["what"], second["id"], second["ref"]) == ("tagged", image.id, "app:2")
        listeners[1].close()
        engine.images.remove("app:2")
        event = listeners[0].next()
        assert event and (event["what"], event["id"]) == ("untagged", image.id)
    assert listeners[0].next() is None
    listeners[0].close()


def test_only_so_many_are_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_LISTENERS", 1)
    with served(engine) as client:
        listener = Listener(client)
        assert listener.answer.readline() == b"retry: 3000\n"
        assert client.ask("/events", 503)["hint"] == "close some"
        assert client.send("/api/v1/images").status == 200
    listener.close()


def test_who_cannot_be_told_any_more_is_sent_away_and_told_when_he_comes_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> object:
        raise OSError(errno.EIO, "Input/output error")

    with served(engine) as client:
        with monkeypatch.context() as patch:
            patch.setattr(events, "read", broken)
            listener = Listener(client)
            assert listener.next() is None
            listener.close()
        listener = Listener(client)
        assert listener.answer.readline() == b"retry: 3000\n"
        image = loaded(engine, "app:1", BASE)
        event = listener.next()
        assert event and (event["what"], event["id"]) == ("created", image.id)
    listener.close()
