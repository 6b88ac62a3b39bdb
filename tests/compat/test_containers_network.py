"""Network commands say what docker's say, and do what they do: each side on a host of its own, the same commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.compat.conftest import Veneer
from tests.support.peers import Docker
from tests.support.private_host import ask, private_host
from tests.support.programs import Output, needs
from veneer.engine.engine import open_engine

pytestmark = pytest.mark.compat

CASES = [
    "network ls",
    "network create n1",
    "network create n1",
    "network create bridge",
    "network create -d nope x",
    "network create -d host x",
    "network create --subnet 10.77.0.0/24 --gateway 10.78.0.1 x",
    "network create --subnet 10.77.0.0/33 x",
    "network create --subnet 10.77.0.0/24 --ip-range 10.99.0.0/24 x",
    "network create --gateway 10.77.0.1 x",
    "network create --subnet 10.77.0.0/24 --subnet 10.76.0.0/24 x",
    "network create --subnet 10.77.0.0/24 --aux-address a=10.99.0.1 x",
    (
        "network create --subnet 10.77.0.0/24 --gateway 10.77.0.9 --ip-range 10.77.0.128/25 "
        "--aux-address a=10.77.0.130 --label k=v --label z -o com.docker.network.driver.mtu=1400 --internal n2"
    ),
    "network create --subnet 10.77.0.128/25 x",
    "network inspect n2",
    "network inspect nope",
    "network inspect -f {{.Name}},{{.Driver}},{{.Internal}},{{len.Containers}} n1 nope host",
    "network ls --filter label=k --format {{.Name}},{{.Driver}},{{.Scope}},{{.IPv6}},{{.Internal}},{{.Labels}}",
    "network ls --filter type=custom --format {{.Name}}",
    "network ls --filter driver=null --format {{.Name}}",
    "network ls --filter name=n1 -q",
    "network ls --filter foo=x",
    "network ls --filter type=x",
    "network create --subnet 10.80.0.0/24 n3",
    (
        "run -d --name c1 --hostname h1 --network n3 --ip 10.80.0.9 --network-alias al -p 18080:80 "
        "-p 127.0.0.1:18081:81 -p 18090-18091:90-91/udp -p [::1]:18099:99 bb sleep 600"
    ),
    "port c1",
    "port c1 80",
    "port c1 81/tcp",
    "port c1 81/udp",
    "port c1 99999",
    "port nope",
    "run --rm --network n3 --hostname h2 --add-host a:1.2.3.4 --add-host gw:host-gateway bb cat /etc/hosts",
    "run --rm --network n3 --hostname h2 --domainname dd --dns-search . bb cat /etc/hosts /etc/resolv.conf",
    "run --rm --network none --hostname h2 --add-host a:1.2.3.4 bb cat /etc/hosts /etc/hostname",
    "run --rm --hostname h2 --dns 9.9.9.9 --dns-search s.example --dns-opt timeout:3 bb cat /etc/resolv.conf",
    "run --rm --network n3 bb nslookup -type=a al",
    "run --rm --network container:c1 bb cat /etc/hostname /etc/hosts",
    "run --rm --network n2 bb ip route",
    "run --rm --network n3 --ip 10.80.0.9 bb true",
    "run --rm --network n3 --ip 10.99.0.9 bb true",
    "run --rm --network n1 --ip 10.80.0.9 bb true",
    "run --rm --network n3 --ip x bb true",
    "run --rm --name c2 -p 18080:80 bb true",
    "run --rm --network container:nope bb true",
    "run --rm --network container:c1 -p 80:80 bb true",
    "run --rm --network container:c1 --dns 1.1.1.1 bb true",
    "network connect n3 c1",
    "network connect host c1",
    "network connect nope c1",
    "network connect n3 nope",
    "network connect --alias other n1 c1",
    "network inspect -f {{len.Containers}} n1",
    "run --rm --network n1 bb nslookup -type=a other",
    "run -d --name c3 --hostname h3 bb sleep 600",
    "network connect n3 c3",
    "exec c3 nslookup -type=a al",
    "network disconnect bridge c3",
    "exec c3 ip route",
    "network disconnect n2 c1",
    "network disconnect -f n1 nope",
    "network disconnect n1 c1",
    "network rm n3",
    "network rm bridge",
    "network rm nope n1",
    "network prune -f",
    "network prune -f",
    "network prune -f --filter foo=1",
]
ARGUED = {
    "port c1 99999": "docker looks such a port up, we say that it is none",
    "run --rm --network n3 --hostname h2 --add-host a:1.2.3.4 --add-host gw:host-gateway bb cat /etc/hosts":
        "the host is reached by the gateway of the container's own network; docker names that of its default one",
    "run --rm --network n2 bb ip route": "an internal network has no way out, so none is shown",
}  # fmt: skip


@dataclass(frozen=True)
class Sides:
    docker: Docker
    ours: Veneer

    def both(self, words: list[str]) -> tuple[Output, Output]:
        return self.docker(*words, check=False), self.ours(*words, check=False)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Sides]:
    needs("dockerd", "docker", "iptables", "nft")
    with private_host():
        docker = Docker(tmp_path_factory.mktemp("dockerd"), network=True)
    try:
        with private_host():
            ours = Veneer(tmp_path_factory.mktemp("ours") / "root")
            for side in (docker, ours):
                side("import", busybox, "bb")
            yield Sides(docker, ours)
    finally:
        docker.stop()


def remove(ours: Veneer, *names: str) -> None:
    """Have containers not be, however far they came."""
    with open_engine(ours.root) as engine:
        for container in engine.containers.list():
            if container.name in names:
                engine.containers.remove(container.id, force=True)


def said(output: Output) -> tuple[int, str, str]:
    """What was said, without what must differ: ids, times, and whose voice it is."""

    def plain(text: str) -> str:
        lines = []
        for line in text.splitlines():
            if line.startswith(("hint: ", "time=")) or re.match(r"See '.*--help'\.$", line) or not line:
                continue
            line = re.sub(r"^(docker: |Error: |Error response from daemon: |veneer: )+", "", line)
            line = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "<id>", line)
            line = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", line)
            line = re.sub(r"\[::1?\]", lambda found: found[0][1:-1], line)
            line = re.sub(r"\b172\.\d+\.0\.", "<chosen>.", line)
            # docker tells labels in an order that changes from call to call.
            line = line.replace("z=,k=v", "k=v,z=")
            lines.append(line.rstrip(". ").lower())
        # docker tells a container's ports in an order that changes from call to call.
        return "\n".join(sorted(lines) if " -> " in text else lines)

    return output.code, plain(output.out), plain(output.err)


def test_the_same_commands_in_the_same_order(sides: Sides) -> None:
    different = []
    try:
        for case in CASES:
            words = [word.replace("len.", "len .") for word in case.split()]
            theirs, ours = (said(each) for each in sides.both(words))
            if theirs != ours and case not in ARGUED:
                different.append(f"$ {case}\n  docker {theirs}\n  veneer {ours}")
    finally:
        sides.docker("rm", "-f", "c1", "c3", check=False)
        remove(sides.ours, "c1", "c3")
    assert not different, "\n".join(["", *different])


def test_beside_a_docker_on_the_same_host_both_go_on_working(tmp_path: Path, busybox: Path) -> None:
    """Its policy for what is forwarded is DROP, its rules come and go; we begin before it and go on after it."""
    serve = ["run", "-d", "bb", "sh", "-c", "echo from >/index.html; httpd -f -p 80 -h /"]

    def published(port: int) -> list[str]:
        return [*serve[:2], "-p", f"{port}:80", "--name", f"on{port}", *serve[2:]]

    def answers(port: int) -> bool:
        return "from" in ask("127.0.0.1", port, b"GET / HTTP/1.0\r\n\r\n")

    with private_host():
        ours = Veneer(tmp_path / "root")
        ours("import", busybox, "bb")
        docker = None
        try:
            ours(*published(18001))
            docker = Docker(tmp_path / "dockerd", network=True)
            docker("import", busybox, "bb")
            docker(*published(18002))
            ours(*published(18003))
            assert answers(18001) and answers(18002) and answers(18003)
            networks = [
                ours("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "bridge").out,
                docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", "bridge").out,
            ]
            assert networks[0] != networks[1]
            docker("rm", "-f", "on18002")
            assert answers(18001) and answers(18003)
        finally:
            remove(ours, "on18001", "on18003")
            if docker is not None:
                docker("rm", "-f", "on18002", check=False)
                docker.stop()
