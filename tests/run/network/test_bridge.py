"""Containers on bridges reach what they should, by every published way, and nothing else; and leave nothing behind."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.network.conftest import Lan, Place, published
from tests.support.private_host import (
    HOST,
    HOST6,
    OUTSIDE,
    OUTSIDE6,
    Away,
    Server,
    ask,
    ask_udp,
    devices,
    reaches,
)
from tests.support.programs import needs
from veneer.run.network import connection, firewall, hosted, owners
from veneer.run.network.failures import NetworkFailed, PortTaken

ALL = ("0.0.0.0", "::")


def serve(place: Away, port: int = 80, *, address: str = "0.0.0.0", kind: int = socket.SOCK_STREAM) -> Server:
    return place.inside(lambda: Server(address, port, kind))


def namespaced(work: Callable[[], object]) -> threading.Thread:
    """`work` in a thread of its own, which is on this host."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until_gone(name: str) -> None:
    """The kernel takes a device away in a while."""
    import time

    deadline = time.monotonic() + 30
    while name in devices():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def rules(lan: Lan) -> str:
    listed = subprocess.run(["nft", "list", "table", "inet", f"veneer_{lan.mark}"], capture_output=True, text=True)
    return listed.stdout


@pytest.mark.parametrize("filtered", [True, False], ids=["bridges filtered", "bridges not filtered"])
@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_containers_reach_each_other_the_host_and_the_outside(lan: Lan, far: Away, policy: str, filtered: bool) -> None:
    subprocess.run(["iptables", "--wait", "-P", "FORWARD", policy], check=True)
    sysctl = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if sysctl.exists():
        sysctl.write_text("1" if filtered else "0")
    one, two = lan.place(ports=published(80, 8080)), lan.place()
    with serve(one), serve(far, 81, address=OUTSIDE), Server("0.0.0.0", 82):
        assert two.inside(lambda: ask(one.address, 80)).startswith(two.address)
        assert two.inside(lambda: ask("10.9.0.1", 82)).startswith(two.address)
        assert two.inside(lambda: ask(OUTSIDE, 81)).startswith(HOST)  # masked: the outside knows no way to it
        assert far.inside(lambda: ask(HOST, 8080)).startswith(OUTSIDE)
        # Over the published port they reach each other, and themselves, too.
        assert two.inside(lambda: ask("10.9.0.1", 8080)).split()[1] == "4"
        assert one.inside(lambda: ask(HOST, 8080)).split()[1] == "4"
        assert ask("127.0.0.1", 8080) and ask(one.address, 80)


def old_rules() -> list[str]:
    """What iptables' old kind has in FORWARD, of both families."""
    return [
        line for program in ("iptables-legacy", "ip6tables-legacy")
        for line in subprocess.run([program, "--wait", "-S", "FORWARD"], check=True, capture_output=True, text=True)
        .stdout.splitlines()
    ]  # fmt: skip


def test_rules_of_iptables_old_kind_let_containers_through_as_long_as_there_is_the_network(lan: Lan, far: Away) -> None:
    needs("iptables-legacy", "ip6tables-legacy")
    for program in ("iptables-legacy", "ip6tables-legacy"):
        if subprocess.run([program, "--wait", "-P", "FORWARD", "DROP"], check=False, capture_output=True).returncode:
            pytest.skip("this kernel has no rules of iptables' old kind")
    networks = [lan.network(last=last, six=True) for last in (2, 3)]
    one = lan.place("", networks[0], ports=published(80, 8080))
    two = lan.place("", networks[1])
    with serve(one), serve(far, 81, address=OUTSIDE):
        assert far.inside(lambda: ask(HOST, 8080)).startswith(OUTSIDE)
        assert two.inside(lambda: ask(OUTSIDE, 81)).startswith(HOST)
        assert two.inside(lambda: ask(one.address, 80)).startswith(two.address)
    bridge = networks[0]["bridge"]
    assert len([rule for rule in old_rules() if bridge in rule]) == 4, "once a direction and family"
    for place in (one, two):
        place.stop()
    firewall.forget(f"veneer_{lan.mark}", networks[0])
    assert old_rules() == ["-P FORWARD DROP"] * 2


