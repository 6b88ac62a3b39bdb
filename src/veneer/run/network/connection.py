"""A plan carried out and undone; what it keeps running in this process for each container."""

from __future__ import annotations

from veneer.run.network import names, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from socket import socket
    from typing import Any

_running: dict[str, list[Callable[[], None]]] = {}
"""How to end what runs here for a container, by its id."""
_resolving: set[str] = set()
"""The containers that have their name server running here."""


def setup(plan: dict[str, Any], netns_path: str, folder: str | Path, sockets: Sequence[socket] = ()) -> dict[str, Any]:
    """See veneer.run.network.setup."""
    mode = plan["mode"]
    if mode in ("bridge", "slirp"):
        # First: whoever cleans up after us knows what there may be.
        names.save(folder, plan, {})
    try:
        if mode == "bridge":
            _bridged(plan, netns_path, folder, sockets)
        elif mode == "slirp":
            from veneer.run.network import slirp

            _running.setdefault(plan["id"], []).append(slirp.start(plan, netns_path, folder).close)
    except BaseException:
        teardown(plan, folder)
        raise
    found = settings.result(plan, netns_path)
    names.save(folder, plan, found)
    _tell(plan, "connect")
    return found


def _bridged(plan: dict[str, Any], netns_path: str, folder: str | Path, sockets: Sequence[socket]) -> None:
    from veneer.run.network import bridge, firewall, presence

    ending = _running.setdefault(plan["id"], [])
    networks = plan["networks"]
    if not networks:
        bridge.loopback_up(netns_path)
    for network in networks:
        with presence.joining(plan["root"], network["id"]):
            firewall.admit(plan["root"], plan["table"], network)
            bridge.attach(plan["root"], network, netns_path, routed=network is routed(plan))
        if network.get("named"):
            names.enter(plan["root"], network, plan["id"])
    outside = routed(plan)
    if plan["ports"] and outside is not None:
        firewall.publish(plan["table"], plan["ports"], outside["address"], outside.get("address6", ""))
        targets = _relayed(plan, sockets, folder)
        if targets:
            from veneer.run.network.relay import Relay

            ending.append(Relay(targets).close)
    if plan.get("servers") is not None:
        _serve_names(plan, netns_path)


def serve_names(folder: str | Path, netns_path: str) -> None:
    """Begin the name server of a container that runs here, if its saved plan has one by now and it has none yet."""
    plan = names.saved(folder)
    if plan is not None and plan.get("servers") is not None and plan["id"] not in _resolving:
        _serve_names(plan, netns_path)


def _serve_names(plan: Mapping[str, Any], netns_path: str) -> None:
    from veneer.run.network.resolver import Resolver

    _running.setdefault(plan["id"], []).append(Resolver(plan, netns_path).close)
    _resolving.add(plan["id"])


def routed(plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """The network that a container's packets leave by and that its ports are published for; None if it has none."""
    return next((each for each in plan["networks"] if not each.get("internal") and each.get("gateway")), None)


def _relayed(
    plan: Mapping[str, Any], sockets: Sequence[socket], folder: str | Path
) -> list[tuple[socket, Callable[[], tuple[str, int] | None]]]:
    """The held sockets that connections can reach, each with a function that says where they go now."""
    import socket as sockets_module

    inside = {(port["host_ip"], port["host_port"], port["proto"]): port["container_port"] for port in plan["ports"]}

    def to(port: int) -> Callable[[], tuple[str, int] | None]:
        def target() -> tuple[str, int] | None:
            # The container may have been put on another network, and taken off this one.
            outside = routed(names.saved(folder) or plan)
            return None if outside is None else (outside.get("address6") or outside["address"], port)

        return target

    found = []
    for each in sockets:
        if each.family == sockets_module.AF_INET6 and each.proto != sockets_module.IPPROTO_SCTP:
            protocol = "tcp" if each.type == sockets_module.SOCK_STREAM else "udp"
            found.append((each, to(inside[(*each.getsockname()[:2], protocol)])))
    return found


def teardown(plan: Mapping[str, Any], folder: str | Path, *, killed: bool = False) -> None:
    """See veneer.run.network.teardown; `killed`: the monitor that held the ports is gone, and they may be another's."""
    for end in reversed(_running.pop(plan["id"], [])):
        end()
    _resolving.discard(plan["id"])
    if names.saved(folder) is None:
        if plan["mode"] not in ("bridge", "slirp"):
            _tell(plan, "disconnect")
        return
    # What was connected since is in the plan as it was saved last.
    plan = names.saved(folder) or plan
    if plan["mode"] == "bridge":
        from veneer.run.network import firewall, presence

        if (outside := routed(plan)) is not None:
            ports = [port for port in plan["ports"] if not killed or _is_free(port)]
            firewall.withdraw(plan["table"], ports, outside["address"], outside.get("address6", ""))
        # 15 ms, and 45 with a bridge, that the kernel takes without our help, also when we end meanwhile.
        presence.leave(plan["root"], plan["networks"], wait=killed)
        for network in plan["networks"]:
            names.leave(plan["root"], network["id"], plan["id"])
    names.unsave(folder)
    _tell(plan, "disconnect")


def _is_free(port: Mapping[str, Any]) -> bool:
    """Whether nobody holds a port: what is sent on for it is a killed container's, not that of who has it now."""
    from veneer.run.network import ports
    from veneer.run.network.failures import PortTaken

    try:
        held = ports.hold({"ports": [dict(port)]})
    except PortTaken:
        return False
    for each in held:
        each.close()
    return True


def _tell(plan: Mapping[str, Any], action: str) -> None:
    """docker's network events: one for each network a container comes to or leaves."""
    for network in plan.get("networks", ()):
        tell(plan["root"], action, network, {"container": plan["id"]})


def tell(root: str, action: str, network: Mapping[str, Any], attributes: Mapping[str, str]) -> None:
    """An event of a network."""
    from pathlib import Path

    from veneer.store.events import append

    named = {**attributes, "name": network["name"], "type": network.get("driver", "bridge")}
    append(Path(root), type="network", action=action, id=network["id"], attributes=named)
