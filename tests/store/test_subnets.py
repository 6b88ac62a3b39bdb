"""Subnets and addresses: which are free, which overlap, what docker says of wrong ones."""

from __future__ import annotations

import pytest

from veneer.store import subnets
from veneer.store.subnets import InvalidSubnet, NoPoolLeft, Pool, PoolOverlaps


def test_a_pool_gives_the_lowest_address_that_is_not_spoken_for() -> None:
    pool = Pool.of({"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/30", "AuxiliaryAddresses": {"a": "10.77.0.130"}})
    assert pool.gateway == "10.77.0.1"
    assert list(pool.candidates()) == ["10.77.0.128", "10.77.0.129", "10.77.0.131"]
    small = Pool.of({"Subnet": "10.78.0.0/30"})
    assert list(small.candidates()) == ["10.78.0.2"]
    assert next(Pool.of({"Subnet": "fd99::/64", "Gateway": "fd99::1"}).candidates()) == "fd99::2"
    assert Pool.of({"Subnet": "10.77.0.5/24"}).subnet == "10.77.0.0/24"


def test_subnets_are_chosen_beside_everything_that_is_taken() -> None:
    assert subnets.choose([])["Subnet"] == "172.31.0.0/16"
    assert subnets.choose(["172.31.5.0/24", "172.30.0.0/15", "fd00::/8"])["Subnet"] == "172.29.0.0/16"
    assert subnets.choose(["172.16.0.0/12"])["Subnet"] == "192.168.240.0/20"
    with pytest.raises(NoPoolLeft, match="non-overlapping IPv4 address pool among the defaults"):
        subnets.choose(["0.0.0.0/0"])
    made = subnets.choose_ipv6("root", "network", [])
    assert made == subnets.choose_ipv6("root", "network", []) and made["Subnet"].startswith("fd")
    assert subnets.choose_ipv6("root", "network", [made["Subnet"]]) != made


def test_overlaps_are_refused_in_dockers_words() -> None:
    subnets.refuse_overlap("10.1.0.0/16", ["10.2.0.0/16", "fd00::/8"])
    with pytest.raises(PoolOverlaps, match=r"^Pool overlaps with other one on this address space$"):
        subnets.refuse_overlap("10.1.5.0/24", ["10.1.0.0/16"])


def test_a_configuration_finds_each_its_subnet() -> None:
    found = subnets.configuration(
        ["10.77.0.0/24", "fd99::/64"], ["10.77.0.128/25"], ["fd99::1", "10.77.0.9"], {"a": "10.77.0.130"}
    )
    assert found == [
        {"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.9",
         "AuxiliaryAddresses": {"a": "10.77.0.130"}},
        {"Subnet": "fd99::/64", "Gateway": "fd99::1"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "ranges", "gateways", "taken", "said"),
    [
        (["10.77.0.0/24"], [], ["10.78.0.1"], {}, "no matching subnet for gateway 10.78.0.1"),
        (["10.77.0.0/24"], [], ["x"], {}, "no matching subnet for gateway x"),
        (["10.77.0.0/24"], ["10.99.0.0/24"], [], {}, "no matching subnet for range 10.99.0.0/24"),
        (["10.77.0.0/24"], [], [], {"a": "10.99.0.1"}, "no matching subnet for aux-address 10.99.0.1"),
        ([], [], ["10.77.0.1"], {}, "every ip-range or gateway must have a corresponding subnet"),
        ([], ["10.1.0.0/24"], [], {}, "every ip-range or gateway must have a corresponding subnet"),
        (["10.78.0.0/24", "10.78.0.0/25"], [], [], {}, "multiple overlapping subnet configuration is not supported"),
    ],
)
def test_what_docker_says_of_others(
    given: list[str], ranges: list[str], gateways: list[str], taken: dict[str, str], said: str
) -> None:
    with pytest.raises(InvalidSubnet) as raised:
        subnets.configuration(given, ranges, gateways, taken)
    assert raised.value.message == said


@pytest.mark.parametrize("text", ["10.77.0.0/33", "x", "10.77.0.0"])
def test_what_is_no_subnet_is_named(text: str) -> None:
    with pytest.raises(InvalidSubnet, match=f"^Invalid subnet {text} : invalid CIDR address: {text}$"):
        subnets.checked(text)
