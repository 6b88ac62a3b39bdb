"""A container's network as docker's inspect shows it: `Networks` and `Ports`, made from a plan.

Source: moby api/types/network EndpointSettings, api/types/container NetworkSettings.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def endpoint(network: Mapping[str, Any]) -> dict[str, Any]:
    """docker's EndpointSettings of one network of a plan, connected."""

    def length(key: str) -> int:
        return int(network[key].rpartition("/")[2]) if network.get(key) else 0

    routed = not network.get("internal")
    six = bool(network.get("address6"))
    return {
        "IPAMConfig": network.get("ipam"),
        "Links": None,
        "Aliases": network.get("shown_aliases"),
        "NetworkID": network["id"],
        "EndpointID": network.get("endpoint", ""),
        "Gateway": network.get("gateway", "") if routed else "",
        "IPAddress": network.get("address", ""),
        "IPPrefixLen": length("subnet") if network.get("address") else 0,
        "IPv6Gateway": network.get("gateway6", "") if routed and six else "",
        "GlobalIPv6Address": network.get("address6", ""),
        "GlobalIPv6PrefixLen": length("subnet6") if six else 0,
        "MacAddress": network.get("mac", ""),
        "DriverOpts": network.get("driver_opts"),
    }


def idle(settings: Mapping[str, Any] | None) -> dict[str, Any]:
    """docker's EndpointSettings of a network a container will be in when it runs, from its EndpointsConfig."""
    given = settings or {}
    return endpoint({"id": ""}) | {
        "IPAMConfig": given.get("IPAMConfig"), "Aliases": given.get("Aliases"), "DriverOpts": given.get("DriverOpts"),
    }  # fmt: skip


def ports(plan: Mapping[str, Any]) -> dict[str, Any]:
    """docker's `Ports`: "80/tcp" -> the host's addresses, null for ports that are exposed only."""
    found: dict[str, Any] = dict.fromkeys(plan.get("exposed", ()))
    for port in plan.get("ports", ()):
        key = f"{port['container_port']}/{port['proto']}"
        shown = {"HostIp": port["host_ip"], "HostPort": str(port["host_port"])}
        found[key] = [*(found.get(key) or ()), shown]
    return {key: found[key] for key in sorted(found, key=order)}


def order(port: str) -> tuple[int, str]:
    """What "80/tcp" is sorted by: its number, then its protocol."""
    number, _, protocol = port.partition("/")
    return (int(number) if number.isdigit() else 0, protocol)


def result(plan: Mapping[str, Any], sandbox: str = "") -> dict[str, Any]:
    """What `setup` gives: {"Networks", "Ports", "SandboxID", "SandboxKey"}."""
    return {
        "Networks": {each["name"]: endpoint(each) for each in plan.get("networks", ())},
        "Ports": ports(plan),
        "SandboxID": plan.get("sandbox", ""),
        "SandboxKey": sandbox,
    }


def document(found: Mapping[str, Any]) -> dict[str, Any]:
    """docker's whole NetworkSettings from what `setup` gave ({} for a container that does not run).

    The fields above `Networks` repeat what the default bridge network gave, as docker has them for old clients.
    """
    networks = found.get("Networks") or {}
    old = networks.get("bridge") or {}
    return {
        "Bridge": "",
        "SandboxID": found.get("SandboxID", ""),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": found.get("Ports") or {},
        "SandboxKey": found.get("SandboxKey", ""),
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": old.get("EndpointID", ""),
        "Gateway": old.get("Gateway", ""),
        "GlobalIPv6Address": old.get("GlobalIPv6Address", ""),
        "GlobalIPv6PrefixLen": old.get("GlobalIPv6PrefixLen", 0),
        "IPAddress": old.get("IPAddress", ""),
        "IPPrefixLen": old.get("IPPrefixLen", 0),
        "IPv6Gateway": old.get("IPv6Gateway", ""),
        "MacAddress": old.get("MacAddress", ""),
        "Networks": networks,
    }
