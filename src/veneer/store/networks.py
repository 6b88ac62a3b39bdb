"""The networks there are, and who has which address on them.

A network's `document` is what docker's `network inspect` shows but for its containers, with a `veneer` object beside:
{"bridge": name of its device, "chosen": whether the subnet was chosen here}.  An address belongs to a container as long
as its row is there and that container lives: rows of those that ended are taken over by who needs the address.
"""

from __future__ import annotations

import functools
import json
import os
import time

from veneer.errors import Conflict, InvalidRequest, NotFound, Unavailable
from veneer.oci.digest import Digest
from veneer.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    import apsw

    from veneer.store import subnets
    from veneer.store.store import Store

PREDEFINED = ("bridge", "host", "none")
DEFAULT = "bridge"
_DRIVERS = {"bridge": "bridge", "host": "host", "none": "null"}
_SYSTEM_ROOT = "/var/lib/veneer"
_PREFIX = "com.docker.network"


class NoSuchNetwork(NotFound):
    """No network has that name or id."""


class AmbiguousNetwork(InvalidRequest):
    """An id prefix that several networks share."""


class NetworkNameInUse(Conflict):
    """There is a network of that name."""


class AddressTaken(Conflict):
    """An address that a container was to have is another's."""


class NoAddressLeft(Unavailable):
    """Every address of a network is taken."""


class Network(Value):
    """A network as it was made; `driver` is bridge, host or null, `created` Unix seconds."""

    id: str
    name: str
    driver: str
    document: dict[str, Any]
    created: float

    @property
    def is_predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def bridge(self) -> str:
        """The name of its device on the host, "" if it has none."""
        return str(self.document.get("veneer", {}).get("bridge", ""))

    @property
    def pools(self) -> Sequence[subnets.Pool]:
        """Its subnets: one of IPv4, then perhaps one of IPv6."""
        from veneer.store import subnets

        return [subnets.Pool.of(config) for config in self.document["IPAM"]["Config"]]

    @property
    def options(self) -> Mapping[str, str]:
        return self.document.get("Options") or {}


