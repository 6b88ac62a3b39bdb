"""The files a container finds in /etc whatever its image has: resolv.conf, hosts, hostname; as text.

Sources: moby libnetwork resolvconf, etchosts; resolv.conf(5), hosts(5).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

RESOLV_CONF = "/etc/resolv.conf"
RESOLVED = "/run/systemd/resolve/resolv.conf"
"""Where systemd-resolved says whom it asks itself, while /etc/resolv.conf names its own address on the loopback."""
_HOSTS = """127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
ff00::0	ip6-mcastprefix
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
"""
_PUBLIC = ("8.8.8.8", "8.8.4.4")
"""Who is asked where the host names nobody that a container can reach, as in docker."""


def hosts(extra: Iterable[tuple[str, str]], hostname: str = "") -> bytes:
    """/etc/hosts with `extra` (name, address) pairs; the container's own name is on its loopback."""
    lines = [f"{address}\t{name}\n" for name, address in extra]
    if hostname:
        lines.append(f"127.0.0.1\t{hostname}\n")
    return (_HOSTS + "".join(lines)).encode()


def resolv_conf(
    paths: Sequence[str] = (RESOLV_CONF, RESOLVED), *, own_network: bool = True, otherwise: Sequence[str] = _PUBLIC
) -> bytes:
    """/etc/resolv.conf as the host has it; in a network of its own, without servers on the host's loopback.

    `otherwise` are asked where that leaves nobody.
    """
    text = _read(paths[0])
    if not own_network:
        return text
    if not _reachable(text):
        text = _read(paths[1]) or text
    kept = [line for line in text.decode(errors="replace").splitlines() if _address(line) != "loopback"]
    if not any(_address(line) for line in kept):
        kept += [f"nameserver {address}" for address in otherwise]
    return "".join(line + "\n" for line in kept).encode()


def container_hosts(hostname: str, domain: str, addresses: Iterable[str], extra: Iterable[tuple[str, str]]) -> bytes:
    """A container's /etc/hosts: `extra` (name, address) pairs, then its own name at each of its addresses."""
    own = f"{hostname}.{domain} {hostname}" if domain else hostname
    lines = [f"{address}\t{name}\n" for name, address in extra]
    lines += [f"{address}\t{own}\n" for address in addresses if own]
    return (_HOSTS + "".join(lines)).encode()


def container_resolv_conf(
    servers: Sequence[str], search: Sequence[str], options: Sequence[str], *, host: bytes, resolver: str = ""
) -> bytes:
    """A container's /etc/resolv.conf: what was asked for, and the rest as in `host`, the file it would have otherwise.

    `resolver`: the address of its own name server, which then is the only one.  A search for "." is none at all.
    """
    if not (servers or search or options or resolver):
        return host
    lines = [line.split() for line in host.decode(errors="replace").splitlines()]

    def said(key: str) -> list[str]:
        return [word for line in lines if line[:1] == [key] for word in line[1:]]

    asked = [resolver] if resolver else list(servers) or said("nameserver")
    domains = [] if list(search) == ["."] else list(search) or said("search")
    chosen = list(options) or said("options")
    if resolver and not any(option.startswith("ndots:") for option in chosen):
        # A name without a dot is asked as it is, before any domain is tried.
        chosen.append("ndots:0")
    found = [f"search {' '.join(domains)}\n"] if domains else []
    found += [f"nameserver {address}\n" for address in asked]
    found += [f"options {' '.join(chosen)}\n"] if chosen else []
    return "".join(found).encode()


def host_servers(paths: Sequence[str] = (RESOLV_CONF, RESOLVED)) -> list[str]:
    """The name servers that the host asks, those on its loopback too."""
    words = (line.split() for line in _read(paths[0]).decode(errors="replace").splitlines())
    return [each[1].partition("%")[0] for each in words if len(each) > 1 and each[0] == "nameserver"]


def _reachable(text: bytes) -> bool:
    return any(_address(line) == "other" for line in text.decode(errors="replace").splitlines())


def _address(line: str) -> str:
    """ "loopback" or "other" for a line that names a server; "" for every other line."""
    words = line.split()
    if len(words) < 2 or words[0] != "nameserver":
        return ""
    try:
        address = ipaddress.ip_address(words[1].partition("%")[0])
    except ValueError:
        return ""
    return "loopback" if address.is_loopback else "other"


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""
