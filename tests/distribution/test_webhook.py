"""Webhooks: where they may not go, whatever the name says; what they carry; how often they are tried."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.distribution.test_registry_client import certified
from tests.support.web import Answer, Asked, Web, serving
from veneer.distribution.retry import Clock, Policy
from veneer.distribution.transport import TLSRefused
from veneer.distribution.webhook import (
    SIGNATURE,
    TIMESTAMP,
    BadWebhook,
    UnsafeTarget,
    Webhook,
    WebhookFailed,
    checked,
    post,
)
from veneer.testing.registry import Registry

BODY = json.dumps({"text": "moved"}).encode()


class Quick(Clock):
    """A clock that notes waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def time(self) -> float:
        return 1_700_000_000.0

    def wait(self, seconds: float, stop: threading.Event) -> None:
        self.waits.append(seconds)


def names(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    return lambda host, port: addresses


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "239.1.1.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "2001:0:1:2:3:4:5:6",
    "fec0::1", "::127.0.0.1", "::7f00:1", "64:ff9b:1::7f00:1", "5f00::1", "100::1",
])  # fmt: skip
def test_nothing_is_sent_into_this_network(address: str) -> None:
    with pytest.raises(UnsafeTarget, match="no address of the open network"):
        post(Webhook("https://hooks.test/x"), BODY, {}, clock=Quick(), resolver=names(address))


def test_one_address_that_is_inside_is_enough() -> None:
    with pytest.raises(UnsafeTarget):
        post(Webhook("https://hooks.test/"), BODY, {}, clock=Quick(), resolver=names("8.8.8.8", "127.0.0.1"))


@pytest.mark.parametrize("url", [
    "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://localhost/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://127.0.0.1:8080/",
])  # fmt: skip
def test_other_spellings_of_loopback_are_loopback(url: str) -> None:
    with pytest.raises((UnsafeTarget, WebhookFailed)) as caught:
        post(Webhook(url), BODY, {}, clock=Quick())
    assert isinstance(caught.value, UnsafeTarget) or "no such host" in caught.value.message


@pytest.mark.parametrize(
    "url", ["ftp://h/", "file:///etc/passwd", "h", "http://", "http://a b/", "http://h/\n", "", "http://ü/"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadWebhook):
        checked(url)
    with pytest.raises(BadWebhook, match="with a user in it"):
        checked("https://user:secret@hooks.test/")


def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with serving() as web:
        web.pages["/hook"] = Answer(b"", 204)
        hook = Webhook(f"http://hooks.test:{web.port}/hook?token=1", private=True)
        assert post(hook, BODY, {"X-Veneer-Event": "changed"}, clock=Quick(), resolver=rebinding) == 204
        [request] = web.asked
    assert asked == ["hooks.test"], "asked once, and never again by the library"
    assert (request.method, request.path, request.body) == ("POST", "/hook?token=1", BODY)
    assert request.headers["Host"] == f"hooks.test:{web.port}" and request.headers["X-Veneer-Event"] == "changed"
    assert request.headers["Content-Type"] == "application/json" and SIGNATURE not in request.headers


def test_messages_are_signed() -> None:
    with serving() as web:
        web.pages["/"] = Answer()
        post(Webhook(web.url, b"sesame", private=True), BODY, {}, clock=Quick())
        headers = web.asked[0].headers
    assert headers[TIMESTAMP] == "1700000000"
    wanted = hmac.new(b"sesame", b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={wanted}"


def answers(web: Web, *statuses: int, **headers: str) -> None:
    left = list(statuses)

    def answer(asked: Asked) -> Answer:
        return Answer(
            b"",
            left.pop(0) if len(left) > 1 else left[0],
            {key.replace("_", "-"): value for key, value in headers.items()},
        )

    web.pages["/"] = answer


def test_what_may_be_over_soon_is_tried_again() -> None:
    clock = Quick()
    with serving() as web:
        answers(web, 503, 500, 201)
        assert post(Webhook(web.url, private=True), BODY, {}, clock=clock) == 201
        assert len(web.asked) == 3 and len({request.body for request in web.asked}) == 1
    assert len(clock.waits) == 2 and clock.waits[0] <= 1.0 <= 2 * clock.waits[1]


def test_tries_have_an_end_and_a_server_may_say_when() -> None:
    clock = Quick()
    with serving() as web:
        answers(web, 429, Retry_After="7")
        with pytest.raises(WebhookFailed, match="answers 429"):
            post(Webhook(web.url, private=True), BODY, {}, clock=clock)
        assert len(web.asked) == 5
    assert clock.waits == [7.0] * 4


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "answers 400"),
        (404, "answers 404"),
        (410, "answers 410"),
        (302, "redirects are not followed"),
        (307, "redirects are not followed"),
    ],
)
def test_a_refusal_is_final_and_a_redirect_leads_nowhere(status: int, said: str) -> None:
    clock = Quick()
    with serving() as inside, serving() as web:
        answers(web, status, Location=f"{inside.url}/secret")
        with pytest.raises(WebhookFailed, match=said) as caught:
            post(Webhook(f"{web.url}/?token=hush", private=True), BODY, {}, clock=clock)
        assert len(web.asked) == 1 and not inside.asked and not clock.waits
        assert "hush" not in caught.value.message


def test_a_host_that_is_not_there_is_tried_again() -> None:
    clock = Quick()
    with serving() as web:
        gone = web.url
    with pytest.raises(WebhookFailed, match="cannot connect"):
        post(Webhook(gone, private=True), BODY, {}, clock=clock, policy=Policy(tries=2))
    assert len(clock.waits) == 1

    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(WebhookFailed, match="no such host"):
        post(Webhook("https://nowhere.test/"), BODY, {}, clock=clock, resolver=unknown, policy=Policy(tries=2))


def test_the_certificate_must_be_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cert = certified(tmp_path / "certificate", "DNS:hooks.test")
    with Registry(tls=cert) as server:
        hook = Webhook(f"https://hooks.test:{server.port}/", private=True)
        with pytest.raises(TLSRefused, match="certificate refused"):
            post(hook, BODY, {}, clock=Quick(), resolver=names("127.0.0.1"))
        monkeypatch.setenv("SSL_CERT_FILE", str(cert[0]))
        with pytest.raises(WebhookFailed, match="answers 404"):  # it was asked: a registry has no hooks
            post(hook, BODY, {}, clock=Quick(), resolver=names("127.0.0.1"))
        other = Webhook(f"https://other.test:{server.port}/", private=True)
        with pytest.raises(TLSRefused, match="certificate refused"):
            post(other, BODY, {}, clock=Quick(), resolver=names("127.0.0.1"))
