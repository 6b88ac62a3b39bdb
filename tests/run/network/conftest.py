"""Containers without processes: namespaces on networks of a host that goes with the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from socket import socket
from typing import Any

import pytest

from tests.support.private_host import Away, outside, private_host
from tests.support.programs import needs
from veneer.run import network
from veneer.run.monitor import state
from veneer.run.network import connection, ports


class Place(Away):
    """A namespace that is a container's, on networks by a plan."""

    def __init__(self, lan: Lan, name: str, plan: dict[str, Any]) -> None:
        super().__init__()
        self.name = name
        self.plan = plan
        self.folder = lan.root / "containers" / plan["id"]
        self.folder.mkdir(parents=True)
        self.alive = state.hold(self.folder, state.ALIVE)
        self.sockets: list[socket] = []
        self._is_up = False

    def start(self) -> dict[str, Any]:
        self.sockets = ports.hold(self.plan)
        found = network.setup(self.plan, self.path, self.folder, self.sockets)
        self._is_up = True
        return found

    def stop(self) -> None:
        """As its monitor does."""
        if self._is_up:
            self._is_up = False
            network.teardown(self.plan, self.path, self.folder)
        self.die()

    def kill(self) -> None:
        """As the kernel does when its monitor is killed: what ran in it ends, nothing is taken away."""
        for end in reversed(connection._running.pop(self.plan["id"], [])):
            end()
        self._is_up = False
        self.die()

    def die(self) -> None:
        for each in self.sockets:
            each.close()
        if self.alive is not None:
            os.close(self.alive)
            self.alive = None

    @property
    def address(self) -> str:
        return str(self.plan["networks"][0]["address"])


class Lan:
    """A host with networks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.places: list[Place] = []
        self.mark = os.urandom(4).hex()

    def network(self, number: int = 0, last: int = 2, *, six: bool = False, **more: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": f"{number:064x}", "name": f"net{number}", "driver": "bridge", "bridge": f"vb-{self.mark}{number}",
            "device": "eth0", "host_device": f"ve-{number}-{last}", "subnet": f"10.9.{number}.0/24",
            "address": f"10.9.{number}.{last}", "gateway": f"10.9.{number}.1", "mtu": 1500,
            "endpoint": "e" * 64, "named": False, "names": [],
            "mac": f"02:42:0a:09:{number:02x}:{last:02x}",
        }  # fmt: skip
        if six:
            prefix = f"fd09:{number}"
            found |= {"subnet6": f"{prefix}::/64", "address6": f"{prefix}::{last}", "gateway6": f"{prefix}::1"}
        return found | more

    def place(self, name: str = "", *networks: dict[str, Any], ports: list[dict[str, Any]] | None = None,
              servers: list[str] | None = None, start: bool = True) -> Place:  # fmt: skip
        number = len(self.places) + 2
        made = Place(self, name or f"c{number}", {
            "mode": "bridge", "id": f"{number:x}" * 64, "name": name or f"c{number}", "root": str(self.root),
            "hostname": name, "networks": list(networks) or [self.network(last=number)], "ports": ports or [],
            "exposed": [], "table": f"veneer_{self.mark}", "servers": servers, "endpoint": "e" * 64,
        })  # fmt: skip
        self.places.append(made)
        if start:
            made.start()
        return made

    def close(self) -> None:
        for place in self.places:
            place.stop()
            place.close()


def published(container: int, host: int = 0, *addresses: str, proto: str = "tcp", end: int = 0) -> list[dict[str, Any]]:
    """`-p`, on all addresses unless some are named."""
    return [
        {"proto": proto, "container_port": container, "host_ip": address, "host_port": host, "host_port_end": end,
         "group": f"{container}/{proto}"}
        for address in addresses or ("0.0.0.0", "::")
    ]  # fmt: skip


@pytest.fixture
def lan(root_only: None, tmp_path: Path) -> Iterator[Lan]:
    needs("nft", "ip", "iptables")
    with private_host():
        made = Lan(tmp_path / "root")
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
def far(lan: Lan) -> Iterator[Away]:
    """A machine outside of the host of `lan`."""
    with outside() as machine:
        yield machine
