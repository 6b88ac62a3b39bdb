"""Devices, addresses and routes of the kernel, through rtnetlink: the few requests that a container's network needs.

Own code, because it is 0.7 ms where a program is 5 ms and the library 440 ms to import, and because it runs in the
monitor, which must stay small: docs/decisions/0015-networks.md.  Every function raises OSError with the kernel's
errno.  Sources: rtnetlink(7), netlink(7), linux/if_link.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")

_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR = 20
_NEWROUTE, _GETROUTE = 24, 26
_REQUEST, _ACK, _EXCLUSIVE, _CREATE, _DUMP = 1, 4, 0x200, 0x400, 0x300
_NESTED = 0x8000

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = (
    1, 3, 4, 10, 18, 20, 28,
)  # fmt: skip
ALIAS_LENGTH = 255
"""Bytes that the kernel takes of what somebody says of a device (IFALIASZ, and its zero)."""
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_VETH_INFO_PEER = 1
_BRPORT_MODE, _BRPORT_ISOLATED = 4, 33
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS = 1, 2, 4, 8
_NODAD = 0x02
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_TABLE_MAIN, _PROTOCOL_BOOT, _UNIVERSE, _UNICAST = 254, 3, 0, 1
_UP = 1


class Link(Value):
    """A network device: `address` its MAC in colons, "" if it has none; `master` the index of the bridge it is a port
    of, or 0; `alias` what somebody has said of it."""

    index: int
    name: str
    address: str
    up: bool
    master: int = 0
    alias: str = ""


class Route(Value):
    """A route of the main table: `destination` in binary (b"": everything), `prefix` its length, `device` an index."""

    family: int
    destination: bytes
    prefix: int
    device: int


class VethEnd(Value):
    """One end of a pair of devices: its name and, "" for the kernel's choice, its MAC."""

    name: str
    mac: str = ""


