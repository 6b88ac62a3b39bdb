"""What a container's settings mean for its network: the plan that veneer.run.network carries out.

Source: moby daemon/container_operations.go, runconfig/hostconfig_unix.go, docker inspect of a real engine.
"""

from __future__ import annotations

import os

from veneer.errors import Conflict, InvalidRequest, NotFound, Unavailable, Unsupported
from veneer.run.network import publishing, slirp_addresses
from veneer.store.networks import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from veneer.store.networks import Network

DEVICE_PREFIX = "ve-"
_OPTION = "com.docker.network."
_FALSE = ("0", "f", "F", "false", "FALSE", "False")
_SIX = "/proc/net/if_inet6"


class NeedsRoot(Unsupported):
    """A network feature that a plain user cannot have."""


class NoLinks(Unsupported):
    """A container was to be linked to another, which docker itself calls legacy."""


class InvalidNetworkOptions(InvalidRequest):
    """Network options of a container that contradict each other."""


class NotAttached(NotFound):
    """A container is not connected to the network it was to be disconnected from."""


class AlreadyAttached(Conflict):
    """A container is connected to the network already."""


class NotJoinable(Unavailable):
    """The container whose network another was to share does not run."""


def mode_of(document: Mapping[str, Any]) -> str:
    """The network mode of a container's document; "bridge" for docker's other words for it."""
    mode = (document.get("HostConfig") or {}).get("NetworkMode") or "default"
    return DEFAULT if mode in ("default", "bridge") else str(mode)


