"""The program that gives a container a network: what it says stops nothing, and is told when it fails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.run.network.conftest import published
from tests.support.private_host import HOST, OUTSIDE, Away, Server, ask, outside, private_host
from tests.support.programs import needs
from veneer.run import network
from veneer.run.enclosure import enclosed
from veneer.run.network import PROGRAM, NetworkFailed, connecting, ports
from veneer.run.network.failures import PortTaken
from veneer.run.network.slirp_addresses import ADDRESS, SUBNET

pytestmark = pytest.mark.usefixtures("root_only")


def program(path: Path, text: str) -> str:
    """A stand-in for slirp4netns, in Python: `ready` is the descriptor it reports to."""
    path.write_text(
        f"#!{sys.executable} -I\nimport os, sys\n"
        f"ready = next(int(each[11:]) for each in sys.argv if each.startswith('--ready-fd='))\n{text}\n"
    )
    path.chmod(0o755)
    return str(path)


def test_however_much_it_says_it_is_not_stopped(tmp_path: Path) -> None:
    talks = program(tmp_path / PROGRAM, "for _ in range(16): os.write(2, bytes(65536))\nos.write(ready, b'1')")
    with enclosed(network=True) as enclosure, connecting(enclosure, talks) as connection:
        connection.wait()


def test_the_last_it_said_is_told_when_it_ends_at_once(tmp_path: Path) -> None:
    fails = program(tmp_path / PROGRAM, "sys.exit('first\\n' * 10000 + 'the last word')")
    with (
        enclosed(network=True) as enclosure,
        connecting(enclosure, fails) as connection,
        pytest.raises(NetworkFailed, match=r"the last word|/dev/net/tun"),
    ):
        connection.wait()


def test_beside_a_container_it_gives_a_way_out_and_ports_and_ends_with_it(tmp_path: Path) -> None:
    needs("slirp4netns")
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with private_host(), outside() as far:
        place = Away()
        plan: dict[str, Any] = {
            "mode": "slirp", "id": "a" * 64, "name": "one", "root": str(tmp_path), "hostname": "one", "servers": None,
            "networks": [{"id": "b" * 64, "name": "bridge", "driver": "bridge", "address": ADDRESS, "subnet": SUBNET}],
            "ports": published(80, 0, "127.0.0.1"), "exposed": [],
        }  # fmt: skip
        assert ports.hold(plan) == []
        network.setup(plan, place.path, folder)
        try:
            with far.inside(lambda: Server(OUTSIDE, 81)), place.inside(lambda: Server("0.0.0.0", 80)):
                assert place.inside(lambda: ask(OUTSIDE, 81)).startswith(HOST)
                assert ask("127.0.0.1", plan["ports"][0]["host_port"]).split()[1] == "4"
            second = plan | {"id": "c" * 64}
            with pytest.raises(PortTaken, match="port is already allocated"):
                ports.hold(second)
        finally:
            network.teardown(plan, place.path, folder)
            place.close()
        assert sorted(path.name for path in folder.iterdir()) == []
