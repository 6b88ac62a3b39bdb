"""`network ...` and `port`: tables, templates, exit codes; what the engine does has its tests beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import Veneer
from tests.support.private_host import private_host

pytestmark = pytest.mark.usefixtures("a_host")


@pytest.fixture
def a_host(root_only: None) -> Iterator[None]:
    with private_host():
        yield


def test_networks_are_listed_as_docker_lists_them(veneer: Veneer) -> None:
    made = veneer("network", "create", "--label", "k=v", "--label", "z", "n1").text.strip()
    assert len(made) == 64
    lines = veneer("network", "ls").text.splitlines()
    assert lines[0] == "NETWORK ID     NAME      DRIVER    SCOPE"
    assert [line.split()[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"], ["host", "host", "local"], ["n1", "bridge", "local"], ["none", "null", "local"],
    ]  # fmt: skip
    assert veneer("network", "ls", "-q", "--filter", "name=n1").text == made[:12] + "\n"
    assert veneer("network", "ls", "-q", "--no-trunc", "-f", "label=z").text == made + "\n"
    row = json.loads(veneer("network", "ls", "-f", "type=custom", "--format", "json").text)
    assert row["Labels"] == "k=v,z=" and row["IPv6"] == "false" and row["CreatedAt"].endswith(" +0000 UTC")
    assert veneer("network", "list", "--format", "table {{.Name}}\t{{.Internal}}").text.splitlines()[0].split() == [
        "NAME", "INTERNAL",
    ]  # fmt: skip


def test_inspect_shows_dockers_object_and_tells_of_what_is_not_there(veneer: Veneer) -> None:
    veneer("network", "create", "--subnet", "10.77.0.0/24", "--gateway", "10.77.0.9", "--ip-range", "10.77.0.128/25",
           "--aux-address", "a=10.77.0.130", "-o", "com.docker.network.driver.mtu=1400", "n2")  # fmt: skip
    [found] = json.loads(veneer("network", "inspect", "n2").text)
    assert list(found) == [
        "Name", "Id", "Created", "Scope", "Driver", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
        "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels",
    ]  # fmt: skip
    assert found["IPAM"]["Config"] == [
        {"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.9",
         "AuxiliaryAddresses": {"a": "10.77.0.130"}}
    ]  # fmt: skip
    both = veneer("network", "inspect", "-f", "{{.Name}} {{.Containers}}", "nope", "n2")
    assert both.code == 1 and both.text == "n2 map[]\n" and both.err.startswith("Error: No such network: nope\n")


def test_removing_goes_on_after_what_cannot_be_removed(veneer: Veneer) -> None:
    veneer("network", "create", "n1")
    removed = veneer("network", "rm", "nope", "bridge", "n1")
    assert removed.code == 1 and removed.text == "n1\n"
    assert "No such network: nope" in removed.err
    assert "bridge is a pre-defined network and cannot be removed" in removed.err
    assert veneer("network", "rm", "-f", "n1").code == 0


def test_prune_asks_first_and_names_what_went(veneer: Veneer) -> None:
    veneer("network", "create", "n1")
    asked = veneer("network", "prune", stdin=b"n\n")
    assert asked.text.startswith("WARNING! This will remove all custom networks not used by at least one container.\n")
    assert veneer("network", "prune", "-f").text == "Deleted Networks:\nn1\n\n"
    assert veneer("network", "prune", "-f").text == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "--gateway", "10.1.0.1", "x"], "every ip-range or gateway must have a corresponding subnet"),
        (
            ["create", "--subnet", "10.1.0.0/24", "--gateway", "10.2.0.1", "x"],
            "no matching subnet for gateway 10.2.0.1",
        ),
        (["create", "-d", "nope", "x"], 'plugin "nope" not found'),
        (["ls", "--filter", "foo=x"], "Invalid filter 'foo'"),
        (["ls", "--filter", "type=x"], "invalid filter: 'type'='x'"),
        (["connect", "bridge", "nope"], "No such container: nope"),
        (["disconnect", "-f", "bridge", "nope"], "endpoint nope not found"),
    ],
)
def test_what_docker_says(veneer: Veneer, words: list[str], said: str) -> None:
    answer = veneer("network", *words)
    assert answer.code == 1 and answer.err.splitlines()[0] == f"Error: {said}"


def test_port_of_no_container(veneer: Veneer) -> None:
    answer = veneer("port", "nope")
    assert answer.code == 1 and answer.err.splitlines()[0] == "Error: No such container: nope"
