"""What to answer a registry that asks who is there."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veneer.distribution.auth import (
    AuthenticationRequired,
    BadTokenAnswer,
    BasicHeader,
    Challenge,
    Credentials,
    TokenCache,
    TokenRequest,
    UntrustedRealm,
    check_realm,
    next_request,
    parse_challenges,
    read_token,
    repository_scope,
)
from veneer.distribution.hosts import Origin

HUB = Origin("https", "registry-1.docker.io", 443)
ADA = Credentials("ada", "love:lace")


def bearer(realm: str = "https://auth.docker.io/token", **parameters: str) -> list[Challenge]:
    return [Challenge("bearer", {"realm": realm, "service": "registry.docker.io", **parameters})]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a/t",service="s",scope="repository:x:pull,push"',
         [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull,push"})]),
        ('BASIC realm="a \\"quoted\\" one"', [("basic", {"realm": 'a "quoted" one'})]),
        ("Bearer realm=https://a , service = s", [("bearer", {"realm": "https://a", "service": "s"})]),
        ('Negotiate, Basic realm="r", Bearer realm="https://b"',
         [("negotiate", {}), ("basic", {"realm": "r"}), ("bearer", {"realm": "https://b"})]),
        ("", []),
        ("===,,,", []),
        ('Bearer realm="never closed', [("bearer", {"realm": "never closed"})]),
    ],
)  # fmt: skip
def test_a_challenge_is_read_as_the_rfc_has_it(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    found = [(one.scheme, one.parameters) for one in parse_challenges(header)]
    assert [
        (scheme, parameters) for scheme, parameters in found if scheme in ("basic", "bearer", "negotiate")
    ] == expected


@given(st.text(max_size=300))
def test_no_header_whatever_it_holds_breaks_the_parser(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme


@pytest.mark.parametrize("unit", ["a ", '"', "a=", 'a="\\', ",", "Bearer x="])
def test_a_hostile_megabyte_costs_nothing_to_refuse(unit: str) -> None:
    started = time.process_time()
    assert parse_challenges(unit * (1 << 20)) == []
    parse_challenges((unit * (8 << 10))[: 8 << 10])
    assert time.process_time() - started < 5


def test_bearer_without_credentials_asks_for_an_anonymous_token() -> None:
    request = next_request(bearer(), None, [repository_scope("library/nginx", "pull")], HUB)
    assert isinstance(request, TokenRequest)
    assert request.form is None and request.authorization == ""
    assert parse_qs(urlsplit(request.url).query) == {
        "service": ["registry.docker.io"], "scope": ["repository:library/nginx:pull"],
    }  # fmt: skip


def test_a_mount_asks_for_both_repositories_in_one_token() -> None:
    scopes = [repository_scope("a", "pull", "push"), repository_scope("b", "pull")]
    request = next_request(bearer(), ADA, scopes, HUB)
    assert isinstance(request, TokenRequest)
    query = parse_qs(urlsplit(request.url).query)
    assert query["scope"] == ["repository:a:pull,push", "repository:b:pull"]
    assert query["account"] == ["ada"]
    assert request.authorization == "Basic YWRhOmxvdmU6bGFjZQ=="


def test_an_identity_token_is_posted_as_an_oauth_form_and_never_put_into_the_url() -> None:
    request = next_request(bearer(), Credentials("ada", identity_token="s3cret"), ["repository:a:pull"], HUB)
    assert isinstance(request, TokenRequest)
    assert request.form is not None and request.authorization == ""
    form = parse_qs(request.form.decode())
    assert form["grant_type"] == ["refresh_token"] and form["refresh_token"] == ["s3cret"]
    assert "s3cret" not in request.url


def test_bearer_is_preferred_to_basic() -> None:
    both = [Challenge("basic", {"realm": "r"}), *bearer()]
    assert isinstance(next_request(both, ADA, [], HUB), TokenRequest)


def test_basic_answers_with_the_credentials_or_says_that_there_are_none() -> None:
    basic = [Challenge("basic", {"realm": "r"})]
    assert next_request(basic, ADA, [], HUB) == BasicHeader("Basic YWRhOmxvdmU6bGFjZQ==")
    with pytest.raises(AuthenticationRequired, match="no basic auth credentials"):
        next_request(basic, None, [], HUB)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(AuthenticationRequired, match="negotiate"):
        next_request([Challenge("negotiate", {})], ADA, [], HUB)


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.docker.io/token",
        "http://registry-1.docker.io/token",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/token",
        "https://localhost/token",
        "https://[::1]/token",
        "https://10.0.0.1/token",
        "https://2130706433/token",
        "https://0x7f000001/token",
        "file:///etc/passwd",
        "//auth.docker.io/token",
        "https://user:pass@auth.docker.io/token",
        "https://auth.docker.io/token#x",
        "https://auth.docker.io/to ken",
        "https://auth.docker.io/\r\nHost: evil",
        "https://[broken/token",
        "https://auth.docker.io:99999/",
        "",
    ],
)
def test_credentials_never_go_to_a_realm_that_cannot_be_trusted(realm: str) -> None:
    with pytest.raises(UntrustedRealm, match=r"registry-1\.docker\.io sends us to"):
        next_request(bearer(realm), ADA, ["repository:a:pull"], HUB)


@pytest.mark.parametrize(
    ("realm", "origin"),
    [
        ("https://auth.docker.io/token", HUB),
        ("https://registry-1.docker.io:8443/token", HUB),
        ("http://127.0.0.1:5001/token", Origin("http", "127.0.0.1", 5000)),
        ("http://localhost:5001/token", Origin("http", "127.0.0.1", 5000)),
        ("https://10.0.0.7/token", Origin("https", "10.0.0.7", 443)),
        ("http://registry.lan/token", Origin("http", "registry.lan", 5000)),
    ],
)
def test_honest_realms_are_asked(realm: str, origin: Origin) -> None:
    check_realm(realm, origin)


def test_a_loopback_realm_of_a_remote_plain_registry_is_refused() -> None:
    with pytest.raises(UntrustedRealm, match="plain http on another host"):
        check_realm("http://127.0.0.1/token", Origin("http", "registry.lan", 80))


@pytest.mark.parametrize("key", ["token", "access_token"])
def test_a_token_is_read_under_both_of_its_names(key: str) -> None:
    token = read_token(b'{"%s": "abc", "expires_in": 7, "refresh_token": "r"}' % key.encode(), "auth")
    assert (token.authorization, token.lifetime, token.identity_token) == ("Bearer abc", 7, "r")


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "a\\r\\nX: y"}', b'{"token": "a", "token": "b"}', b"{" * 9999,
     b'{"token": "a", "expires_in": 1e999}', b'{"token": "' + b"a" * (1 << 20) + b'"}'],
)  # fmt: skip
def test_an_answer_without_a_usable_token_is_refused(raw: bytes) -> None:
    with pytest.raises(BadTokenAnswer, match="auth"):
        read_token(raw, "auth")


@pytest.mark.parametrize("lifetime", ["-5", "0", '"soon"', "1e99", "true", "null"])
def test_a_senseless_lifetime_means_a_minute(lifetime: str) -> None:
    assert read_token(b'{"token": "abc", "expires_in": %s}' % lifetime.encode(), "auth").lifetime == 60


def test_tokens_are_kept_per_scope_set_until_shortly_before_they_expire() -> None:
    cache = TokenCache()
    cache.put(["b", "a"], "Bearer x", now=100.0, lifetime=300)
    assert cache.get(["a", "b"], 389.0) == "Bearer x"
    assert cache.get(["a"], 100.0) == ""
    assert cache.get(["a", "b"], 391.0) == ""


def test_no_secret_is_in_any_repr() -> None:
    basic = next_request([Challenge("basic", {})], ADA, [], HUB)
    request = next_request(bearer(), Credentials(identity_token="idtoken"), [], HUB)
    shown = repr([ADA, basic, request, read_token(b'{"token": "abcdef"}', "a"), Credentials(identity_token="idtoken")])
    assert not any(secret in shown for secret in ("love:lace", "YWRh", "idtoken", "abcdef"))
