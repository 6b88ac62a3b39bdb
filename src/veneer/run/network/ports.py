"""Ports of the host that a container publishes: held by sockets, so that nobody else has them and everybody is told.

What comes for them is sent on by the kernel (firewall); a connection that it does not send on, to ::1 say or to an
IPv6 address of the host for a container without one, reaches the socket and is relayed (relay).
"""

from __future__ import annotations

import errno
import socket

from veneer.run.network.failures import NoProtocol, PortTaken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

FIRST, LAST = 32768, 60999
"""Where ports come from that nobody chose: docker's range, and the kernel's own for connections."""
_KINDS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0),
          "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP)}  # fmt: skip
_BACKLOG = 128


def hold(plan: dict[str, Any]) -> list[socket.socket]:
    """Take the ports of a plan's `ports` on the host; they are free again when the sockets are closed.

    Each entry is {proto, container_port, host_ip, host_port, host_port_end}; `host_port` 0 is any, and with an end
    above it one of the range: it is set to what it became.  Entries with the same `group` (the two families of one
    port) get the same number.  Raises PortTaken, NoProtocol.
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
    with _socket(port) as probe:
        probe.bind((port["host_ip"], 0))
        free = probe.getsockname()[1]
    return [free, *range(free + 1, LAST + 1), *range(FIRST, free)]


def _socket(port: Mapping[str, Any]) -> socket.socket:
    """A socket of a port's protocol and family.  Raises NoProtocol."""
    kind, protocol = _KINDS[port["proto"]]
    family = socket.AF_INET6 if ":" in port["host_ip"] else socket.AF_INET
    try:
        return socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            raise
        name = port["proto"]
        raise NoProtocol(
            f"port {port['container_port']}/{name} cannot be published: this kernel has no {name.upper()}",
            hint=f"modprobe {name}, or leave the port out",
        ) from None


def _bind(port: Mapping[str, Any], number: int) -> socket.socket:
    """A socket that has the port."""
    made = _socket(port)
    try:
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        is_stream = made.type == socket.SOCK_STREAM
        if is_stream:
            # Connections of who had it before, waiting for their end, are no reason to refuse.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((port["host_ip"], number))
        if is_stream:
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
