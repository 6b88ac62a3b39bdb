"""Networks and what a container's start is told of its own; on a host that goes with the test."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.built import make_image, make_layer
from tests.support.private_host import devices, private_host
from tests.support.programs import needs
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.engine import Engine
from veneer.engine.network_plan import (
    AlreadyAttached,
    InvalidNetworkOptions,
    NoLinks,
    NotAttached,
    NotJoinable,
    refuse_contradictions,
)
from veneer.engine.networks import InvalidNetwork, NetworkInUse, NoSuchNetworkDriver, PredefinedNetwork
from veneer.run import network as running
from veneer.run.monitor import state
from veneer.run.network import namespace, ports
from veneer.run.network.names import Names, saved
from veneer.store.containers import Container
from veneer.store.filters import InvalidFilter
from veneer.store.networks import AddressTaken, NetworkNameInUse, NoAddressLeft, NoSuchNetwork
from veneer.store.subnets import NotInNetwork, PoolOverlaps


class Boxes:
    """Containers made by the engine, whose monitor is this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._running: dict[str, tuple[dict[str, Any], int, int, list[Any]]] = {}

    def make(self, name: str, network: str = "default", *, config: dict[str, Any] | None = None,
             host: dict[str, Any] | None = None, **settings: Any) -> Container:  # fmt: skip
        networking = {"EndpointsConfig": {network: settings}} if settings else {}
        request = ContainerRequest(
            "app:1", config or {}, {"NetworkMode": network, **(host or {})}, networking, name=name
        )
        return self.engine.containers.create(request)

    def start(self, container: Container) -> dict[str, Any]:
        container = self.engine.containers.get(container.id)
        plan = self.engine.networks.plan(container, container.document)
        folder = self.engine.store.containers.folder(container.id)
        alive = state.hold(folder, state.ALIVE)
        assert alive is not None
        state.write(folder, state.State(status=state.RUNNING, pid=os.getpid(), boot_id=state.boot_id()))
        fd = namespace.make() if plan["mode"] == "bridge" else -1
        held = ports.hold(plan)
        running.setup(plan, f"/proc/self/fd/{fd}" if fd >= 0 else "", folder, held)
        self._running[container.id] = (plan, fd, alive, held)
        return plan

    def run(self, name: str, network: str = "default", **given: Any) -> tuple[Container, dict[str, Any]]:
        made = self.make(name, network, **given)
        return made, self.start(made)

    def stop(self, container: Container, *, killed: bool = False) -> None:
        plan, fd, alive, held = self._running.pop(container.id)
        folder = self.engine.store.containers.folder(container.id)
        if not killed:
            running.teardown(plan, "", folder)
            state.write(folder, state.State(status=state.EXITED))
        for each in held:
            each.close()
        for each in (fd, alive):
            if each >= 0:
                os.close(each)

    def close(self) -> None:
        for container in list(self._running):
            self.stop(self.engine.containers.get(container))

    def file(self, container: Container, name: str) -> str:
        return (self.engine.store.containers.folder(container.id) / name).read_text()


@pytest.fixture
def boxes(root_only: None, engine: Engine) -> Iterator[Boxes]:
    needs("nft")

    def fill(root: Path) -> None:
        (root / "file").write_text("")

    with engine.store.lease("test") as lease:
        make_image(engine.store, lease, [make_layer(engine.store, lease, fill)], tag="app:1", config={"Cmd": ["x"]})
    with private_host():
        made = Boxes(engine)
        try:
            yield made
        finally:
            made.close()


def test_three_networks_are_always_there_and_cannot_be_removed_or_made(engine: Engine) -> None:
    assert [(each.name, each.driver) for each in engine.networks.list()] == [
        ("bridge", "bridge"), ("host", "host"), ("none", "null"),
    ]  # fmt: skip
    with pytest.raises(PredefinedNetwork, match=r"^host is a pre-defined network and cannot be removed$"):
        engine.networks.remove("host")
    with pytest.raises(PredefinedNetwork, match=r"^operation is not permitted on predefined bridge network$"):
        engine.networks.create("bridge")