def test_a_published_port_is_reached_on_every_address_of_the_host(lan: Lan, far: Away) -> None:
    one = lan.place(ports=[*published(80, 8080), *published(53, 5300, proto="udp")])
    with serve(one), serve(one, 53, kind=socket.SOCK_DGRAM):
        for address in ("127.0.0.1", "::1", HOST, "10.9.0.1", HOST6):
            assert ask(address, 8080).split()[1] == "4", address
            assert ask_udp(address, 5300).split()[1] == "4", address
        assert far.inside(lambda: ask(HOST6, 8080)) and far.inside(lambda: ask_udp(HOST6, 5300))
        large = bytes(1 << 20)
        assert ask("::1", 8080, large, seconds=60).split()[1] == str(len(large))


def test_a_port_is_bound_on_the_address_that_was_asked_for_alone(lan: Lan, far: Away) -> None:
    one = lan.place(ports=[*published(80, 8080, "127.0.0.1"), *published(81, 8081, HOST), *published(82, 8082, "::1")])
    with serve(one), serve(one, 81), serve(one, 82):
        assert ask("127.0.0.1", 8080) and not reaches(HOST, 8080) and not reaches("::1", 8080)
        assert ask(HOST, 8081) and not reaches("127.0.0.1", 8081)
        assert ask("::1", 8082) and not reaches(HOST6, 8082)
        assert far.inside(lambda: ask(HOST, 8081)) and not far.inside(lambda: reaches(HOST, 8080))


def test_what_is_not_published_is_not_reached_from_outside(lan: Lan, far: Away) -> None:
    one = lan.place(ports=published(80, 8080))
    far.run("ip", "route", "add", "10.9.0.0/24", "via", HOST)
    with serve(one), serve(one, 81), Server("127.0.0.1", 83):
        assert not far.inside(lambda: reaches(one.address, 81))
        assert not far.inside(lambda: reaches(one.address, 80))
        # What the host has on its loopback is the host's own.
        one.run(
            "sh",
            "-ec",
            """echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet
            ip route flush table local root 127.0.0.0/8; ip route add 127.0.0.0/8 via 10.9.0.1 src 10.9.0.2""",
        )
        assert not one.inside(lambda: reaches("127.0.0.1", 83))


def test_networks_are_apart_and_an_internal_one_has_no_way_out(lan: Lan, far: Away) -> None:
    one = lan.place()
    other = lan.place("", lan.network(1, 2))
    inner = lan.place("", lan.network(2, 2, internal=True))
    beside = lan.place("", lan.network(2, 3, internal=True))
    with serve(one), serve(inner), serve(far, 81, address=OUTSIDE):
        assert not other.inside(lambda: reaches(one.address, 80))
        assert beside.inside(lambda: ask(inner.address, 80))
        inner.run("ip", "route", "add", "default", "via", "10.9.2.1")
        assert not inner.inside(lambda: reaches(OUTSIDE, 81)) and not inner.inside(lambda: reaches(one.address, 80))
        assert other.inside(lambda: ask(OUTSIDE, 81))


def test_without_communication_containers_reach_the_outside_but_not_each_other(lan: Lan, far: Away) -> None:
    one = lan.place("", lan.network(0, 2, icc=False))
    two = lan.place("", lan.network(0, 3, icc=False))
    with serve(one), serve(far, 81, address=OUTSIDE):
        assert not two.inside(lambda: reaches(one.address, 80))
        assert two.inside(lambda: ask(OUTSIDE, 81))


def test_a_container_on_several_networks_is_on_each_and_leaves_by_the_first_with_a_way_out(lan: Lan, far: Away) -> None:
    both = lan.place("", lan.network(2, 2, internal=True), lan.network(1, 2, device="eth1"))
    inner, other = lan.place("", lan.network(2, 3, internal=True)), lan.place("", lan.network(1, 3))
    with serve(both), serve(far, 81, address=OUTSIDE):
        assert inner.inside(lambda: ask("10.9.2.2", 80)) and other.inside(lambda: ask("10.9.1.2", 80))
        assert both.inside(lambda: ask(OUTSIDE, 81))


