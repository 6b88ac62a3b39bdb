"""What `-p` and `-P` say: which ports of a container are to be had at which of the host's.

Sources: docker/go-connections nat.ParsePortSpec, docker/cli opts (the long form), moby libnetwork portallocator.
"""

from __future__ import annotations

import re

from veneer.run.network.failures import InvalidPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Bindings = dict[str, list[dict[str, str]]]

PROTOCOLS = ("tcp", "udp", "sctp")
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_HINT = "as in 80, 8080:80, 127.0.0.1:8080:80/tcp, [::1]:53:53/udp or 8000-8010:80-90"
_LONG = ("target", "published", "protocol", "mode")


def parse(specs: Iterable[str]) -> tuple[list[str], Bindings]:
    """The ports that `specs` expose ("80/tcp", ...) and docker's PortBindings for them.

    A spec is `[ip:][host[-host]:]container[-container][/protocol]`, or `target=80,published=8080,protocol=tcp`.
    Raises InvalidPort with docker's texts.
    """
    exposed: dict[str, None] = {}
    bindings: Bindings = {}
    for spec in specs:
        for port, binding in _one(_short(spec)):
            exposed[port] = None
            bindings.setdefault(port, []).append(binding)
    return list(exposed), bindings


def _short(spec: str) -> str:
    """The short form of a spec in the long one; any other as it is."""
    if "=" not in spec:
        return spec
    given: dict[str, str] = {}
    for field in spec.split(","):
        key, equals, value = field.partition("=")
        if not equals or key not in _LONG:
            raise InvalidPort(f"invalid publish opts format (should be name=value but got '{field}')", hint=_HINT)
        given[key] = value
    container = f"{given.get('target', '')}/{given.get('protocol') or 'tcp'}"
    return f"{given['published']}:{container}" if given.get("published") else container


def _one(spec: str) -> list[tuple[str, dict[str, str]]]:
    rest, _, container = spec.rpartition(":")
    address, _, host = rest.rpartition(":")
    container, slash, protocol = container.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if not container:
        raise InvalidPort(f"no port specified: {spec}<empty>", hint=_HINT)
    address = _address(address)
    first, last = _range(container, f"invalid containerPort: {container}")
    host_first, host_last = _range(host, f"invalid hostPort: {host}") if host else (0, 0)
    if protocol not in PROTOCOLS:
        raise InvalidPort(f"invalid proto: {protocol}", hint=f"one of {', '.join(PROTOCOLS)}")
    if host and host_last - host_first != last - first and last != first:
        raise InvalidPort(f"invalid ranges specified for container and host Ports: {container} and {host}", hint=_HINT)
    found = []
    for number in range(first, last + 1):
        if not host:
            on_host = ""
        elif first == last and host_first != host_last:
            on_host = f"{host_first}-{host_last}"  # any of these
        else:
            on_host = str(host_first + number - first)
        found.append((f"{number}/{protocol}", {"HostIp": address, "HostPort": on_host}))
    return found


def _range(text: str, reason: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if found:
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last < 1 << 16:
            return first, last
    raise InvalidPort(reason, hint=_HINT)


def _address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare:
        import socket

        try:
            socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
        except OSError:
            raise InvalidPort(f"invalid IP address: {text}", hint=_HINT) from None
    return bare


def planned(
    bindings: Mapping[str, Any], exposed: Iterable[str], *, all_exposed: bool, default: str = "", six: bool = True
) -> list[dict[str, Any]]:
    """The `ports` of a plan (see ports.hold) for docker's PortBindings.

    `all_exposed`: -P.  `default`: the address of the host for bindings that name none ("" for all of them, with IPv6
    ones where `six`).
    """
    wanted = {port: list(found or ()) for port, found in bindings.items()}
    if all_exposed:
        for port in exposed:
            wanted.setdefault(port, [{"HostIp": "", "HostPort": ""}])
    planned: list[dict[str, Any]] = []
    for number, (port, binding) in enumerate((port, each) for port, found in wanted.items() for each in found):
        container, _, protocol = port.partition("/")
        first, last = _range(binding["HostPort"], "") if binding.get("HostPort") else (0, 0)
        address = binding.get("HostIp") or default
        for host in [address] if address else ["0.0.0.0", *(["::"] if six else [])]:
            planned.append({
                "proto": protocol or "tcp", "container_port": int(container), "host_ip": host, "host_port": first,
                "host_port_end": last, "group": number,
            })  # fmt: skip
    return planned