def test_what_cannot_be_made_is_told_in_dockers_words(engine: Engine) -> None:
    networks = engine.networks
    networks.create("n1", ipam=[{"Subnet": "10.77.0.0/24"}])
    for error, said, asked in (
        (NetworkNameInUse, "network with name n1 already exists", {"name": "n1"}),
        (PoolOverlaps, "Pool overlaps with other one on this address space", {"ipam": [{"Subnet": "10.77.0.0/25"}]}),
        (NoSuchNetworkDriver, 'plugin "overlay" not found', {"driver": "overlay"}),
        (PredefinedNetwork, 'only one instance of "host" network is allowed', {"driver": "host"}),
        (InvalidNetwork, "bridge driver doesn't support multiple subnets",
         {"ipam": [{"Subnet": "10.1.0.0/24"}, {"Subnet": "10.2.0.0/24"}]}),
        (InvalidNetwork, "invalid name: name is empty", {"name": " "}),
        (InvalidNetwork, "there is a network device lo already", {"options": {"com.docker.network.bridge.name": "lo"}}),
        (InvalidNetwork, 'invalid name for a network device: a"; flush ruleset',
         {"options": {"com.docker.network.bridge.name": 'a"; flush ruleset'}}),
        (InvalidNetwork, "invalid MTU: abc", {"options": {"com.docker.network.driver.mtu": "abc"}}),
    ):  # fmt: skip
        given: dict[str, Any] = {"name": "n2", **asked}
        with pytest.raises(error) as raised:
            networks.create(given.pop("name"), **given)
        assert raised.value.message == said
    assert [each.name for each in networks.list({"type": ["custom"]})] == ["n1"]


def test_filters(engine: Engine) -> None:
    engine.networks.create("one", labels={"k": "v"})
    engine.networks.create("two", labels={"k": "w"})

    def names(**filters: str) -> list[str]:
        return [each.name for each in engine.networks.list({key: [value] for key, value in filters.items()})]

    assert names(label="k=v") == ["one"] and names(label="k") == ["one", "two"]
    assert names(driver="null") == ["none"] and names(type="builtin") == ["bridge", "host", "none"]
    assert names(name="^t") == ["two"] and names(id=engine.networks.get("one").id[:12]) == ["one"]
    assert names(dangling="true") == ["one", "two"] and names(scope="swarm") == []
    with pytest.raises(InvalidFilter, match="Invalid filter 'foo'"):
        names(foo="x")
    assert engine.networks.prune({"label": ["k=v"]}) == ["one"]


def test_a_container_on_the_default_network_has_an_address_and_the_files_that_go_with_it(boxes: Boxes) -> None:
    made, plan = boxes.run("one", config={"Hostname": "hh", "Domainname": "example.org"},
                           host={"ExtraHosts": ["a:1.2.3.4", "six:::1", "gw:host-gateway"], "Dns": ["9.9.9.9"],
                                 "DnsSearch": ["s.example"], "DnsOptions": ["timeout:3"]})  # fmt: skip
    assert plan["mode"] == "bridge" and plan["networks"][0]["address"] == "172.31.0.2"
    assert boxes.file(made, "hosts").splitlines()[6:] == [
        "1.2.3.4\ta", "::1\tsix", "172.31.0.1\tgw", "172.31.0.2\thh.example.org hh",
    ]  # fmt: skip
    assert boxes.file(made, "resolv.conf") == "search s.example\nnameserver 9.9.9.9\noptions timeout:3\n"
    assert boxes.file(made, "hostname") == "hh\n"
    settings = boxes.engine.networks.settings(made)
    assert settings["IPAddress"] == settings["Networks"]["bridge"]["IPAddress"] == "172.31.0.2"
    shown = boxes.engine.networks.inspect("bridge")
    assert shown["Containers"][made.id]["IPv4Address"] == "172.31.0.2/16"
    boxes.stop(made)
    idle = boxes.engine.networks.settings(made)
    assert idle["Ports"] == {} and idle["Networks"]["bridge"]["IPAddress"] == ""


def test_on_a_network_of_ones_own_names_are_asked_of_the_containers_own_server(boxes: Boxes) -> None:
    boxes.engine.networks.create("n1", ipam=[{"Subnet": "10.77.0.0/24"}])
    made, plan = boxes.run("one", "n1", Aliases=["al"], IPAMConfig={"IPv4Address": "10.77.0.99"})
    entry = plan["networks"][0]
    assert entry["names"] == ["one", "al", made.id[:12]] and entry["address"] == "10.77.0.99"
    assert boxes.file(made, "resolv.conf").endswith("nameserver 127.0.0.11\noptions ndots:0\n")
    shown = boxes.engine.networks.settings(made)["Networks"]["n1"]
    assert shown["Aliases"] == ["al", made.id[:12]] and shown["IPAMConfig"] == {"IPv4Address": "10.77.0.99"}


