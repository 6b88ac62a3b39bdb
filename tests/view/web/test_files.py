"""Files out of images."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import io
import socket
import time

import pytest

from tests.support.finished import loaded
from tests.support.served import Client, served
from tests.view.web.conftest import APP_REF
from veneer.engine.engine import Engine
from veneer.engine.looking import contents
from veneer.testing.images import file, symlink
from veneer.view.web import files, guard
from veneer.view.web.files import BadRange, disposition, span

FILE = f"/api/v1/images/{APP_REF}/file"


def test_a_text_is_shown_and_never_run(site: Client) -> None:
    got = site.send(f"{FILE}?path=/app/read.me")
    assert (got.status, got.text) == (200, "grüße\n")
    assert got.headers["content-type"] == "text/plain; charset=utf-8"
    assert got.headers["x-content-type-options"] == "nosniff" and "sandbox" in got.headers["content-security-policy"]
    kept = site.send(f"{FILE}?path=/app/read.me&download=1")
    assert kept.headers["content-type"] == "application/octet-stream"
    assert kept.headers["content-disposition"].startswith('attachment; filename="read.me"')
    assert site.send(f"{FILE}?path=/app/data.bin").headers["content-type"] == "application/octet-stream"
    assert site.send(f"{FILE}?path=/app/data.bin", "HEAD").headers["content-length"] == "10"


def test_a_file_is_that_of_its_depth(site: Client) -> None:
    assert site.send(f"{FILE}?path=/app/gone.txt&at=2").body == b"hi\n" * 100
    assert site.send(f"{FILE}?path=/app/gone.txt").status == 404
    assert site.send(f"{FILE}?path=/app/gone.txt&at=1").status == 404
    assert site.send(f"{FILE}?path=/app/gone.txt&at=9").status == 400
    assert site.send(f"{FILE}?path=/usr/lib/b").body == b"x" * 50_000


def test_parts_of_a_file_are_given(site: Client) -> None:
    def part(asked: str, **headers: str) -> tuple[int, bytes, str]:
        got = site.send(f"{FILE}?path=/app/gone.txt&at=2", headers={"Range": asked, **headers})
        return got.status, got.body, got.headers.get("content-range", "")

    assert part("bytes=0-2") == (206, b"hi\n", "bytes 0-2/300")
    assert part("bytes=297-") == (206, b"hi\n", "bytes 297-299/300")
    assert part("bytes=-1") == (206, b"\n", "bytes 299-299/300")
    assert part("bytes=290-9999")[0] == 206
    assert part("bytes=300-")[0] == 416
    assert part("bytes=0-1,2-3")[0] == 200 and part("lines=1")[0] == 200
    tag = site.send(f"{FILE}?path=/app/gone.txt&at=2").headers["etag"]
    assert part("bytes=0-2", **{"If-Range": '"old"'})[0] == 200 and part("bytes=0-2", **{"If-Range": tag})[0] == 206
    assert site.send(f"{FILE}?path=/app/gone.txt&at=2", headers={"If-None-Match": tag}).status == 304


@pytest.mark.parametrize("header, size, found", [
    ("bytes=0-0", 5, (0, 1)), ("bytes=-9", 5, (0, 5)), ("bytes=4-4", 5, (4, 5)), ("bytes=a-b", 5, None),
    ("", 5, None), (None, 5, None), ("bytes=" + "9" * 30 + "-", 5, None), ("bytes = 1 - 2", 5, (1, 3)),
])  # fmt: skip
def test_ranges_are_read(header: str | None, size: int, found: tuple[int, int] | None) -> None:
    assert span(header, size) == found


@pytest.mark.parametrize("header", ["bytes=5-", "bytes=3-2", "bytes=-0"])
def test_ranges_that_are_not_there_are_refused(header: str) -> None:
    with pytest.raises(BadRange):
        span(header, 5)


def test_links_lead_nowhere_outside_the_image(site: Client) -> None:
    got = site.send(f"{FILE}?path=/app/link")
    assert got.status == 400 and "symlink" in got.json["error"]
    for path in ("/app/link/../../../../etc/passwd", "../../../../etc/passwd", "/app", "/proc/self/environ"):
        assert site.send(f"{FILE}?path={path}").status in (400, 404)


def test_a_layer_whose_directory_is_a_link_above_is_read_as_it_is(engine: Engine) -> None:
    loaded(engine, "app:1", {"d/f": b"below"}, {"d": symlink("/etc")}, {"etc/f": b"above"})
    with served(engine) as client:
        assert client.send("/api/v1/images/app:1/file?path=/d/f&at=1").body == b"below"
        assert client.send("/api/v1/images/app:1/file?path=/d/f").status == 404
        assert client.send("/api/v1/images/app:1/file?path=/etc/f").body == b"above"


def test_a_large_file_comes_whole(engine: Engine) -> None:
    content = hashlib.sha256(b"seed").digest() * 40_000
    loaded(engine, "big:1", {"big": file(content)})
    with served(engine) as client:
        got = client.send("/api/v1/images/big:1/file?path=/big")
        assert got.body == content
        assert client.send("/api/v1/images/big:1/file?path=/big", headers={"Range": "bytes=1000000-"}).body == (
            content[1_000_000:])  # fmt: skip


def test_a_file_that_somebody_changed_is_not_passed_off_as_the_layers(engine: Engine) -> None:
    image = loaded(engine, "app:1", {"f": b"good"})
    assert image.top is not None
    layers = engine.store.layers
    (layers.directory(layers.get(image.top)) / "f").write_bytes(b"evil")
    with served(engine) as client:
        got = client.send("/api/v1/images/app:1/file?path=/f")
        assert got.body == b"good" or got.status == 500


def test_names_in_headers_are_harmless() -> None:
    assert disposition(b'a"\r\nX: y\xff', attached=True) == (
        "attachment; filename=\"a___X_ y_\"; filename*=UTF-8''a%22%0D%0AX%3A%20y%FF")  # fmt: skip


class Lazy(io.BytesIO):
    """A file whose pieces come slowly by the server's clock, and the third of them not at all where it is `broken`."""

    broken = False
    seconds = 0.0
    """How long they have taken, all of them."""

    def read(self, size: int | None = -1, /) -> bytes:
        type(self).seconds += 25.0
        if self.broken and self.tell() >= 20_000:
            raise OSError(errno.EIO, "Input/output error")
        return super().read(size)


