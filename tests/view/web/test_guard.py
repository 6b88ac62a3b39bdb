"""What the server refuses, and what every answer carries."""

from __future__ import annotations

import http.client
import socket

import pytest

from tests.support.served import Client, served
from tests.view.web.conftest import APP_REF
from veneer.engine.engine import Engine
from veneer.view.web.guard import ForeignHost, Hosts, NoHost, host_of, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:99", "[::1]:80", "127.0.0.1:1", "127.9.9.9",
                                  "localhost."])  # fmt: skip
def test_this_machines_own_names_are_answered(site: Client, host: str) -> None:
    assert site.send("/api/v1/images", headers={"Host": host}).status == 200


@pytest.mark.parametrize("host, status", [
    ("evil.com", 403), ("evil.com:8363", 403), ("localhost.evil.com", 403), ("127.0.0.1.nip.io", 403),
    ("192.168.0.1", 403), ("0.0.0.0", 403), ("", 400), ("a b", 400), ("[::1", 400), ("evil@localhost", 400),
    ("localhost:x", 400), ("localhost/..", 400), ("lоcalhost".encode().decode("latin-1"), 400), ("[localhost]", 400),
])  # fmt: skip
@pytest.mark.parametrize("target", ["/", "/api/v1/images", "/static/app.js", "/badges/size/os:1.svg"])
def test_a_name_that_is_not_ours_is_not_answered(site: Client, host: str, status: int, target: str) -> None:
    got = site.send(target, headers={"Host": host})
    assert got.status == status
    assert b"os:1" not in got.body


def test_names_and_addresses_can_be_allowed() -> None:
    Hosts("127.0.0.1", ["veneer.lan"]).check("VENEER.lan:80")
    Hosts("0.0.0.0").check("192.168.0.7:8363")
    Hosts("myhost").check("myhost")
    for header in ("evil.com", "192.168.0.7.evil.com"):
        with pytest.raises(ForeignHost):
            Hosts("0.0.0.0").check(header)
    with pytest.raises(NoHost):
        Hosts("127.0.0.1").check(None)
    assert is_loopback("127.1.2.3") and is_loopback("::1") and not is_loopback("0.0.0.0") and not is_loopback("a.b")
    assert host_of("[fe80::1]:1") == "fe80::1" and host_of("a:1:2") == ""


def test_a_server_for_others_answers_to_its_addresses(engine: Engine) -> None:
    with served(engine, host="0.0.0.0", allowed=["veneer.lan"]) as client:
        for host, status in (("veneer.lan", 200), ("10.0.0.1", 200), ("evil.com", 403)):
            assert client.send("/api/v1/images", headers={"Host": host}).status == status


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"])
@pytest.mark.parametrize("target", ["/", "/api/v1/images", "/api/v1/images/os:1", "/images/os/token"])
def test_nothing_but_looking_is_answered(site: Client, method: str, target: str) -> None:
    got = site.send(target, method)
    assert got.status in (400, 405)
    if got.status == 405:
        assert "GET" in got.headers["allow"]


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.com"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "http://localhost:1"},
])  # fmt: skip
def test_pages_from_elsewhere_may_not_even_ask(site: Client, headers: dict[str, str]) -> None:
    assert site.send("/registry/analyze", "POST", headers=headers, body=b'{"repos": []}').status == 403
    own = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    assert site.send("/registry/analyze", "POST", headers=own, body=b'{"repos": []}').json == []


ELSEWHERE = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("target, headers, status", [
    ("/api/v1/images", ELSEWHERE, 403), ("/api/v1/images/os:1", ELSEWHERE | {"Sec-Fetch-Site": "same-site"}, 403),
    ("/static/app.js", ELSEWHERE | {"Sec-Fetch-Dest": "script"}, 403), ("/api/v1/events", ELSEWHERE, 403),
    ("/i/os:1", LINK | {"Sec-Fetch-Dest": "iframe"}, 403), ("/i/os:1", LINK, 200), ("/?images=os:1", LINK, 302),
    ("/badges/size/os:1.svg", ELSEWHERE, 200), ("/api/v1/badges/size/os:1.json", ELSEWHERE, 200),
    ("/api/v1/images", {"Sec-Fetch-Site": "same-origin"}, 200), ("/api/v1/images", {"Sec-Fetch-Site": "none"}, 200),
])  # fmt: skip
def test_pages_from_elsewhere_lead_here_and_show_badges_and_that_is_all(
    site: Client, target: str, headers: dict[str, str], status: int
) -> None:
    assert site.send(target, headers=headers).status == status


def test_every_answer_says_what_browsers_are_to_heed(site: Client) -> None:
    for target in ("/", "/i/os:1", "/i/none", "/api/v1/images", "/api/v1/none", "/static/none", "/nowhere"):
        headers = site.send(target).headers
        assert "default-src 'self'" in headers["content-security-policy"], target
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("target", [
    "/static/../__init__.py", "/static/..%2f__init__.py", "/static/%2e%2e/answers.py", "/static//etc/passwd",
    "/static/....//app.js", "/static/app.js%00.css", "/static/SOURCES", "/static/", "//static/app.js",
    "/api/v1/images/..%2f..%2fetc%2fpasswd/file?path=/x", "/l/..%2f..%2fx", "/api/v1/layers/..%2fx/images",
    "/badges/size/..%2f..%2fetc%2fpasswd.svg",
])  # fmt: skip
def test_no_address_leads_out(site: Client, target: str) -> None:
    got = site.send(target)
    assert got.status in (400, 404), got.text[:200]
    assert b"root:" not in got.body and b"import" not in got.body


def test_addresses_are_only_so_long(site: Client) -> None:
    path = "/" + "%FF" * 4095
    assert site.send(f"/api/v1/images/os:1/tree?path={path}").status == 404
    assert site.send("/api/v1/images?q=" + "a" * 40_000).status == 400
    assert site.send("/api/v1/images", headers={"X": "a" * 10_000}).status == 400
    assert site.send("/registry/analyze", "POST", body=b"[" * 100_000).status == 413


@pytest.mark.parametrize("request_", [
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.com\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00",
    b"GET http://evil.com/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"CONNECT evil.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
])  # fmt: skip
def test_what_is_no_proper_request_harms_nothing(site: Client, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert not answer.startswith(b"HTTP/1.1 5") and b"Access-Control" not in answer
    assert site.send("/api/v1/images").status == 200


def test_requests_follow_each_other_on_one_connection(site: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    try:
        for target in ("/api/v1/images", "/api/v1/none", f"/api/v1/images/{APP_REF}", "/"):
            connection.request("GET", target)
            assert connection.getresponse().read()
    finally:
        connection.close()


def test_a_bug_is_an_answer_and_tells_no_secrets(site: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from veneer.view.web import trees

    def broken(*_: object) -> object:
        raise RuntimeError("the secret")

    monkeypatch.setattr(trees, "rollup", broken)
    got = site.send("/api/v1/images/os:1/rollup")
    assert got.status == 500 and got.json["error"] == "veneer failed: RuntimeError" and b"secret" not in got.body
