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
