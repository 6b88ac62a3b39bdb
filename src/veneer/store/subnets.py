"""Subnets, and the addresses in them: which are free, which overlap.  Pure.

Sources: moby libnetwork ipam, ipamutils; RFC 4193 (local IPv6 addresses).
"""

from __future__ import annotations

import functools
import ipaddress

from veneer.errors import Conflict, InvalidRequest, Unavailable
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any


@functools.cache
def _pools() -> Sequence[ipaddress.IPv4Network]:
    """What networks of version 4 are given, in this order."""
    # Docker goes up through the same ranges: coming from above, we meet late.
    return [
        *(ipaddress.IPv4Network(((172 << 24) + (second << 16), 16)) for second in range(31, 16, -1)),
        *(ipaddress.IPv4Network(((192 << 24) + (168 << 16) + (third << 8), 20)) for third in range(240, -1, -16)),
    ]


class InvalidSubnet(InvalidRequest):
    """A subnet, a range, a gateway or an address that is none, or that does not fit the others."""


class NotInNetwork(InvalidRequest):
    """An address that is in none of a network's subnets."""


class PoolOverlaps(Conflict):
    """A subnet that overlaps with another network's."""


class NoPoolLeft(Unavailable):
    """Every subnet that networks are given is taken."""


class Pool(Value):
    """A subnet and which of its addresses containers are given.  `taken`: never those (docker's aux addresses)."""

    subnet: str
    gateway: str
    range: str
    taken: tuple[str, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Pool:
        """From docker's IPAMConfig; the gateway it does not name is the first address of its range."""
        network = ipaddress.ip_network(config["Subnet"], strict=False)
        inner = str(config.get("IPRange") or network)
        taken = tuple((config.get("AuxiliaryAddresses") or {}).values())
        gateway = config.get("Gateway") or next(_hosts(network, taken), "")
        return cls(str(network), str(gateway), inner, taken)

    @property
    def version(self) -> int:
        return version(self.subnet)

    def has(self, address: str) -> bool:
        """Whether the address is of this subnet."""
        return ipaddress.ip_address(address) in ipaddress.ip_network(self.subnet)

    def candidates(self) -> Iterator[str]:
        """The addresses for containers, lowest first."""
        subnet = ipaddress.ip_network(self.subnet)
        edges = {subnet.network_address, subnet.broadcast_address} if subnet.version == 4 else {subnet.network_address}
        never = {*map(str, edges), self.gateway, *self.taken}
        inner = ipaddress.ip_network(self.range, strict=False)
        for offset in range(inner.num_addresses):
            address = str(inner.network_address + offset)
            if address not in never:
                yield address


def _hosts(network: ipaddress.IPv4Network | ipaddress.IPv6Network, taken: Sequence[str]) -> Iterator[str]:
    return (str(address) for address in network.hosts() if str(address) not in taken)


def version(subnet: str) -> int:
    """4 or 6."""
    return 6 if ":" in subnet else 4


def checked(subnet: str) -> str:
    """The subnet as given.  Raises InvalidSubnet in docker's words."""
    try:
        if "/" not in subnet:
            raise ValueError
        ipaddress.ip_network(subnet, strict=False)
    except ValueError:
        raise InvalidSubnet(
            f"Invalid subnet {subnet} : invalid CIDR address: {subnet}", hint="as in 10.5.0.0/24"
        ) from None
    return subnet


def overlap(one: str, other: str) -> bool:
    """Whether two subnets have an address in common."""
    if version(one) != version(other):
        return False
    first, second = (ipaddress.ip_network(each, strict=False) for each in (one, other))
    return first.overlaps(second)


def refuse_overlap(subnet: str, others: Iterable[str]) -> None:
    """Raise PoolOverlaps if `subnet` overlaps with one of `others`."""
    for other in others:
        if overlap(subnet, other):
            raise PoolOverlaps("Pool overlaps with other one on this address space",
                               hint=f"a network has {other} already: veneer network ls")  # fmt: skip


def choose(taken: Iterable[str]) -> dict[str, Any]:
    """docker's IPAMConfig of a subnet that overlaps with none of `taken`.  Raises NoPoolLeft."""
    used = [ipaddress.ip_network(each, strict=False) for each in taken if version(each) == 4]
    for pool in _pools():
        if not any(pool.overlaps(each) for each in used if isinstance(each, ipaddress.IPv4Network)):
            return {"Subnet": str(pool), "Gateway": str(pool.network_address + 1)}
    raise NoPoolLeft(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        hint="remove networks that nobody uses (veneer network prune), or give it a --subnet",
    )


def choose_ipv6(root: str, network: str, taken: Iterable[str]) -> dict[str, Any]:
    """docker's IPAMConfig of a local IPv6 subnet: 40 bits that stand for the data root, 16 for the network."""
    import hashlib

    globally = hashlib.sha256(root.encode()).digest()[:5]
    for attempt in range(1 << 10):
        locally = hashlib.sha256(f"{network} {attempt}".encode()).digest()[:2]
        pool = ipaddress.IPv6Network((int.from_bytes(b"\xfd" + globally + locally, "big") << 64, 64))
        if not any(overlap(str(pool), each) for each in taken):
            return {"Subnet": str(pool), "Gateway": str(pool.network_address + 1)}
    raise NoPoolLeft("could not find an available, non-overlapping IPv6 address pool", hint="give it a --subnet")


def configuration(
    given: Sequence[str], ranges: Sequence[str], gateways: Sequence[str], taken: Mapping[str, str]
) -> list[dict[str, Any]]:
    """docker's IPAM Config from what `network create` is told, each range and gateway with its subnet.

    Raises InvalidSubnet in docker's words.
    """
    if len(given) < len(ranges) or len(given) < len(gateways):
        raise InvalidSubnet("every ip-range or gateway must have a corresponding subnet")
    configs: dict[str, dict[str, Any]] = {}
    for subnet in given:
        for other in configs:
            if _valid(subnet) and _valid(other) and overlap(subnet, other):
                raise InvalidSubnet("multiple overlapping subnet configuration is not supported")
        configs[subnet] = {"Subnet": subnet}
    for kind, key, texts in (("range", "IPRange", ranges), ("gateway", "Gateway", gateways)):
        for text in texts:
            config = _holder(configs, kind, text)
            if key in config:
                raise InvalidSubnet(f"cannot configure multiple {kind}s ({text}, {config[key]}) on the same subnet "
                                    f"({config['Subnet']})")  # fmt: skip
            config[key] = text
    for name, address in taken.items():
        _holder(configs, "aux-address", address).setdefault("AuxiliaryAddresses", {})[name] = address
    return [_ordered(config) for config in configs.values()]


def _valid(subnet: str) -> bool:
    try:
        checked(subnet)
    except InvalidSubnet:
        return False
    return True


def _holder(configs: Mapping[str, dict[str, Any]], kind: str, text: str) -> dict[str, Any]:
    """The subnet that a range or an address is in."""
    try:
        inner = ipaddress.ip_network(text, strict=False)
    except ValueError:
        inner = None
    for subnet, config in configs.items():
        if inner is not None and _valid(subnet):
            outer = ipaddress.ip_network(subnet, strict=False)
            if inner.version == outer.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen:
                return config
    raise InvalidSubnet(f"no matching subnet for {kind} {text}")


def _ordered(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in ("Subnet", "IPRange", "Gateway", "AuxiliaryAddresses") if key in config}