def attribute(kind: int, data: bytes) -> bytes:
    """An attribute, padded to four bytes as netlink wants it."""
    return _ATTRIBUTE.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`: kind and content."""
    while len(data) >= 4:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[length + 3 & ~3 :]


def binary(address: str) -> tuple[int, bytes]:
    """The address family and the bytes of an IPv4 or IPv6 address.  Raises OSError if it is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)


def _mac(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))


def _name(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0")


class Netlink:
    """A conversation with one protocol of netlink, in the network namespace of the thread that begins it."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._number = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """What the kernel answers to one request: the bodies of its messages, without their headers."""
        self._number += 1
        message = _HEADER.pack(16 + len(body), kind, flags | _REQUEST, self._number, 0) + body
        self._socket.send(message)
        found: list[bytes] = []
        while True:
            data = self._socket.recv(1 << 18)
            while len(data) >= 16:
                length, answer, answer_flags, number, _ = _HEADER.unpack_from(data)
                content, data = data[16:length], data[length + 3 & ~3 :]
                if number != self._number:
                    continue
                if answer == _ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                if answer == _DONE:
                    return found
                found.append(content)
                if not flags & (_ACK | _DUMP) and not answer_flags & 2:
                    return found

    def ask_all(self, requests: Sequence[tuple[int, bytes]], *, but: int) -> None:
        """Make several requests by one call, each a kind and a body; an answer with the errno `but` is a good one."""
        first = self._number + 1
        message = b""
        for kind, body in requests:
            self._number += 1
            sized = _HEADER.pack(16 + len(body), kind, _REQUEST | _ACK, self._number, 0) + body
            message += sized + bytes(-len(sized) % 4)
        if message:
            self._socket.send(message)
        unanswered = set(range(first, self._number + 1))
        failures = []
        while unanswered:
            data = self._socket.recv(1 << 18)
            while len(data) >= 16:
                length, answer, _, number, _ = _HEADER.unpack_from(data)
                content, data = data[16:length], data[length + 3 & ~3 :]
                if answer == _ERROR and number in unanswered:
                    unanswered.remove(number)
                    failures.append(-struct.unpack_from("=i", content)[0])
        for code in failures:
            if code not in (0, but):
                raise OSError(code, os.strerror(code))


class RouteNetlink(Netlink):
    """The network devices, addresses and routes of the namespace it was opened in."""

    def __init__(self) -> None:
        super().__init__(0)

    def __enter__(self) -> RouteNetlink:
        return self

    # ---- devices

    def link(self, name: str) -> Link | None:
        """The device of that name, None if there is none."""
        try:
            body = self.ask(_GETLINK, 0, _LINK.pack(0, 0, 0, 0, 0) + _name(name))[0]
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(body)

    def links(self) -> list[Link]:
        """Every device there is."""
        return [_link(body) for body in self.ask(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0))]

    def ports(self, bridge: int) -> list[Link]:
        """The ports of the bridge of that index."""
        # The kernel leaves others out; one too old to know how does not.
        body = _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_MASTER, struct.pack("=i", bridge))
        return [link for each in self.ask(_GETLINK, _DUMP, body) if (link := _link(each)).master == bridge]

    def set_alias(self, index: int, alias: str) -> None:
        """Say of a device what it is, in at most ALIAS_LENGTH bytes."""
        self.ask(_NEWLINK, _ACK, _LINK.pack(0, 0, index, 0, 0) + attribute(_IFLA_IFALIAS, os.fsencode(alias)))

    def make_bridge(self, name: str, mac: str, mtu: int) -> None:
        """Make a bridge, up.  FileExistsError if something has that name."""
        info = attribute(_INFO_KIND, b"bridge")
        self._new(
            _name(name) + attribute(_IFLA_ADDRESS, _mac(mac)) + _mtu(mtu) + attribute(_IFLA_LINKINFO | _NESTED, info)
        )

    def make_pair(self, here: VethEnd, there: VethEnd, *, bridge: int, mtu: int, namespace: int) -> None:
        """Make two devices that are one cable: `here` as a port of `bridge`, up; `there` in another namespace.

        `namespace` is a descriptor of that, `bridge` an index.  FileExistsError if a name is taken.
        """
        peer = _LINK.pack(0, 0, 0, 0, 0) + _name(there.name) + _mtu(mtu)
        if there.mac:
            peer += attribute(_IFLA_ADDRESS, _mac(there.mac))
        peer += attribute(_IFLA_NET_NS_FD, struct.pack("=i", namespace))
        data = attribute(_INFO_DATA | _NESTED, attribute(_VETH_INFO_PEER | _NESTED, peer))
        info = attribute(_IFLA_LINKINFO | _NESTED, attribute(_INFO_KIND, b"veth") + data)
        self._new(_name(here.name) + _mtu(mtu) + attribute(_IFLA_MASTER, struct.pack("=i", bridge)) + info)

    def set_port(self, index: int, *, hairpin: bool, isolated: bool) -> None:
        """How a port of a bridge forwards: `hairpin`, also back out of itself; `isolated`, not to other such ports."""
        data = attribute(_BRPORT_MODE, bytes([hairpin])) + attribute(_BRPORT_ISOLATED, bytes([isolated]))
        info = attribute(_INFO_SLAVE_KIND, b"bridge") + attribute(_INFO_SLAVE_DATA | _NESTED, data)
        self.ask(_NEWLINK, _ACK, _LINK.pack(0, 0, index, 0, 0) + attribute(_IFLA_LINKINFO | _NESTED, info))

    def set_up(self, index: int) -> None:
        self.ask(_NEWLINK, _ACK, _LINK.pack(0, 0, index, _UP, _UP))

    def delete(self, name: str) -> bool:
        """Take a device away; False if there was none."""
        try:
            self.ask(_DELLINK, _ACK, _LINK.pack(0, 0, 0, 0, 0) + _name(name))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
        return True

    def delete_all(self, names: Sequence[str]) -> None:
        """Take devices away, those of them that are there, by one call: once it has begun it is done wholly, also when
        this process ends meanwhile."""
        self.ask_all([(_DELLINK, _LINK.pack(0, 0, 0, 0, 0) + _name(name)) for name in names], but=errno.ENODEV)

    def _new(self, given: bytes) -> None:
        self.ask(_NEWLINK, _ACK | _CREATE | _EXCLUSIVE, _LINK.pack(0, 0, 0, _UP, _UP) + given)

    # ---- addresses and routes

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give a device an address; nothing if it has it."""
        family, packed = binary(address)
        given = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
        if family == socket.AF_INET and prefix < 31:
            last = int.from_bytes(packed, "big") | (1 << 32 - prefix) - 1
            given += attribute(_IFA_BROADCAST, last.to_bytes(4, "big"))
        else:
            # Nobody else can have it: without, the address could not be used before the kernel had asked around.
            given += attribute(_IFA_FLAGS, struct.pack("=I", _NODAD))
        self._add(_NEWADDR, _ADDRESS.pack(family, prefix, 0, 0, index) + given)

    def add_default_route(self, index: int, gateway: str) -> None:
        """Send everything else through `gateway`, which `index` reaches; nothing if that is so."""
        family, packed = binary(gateway)
        head = _ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, _PROTOCOL_BOOT, _UNIVERSE, _UNICAST, 0)
        self._add(_NEWROUTE, head + attribute(_RTA_GATEWAY, packed) + attribute(_RTA_OIF, struct.pack("=i", index)))

    def routes(self) -> list[Route]:
        """The routes of both families in the main table."""
        found = []
        for body in self.ask(_GETROUTE, _DUMP, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            family, prefix, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
            if table == _TABLE_MAIN and kind == _UNICAST and family in (socket.AF_INET, socket.AF_INET6):
                given = dict(attributes(body[12:]))
                device = int.from_bytes(given.get(_RTA_OIF, b""), "little")
                found.append(Route(family, given.get(_RTA_DST, b""), prefix, device))
        return found

    def _add(self, kind: int, body: bytes) -> None:
        try:
            self.ask(kind, _ACK | _CREATE | _EXCLUSIVE, body)
        except FileExistsError:
            return


def _link(body: bytes) -> Link:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body[16:]))
    return Link(
        index, _text(found, _IFLA_IFNAME), found.get(_IFLA_ADDRESS, b"").hex(":"), bool(flags & _UP),
        int.from_bytes(found.get(_IFLA_MASTER, b""), sys.byteorder), _text(found, _IFLA_IFALIAS),
    )  # fmt: skip


def _text(found: Mapping[int, bytes], kind: int) -> str:
    return os.fsdecode(found.get(kind, b"").rstrip(b"\0"))


def _mtu(mtu: int) -> bytes:
    return attribute(_IFLA_MTU, struct.pack("=I", mtu)) if mtu else b""