@pytest.fixture
def lazy(monkeypatch: pytest.MonkeyPatch) -> type[Lazy]:
    """Answers may take a minute; what is in a file comes in five pieces, and takes two.  No second of it passes."""
    kind: type[Lazy] = type("Lazy", (Lazy,), {})
    monkeypatch.setattr(contents, "content", lambda *_: kind(b"x" * 50_000))
    monkeypatch.setattr(files, "PIECE", 10_000)
    monkeypatch.setattr(guard, "SECONDS", 60.0)
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda _: time.monotonic() + kind.seconds)
    return kind


def test_a_file_may_take_longer_than_an_answer_as_long_as_it_is_taken(site: Client, lazy: type[Lazy]) -> None:
    assert site.send(f"{FILE}?path=/usr/lib/a").body == b"x" * 50_000
    assert lazy.seconds > 2 * guard.SECONDS


def test_a_file_that_cannot_be_read_further_is_cut_off_and_no_error_stands_in_it(
    site: Client, lazy: type[Lazy]
) -> None:
    lazy.broken = True
    with socket.create_connection(("127.0.0.1", site.port), 60) as connection:
        connection.sendall(f"GET {FILE}?path=/usr/lib/a HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    assert b" 200 " in head and b"Content-Length: 50000" in head
    assert len(body) <= 20_000 and not body.strip(b"x")