def test_a_renamed_container_answers_to_its_new_name_alone(boxes: Boxes) -> None:
    boxes.engine.networks.create("n1")
    made, plan = boxes.run("one", "n1", Aliases=["al"])
    asked = Names(plan["root"], made.id)
    assert asked.addresses("one")
    boxes.engine.containers.rename("one", "two")
    assert asked.addresses("one") is None
    assert asked.addresses("two") == asked.addresses("al") == [plan["networks"][0]["address"]]
    assert asked.name_of(plan["networks"][0]["address"]) == "two.n1"
    boxes.stop(made)
    boxes.engine.containers.rename("two", "three")
    assert boxes.start(made)["networks"][0]["names"][0] == "three"


def test_addresses_are_the_living_ones_own(boxes: Boxes) -> None:
    boxes.engine.networks.create("n1", ipam=[{"Subnet": "10.78.0.0/29"}])
    first, plan = boxes.run("first", "n1")
    assert plan["networks"][0]["address"] == "10.78.0.2"
    second, plan = boxes.run("second", "n1")
    assert plan["networks"][0]["address"] == "10.78.0.3"
    for address, error, said in (
        ("10.78.0.2", AddressTaken, "Address already in use"), ("10.78.0.1", AddressTaken, "Address already in use"),
        ("10.99.0.2", NotInNetwork,
         "Invalid address 10.99.0.2: It does not belong to any of this network's subnets"),
    ):  # fmt: skip
        with pytest.raises(error) as raised:
            boxes.run(f"x{address}{error.__name__}", "n1", IPAMConfig={"IPv4Address": address})
        assert raised.value.message == said
    boxes.stop(first, killed=True)
    third, plan = boxes.run("third", "n1")
    assert plan["networks"][0]["address"] == "10.78.0.2"  # of whom nobody took it away, and who does not live
    assert boxes.start(first)["networks"][0]["address"] == "10.78.0.4"
    for number in range(2):
        boxes.run(f"more{number}", "n1")
    network = boxes.engine.networks.get("n1")
    with pytest.raises(NoAddressLeft) as raised_full:
        boxes.run("last", "n1")
    assert raised_full.value.message == (
        f"no available IPv4 addresses on this network's address pools: n1 ({network.id})"
    )
    del second, third


def test_a_start_that_is_under_way_keeps_its_address(boxes: Boxes) -> None:
    starting, other = boxes.make("starting"), boxes.make("other")
    store = boxes.engine.store
    with store.locked(f"container-{starting.id}"):
        first = boxes.engine.networks.plan(starting, starting.document)
        second = boxes.engine.networks.plan(other, other.document)
    assert first["networks"][0]["address"] != second["networks"][0]["address"]


def test_a_subnet_that_was_chosen_moves_out_of_the_hosts_way(boxes: Boxes) -> None:
    import subprocess

    made, plan = boxes.run("one")
    assert plan["networks"][0]["subnet"] == "172.31.0.0/16"
    boxes.stop(made)
    script = f"""ip link del {plan["networks"][0]["bridge"]} || :; ip link add other type bridge
        ip addr add 172.31.0.1/16 dev other; ip link set other up"""
    subprocess.run(["sh", "-ec", script], check=True)
    assert boxes.start(made)["networks"][0]["subnet"] == "172.30.0.0/16"


def test_a_network_in_use_stays_and_one_that_is_not_leaves_nothing(boxes: Boxes) -> None:
    network = boxes.engine.networks.create("n1")
    made, _ = boxes.run("one", "n1")
    said = f"error while removing network: network n1 id {network.id} has active endpoints"
    with pytest.raises(NetworkInUse, match=f"^{said}$"):
        boxes.engine.networks.remove("n1")
    assert boxes.engine.networks.prune() == [] and network.bridge in devices()
    boxes.stop(made)
    assert boxes.engine.networks.prune() == ["n1"] and network.bridge not in devices()
    with pytest.raises(NoSuchNetwork, match=r"^network n1 not found$"):
        boxes.start(made)


