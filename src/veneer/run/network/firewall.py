"""Who may reach whom, and what becomes of addresses on the way: one nftables table for one data root.

The table has fixed rules over sets and maps, so that a network is a few elements and a published port one element; a
container without ports needs no program to be run at all.  Another engine on the host may have set the policy of
iptables' FORWARD chain to DROP, and no table of ours can overrule that: each bridge is let through there besides,
and gated here.  Sources: nft(8), linux/netfilter/nf_tables.h; docs/decisions/0015-networks.md.
"""

from __future__ import annotations

import errno
import os
import socket

from veneer.run.network import legacy, netlink, owners
from veneer.run.network.failures import NetworkFailed, NoNetwork

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

PROGRAM = "nft"
SEARCHED = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_PATIENCE_SECONDS = 30.0
_NETFILTER = 12
_GETTABLE, _GETRULE, _GETSETELEM = 10 << 8 | 1, 10 << 8 | 7, 10 << 8 | 13
_DUMP = 0x300
_INET, _IPV4, _IPV6 = 1, 2, 10
_TABLE_NAME, _CHAIN_NAME, _SET_NAME = 1, 2, 2
_ELEMENTS, _KEY, _USERDATA, _VALUE = 3, 1, 6, 1
_RULE_USERDATA = 7

_RULES = """
table inet {table} {{
    {owner}
    set bridges {{ type ifname; }}
    set within {{ type ifname . ifname; }}
    set closed {{ type ifname; }}
    set inside4 {{ type ipv4_addr . ipv4_addr; flags interval; }}
    set inside6 {{ type ipv6_addr . ipv6_addr; flags interval; }}
    set masked4 {{ type ipv4_addr; flags interval; }}
    set masked6 {{ type ipv6_addr; flags interval; }}
    map any4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    map any6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; }}
    map exact4 {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}
    map exact6 {{ type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }}
    chain ports {{
        dnat ip to ip daddr . meta l4proto . th dport map @exact4
        dnat ip to meta l4proto . th dport map @any4
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @exact6
        dnat ip6 to meta l4proto . th dport map @any6
    }}
    chain arriving {{
        type nat hook prerouting priority dstnat;
        fib daddr type local jump ports
    }}
    chain ours {{
        type nat hook output priority -100;
        ip6 daddr ::1 return
        fib daddr type local jump ports
    }}
    chain raw {{
        type filter hook prerouting priority raw;
        iifname @bridges ip daddr 127.0.0.0/8 drop
    }}
    chain forward {{
        type filter hook forward priority filter;
        ct state established,related accept
        iifname . oifname @within accept
        iifname @closed drop
        oifname @closed drop
        oifname @bridges ct status dnat accept
        oifname @bridges drop
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat;
        ip saddr 127.0.0.0/8 oifname @bridges masquerade
        ct status dnat ip saddr . ip daddr @inside4 masquerade
        ct status dnat ip6 saddr . ip6 daddr @inside6 masquerade
        oifname != @bridges ip saddr @masked4 masquerade
        oifname != @bridges ip6 saddr @masked6 masquerade
    }}
}}
"""
"""`within`, `inside`: from a network to itself, by devices and by addresses (where a packet that came over a bridge
leaves, the kernel may not know any more by which device it came).  `closed`: networks without a way out.  Loopback
addresses of the host are published by sending them on to the bridge, so what a container itself sends to one is dropped
first."""

_LET_THROUGH = """
add table {family} filter
add chain {family} filter FORWARD {{ type filter hook forward priority 0; policy accept; }}
insert rule {family} filter FORWARD oifname "{bridge}" counter accept comment "{mark}"
insert rule {family} filter FORWARD iifname "{bridge}" counter accept comment "{mark}"
"""


def program() -> str:
    """The program's path.  Raises NoNetwork."""
    for folder in SEARCHED.split(":"):
        if os.access(f"{folder}/{PROGRAM}", os.X_OK):
            return f"{folder}/{PROGRAM}"
    raise NoNetwork(f"a bridge network needs {PROGRAM}, and it is not installed",
                    hint="apt-get install nftables, or use --network none (or host)")  # fmt: skip


