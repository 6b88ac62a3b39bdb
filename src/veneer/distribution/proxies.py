"""Which proxy an origin is reached through: the environment's words, as Go (and so docker) reads them.

`http_proxy`, `https_proxy`, `no_proxy`, in small letters or capitals, the capitals first.  This machine itself is
never reached through a proxy.  Source: golang.org/x/net/http/httpproxy, config.go.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from veneer.distribution.hosts import Origin, is_loopback
from veneer.errors import InvalidRequest


class BadProxy(InvalidRequest):
    """A proxy that the environment names and that is none veneer can use."""


def proxy_for(origin: Origin, environment: Mapping[str, str]) -> str:
    """The proxy's URL, "" if the origin is reached directly.  Raises BadProxy."""
    if is_loopback(origin.host) or _is_excepted(origin, _word(environment, "no_proxy")):
        return ""
    url = _word(environment, f"{origin.scheme}_proxy")
    if url and "://" not in url:
        url = "http://" + url
    if url and not url.startswith(("http://", "https://")):
        raise BadProxy(f"{origin.scheme}_proxy: {url.partition('://')[0]} proxies are not supported",
                       hint="name an http:// or https:// proxy, or except the host in no_proxy")  # fmt: skip
    return url


def _word(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name, "")


def _is_excepted(origin: Origin, rules: str) -> bool:
    for rule in filter(None, (each.strip().lower() for each in rules.split(","))):
        if rule == "*":
            return True
        host, _, port = rule.rpartition(":") if rule.count(":") == 1 else (rule, "", "")
        if port and port != str(origin.port):
            continue
        if _covers(host.strip("[]"), origin.host):
            return True
    return False


def _covers(rule: str, host: str) -> bool:
    """`example.com` and all below it; `.example.com` and `*.example.com` only what is below; addresses and nets."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule, strict=False)
    except ValueError:
        pass  # names, one of them or both
    if rule.startswith("*."):
        rule = rule[1:]
    if rule.startswith("."):
        return host.endswith(rule)
    return host == rule or host.endswith("." + rule)