def test_what_nobody_is_on_has_nothing_on_the_host_once_it_is_cleared(boxes: Boxes) -> None:
    networks, store = boxes.engine.networks, boxes.engine.store
    networks.create("n1")
    one, plan = boxes.run("one")
    two, other = boxes.run("two", "n1")
    bridges = [each["networks"][0]["bridge"] for each in (plan, other)]
    assert networks.clear_host() == [] and set(bridges) <= devices()
    for each in (one, two):
        boxes.stop(each, killed=True)
    # A killed one's cable goes with its namespace, sooner or later, and the bridge with who cleans up, or by this.
    lines = [*(f"bridge {name}" for name in sorted(bridges)), f"firewall table {store.networks.table}"]
    assert networks.clear_host(dry_run=True) == lines
    assert networks.clear_host() == lines and networks.clear_host() == []
    assert not set(bridges) & devices()
    assert store.networks.table not in subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout
    boxes.start(one)
    boxes.run("three", "n1")
    boxes.stop(one)
    deadline = time.monotonic() + 30
    while bridges[0] in devices() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert bridges[0] not in devices() and bridges[1] in devices()
    assert networks.clear_host() == []  # the rules are needed by the other


def test_a_running_container_is_put_on_networks_and_taken_off(boxes: Boxes) -> None:
    engine = boxes.engine
    engine.networks.create("n1", ipam=[{"Subnet": "10.77.0.0/24"}])
    engine.networks.create("n0", ipam=[{"Subnet": "10.76.0.0/24"}])
    made, _ = boxes.run("one", "n0", host={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}})

    def published() -> str:
        words = ["nft", "list", "map", "inet", engine.store.networks.table, "exact4"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    plan, fd, *_ = boxes._running[made.id]
    folder = engine.store.containers.folder(made.id)
    # The first process of this container is a thread of ours: one that is in its namespace.
    with namespace.Entered(f"/proc/self/fd/{fd}"):
        process = subprocess.Popen(["sleep", "600"])
    try:
        state.write(folder, state.State(status=state.RUNNING, pid=process.pid, boot_id=state.boot_id()))
        engine.networks.connect("n1", "one", {"Aliases": ["al"]})
        with pytest.raises(AlreadyAttached, match=r"^endpoint with name one already exists in network n1$"):
            engine.networks.connect("n1", "one")
        networks = engine.networks.settings(made)["Networks"]
        assert networks["n1"]["IPAddress"] == "10.77.0.2" and networks["n0"]["IPAddress"] == "10.76.0.2"
        assert boxes.file(made, "hosts").splitlines()[-1].startswith("10.77.0.2\t")
        engine.networks.disconnect("n0", "one")
        with namespace.Entered(f"/proc/self/fd/{fd}"):
            routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
        assert routes.startswith("default via 10.77.0.1 dev eth1")
        assert set(engine.networks.settings(made)["Networks"]) == {"n1"}
        with pytest.raises(NotAttached, match=f"^container {made.id} is not connected to network n0$"):
            engine.networks.disconnect("n0", "one")
        # Its port is sent on to where it is by now, also when it was nowhere for a while.
        assert "10.77.0.2 . 80" in published()
        engine.networks.disconnect("n1", "one")
        assert ". 80" not in published()
        engine.networks.connect("n0", "one")
        assert "10.76.0.2 . 80" in published()
        engine.networks.disconnect("n0", "one")
        engine.networks.connect("n1", "one")
    finally:
        process.kill()
        process.wait()
    boxes.stop(made)
    assert [each["name"] for each in boxes.start(made)["networks"]] == ["n1"]  # that is how it stays
    del plan


def test_a_connection_that_fails_or_is_killed_leaves_nothing_in_the_way_of_the_next(boxes: Boxes) -> None:
    engine = boxes.engine
    engine.networks.create("n1", ipam=[{"Subnet": "10.77.0.0/24"}])
    engine.networks.create("n0", ipam=[{"Subnet": "10.76.0.0/24"}])
    made, _ = boxes.run("one", "n0")
    fd = boxes._running[made.id][1]
    folder = engine.store.containers.folder(made.id)

    def connected() -> list[str]:
        plan = saved(folder)
        assert plan is not None
        return [each["name"] for each in plan["networks"]]

    with namespace.Entered(f"/proc/self/fd/{fd}"):
        subprocess.run(["ip", "link", "add", "eth1", "type", "bridge"], check=True)  # the cable's place is taken
        process = subprocess.Popen(["sleep", "600"])
    try:
        state.write(folder, state.State(status=state.RUNNING, pid=process.pid, boot_id=state.boot_id()))
        before = devices()
        with pytest.raises(running.NetworkFailed, match="cannot be connected to network n1"):
            engine.networks.connect("n1", "one")
        assert connected() == ["n0"] and devices() == before
        with pytest.raises(NotAttached):
            engine.networks.disconnect("n1", "one")
        with namespace.Entered(f"/proc/self/fd/{fd}"):
            subprocess.run(["ip", "link", "del", "eth1"], check=True)
        document = engine.containers.get("one").document
        for undo in ("connect", "disconnect"):
            engine.networks.connect("n1", "one")
            assert connected() == ["n0", "n1"]
            assert engine.networks.settings(made)["Networks"]["n1"]["IPAddress"] == "10.77.0.2"
            # As one leaves it that is killed before it has written down that it is done.
            engine.store.containers.set_document(made.id, document)
            getattr(engine.networks, undo)("n1", "one")
            assert connected() == (["n0", "n1"] if undo == "connect" else ["n0"])
            if undo == "connect":
                engine.networks.disconnect("n1", "one")
    finally:
        process.kill()
        process.wait()


def test_a_stopped_container_is_put_on_networks_for_its_next_start(boxes: Boxes) -> None:
    boxes.engine.networks.create("n1")
    made = boxes.make("one")
    boxes.engine.networks.connect("n1", "one")
    assert [each["name"] for each in boxes.start(made)["networks"]] == ["bridge", "n1"]
    boxes.stop(made)
    boxes.engine.networks.disconnect("bridge", "one")
    boxes.engine.networks.disconnect("n1", "one")
    assert boxes.start(made)["mode"] == "none"


def test_another_containers_network_is_that_of_its_process_and_its_files(boxes: Boxes) -> None:
    made, _ = boxes.run("one")
    joined = boxes.make("two", "container:one")
    plan = boxes.start(joined)
    assert plan["mode"] == "container" and plan["pid"] == os.getpid() and plan["container"] == made.id
    folders = [boxes.engine.store.containers.folder(each.id) for each in (made, joined)]
    assert (folders[0] / "hosts").samefile(folders[1] / "hosts")
    assert boxes.engine.networks.settings(joined)["Networks"] == {}
    boxes.stop(joined)
    boxes.stop(made)
    with pytest.raises(NotJoinable, match=f"^cannot join network of a non running container: {made.id}$"):
        boxes.start(joined)


def test_host_and_none_have_no_addresses(boxes: Boxes) -> None:
    made, plan = boxes.run("one", "host")
    assert plan["mode"] == "host" and plan["ports"] == []
    assert made.id in boxes.engine.networks.inspect("host")["Containers"]
    assert boxes.run("two", "none")[1]["mode"] == "none"
    private = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
    on_host = "container cannot be disconnected from host network or connected to host network"
    for container, said in (("one", on_host), ("two", private)):
        with pytest.raises(InvalidNetworkOptions) as raised:
            boxes.engine.networks.connect("bridge", container)
        assert raised.value.message == said


def test_events_tell_of_networks(boxes: Boxes) -> None:
    network = boxes.engine.networks.create("n1")
    boxes.engine.networks.remove("n1")
    lines = (boxes.engine.store.root / "events.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines if '"network"' in line]
    assert [(each["Action"], each["Actor"]["ID"]) for each in found] == [
        ("create", network.id),
        ("destroy", network.id),
    ]


@pytest.mark.parametrize(
    ("config", "host", "endpoints", "error", "said"),
    [
        ({}, {"NetworkMode": "container:x", "Dns": ["1.1.1.1"]}, {}, InvalidNetworkOptions,
         "conflicting options: dns and the network mode"),
        ({}, {"NetworkMode": "container:x", "ExtraHosts": ["a:1.1.1.1"]}, {}, InvalidNetworkOptions,
         "conflicting options: custom host-to-IP mapping and the network mode"),
        ({}, {"NetworkMode": "container:x", "PortBindings": {"80/tcp": []}}, {}, InvalidNetworkOptions,
         "conflicting options: port publishing and the container type network mode"),
        ({}, {}, {"bridge": {"Aliases": ["x"]}}, InvalidNetworkOptions,
         "network-scoped aliases are only supported for user-defined networks"),
        ({}, {}, {"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}, InvalidNetworkOptions,
         "user specified IP address is supported on user defined networks only"),
        ({}, {}, {"n1": {"IPAMConfig": {"IPv4Address": "x"}}}, InvalidNetworkOptions, "invalid IPv4 address: x"),
        ({}, {"Links": ["a"]}, {}, NoLinks, "links are a legacy feature that veneer does not have"),
    ],
)  # fmt: skip
def test_options_that_exclude_each_other(
    config: dict[str, Any], host: dict[str, Any], endpoints: dict[str, Any], error: type[Exception], said: str
) -> None:
    document = {"Config": config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": endpoints}}
    with pytest.raises(error, match=r"^" + said.replace("(", r"\(").replace(")", r"\)") + "$"):
        refuse_contradictions(document)
