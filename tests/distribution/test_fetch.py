"""One URL into one file: what the server says is kept, what it does wrong is said, and nothing half-done stays."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.distribution.conftest import FakeClock
from tests.support.web import Answer, Asked, Web, serving
from veneer.config import Config
from veneer.distribution.fetch import (
    BadURL,
    FetchDenied,
    Fetched,
    FetchFailed,
    FetchUnauthorized,
    FileNotThere,
    FileTooLarge,
    WrongChecksum,
    fetch,
    redacted,
)  # fmt: skip
from veneer.distribution.hosts import origin_of
from veneer.distribution.proxies import BadProxy, proxy_for
from veneer.distribution.transport import BadRedirect, ConnectionFailed, Unreachable
from veneer.oci.digest import Digest
from veneer.progress import Cancelled, Report


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


class Fetching:
    """Calls fetch with what tests do not care about."""

    def __init__(self, config: Config, clock: FakeClock, path: Path) -> None:
        self.config = config
        self.clock = clock
        self.path = path

    def __call__(self, url: str, **more: Any) -> Fetched:
        self.path.unlink(missing_ok=True)
        options: dict[str, Any] = {"config": self.config, "clock": self.clock, "environment": {}}
        return fetch(url, self.path, **(options | more))


@pytest.fixture
def fetching(config: Config, clock: FakeClock, tmp_path: Path) -> Fetching:
    return Fetching(config, clock, tmp_path / "file")


def test_a_file_comes_with_what_the_server_says_of_it(web: Web, fetching: Fetching) -> None:
    body = os.urandom(1 << 20)
    headers = {"ETag": '"v1"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "Content-Disposition": "attachment"}
    web.pages["/f"] = Answer(body, headers=headers)
    told: list[Report] = []
    came = fetching(f"{web.url}/f", progress=told.append)
    digest = Digest.sha256(hashlib.sha256(body).hexdigest())
    assert came == Fetched(digest, len(body), '"v1"', headers["Last-Modified"], "attachment")
    assert fetching.path.read_bytes() == body
    assert stat.S_IMODE(fetching.path.stat().st_mode) == 0o600
    assert told[-1] == Report(f"{web.url}/f", "Downloading", len(body), len(body))


def test_an_unchanged_file_is_not_sent_again(web: Web, fetching: Fetching) -> None:
    def page(asked: Asked) -> Answer:
        known = asked.headers.get("If-None-Match") == '"v1"'
        return Answer(status=304) if known else Answer(b"x", headers={"ETag": '"v1"'})

    web.pages["/f"] = page
    assert fetching(f"{web.url}/f", known_etag='"v1"').unchanged
    assert not fetching.path.exists()
    assert fetching(f"{web.url}/f", known_etag='"v0"').size == 1


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_checksum_is_held_against_what_comes(web: Web, fetching: Fetching, algorithm: str) -> None:
    web.pages["/f"] = Answer(b"content")
    right = Digest.of(b"content", algorithm)
    assert fetching(f"{web.url}/f", checksum=right).size == 7
    wrong = Digest.of(b"other", algorithm)
    with pytest.raises(WrongChecksum, match=f"digest mismatch for .*/f: {right} .expected: {wrong}."):
        fetching(f"{web.url}/f?token=secret", checksum=wrong)
    assert not fetching.path.exists()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (404, FileNotThere, "with status 404 Not Found$"),
        (410, FileNotThere, "with status 410 Gone"),
        (401, FetchUnauthorized, "with status 401"),
        (403, FetchDenied, "with status 403"),
        (400, FetchFailed, "with status 400"),
        (304, FetchFailed, "with status 304"),
    ],
)
def test_a_refusal_is_told_by_its_status_alone_in_one_line(
    web: Web, fetching: Fetching, clock: FakeClock, status: int, kind: type[Exception], words: str
) -> None:
    web.pages["/f"] = Answer(b"<html>\n<h1>no\x1b[31m</h1>" if status != 304 else b"", status)
    with pytest.raises(kind, match="failed to GET http://127.0.0.1:.*/f " + words) as refused:
        fetching(f"{web.url}/f")
    assert not set("\x1b\n<") & set(str(refused.value))
    assert clock.waits == []
    assert not fetching.path.exists()


def test_what_may_be_over_soon_is_tried_again(web: Web, fetching: Fetching, clock: FakeClock) -> None:
    answers = [Answer(status=503, headers={"Retry-After": "3"}), Answer(b"cut", length=10), Answer(b"whole")]
    web.pages["/f"] = lambda asked: answers.pop(0)
    assert fetching(f"{web.url}/f").size == 5
    assert fetching.path.read_bytes() == b"whole"
    assert len(clock.waits) == 2
    assert clock.waits[0] == 3.0


def test_a_server_that_stays_broken_is_given_up(web: Web, fetching: Fetching, clock: FakeClock) -> None:
    web.pages["/f"] = Answer(b"sorry", 502)
    with pytest.raises(FetchFailed, match=r"status 502 Bad Gateway$"):
        fetching(f"{web.url}/f")
    assert len(web.asked) == 4
    web.pages["/f"] = Answer(b"cut", length=10)
    with pytest.raises(ConnectionFailed, match="7 bytes early"):
        fetching(f"{web.url}/f")
    assert not fetching.path.exists()


def test_a_length_that_lies_cannot_make_a_file_longer(web: Web, fetching: Fetching) -> None:
    web.pages["/f"] = Answer(b"content and more", length=7)
    fetching(f"{web.url}/f")
    assert fetching.path.read_bytes() == b"content"


def test_bodies_without_end_are_left(web: Web, fetching: Fetching) -> None:
    web.pages["/f"] = Answer(b"x" * 65536, endless=True)
    with pytest.raises(FileTooLarge, match="more than 1000000 bytes"):
        fetching(f"{web.url}/f", limit=1_000_000)
    assert not fetching.path.exists()
    web.pages["/f"] = Answer(b"", length=1 << 50)
    with pytest.raises(FileTooLarge, match=f"{1 << 50} bytes"):
        fetching(f"{web.url}/f")


def test_redirects_are_followed_but_not_for_ever(web: Web, fetching: Fetching) -> None:
    web.pages["/a"] = Answer(status=302, headers={"Location": "/b"})
    web.pages["/b"] = Answer(status=301, headers={"Location": f"{web.url}/f"})
    web.pages["/f"] = Answer(b"here")
    assert fetching(f"{web.url}/a").size == 4
    web.pages["/f"] = Answer(status=307, headers={"Location": "/a"})
    with pytest.raises(BadRedirect, match="more than 5 redirects"):
        fetching(f"{web.url}/a")
    for target in ("file:///etc/passwd", "gopher://127.0.0.1/", "http://a b/"):
        web.pages["/f"] = Answer(status=302, headers={"Location": target})
        with pytest.raises(BadRedirect, match="no http or https URL"):
            fetching(f"{web.url}/f")


def test_a_password_goes_to_its_own_server_only(web: Web, fetching: Fetching) -> None:
    with serving() as other:
        other.pages["/f"] = Answer(b"x")
        web.pages["/f"] = Answer(status=302, headers={"Location": f"{other.url}/f"})
        fetching(f"{web.url}/f", authorization="Bearer secret")
        assert web.asked[0].headers["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.asked[0].headers


def test_stopping_leaves_nothing(web: Web, fetching: Fetching) -> None:
    web.pages["/f"] = Answer(b"x" * 65536, endless=True)

    def stop(report: Report) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        fetching(f"{web.url}/f", progress=stop)
    assert not fetching.path.exists()


def test_urls_are_read_as_people_write_them(web: Web, fetching: Fetching) -> None:
    web.pages["/a%20b/%C3%A9"] = Answer(b"x")
    assert fetching(f"{web.url}/a b/é#part").size == 1
    for wrong in ("ftp://h.test/x", "http://", "http:///x", "http://h.test/\r\nX: y", "x", "http://h.test:99999/"):
        with pytest.raises(BadURL):
            fetching(wrong)
    assert redacted("https://ada:lovelace@h.test/x?sig=1") == "https://ada:xxxxx@h.test/x"


def test_nobody_there_is_said_at_once(fetching: Fetching, clock: FakeClock, web: Web) -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match="connection refused"):
        fetching(f"{url}/f")
    assert clock.waits == []


def test_a_proxy_is_told_the_whole_url_and_its_own_password(web: Web, fetching: Fetching) -> None:
    web.pages["/f"] = Answer(b"by proxy")
    environment = {"http_proxy": f"http://ada:love%2Flace@127.0.0.1:{web.port}"}
    assert fetching("http://files.test/f?q=1", environment=environment).size == 8
    assert web.asked[0].path == "http://files.test/f?q=1"
    assert web.asked[0].headers["proxy-authorization"] == "Basic YWRhOmxvdmUvbGFjZQ=="


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("http://a.test/", {}, ""),
        ("http://a.test/", {"http_proxy": "p:1"}, "http://p:1"),
        ("http://a.test/", {"HTTP_PROXY": "http://big", "http_proxy": "http://small"}, "http://big"),
        ("http://a.test/", {"https_proxy": "http://p"}, ""),
        ("https://a.test/", {"https_proxy": "https://p"}, "https://p"),
        ("http://127.0.0.1/", {"http_proxy": "http://p"}, ""),
        ("http://localhost/", {"http_proxy": "http://p"}, ""),
        ("http://a.test/", {"http_proxy": "http://p", "no_proxy": "a.test"}, ""),
        ("http://x.a.test/", {"http_proxy": "http://p", "no_proxy": "b.test, A.test"}, ""),
        ("http://xa.test/", {"http_proxy": "http://p", "no_proxy": "a.test"}, "http://p"),
        ("http://a.test/", {"http_proxy": "http://p", "no_proxy": ".a.test"}, "http://p"),
        ("http://x.a.test/", {"http_proxy": "http://p", "no_proxy": "*.a.test"}, ""),
        ("http://a.test:81/", {"http_proxy": "http://p", "no_proxy": "a.test:80"}, "http://p"),
        ("http://a.test:81/", {"http_proxy": "http://p", "NO_PROXY": "a.test:81"}, ""),
        ("http://10.1.2.3/", {"http_proxy": "http://p", "no_proxy": "10.0.0.0/8"}, ""),
        ("http://[fd00::1]/", {"http_proxy": "http://p", "no_proxy": "fd00::/8"}, ""),
        ("http://a.test/", {"http_proxy": "http://p", "no_proxy": "*"}, ""),
    ],
)
def test_proxies_are_chosen_as_go_chooses_them(url: str, environment: dict[str, str], proxy: str) -> None:
    assert proxy_for(origin_of(url), environment) == proxy


def test_a_proxy_of_another_kind_is_refused() -> None:
    with pytest.raises(BadProxy, match="socks5 proxies are not supported"):
        proxy_for(origin_of("http://a.test/"), {"http_proxy": "socks5://p"})
