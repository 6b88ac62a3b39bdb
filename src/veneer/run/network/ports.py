"""Ports of the host that a container publishes: held by sockets, so that nobody else has them and everybody is told.

What comes for them is sent on by the kernel (firewall); a connection that it does not send on, to ::1 say or to an
IPv6 address of the host for a container without one, reaches the socket and is relayed (relay).
"""

from __future__ import annotations

import errno
import socket

from veneer.run.network.failures import PortTaken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FIRST, LAST = 32768, 60999
"""Where ports come from that nobody chose: docker's range, and the kernel's own for connections."""
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_BACKLOG = 128


def hold(plan: dict[str, Any]) -> list[socket.socket]:
    """Take the ports of a plan's `ports` on the host; they are free again when the sockets are closed.

    Each entry is {proto, container_port, host_ip, host_port, host_port_end}; `host_port` 0 is any, and with an end
    above it one of the range: it is set to what it became.  Entries with the same `group` (the two families of one
    port) get the same number.  Raises PortTaken.
    """
    sockets: list[socket.socket] = []
    groups: dict[Any, list[dict[str, Any]]] = {}
    for number, port in enumerate(plan.get("ports", ())):
        groups.setdefault(port.get("group", ("", number)), []).append(port)
    try:
        for ports in groups.values():
            sockets += _hold_group(ports, plan)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    if plan.get("mode") == "slirp":
        # The program beside the container takes them itself, and is told which.
        for each in sockets:
            each.close()
        return []
    return sockets


def _hold_group(ports: Sequence[dict[str, Any]], plan: Mapping[str, Any]) -> list[socket.socket]:
    first, last = ports[0]["host_port"], ports[0].get("host_port_end") or ports[0]["host_port"]
    chosen = range(first, last + 1) if first else _any(ports[0])
    busy: dict[str, Any] = ports[0]
    for number in chosen:
        sockets: list[socket.socket] = []
        for port in ports:
            try:
                held = _bind(port, number)
            except OSError as error:
                if not _is_taken(error):
                    for each in sockets:
                        each.close()
                    raise _failed(plan, port, number, (error.strerror or "").lower()) from error
                busy = port
                break
            if held is not None:
                sockets.append(held)
        else:
            for port in ports:
                port["host_port"] = number
            return sockets
        for each in sockets:
            each.close()
    raise _failed(plan, busy, first, "port is already allocated")


def _is_taken(error: OSError) -> bool:
    return error.errno == errno.EADDRINUSE


def _any(port: Mapping[str, Any]) -> list[int]:
    """Ports to try where any will do, in an order of the kernel's choosing: its own free one first."""
    kind = _KINDS.get(port["proto"], socket.SOCK_STREAM)
    family = socket.AF_INET6 if ":" in port["host_ip"] else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((port["host_ip"], 0))
        free = probe.getsockname()[1]
    return [free, *range(free + 1, LAST + 1), *range(FIRST, free)]


def _bind(port: Mapping[str, Any], number: int) -> socket.socket | None:
    """A socket that has the port; None for protocols whose ports nobody can be told of."""
    kind = _KINDS.get(port["proto"])
    if kind is None:
        return None
    family = socket.AF_INET6 if ":" in port["host_ip"] else socket.AF_INET
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            # Connections of who had it before, waiting for their end, are no reason to refuse.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((port["host_ip"], number))
        if kind == socket.SOCK_STREAM:
            made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _failed(plan: Mapping[str, Any], port: Mapping[str, Any], number: int, why: str) -> PortTaken:
    endpoint = f"{plan.get('name', '')} ({plan.get('endpoint', '')})"
    return PortTaken(
        f"driver failed programming external connectivity on endpoint {endpoint}: "
        f"Bind for {port['host_ip']}:{number} failed: {why}",
        hint="publish another port of the host, or stop what has this one: ss -lntup shows it",
    )
