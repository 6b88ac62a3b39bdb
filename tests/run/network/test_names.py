"""Names between containers, and everything else as the host has it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.network.conftest import Lan, Place
from tests.support.private_host import OUTSIDE, Away
from veneer.run.monitor import state
from veneer.run.network import dns, names

NAMED = "127.0.0.11"


def query(name: str, kind: int = dns.A) -> bytes:
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return struct.pack(">HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, dns.IN)


def answers(response: bytes) -> tuple[int, list[bytes]]:
    """The code, and the data of each record (all of them have the question's name)."""
    code, count = response[3] & 15, response[7]
    at, found = 12, []
    while response[at]:
        at += 1 + response[at]
    at += 5
    for _ in range(count):
        length = int.from_bytes(response[at + 10 : at + 12], "big")
        found.append(response[at + 12 : at + 12 + length])
        at += 12 + length
    return code, found


def lookup(place: Away, name: str, kind: int = dns.A, *, stream: bool = False) -> tuple[int, list[bytes]]:
    def asked() -> bytes:
        message = query(name, kind)
        if stream:
            with socket.create_connection((NAMED, 53), 60) as connection:
                connection.sendall(len(message).to_bytes(2, "big") + message)
                length = int.from_bytes(connection.recv(2, socket.MSG_WAITALL), "big")
                return connection.recv(length, socket.MSG_WAITALL)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(60)
            asking.sendto(message, (NAMED, 53))
            return asking.recv(4096)

    response = place.inside(asked)
    assert response[:2] == b"\x12\x34"
    return answers(response)


def ips(place: Away, name: str, **how: bool) -> list[str]:
    return [socket.inet_ntoa(each) for each in lookup(place, name, **how)[1]]


@contextlib.contextmanager
def name_server(machine: Away) -> Iterator[None]:
    """A name server on the machine outside, that knows every name as 192.0.2.7."""

    def bound(kind: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.bind((OUTSIDE, 53))
        made.settimeout(0.1)
        return made

    datagrams = machine.inside(lambda: bound(socket.SOCK_DGRAM))
    streams = machine.inside(lambda: bound(socket.SOCK_STREAM))
    streams.listen()
    over = threading.Event()

    def answer(message: bytes) -> bytes:
        asked = dns.question(message)
        assert asked is not None
        return dns.address_answer(message, asked, ["192.0.2.7"])

    def serve() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                message, client = datagrams.recvfrom(4096)
                datagrams.sendto(answer(message), client)
            with contextlib.suppress(TimeoutError):
                connection, _ = streams.accept()
                with connection:
                    message = connection.recv(4096)
                    response = answer(message[2:])
                    connection.sendall(len(response).to_bytes(2, "big") + response)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        datagrams.close()
        streams.close()


def named(lan: Lan, number: int, name: str, *aliases: str, last: int, servers: list[str] | None = None) -> Place:
    network = lan.network(number, last, named=True, names=[name, *aliases], device="eth0")
    return lan.place(name, network, servers=servers or [])


def test_containers_of_one_network_know_each_other_by_every_name(lan: Lan) -> None:
    db = named(lan, 1, "db", "database", "0123456789ab", last=2)
    web = named(lan, 1, "web", last=3)
    for name in ("db", "database", "0123456789ab", "DB", "db.net1"):
        assert ips(web, name) == [db.address], name
    assert ips(web, "db", stream=True) == [db.address]
    assert lookup(web, "db", dns.AAAA) == (dns.NO_ERROR, [])
    assert lookup(web, "2.1.9.10.in-addr.arpa", dns.PTR)[1] == [b"\x02db\x04net1\0"]


def test_an_alias_of_several_has_all_their_addresses(lan: Lan) -> None:
    first, second = named(lan, 1, "a", "pool", last=2), named(lan, 1, "b", "pool", last=3)
    assert sorted(ips(first, "pool")) == sorted([first.address, second.address])


def test_another_networks_names_are_not_known(lan: Lan) -> None:
    named(lan, 1, "db", last=2)
    assert lookup(named(lan, 2, "web", last=2), "db") == (dns.SERVER_FAILED, [])


def test_who_ended_is_not_known_any_more_nor_who_was_killed(lan: Lan) -> None:
    web, ended, killed = named(lan, 1, "web", last=2), named(lan, 1, "ended", last=3), named(lan, 1, "killed", last=4)
    assert ips(web, "ended") and ips(web, "killed")
    ended.stop()
    killed.kill()
    assert not ips(web, "ended") and not ips(web, "killed")
    again = named(lan, 1, "ended", last=5)
    assert ips(web, "ended") == [again.address]


def test_names_of_a_network_joined_while_it_runs_are_known(lan: Lan) -> None:
    named(lan, 2, "later", last=2)
    web = named(lan, 1, "web", last=2)
    web.plan["networks"].append(lan.network(2, 3, named=True, names=["web"]))
    names.save(web.folder, web.plan, {})
    assert ips(web, "later") == ["10.9.2.2"]


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_other_names_are_asked_of_the_hosts_servers_one_after_the_other(lan: Lan, far: Away, stream: bool) -> None:
    web = named(lan, 1, "web", last=2, servers=["127.0.0.9", OUTSIDE])
    with name_server(far):
        assert ips(web, "example.com", stream=stream) == ["192.0.2.7"]


def test_what_is_no_question_gets_no_answer_and_harms_nobody(lan: Lan) -> None:
    web = named(lan, 1, "web", last=2)

    def nonsense() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            for message in (b"", b"x", bytes(12), query("web")[:-1], query("web")[:12] + b"\x3f" * 5, b"\xff" * 600):
                asking.sendto(message, (NAMED, 53))

    web.inside(nonsense)
    assert ips(web, "web") == [web.address]


def test_a_server_in_the_container_may_have_port_53(lan: Lan) -> None:
    web = named(lan, 1, "web", last=2)

    def bind() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, socket.create_server(("0.0.0.0", 53)):
            own.bind(("0.0.0.0", 53))

    web.inside(bind)


def test_a_long_answer_is_told_to_be_asked_for_over_tcp() -> None:
    message = query("pool")
    asked = dns.question(message)
    assert asked is not None and asked.name == "pool"
    response = dns.address_answer(message, asked, [f"10.0.0.{number}" for number in range(100)])
    short = dns.truncated(response)
    assert len(short) <= 512 and short[2] & 2 and answers(response)[1][99] == b"\x0a\0\0\x63"


def test_who_comes_in_the_tick_of_a_reading_is_known(tmp_path: Path) -> None:
    """The directory's time does not tell of him: here it is one that both have."""
    network = {"id": "net", "name": "n", "named": True}
    tick = time.time_ns() + 3_600_000_000_000

    def come(container: str, address: str) -> None:
        (tmp_path / "containers" / container).mkdir(parents=True, exist_ok=True)
        alive = state.hold(tmp_path / "containers" / container, state.ALIVE)
        assert alive is not None
        held.callback(os.close, alive)
        names.enter(str(tmp_path), network | {"names": [container], "address": address}, container)
        os.utime(names.folder(str(tmp_path), "net"), ns=(tick, tick))

    with contextlib.ExitStack() as held:
        come("web", "10.0.0.1")
        names.save(tmp_path / "containers/web", {"networks": [network]}, {})
        known = names.Names(str(tmp_path), "web")
        assert known.addresses("db") is None
        come("db", "10.0.0.2")
        assert known.addresses("db") == ["10.0.0.2"]


def test_names_that_stand_for_addresses() -> None:
    assert dns.reverse_address("4.3.2.1.in-addr.arpa") == "1.2.3.4"
    assert dns.reverse_address("1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa") == "2001:db8::1"
    assert dns.reverse_address("x.ip6.arpa") is None and dns.reverse_address("example.com") is None