def load(text: str) -> None:
    """Carry out a batch of nft's language, all or nothing.  Raises NoNetwork, NetworkFailed, FileExistsError."""
    done = _run(["-f", "-"], text)
    if done.returncode == 0:
        return
    said = done.stderr.decode(errors="replace").strip()
    if "File exists" in said:
        raise FileExistsError(errno.EEXIST, said.splitlines()[0])
    if "No such file or directory" in said:
        raise FileNotFoundError(errno.ENOENT, said.splitlines()[0])
    raise NetworkFailed(f"{PROGRAM} could not change the host's rules: {said.splitlines()[0] if said else 'no reason'}")


def _run(words: Sequence[str], text: str = "") -> subprocess.CompletedProcess[bytes]:
    import subprocess

    try:
        return subprocess.run(
            [program(), *words], input=text.encode(), capture_output=True, timeout=_PATIENCE_SECONDS, check=False,
            cwd="/", env={"PATH": SEARCHED, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NetworkFailed(f"{PROGRAM} did not answer for {_PATIENCE_SECONDS:.0f} s") from None


# ---- networks


def admit(root: str, table: str, network: Mapping[str, Any]) -> None:
    """Have the rules of a data root know a network of a plan; costs two questions to the kernel if they do."""
    bridge = network["bridge"]
    families = [_IPV4, *([_IPV6] if network.get("address6") else [])]
    text = ""
    with netlink.Netlink(_NETFILTER) as kernel:
        known = _admitted(kernel, table)
        if known is None:
            text += _RULES.format(table=table, owner=owners.chain(root))
        before = (known or {}).get(bridge)
        if before != _subnets(network):
            if before is not None:  # it was given another subnet since
                _drop(table, {**network, **_of_subnets(before or _subnets(network))})
            text += _elements(table, network)
        for family in families:
            mark = _mark(table, bridge)
            rules = _dump(kernel, _GETRULE, family, (_TABLE_NAME, "filter"), (_CHAIN_NAME, "FORWARD"))
            if not any(mark.encode() + b"\0" in rule for rule in rules or ()):
                name = "ip" if family == _IPV4 else "ip6"
                text += _LET_THROUGH.format(family=name, bridge=bridge, mark=mark)
    if text:
        load(text)
    legacy.admit(bridge, _mark(table, bridge), ["ip" if family == _IPV4 else "ip6" for family in families])


def _mark(table: str, bridge: str) -> str:
    return f"{table} {bridge}"


def admitted(table: str) -> dict[str, str] | None:
    """The bridges that a table knows, each with its network's subnets; None if there is no such table."""
    with netlink.Netlink(_NETFILTER) as kernel:
        return _admitted(kernel, table)


def _admitted(kernel: netlink.Netlink, table: str) -> dict[str, str] | None:
    messages = _dump(kernel, _GETSETELEM, _INET, (_TABLE_NAME, table), (_SET_NAME, "bridges"))
    if messages is None:
        return None
    found = {}
    for message in messages:
        for _, element in netlink.attributes(dict(_given(message)).get(_ELEMENTS, b"")):
            given = dict(netlink.attributes(element))
            name = dict(netlink.attributes(given[_KEY]))[_VALUE]
            found[name.rstrip(b"\0").decode()] = _comment(given.get(_USERDATA, b""))
    return found


def tables() -> list[str]:
    """The tables of the family inet; none where the kernel knows of no tables."""
    with netlink.Netlink(_NETFILTER) as kernel:
        messages = _dump(kernel, _GETTABLE, _INET)
    return [dict(_given(message))[_TABLE_NAME].rstrip(b"\0").decode() for message in messages or ()]


def comments(table: str, chain: str) -> list[str]:
    """The comments of a chain's rules, in their order; none if there is no such chain."""
    with netlink.Netlink(_NETFILTER) as kernel:
        messages = _dump(kernel, _GETRULE, _INET, (_TABLE_NAME, table), (_CHAIN_NAME, chain))
    return [_comment(dict(_given(message)).get(_RULE_USERDATA, b"")) for message in messages or ()]


def _given(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of an answer, behind the four bytes that each begins with."""
    return netlink.attributes(message[4:])


def _comment(userdata: bytes) -> str:
    """The comment in what nft keeps with a thing for itself: its kind and length, a byte each, and text with a zero."""
    return userdata[2:].rstrip(b"\0").decode()


def _subnets(network: Mapping[str, Any]) -> str:
    return " ".join(str(network[key]) for key in ("subnet", "subnet6") if network.get(key))


def _of_subnets(said: str) -> dict[str, str]:
    return {"subnet6" if ":" in subnet else "subnet": subnet for subnet in said.split()}


def _dump(kernel: netlink.Netlink, kind: int, family: int, *names: tuple[int, str]) -> list[bytes] | None:
    """What nf_tables answers, None where there is no such thing, or the kernel has no tables at all."""
    given = b"".join(netlink.attribute(key, name.encode() + b"\0") for key, name in names)
    try:
        return kernel.ask(kind, _DUMP, bytes([family, 0, 0, 0]) + given)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP):
            return None
        raise


def _elements(table: str, network: Mapping[str, Any]) -> str:
    bridge = network["bridge"]
    lines = [
        f'add element inet {table} bridges {{ "{bridge}" comment "{_subnets(network)}" }}',
        f'add element inet {table} within {{ "{bridge}" . "{bridge}" }}',
    ]
    if network.get("internal"):
        lines.append(f'add element inet {table} closed {{ "{bridge}" }}')
    for family, subnet in ((4, network.get("subnet")), (6, network.get("subnet6"))):
        if subnet:
            lines.append(f"add element inet {table} inside{family} {{ {subnet} . {subnet} }}")
            if network.get("masquerade", True) and not network.get("internal"):
                lines.append(f"add element inet {table} masked{family} {{ {subnet} }}")
    return "\n".join(lines) + "\n"


def forget(table: str, network: Mapping[str, Any]) -> None:
    """Have the rules not know a network any more; nothing if they do not."""
    before = (admitted(table) or {}).get(network["bridge"])
    if before is not None:
        _drop(table, {**network, **_of_subnets(before or _subnets(network))})
    _stop_letting_through(f'"{_mark(table, network["bridge"])}"')


def forget_all(table: str) -> None:
    """Have no rules of a data root; nothing if there are none."""
    _unless_gone(f"delete table inet {table}\n")
    _stop_letting_through(f'"{table} ')


def _drop(table: str, network: Mapping[str, Any]) -> None:
    _without(_elements(table, network).replace("add element", "delete element"))


def _stop_letting_through(mark: str) -> None:
    """Take the rules out of iptables' FORWARD, of both kinds, whose comment, in its quotes, begins with `mark`."""
    lines = []
    for family in ("ip", "ip6"):
        listed = _run(["-a", "list", "chain", family, "filter", "FORWARD"])
        for line in listed.stdout.decode(errors="replace").splitlines():
            rule, _, handle = line.rpartition("# handle ")
            if f"comment {mark}" in rule:
                lines.append(f"delete rule {family} filter FORWARD handle {handle}\n")
    _without("".join(lines))
    legacy.forget(mark)


def _without(text: str) -> None:
    """Carry out deletions, a line each; nothing for what is gone."""
    if not text:
        return
    try:
        load(text)
    except FileNotFoundError:
        for line in text.splitlines():
            _unless_gone(line)


def _unless_gone(line: str) -> None:
    try:
        load(line)
    except FileNotFoundError:
        return


# ---- ports


def publish(table: str, ports: Sequence[Mapping[str, Any]], address: str, address6: str) -> None:
    """Send what comes for the host's `ports` on to a container's addresses ("" for none).

    What a killed container left under the same port is replaced: whoever holds the port's socket decides.
    """
    elements = [each for port in ports if (each := _element(port, address, address6))]
    text = "".join(f"add element inet {table} {name} {{ {key} : {value} }}\n" for name, key, value in elements)
    if not text:
        return
    try:
        load(text)
    except FileExistsError:
        withdraw(table, ports, address, address6)
        load(text)


def withdraw(table: str, ports: Sequence[Mapping[str, Any]], address: str, address6: str) -> None:
    """Send nothing on any more; nothing for ports that are not sent on."""
    elements = [each for port in ports if (each := _element(port, address, address6))]
    _without("".join(f"delete element inet {table} {name} {{ {key} }}\n" for name, key, _ in elements))


def _element(port: Mapping[str, Any], address: str, address6: str) -> tuple[str, str, str] | None:
    """The map, the key and the value for a published port; None if the container has no address of that family."""
    host = port["host_ip"]
    family = 6 if ":" in host else 4
    inside = address6 if family == 6 else address
    if not inside:
        return None
    what = f"{port['proto']} . {port['host_port']}"
    anybody = not any(socket.inet_pton(socket.AF_INET6 if family == 6 else socket.AF_INET, host))
    name, key = (f"any{family}", what) if anybody else (f"exact{family}", f"{host} . {what}")
    return name, key, f"{inside} . {port['container_port']}"