def test_ipv6_networks_have_both_families(lan: Lan, far: Away) -> None:
    one = lan.place("", lan.network(0, 2, six=True), ports=published(80, 8080))
    two = lan.place("", lan.network(0, 3, six=True))
    with serve(one), serve(one, address="::"), serve(far, 81, address=OUTSIDE6):
        assert two.inside(lambda: ask("fd09:0::2", 80)).startswith("fd09::3")
        assert two.inside(lambda: ask(OUTSIDE6, 81)).startswith(HOST6)
        assert far.inside(lambda: ask(HOST6, 8080)).startswith(OUTSIDE6)
        assert ask("::1", 8080) and ask("127.0.0.1", 8080)


def test_a_taken_port_is_told_in_dockers_words_and_whatever_was_held_is_let_go(lan: Lan) -> None:
    lan.place(ports=published(80, 8080))
    second = lan.place("second", ports=[*published(81, 8081), *published(80, 8080)], start=False)
    with pytest.raises(PortTaken) as raised:
        second.start()
    told = f"driver failed programming external connectivity on endpoint second ({'e' * 64}): "
    assert raised.value.message == told + "Bind for 0.0.0.0:8080 failed: port is already allocated"
    with socket.create_server(("0.0.0.0", 8081)):
        pass


def test_ports_that_nobody_chose_are_free_ones_the_same_for_both_families(lan: Lan) -> None:
    first = lan.place(ports=published(80)).plan["ports"]
    assert first[0]["host_port"] == first[1]["host_port"] >= 1024
    ranged = [lan.place(ports=published(80, 9000, end=9001)).plan["ports"][0]["host_port"] for _ in range(2)]
    assert ranged == [9000, 9001]
    with pytest.raises(PortTaken):
        lan.place(ports=published(80, 9000, end=9001), start=False).start()


