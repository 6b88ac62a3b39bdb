"""Bridges of the host, and the cables from them into containers."""

from __future__ import annotations

import os

from veneer.run.network import namespace, netlink, owners
from veneer.run.network.failures import NetworkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_SYSCTL = "/proc/sys/net"


def raise_bridge(root: str, network: Mapping[str, Any]) -> int:
    """The index of a bridge of a data root, made and given its addresses where it has not; the host forwards for it.

    Raises NetworkFailed.
    """
    name = network["bridge"]
    try:
        with netlink.RouteNetlink() as kernel:
            link = kernel.link(name)
            if link is None:
                try:
                    kernel.make_bridge(name, "02:42:" + os.urandom(4).hex(":"), network["mtu"])
                except FileExistsError:
                    pass  # by another container's start, this moment
                link = kernel.link(name)
                if link is None:
                    raise NetworkFailed(f"the bridge {name} was taken away while it was made")
                _settle(network)
                if len(os.fsencode(owner := owners.alias(root))) <= netlink.ALIAS_LENGTH:
                    kernel.set_alias(link.index, owner)
            elif not link.up:
                kernel.set_up(link.index)
            for gateway, subnet in (("gateway", "subnet"), ("gateway6", "subnet6")):
                if network.get(gateway):
                    kernel.add_address(link.index, network[gateway], int(network[subnet].rpartition("/")[2]))
    except OSError as error:
        raise NetworkFailed(
            f"the bridge {name} of network {network['name']} cannot be made: {error.strerror}"
        ) from error
    _forward("ipv4/ip_forward")
    if network.get("address6"):
        _forward_ipv6()
    return link.index


def _settle(network: Mapping[str, Any]) -> None:
    """What a new bridge must do: send a loopback address of the host on; speak IPv6 only if its network does."""
    name = network["bridge"]
    _write(f"ipv4/conf/{name}/route_localnet", "1")
    _write(f"ipv6/conf/{name}/disable_ipv6", "0" if network.get("subnet6") else "1")
    _write(f"ipv6/conf/{name}/accept_ra", "0")


def _write(name: str, value: str) -> None:
    # Without IPv6 in the kernel there is nothing to set for it.
    path = f"{_SYSCTL}/{name}"
    if os.path.exists(path):
        with open(path, "w") as file:
            file.write(value)


def _forward(name: str) -> None:
    path = f"{_SYSCTL}/{name}"
    with open(path) as file:
        if file.read().strip() != "0":
            return
    _write(name, "1")


def _forward_ipv6() -> None:
    """Forward IPv6; devices that have their own routes from router advertisements go on listening to those."""
    if _read("ipv6/conf/all/forwarding") != "0":
        return
    for device in os.listdir(f"{_SYSCTL}/ipv6/conf"):
        if device not in ("all", "default", "lo") and _read(f"ipv6/conf/{device}/accept_ra") == "1":
            _write(f"ipv6/conf/{device}/accept_ra", "2")
    _write("ipv6/conf/all/forwarding", "1")


def _read(name: str) -> str:
    try:
        with open(f"{_SYSCTL}/{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def attach(root: str, network: Mapping[str, Any], path: str, *, routed: bool) -> None:
    """Lay a cable from a network's bridge into the namespace `path`, with the addresses the plan gives it.

    `routed`: what is for nobody there goes out through this network.  Raises NetworkFailed.
    """
    bridge = raise_bridge(root, network)
    here = netlink.VethEnd(network["host_device"])
    there = netlink.VethEnd(network["device"], network["mac"])
    target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netlink.RouteNetlink() as kernel:
            try:
                kernel.make_pair(here, there, bridge=bridge, mtu=network["mtu"], namespace=target)
            except FileExistsError:
                # A killed container's, whose namespace the kernel has not taken down yet.
                kernel.delete(here.name)
                kernel.make_pair(here, there, bridge=bridge, mtu=network["mtu"], namespace=target)
            link = kernel.link(here.name)
            if link is not None:
                kernel.set_port(link.index, hairpin=True, isolated=not network.get("icc", True))
        _configure(network, f"/proc/self/fd/{target}", routed=routed)
    except OSError as error:
        raise NetworkFailed(
            f"the container cannot be connected to network {network['name']}: {error.strerror}"
        ) from error
    finally:
        os.close(target)


def _configure(network: Mapping[str, Any], path: str, *, routed: bool) -> None:
    device = network["device"]
    with namespace.Entered(path), netlink.RouteNetlink() as kernel:
        loopback, link = kernel.link("lo"), kernel.link(device)
        if loopback is None or link is None:
            raise NetworkFailed(f"the device {device} of network {network['name']} is gone already")
        if not loopback.up:
            kernel.set_up(loopback.index)
        six = bool(network.get("address6"))
        _write(f"ipv6/conf/{device}/disable_ipv6", "0" if six else "1")
        if six:
            # A port that also sends back out of itself returns the question whether anybody has this address.
            _write(f"ipv6/conf/{device}/accept_dad", "0")
        kernel.add_address(link.index, network["address"], int(network["subnet"].rpartition("/")[2]))
        if six:
            kernel.add_address(link.index, network["address6"], int(network["subnet6"].rpartition("/")[2]))
        kernel.set_up(link.index)
    if routed:
        route(network, path)


def route(network: Mapping[str, Any], path: str) -> None:
    """Have what is for nobody in the namespace `path` go out through a network it is on.  Raises NetworkFailed."""
    with namespace.Entered(path), netlink.RouteNetlink() as kernel:
        link = kernel.link(network["device"])
        if link is None:
            raise NetworkFailed(f"the device {network['device']} of network {network['name']} is gone already")
        for gateway in ("gateway", "gateway6"):
            if network.get(gateway):
                kernel.add_default_route(link.index, network[gateway])


def loopback_up(path: str) -> None:
    """Have the loopback of a namespace work."""
    with namespace.Entered(path), netlink.RouteNetlink() as kernel:
        link = kernel.link("lo")
        if link is not None and not link.up:
            kernel.set_up(link.index)


def take_away(devices: Sequence[str]) -> None:
    """Take cables, by their ends on the host, and bridges away; nothing for those that are gone."""
    with netlink.RouteNetlink() as kernel:
        kernel.delete_all(devices)
