"""EXPOSE's words.  Source: docker/go-connections nat.ParsePortSpec, moby/buildkit dockerfile2llb/convert_expose.go."""

from __future__ import annotations

import re
from collections.abc import Iterable

from veneer.build.language.errors import Syntax

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORTS = 1 << 20
"""Each port of each protocol several times over."""
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def exposed_ports(words: Iterable[str]) -> list[str]:
    """`80/tcp`, one for each port, in order, without repetition.  Raises Syntax."""
    found: dict[str, None] = {}
    count = 0
    for word in dict.fromkeys(words):
        first, last, protocol = _port(word)
        count += last - first + 1
        if count > MAX_PORTS:
            raise Syntax(f"more than {MAX_PORTS} ports in one EXPOSE", hint="ranges need not overlap", at=word)
        for port in range(first, last + 1):
            found[f"{port}/{protocol}"] = None
    return list(found)


def parts(word: str) -> tuple[str, str, str]:
    """Address, host port and container port with its protocol; the first two are "" in all but old files."""
    address, _, rest = word.rpartition(":")
    if not _:
        return "", "", word
    address, _, host = address.rpartition(":")
    return address, host, rest


def _port(word: str) -> tuple[int, int, str]:
    address, host, container = parts(word)
    port, _, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if not port:
        raise Syntax(f"no port specified: {word}<empty>", at=word)
    if protocol not in PROTOCOLS:
        raise Syntax(f"invalid proto: {protocol}", hint=f"one of {', '.join(PROTOCOLS)}", at=word)
    if address:
        _check_address(address, word)
    first, last = _range(port, f"invalid containerPort: {port}", word)
    if host:
        begin, end = _range(host, f"invalid hostPort: {host}", word)
        if end - begin != last - first and last != first:
            raise Syntax(f"invalid ranges specified for container and host Ports: {port} and {host}", at=word)
    return first, last, protocol


def _range(text: str, reason: str, word: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if found:
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last < 1 << 16:
            return first, last
    raise Syntax(reason, hint="a port or a range, as in 80, 53/udp or 8000-8010", at=word)


def _check_address(address: str, word: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(address.removeprefix("[").removesuffix("]") if address.startswith("[") else address)
    except ValueError:
        raise Syntax(f"invalid IP address: {address}", at=word) from None
