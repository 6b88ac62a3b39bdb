"""What `-p` says, in every form docker takes, and what docker says of others."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from veneer.run.network import ports
from veneer.run.network.failures import InvalidPort, NoProtocol, PortTaken
from veneer.run.network.publishing import parse, planned


@pytest.mark.parametrize(
    ("spec", "bindings"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("53:53/udp", {"53/udp": [("", "53")]}),
        ("53:53/UDP", {"53/udp": [("", "53")]}),
        ("127.0.0.1:8080:80", {"80/tcp": [("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("[::1]:80:80", {"80/tcp": [("::1", "80")]}),
        ("::1:80:80", {"80/tcp": [("::1", "80")]}),
        (":80", {"80/tcp": [("", "")]}),
        ("8000-8001:80-81", {"80/tcp": [("", "8000")], "81/tcp": [("", "8001")]}),
        ("8000-8010:80", {"80/tcp": [("", "8000-8010")]}),
        ("90-91/sctp", {"90/sctp": [("", "")], "91/sctp": [("", "")]}),
        ("target=80,published=8080,protocol=udp", {"80/udp": [("", "8080")]}),
    ],
)
def test_forms(spec: str, bindings: dict[str, list[tuple[str, str]]]) -> None:
    exposed, found = parse([spec])
    assert {port: [(each["HostIp"], each["HostPort"]) for each in ways] for port, ways in found.items()} == bindings
    assert exposed == list(bindings)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("18080:80/xyz", "invalid proto: xyz"),
        ("99999:80", "invalid hostPort: 99999"),
        ("1.2.3.4.5:80:80", "invalid IP address: 1.2.3.4.5"),
        ("80-82:80-81", "invalid ranges specified for container and host Ports: 80-81 and 80-82"),
        ("abc", "invalid containerPort: abc"),
        ("80:abc", "invalid containerPort: abc"),
        ("", "no port specified: <empty>"),
        ("80:", "no port specified: 80:<empty>"),
        ("a:b:c:80", "invalid IP address: a:b"),
        ("80-70", "invalid containerPort: 80-70"),
        ("70000", "invalid containerPort: 70000"),
    ],
)
def test_what_docker_says_of_others(spec: str, said: str) -> None:
    with pytest.raises(InvalidPort) as raised:
        parse([spec])
    assert raised.value.message == said


def test_several_ways_to_one_port_are_kept_in_order() -> None:
    _, found = parse(["8080:80", "127.0.0.1:9090:80"])
    assert [each["HostPort"] for each in found["80/tcp"]] == ["8080", "9090"]


def test_a_plan_has_both_families_and_with_minus_p_what_is_only_exposed() -> None:
    _, bindings = parse(["8080:80", "127.0.0.1:53:53/udp"])
    found = planned(bindings, ["80/tcp", "90/tcp"], all_exposed=True)
    assert [(each["host_ip"], each["host_port"], each["container_port"], each["proto"]) for each in found] == [
        ("0.0.0.0", 8080, 80, "tcp"), ("::", 8080, 80, "tcp"), ("127.0.0.1", 53, 53, "udp"),
        ("0.0.0.0", 0, 90, "tcp"), ("::", 0, 90, "tcp"),
    ]  # fmt: skip
    assert len({each["group"] for each in found}) == 3
    assert [each["host_ip"] for each in planned(bindings, [], all_exposed=False, default="10.0.0.1", six=False)] == [
        "10.0.0.1", "127.0.0.1",
    ]  # fmt: skip


def test_a_port_of_a_protocol_is_held_or_the_kernel_has_none() -> None:
    plan: dict[str, Any] = {"name": "one", "ports": [
        {"proto": "sctp", "container_port": 80, "host_ip": "127.0.0.1", "host_port": 0, "host_port_end": 0,
         "group": "80/sctp"},
    ]}  # fmt: skip
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        with pytest.raises(NoProtocol, match="80/sctp cannot be published: this kernel has no SCTP"):
            ports.hold(plan)
        return
    [held] = ports.hold(plan)
    with held, pytest.raises(PortTaken):
        ports.hold(plan | {"ports": [plan["ports"][0] | {"host_port": held.getsockname()[1]}]})