def endpoints(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The networks a container's document connects it to, by the names it has for them, with docker's settings.

    The one of its mode comes first.
    """
    mode = mode_of(document)
    if mode.startswith("container:"):
        return {}
    given = document.get("NetworkingConfig") or {}
    found = {name: settings or {} for name, settings in (given.get("EndpointsConfig") or {}).items()}
    found = {DEFAULT if name == "default" else name: settings for name, settings in found.items()}
    if mode in found:
        return {mode: found.pop(mode), **found}
    if not given.get("Explicit"):  # what network connect and disconnect leave is the whole truth
        return {mode: {}, **found}
    return found


def refuse_contradictions(document: Mapping[str, Any], *, hostname: bool = False) -> None:
    """Raise what docker says of network options that exclude each other; `hostname`: one was asked for.

    Raises InvalidNetworkOptions, NoLinks.
    """
    config, host = document.get("Config") or {}, document.get("HostConfig") or {}
    mode = mode_of(document)
    if host.get("Links"):
        raise NoLinks(
            "links are a legacy feature that veneer does not have",
            hint="put both on one network, where names are known: veneer network create NAME, then run --network NAME",
        )
    if mode.startswith("container:"):
        for given, what in (
            (hostname, "hostname"),
            (host.get("Dns"), "dns"),
            (host.get("ExtraHosts"), "custom host-to-IP mapping"),
            (config.get("MacAddress"), "mac-address"),
        ):
            if given:
                raise InvalidNetworkOptions(f"conflicting options: {what} and the network mode")
        if host.get("PortBindings") or host.get("PublishAllPorts"):
            raise InvalidNetworkOptions("conflicting options: port publishing and the container type network mode")
    for name, settings in endpoints(document).items():
        refuse_endpoint(name, settings)


def refuse_endpoint(name: str, settings: Mapping[str, Any]) -> None:
    """Raise what docker says of settings that a network of that name cannot be given."""
    ipam = settings.get("IPAMConfig") or {}
    if name in (DEFAULT, "host", "none"):
        if settings.get("Aliases"):
            raise InvalidNetworkOptions("network-scoped aliases are only supported for user-defined networks")
        if ipam.get("IPv4Address") or ipam.get("IPv6Address"):
            raise InvalidNetworkOptions("user specified IP address is supported on user defined networks only",
                                        hint="veneer network create --subnet 10.5.0.0/24 NAME")  # fmt: skip
    if settings.get("Links"):
        raise NoLinks("links are a legacy feature that veneer does not have", hint="use aliases: --network-alias")
    import socket

    for key, version in (("IPv4Address", 4), ("IPv6Address", 6)):
        if address := ipam.get(key):
            try:
                socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, address)
            except OSError:
                raise InvalidNetworkOptions(f"invalid IPv{version} address: {address}") from None


def network_entry(
    network: Network, settings: Mapping[str, Any], addresses: Sequence[str], identity: Mapping[str, str], device: str
) -> dict[str, Any]:
    """One of a plan's `networks`: a bridge network and a container's place on it.

    `addresses` are those claimed, one a pool; `identity` is the container's {"id", "name", "mac"}.
    """
    container = identity["id"]
    named = network.name != DEFAULT
    aliases = list(settings.get("Aliases") or ())
    short = container[:12]
    entry: dict[str, Any] = {
        "id": network.id,
        "name": network.name,
        "driver": network.driver,
        "bridge": network.bridge,
        "device": device,
        "host_device": DEVICE_PREFIX + _mixed(container, network.id),
        "mac": settings.get("MacAddress") or identity.get("mac") or "",
        "mtu": int(network.options.get(f"{_OPTION}driver.mtu") or 1500),
        "internal": bool(network.document.get("Internal")),
        "masquerade": network.options.get(f"{_OPTION}bridge.enable_ip_masquerade") not in _FALSE,
        "icc": network.options.get(f"{_OPTION}bridge.enable_icc") not in _FALSE,
        "endpoint": os.urandom(32).hex(),
        "named": named,
        "names": list(dict.fromkeys([identity["name"], *aliases, short])) if named else [],
        "shown_aliases": list(dict.fromkeys([*aliases, short])) if named else None,
        "ipam": settings.get("IPAMConfig"),
        "driver_opts": settings.get("DriverOpts"),
    }
    for pool, address in zip(network.pools, addresses, strict=True):
        six = "6" if pool.version == 6 else ""
        entry |= {f"subnet{six}": pool.subnet, f"address{six}": address, f"gateway{six}": pool.gateway}
    if not entry["mac"]:
        import socket

        entry["mac"] = "02:42:" + socket.inet_aton(entry["address"]).hex(":")
    return entry


def _mixed(container: str, network: str) -> str:
    """Twelve hex digits that are a container's on a network: where the names of two differ, so do these."""
    return f"{int(container[:12], 16) ^ int(network[:12], 16):012x}"


def slirp_entry(network: Network) -> dict[str, Any]:
    """The one of a plan's `networks` that a plain user's container has."""
    return {
        "id": network.id, "name": network.name, "driver": network.driver, "endpoint": os.urandom(32).hex(),
        "subnet": slirp_addresses.SUBNET, "address": slirp_addresses.ADDRESS, "gateway": slirp_addresses.GATEWAY,
        "mac": "", "ipam": None,
    }  # fmt: skip


def ports(document: Mapping[str, Any], networks: Sequence[Network], *, rootless: bool) -> list[dict[str, Any]]:
    """The `ports` of a plan.  Raises NeedsRoot, InvalidPort."""
    config, host = document.get("Config") or {}, document.get("HostConfig") or {}
    default = next((each.options.get(f"{_OPTION}bridge.host_binding_ipv4", "") for each in networks), "")
    found = publishing.planned(
        host.get("PortBindings") or {},
        exposed(config),
        all_exposed=bool(host.get("PublishAllPorts")),
        default="" if default == "0.0.0.0" else default,
        six=not rootless and os.path.exists(_SIX),
    )
    if rootless and any(":" in port["host_ip"] for port in found):
        raise NeedsRoot("a plain user's container cannot publish ports on an IPv6 address of the host",
                        hint="publish on an IPv4 address, 127.0.0.1 say")  # fmt: skip
    return found


def exposed(config: Mapping[str, Any]) -> list[str]:
    """The ports that a container's Config exposes."""
    return list(config.get("ExposedPorts") or ())