def test_what_setup_gives_is_dockers_settings(lan: Lan) -> None:
    place = lan.place(ports=published(80, 8080, "127.0.0.1"), start=False)
    place.plan["exposed"] = ["90/udp", "9/tcp"]
    found = place.start()
    assert found["Ports"] == {"9/tcp": None, "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "90/udp": None}
    assert found["Networks"]["net0"]["IPAddress"] == place.address
    assert found["Networks"]["net0"]["IPPrefixLen"] == 24 and found["Networks"]["net0"]["Gateway"] == "10.9.0.1"


def test_the_last_end_leaves_rules_of_the_network_alone_and_those_can_be_forgotten(lan: Lan) -> None:
    place, other = lan.place(ports=published(80, 8080)), lan.place()
    bridge = place.plan["networks"][0]["bridge"]
    assert "8080" in rules(lan) and "ve-0-2" in devices()
    place.stop()
    until_gone("ve-0-2")
    assert "8080" not in rules(lan) and bridge in devices()
    assert not (place.folder / "network.json").exists()
    other.stop()
    until_gone(bridge)
    assert devices() == {"lo"}
    lan.place().stop()
    until_gone(bridge)
    firewall.forget(f"veneer_{lan.mark}", lan.network())
    assert "10.9.0" not in rules(lan)
    filtered = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
    assert lan.mark not in filtered


def test_two_who_leave_at_once_take_the_bridge_along(lan: Lan) -> None:
    for _ in range(4):
        places = [lan.place() for _ in range(3)]
        threads = [namespaced(place.stop) for place in places]
        for thread in threads:
            thread.join()
        until_gone(places[0].plan["networks"][0]["bridge"])


def test_who_comes_while_the_last_one_leaves_has_a_network(lan: Lan, far: Away) -> None:
    with serve(far, 81, address=OUTSIDE):
        for _ in range(4):
            place = lan.place()
            leaving = namespaced(place.stop)
            heir = lan.place()
            leaving.join()
            assert heir.inside(lambda: ask(OUTSIDE, 81)).startswith(HOST)
            heir.stop()


def test_a_network_that_was_given_another_subnet_is_masked_by_that(lan: Lan, far: Away) -> None:
    lan.place().stop()
    moved = lan.network(last=3) | {"subnet": "10.8.0.0/24", "address": "10.8.0.3", "gateway": "10.8.0.1"}
    place = lan.place("", moved)
    assert "10.9.0" not in rules(lan)
    with serve(far, 81, address=OUTSIDE):
        assert place.inside(lambda: ask(OUTSIDE, 81)).startswith(HOST)


def test_what_deleted_data_roots_left_is_known_by_what_it_says_and_taken_away(lan: Lan, tmp_path: Path) -> None:
    """Each root has a bridge with its own mark and another; on `busy` a container runs after the root was deleted."""
    paths = {"living": "a", "dead": "b", "far": f'c \N{SNOWMAN}"{"x" * 200}/{"x" * 100}', "busy": "d"}
    roots = {name: Lan(tmp_path / path) for name, path in paths.items()}
    running: list[Place] = []
    try:
        for number, (name, each) in enumerate(roots.items(), start=1):
            each.mark = owners.mark(str(each.root))
            running.append(each.place("", each.network(number, bridge=f"veneer-{each.mark}")))
            running.append(each.place("", each.network(number + 10, bridge=f"vb-{number:012x}")))
            if name != "busy":
                end_by_kill(running.pop())
            end_by_kill(running.pop())
            if name != "living":
                shutil.rmtree(each.root)
        found = list(hosted.of_the_dead())
        for left in found:
            left.take_away()
        marks = {name: each.mark for name, each in roots.items()}
        assert {left.table for left in found} == {f"veneer_{marks['dead']}", f"veneer_{marks['far']}", ""}
        assert {name for name in devices() if name.startswith(("veneer-", "vb-"))} == {
            f"veneer-{marks['living']}", f"vb-{1:012x}", f"veneer-{marks['busy']}",
        }  # fmt: skip
        assert set(firewall.tables()) == {f"veneer_{marks['living']}", f"veneer_{marks['busy']}"}
        filtered = subprocess.run(["iptables-save"], capture_output=True, text=True, check=True).stdout
        assert marks["dead"] not in filtered and marks["far"] not in filtered and marks["living"] in filtered
    finally:
        for place in running:
            place.die()
            place.close()


def end_by_kill(place: Place) -> None:
    place.kill()
    place.close()
    until_gone(place.plan["networks"][0]["host_device"])


def test_events_tell_who_came_and_went(lan: Lan) -> None:
    lan.place().stop()
    lines = [json.loads(line) for line in (lan.root / "events.jsonl").read_text().splitlines()]
    assert [(each["Type"], each["Action"]) for each in lines] == [("network", "connect"), ("network", "disconnect")]
    assert lines[0]["Actor"]["Attributes"] == {"container": "2" * 64, "name": "net0", "type": "bridge"}


def test_what_a_killed_monitor_left_is_taken_away_but_not_a_port_that_is_anothers_by_now(lan: Lan) -> None:
    killed = lan.place(ports=[*published(80, 8080), *published(81, 8081)])
    killed.kill()
    heir = lan.place(ports=published(80, 8080))
    connection.teardown(killed.plan, killed.folder, killed=True)
    assert "ve-0-2" not in devices()
    with serve(heir):
        assert ask("127.0.0.1", 8080).split()[1] == "4"
    assert "8081" not in rules(lan)


def test_a_network_that_cannot_be_made_leaves_nothing(lan: Lan) -> None:
    place = lan.place("", lan.network(0, 2), lan.network(1, 2, device="eth1", mac="zz"), start=False)
    with pytest.raises((NetworkFailed, ValueError)):
        place.start()
    until_gone("ve-0-2")
    assert not (place.folder / "network.json").exists()


def test_rules_that_somebody_flushed_come_back_with_the_next_container(lan: Lan, far: Away) -> None:
    lan.place()
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    two = lan.place(ports=published(80, 8080))
    with serve(far, 81, address=OUTSIDE), serve(two):
        assert two.inside(lambda: ask(OUTSIDE, 81)).startswith(HOST)
        assert ask("127.0.0.1", 8080)


def test_two_hosts_of_containers_side_by_side_do_not_disturb_each_other(lan: Lan, tmp_path: Path) -> None:
    """Two data roots on one host: tables, bridges and devices of their own."""
    other = Lan(tmp_path / "other")
    try:
        one: Place = lan.place(ports=published(80, 8080))
        two = other.place("", other.network(1, 2), ports=published(80, 8081))
        with serve(one), serve(two):
            assert ask("127.0.0.1", 8080) and ask("127.0.0.1", 8081)
        two.stop()
        with serve(one):
            assert ask("127.0.0.1", 8080)
    finally:
        other.close()
