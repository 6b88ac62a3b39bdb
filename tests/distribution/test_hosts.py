"""Where a registry is served, and how far each place is trusted."""

from __future__ import annotations

import pytest

from veneer.distribution.hosts import (
    Endpoint,
    ForeignURLRefused,
    InvalidMirror,
    check_foreign_url,
    endpoints,
    is_loopback,
    is_private_address,
    mirror_endpoints,
    origin_of,
)


def urls(registry: str, *insecure: str) -> list[str]:
    return [endpoint.url for endpoint in endpoints(registry, insecure)]


def test_docker_hub_is_served_elsewhere_than_its_name_says() -> None:
    assert endpoints("docker.io") == (Endpoint("https://registry-1.docker.io"),)


def test_a_registry_speaks_https_and_nothing_else() -> None:
    assert endpoints("quay.io") == (Endpoint("https://quay.io"),)
    assert urls("10.0.0.1:5000") == ["https://10.0.0.1:5000"]


@pytest.mark.parametrize("registry", ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "LOCALHOST"])
def test_loopback_registries_may_speak_plain_http(registry: str) -> None:
    assert urls(registry) == [f"http://{registry}", f"https://{registry}"]


@pytest.mark.parametrize("insecure", ["registry.lan", "registry.lan:5000"])
def test_a_registry_named_insecure_is_tried_with_tls_first(insecure: str) -> None:
    assert urls("registry.lan:5000", insecure) == ["https://registry.lan:5000", "http://registry.lan:5000"]
    assert urls("other.lan:5000", insecure) == ["https://other.lan:5000"]


@pytest.mark.parametrize(
    "host", ["localhost.evil.com", "127.0.0.1.evil.com", "127.1", "127.0.0.256", "127.0.0.x", "::2"]
)
def test_what_only_looks_like_loopback_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["10.1.2.3", "169.254.169.254", "127.0.0.1", "::1", "fe80::1", "0x7f.1", "2130706433"])
def test_private_addresses_are_known_in_every_spelling(host: str) -> None:
    assert is_private_address(host)


@pytest.mark.parametrize("host", ["8.8.8.8", "quay.io", "2606:4700::1111", "registry-1.docker.io"])
def test_public_hosts_are_not_private(host: str) -> None:
    assert not is_private_address(host)


def test_mirrors_come_in_the_order_configured_and_may_have_a_path() -> None:
    mirrors = {"docker.io": ("https://mirror.example/hub/", "cache.example")}
    assert mirror_endpoints("docker.io", mirrors) == [
        Endpoint("https://mirror.example/hub", mirror=True),
        Endpoint("https://cache.example", mirror=True),
    ]
    assert mirror_endpoints("quay.io", mirrors) == []


@pytest.mark.parametrize(
    "mirror", ["http://mirror.example", "ftp://m", "https://u:p@m.example", "https://m.example?x=y"]
)
def test_a_mirror_that_cannot_be_trusted_is_refused_by_name(mirror: str) -> None:
    with pytest.raises(InvalidMirror, match=r"of docker\.io"):
        mirror_endpoints("docker.io", {"docker.io": (mirror,)})


def test_an_insecure_mirror_must_be_named_so() -> None:
    mirrors = {"docker.io": ("http://mirror.lan:5000",)}
    assert mirror_endpoints("docker.io", mirrors, ["mirror.lan:5000"])[0].url == "http://mirror.lan:5000"


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("https://Quay.io/v2/").authority == "quay.io"
    assert origin_of("http://[::1]:5000/").authority == "[::1]:5000"
    assert origin_of("https://a:80") != origin_of("http://a:80")


@pytest.mark.parametrize(
    ("url", "registry", "allowed"),
    [
        ("https://vendor.example/layer", "docker.io", True),
        ("http://vendor.example/layer", "docker.io", True),
        ("http://169.254.169.254/latest/meta-data", "docker.io", False),
        ("http://localhost:2375/images/json", "quay.io", False),
        ("http://[::1]/", "quay.io", False),
        ("http://10.0.0.2/layer", "10.0.0.1:5000", True),
        ("http://127.0.0.1:81/layer", "localhost:5000", True),
        ("file:///etc/passwd", "localhost:5000", False),
        ("https://[broken", "localhost:5000", False),
    ],
)
def test_a_foreign_layer_cannot_make_us_ask_our_own_network(url: str, registry: str, allowed: bool) -> None:
    if allowed:
        check_foreign_url(url, registry)
    else:
        with pytest.raises(ForeignURLRefused, match="a layer is to come from"):
            check_foreign_url(url, registry)