class NetworkStore:
    """The networks of one data root."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog = store.catalog

    @functools.cached_property
    def mark(self) -> str:
        """What names of ours on the host have in them: eight hex digits that stand for this data root."""
        return Digest.of(os.fsencode(os.path.realpath(self._store.config.root_name))).hex[:8]

    @property
    def table(self) -> str:
        """The name of our nftables table."""
        return f"veneer_{self.mark}"

    @property
    def default_bridge(self) -> str:
        return "veneer0" if os.path.realpath(self._store.config.root_name) == _SYSTEM_ROOT else f"veneer-{self.mark}"

    # ---- which there are

    def list(self) -> Sequence[Network]:
        """Every network, by name."""
        return sorted(self._all(), key=lambda each: each.name)

    def _all(self) -> Sequence[Network]:
        self._begin()
        return [_network(row) for row in self._catalog.rows("SELECT id, name, driver, document, created FROM network")]

    def get(self, reference: str) -> Network:
        """The network of that name, id or unique beginning of an id.  Raises NoSuchNetwork, AmbiguousNetwork."""
        found = self.find(reference)
        if found is None:
            raise NoSuchNetwork(f"network {reference} not found", hint="veneer network ls shows all of them")
        return found

    def find(self, reference: str) -> Network | None:
        """As `get`, None where there is none."""
        networks = self._all()
        exact = [each for each in networks if each.id == reference] or [
            each for each in networks if each.name == reference
        ]
        if exact:
            return exact[0]
        matches = [each for each in networks if reference and each.id.startswith(reference)]
        if len(matches) > 1:
            raise AmbiguousNetwork(
                f"network {reference} is ambiguous ({len(matches)} matches found based on ID prefix)"
            )
        return matches[0] if matches else None

    def _begin(self) -> None:
        """Have the rows of the networks that are always there."""
        if self._catalog.value("SELECT count(*) FROM network WHERE name IN ('bridge', 'host', 'none')") == len(
            PREDEFINED
        ):
            return
        with self._catalog.transaction() as transaction:
            there = {name for (name,) in transaction.execute("SELECT name FROM network").fetchall()}
            for name in PREDEFINED:
                if name not in there:
                    _insert(transaction, self._predefined(name))

    def _predefined(self, name: str) -> Network:
        document = blank(_DRIVERS[name])
        document["IPAM"]["Options"] = None
        if name == DEFAULT:
            document["Options"] = {
                f"{_PREFIX}.bridge.default_bridge": "true", f"{_PREFIX}.bridge.enable_icc": "true",
                f"{_PREFIX}.bridge.enable_ip_masquerade": "true",
                f"{_PREFIX}.bridge.host_binding_ipv4": "0.0.0.0", f"{_PREFIX}.bridge.name": self.default_bridge,
                f"{_PREFIX}.driver.mtu": "1500",
            }  # fmt: skip
            document["veneer"] = {"bridge": self.default_bridge, "chosen": True}
        return Network(os.urandom(32).hex(), name, _DRIVERS[name], document, time.time())

    # ---- made, changed, removed

    def create(self, name: str, document: Mapping[str, Any], taken: Sequence[str]) -> Network:
        """Make a network; a document without an IPv4 subnet (with EnableIPv6: without one of IPv6) is given one.

        `taken` are subnets that the host has routes to.  Raises NetworkNameInUse, subnets.PoolOverlaps,
        subnets.NoPoolLeft.
        """
        self._begin()
        with self._catalog.transaction() as transaction:
            if transaction.execute("SELECT 1 FROM network WHERE name = ?", (name,)).fetchone():
                raise NetworkNameInUse(f"network with name {name} already exists")
            made = dict(document)
            network_id = os.urandom(32).hex()
            bridge = made["Options"].get(f"{_PREFIX}.bridge.name") or f"vb-{network_id[:12]}"
            configs, chosen = self._completed(transaction, made, taken, network_id)
            made["IPAM"] = made["IPAM"] | {"Config": configs}
            made["veneer"] = {"bridge": bridge, "chosen": chosen}
            network = Network(network_id, name, "bridge", made, time.time())
            _insert(transaction, network)
        return network

    def _completed(
        self, transaction: apsw.Connection, document: Mapping[str, Any], taken: Sequence[str], seed: str
    ) -> tuple[Sequence[dict[str, Any]], bool]:
        """The subnets of a new network, and whether the IPv4 one was chosen here."""
        from veneer.store import subnets

        ours = _subnets(transaction)
        configs = [dict(each) for each in document["IPAM"]["Config"]]
        for each in configs:
            subnets.refuse_overlap(each["Subnet"], ours)
        chosen = not any(subnets.version(each["Subnet"]) == 4 for each in configs)
        if chosen:
            configs.insert(0, subnets.choose([*ours, *taken]))
        if document["EnableIPv6"] and not any(subnets.version(each["Subnet"]) == 6 for each in configs):
            configs.append(subnets.choose_ipv6(self.mark, seed, ours))
        return configs, chosen

    def settle(self, network: Network, taken: Sequence[str], *, in_use: Callable[[], bool]) -> Network:
        """The network with a subnet that nobody else has: one chosen here is chosen anew where the host has a route
        into it by now, unless a container uses it.  `taken`: what the host has routes to, but for the network's own.
        """
        from veneer.store import subnets

        pools = network.pools
        if pools and not any(subnets.overlap(pools[0].subnet, each) for each in taken):
            return network
        if pools and in_use():
            return network
        with self._catalog.transaction() as transaction:
            config = subnets.choose([*_subnets(transaction, but=network.id), *taken])
            rest = [each for each in network.document["IPAM"]["Config"] if subnets.version(each["Subnet"]) == 6]
            document = network.document | {"IPAM": network.document["IPAM"] | {"Config": [config, *rest]}}
            transaction.execute("UPDATE network SET document = ? WHERE id = ?", (json.dumps(document), network.id))
            transaction.execute("DELETE FROM address WHERE network = ?", (network.id,))
        return network.replaced(document=document)

    def remove(self, network: Network) -> None:
        """Have a network not be; its addresses are nobody's."""
        with self._catalog.transaction() as transaction:
            transaction.execute("DELETE FROM network WHERE id = ?", (network.id,))

    # ---- addresses

    def claim(
        self, network: Network, container: str, *, wanted: Sequence[str] = (), lives: Callable[[str], bool]
    ) -> Sequence[str]:
        """An address of each of the network's pools for a container, in their order; `wanted` ones where they fit.

        Those it had there are free first.  `lives` tells whether another container, by its id, still needs its own.
        Raises AddressTaken, NoAddressLeft, subnets.NotInNetwork.
        """
        from veneer.store import subnets

        pools = network.pools
        for address in wanted:
            if not any(pool.has(address) for pool in pools):
                raise subnets.NotInNetwork(
                    f"Invalid address {address}: It does not belong to any of this network's subnets",
                    hint="the network has " + ", ".join(pool.subnet for pool in pools),
                )
        given = []
        with self._catalog.transaction(durable=False) as transaction:
            transaction.execute("DELETE FROM address WHERE network = ? AND container = ?", (network.id, container))
            rows = transaction.execute("SELECT address, container FROM address WHERE network = ?", (network.id,))
            holders = {str(address): str(holder) for address, holder in rows.fetchall()}

            def is_free(address: str) -> bool:
                return address not in holders or not lives(holders[address])

            for pool in pools:
                asked = next((each for each in wanted if pool.has(each)), "")
                if asked and not (is_free(asked) and asked != pool.gateway):
                    raise AddressTaken(
                        "Address already in use", hint=f"{asked} on network {network.name}: choose another"
                    )
                address = asked or next(filter(is_free, pool.candidates()), "")
                if not address:
                    raise NoAddressLeft(
                        f"no available IPv{pool.version} addresses on this network's address pools: "
                        f"{network.name} ({network.id})",
                        hint="remove a container from it, or make a larger network",
                    )
                transaction.execute(
                    "INSERT OR REPLACE INTO address (network, address, container, mac) VALUES (?, ?, ?, '')",
                    (network.id, address, container),
                )
                given.append(address)
        return given

    def give_back(self, container: str, network: str = "") -> None:
        """Have a container's addresses (on one network, by its id) be nobody's."""
        if not self._catalog.value("SELECT 1 FROM address WHERE container = ?", (container,)):
            return
        with self._catalog.transaction(durable=False) as transaction:
            where = "container = ?" + (" AND network = ?" if network else "")
            transaction.execute(f"DELETE FROM address WHERE {where}", (container, *([network] if network else [])))

    def holders(self, network: Network) -> Sequence[str]:
        """The ids of the containers that have an address there, whether they live or not."""
        rows = self._catalog.rows("SELECT DISTINCT container FROM address WHERE network = ?", (network.id,))
        return [container for (container,) in rows]


def blank(driver: str) -> dict[str, Any]:
    """What docker's inspect shows of a network that nothing was said about."""
    return {
        "Scope": "local", "Driver": driver, "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": []},
        "Internal": False, "Attachable": False, "Ingress": False, "ConfigFrom": {"Network": ""}, "ConfigOnly": False,
        "Options": {}, "Labels": {},
    }  # fmt: skip


def _network(row: Sequence[Any]) -> Network:
    network_id, name, driver, document, created = row
    return Network(network_id, name, driver, json.loads(document), created)


def _subnets(transaction: apsw.Connection, but: str = "") -> list[str]:
    """The subnets of every network but one."""
    rows = transaction.execute("SELECT document FROM network WHERE id != ?", (but,)).fetchall()
    return [each["Subnet"] for (text,) in rows for each in json.loads(str(text))["IPAM"]["Config"]]


def _insert(transaction: apsw.Connection, network: Network) -> None:
    transaction.execute(
        "INSERT INTO network (id, name, driver, document, created) VALUES (?, ?, ?, ?, ?)",
        (network.id, network.name, network.driver, json.dumps(network.document), network.created),
    )
