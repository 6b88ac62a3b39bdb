"""Which URLs serve a registry, and how far each may be trusted.  Pure: nothing is connected to here.

Docker's rules: `docker.io` is served by registry-1.docker.io; loopback addresses and registries named insecure may
speak plain HTTP, nobody else may; mirrors serve pulls only.  Source: moby daemon/pkg/registry/config.go.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from veneer.errors import Denied, InvalidRequest
from veneer.oci.reference import DEFAULT_REGISTRY

DOCKER_HUB_HOST = "registry-1.docker.io"
DEFAULT_PORTS = {"https": 443, "http": 80}


class InvalidMirror(InvalidRequest):
    """A configured mirror that is no URL a registry can be reached at."""


class ForeignURLRefused(Denied):
    """A layer is said to be at a place we must not ask."""


class Origin(NamedTuple):
    """Scheme, host and port: what credentials are bound to.  `host` is lower case and without brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, the port left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that may serve a registry: `url` has no trailing slash, `/v2/...` comes after it."""

    url: str
    mirror: bool = False


def origin_of(url: str) -> Origin:
    """The origin of an http(s) URL.  Raises ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"not an http or https URL: {url[:200]!r}")
    return Origin(parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS[parts.scheme])


def is_loopback(host: str) -> bool:
    """Whether `host` (no port, no brackets) is this machine by its very name: 127.0.0.0/8, ::1 or localhost."""
    if host in ("localhost", "::1"):
        return True
    parts = host.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(p.isascii() and p.isdigit() and int(p) < 256 for p in parts)


def is_private_address(host: str) -> bool:
    """Whether `host` is written as an address that the public internet does not route to."""
    if not (":" in host or host.rpartition(".")[2].isdigit() or host.startswith("0x") or host.isdigit()):
        return False
    import ipaddress

    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        # 0x7f000001, 2130706433 and 127.1: a resolver may take them for addresses, and nobody writes them honestly.
        return True


def split_host(registry: str) -> str:
    """The host of `host[:port]`, lower case and without brackets."""
    if registry.startswith("["):
        return registry[1:].partition("]")[0].lower()
    return registry.partition(":")[0].lower()


def is_insecure(registry: str, insecure: Collection[str]) -> bool:
    """Whether the user named `registry` insecure, with or without its port."""
    return registry in insecure or split_host(registry) in insecure


def endpoints(registry: str, insecure: Collection[str] = ()) -> tuple[Endpoint, ...]:
    """Where the registry itself is served, in the order to try.  One entry unless plain HTTP is allowed."""
    if registry == DEFAULT_REGISTRY:
        return (Endpoint(f"https://{DOCKER_HUB_HOST}"),)
    if is_loopback(split_host(registry)):
        # Plain first: asking a plain server for TLS can hang it, asking a TLS server for plain text cannot.
        return (Endpoint(f"http://{registry}"), Endpoint(f"https://{registry}"))
    if is_insecure(registry, insecure):
        return (Endpoint(f"https://{registry}"), Endpoint(f"http://{registry}"))
    return (Endpoint(f"https://{registry}"),)


def mirror_endpoints(
    registry: str, mirrors: Mapping[str, Sequence[str]], insecure: Collection[str] = ()
) -> list[Endpoint]:
    """The mirrors of `registry`, in the order configured.

    A mirror is a URL, or a host as in an image name.  Raises InvalidMirror, naming the mirror: a plain http mirror
    must be on a loopback address or be named insecure.
    """
    found: list[Endpoint] = []
    for text in mirrors.get(registry, ()):
        if "://" not in text:
            found += [Endpoint(place.url, mirror=True) for place in endpoints(text.rstrip("/"), insecure)]
            continue
        try:
            origin = origin_of(text)
        except ValueError:
            raise InvalidMirror(f"mirror {text[:200]!r} of {registry} is no http or https URL") from None
        parts = urlsplit(text)
        if parts.query or parts.fragment or parts.username is not None:
            raise InvalidMirror(f"mirror {text[:200]!r} of {registry}: only scheme, host, port and path may be given")
        if origin.scheme == "http" and not (is_loopback(origin.host) or is_insecure(origin.authority, insecure)):
            raise InvalidMirror(f"mirror {text[:200]!r} of {registry} is plain http",
                                hint=f"name {origin.authority} an insecure registry, or use https")  # fmt: skip
        found.append(Endpoint(text.rstrip("/").removesuffix("/v2"), mirror=True))
    return found


def check_foreign_url(url: str, registry: str) -> None:
    """Raise ForeignURLRefused unless a layer of `registry` may be fetched from `url`.

    Whoever writes a manifest chooses the URL; it must not make us ask a server of our own private network, unless
    the registry itself is there.
    """
    try:
        host = origin_of(url).host
    except ValueError:
        raise ForeignURLRefused(f"{registry}: a layer is to come from {url[:200]!r}, no http or https URL") from None
    ours = split_host(registry)
    inside = is_loopback(ours) or is_private_address(ours)
    if (is_loopback(host) or is_private_address(host)) and not inside:
        raise ForeignURLRefused(f"{registry}: a layer is to come from the private address {host}")
