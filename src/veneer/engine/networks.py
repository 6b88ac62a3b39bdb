"""Networks: made, listed, removed; containers connected to them, and what a container's start is told about its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from veneer.engine import network_plan as planning
from veneer.errors import Conflict, Denied, InvalidRequest, NotFound
from veneer.run.monitor import state
from veneer.run.network import names
from veneer.store import subnets
from veneer.store.networks import DEFAULT, PREDEFINED, blank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from veneer.engine.engine import Engine
    from veneer.store.containers import Container
    from veneer.store.networks import Network

_DEVICE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_BRIDGE_NAME = "com.docker.network.bridge.name"
_MTU = "com.docker.network.driver.mtu"


class PredefinedNetwork(Denied):
    """The networks that are always there cannot be made or removed."""


class NetworkInUse(Conflict):
    """A container that runs is connected to a network that was to be removed."""


class InvalidNetwork(InvalidRequest):
    """A network that cannot be made as it was asked for."""


class NoSuchNetworkDriver(NotFound):
    """Networks are made by the driver bridge alone."""


class Networks:
    """The networks of one data root."""

    def __init__(self, engine: Engine) -> None:
        self._store = engine.store

    # ---- networks

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        ipam: Sequence[Mapping[str, Any]] = (),
        internal: bool = False,
        ipv6: bool = False,
        attachable: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Network:
        """Make a bridge network; `ipam` is docker's IPAM Config, without which subnets are chosen.

        Raises InvalidNetwork, NoSuchNetworkDriver, PredefinedNetwork, NetworkNameInUse, PoolOverlaps, NoPoolLeft,
        InvalidSubnet.
        """
        if not name.strip():
            raise InvalidNetwork("invalid name: name is empty")
        if name in PREDEFINED:
            raise PredefinedNetwork(f"operation is not permitted on predefined {name} network")
        if driver in ("host", "null"):
            raise PredefinedNetwork(f'only one instance of "{driver}" network is allowed')
        if driver != "bridge":
            raise NoSuchNetworkDriver(f'plugin "{driver}" not found', hint="veneer has the driver bridge")
        chosen = dict(options or {})
        self._check_options(chosen)
        configs = [dict(config, Subnet=subnets.checked(config["Subnet"])) for config in ipam]
        for version in (4, 6):
            if sum(subnets.version(config["Subnet"]) == version for config in configs) > 1:
                raise InvalidNetwork("bridge driver doesn't support multiple subnets",
                                     hint="one of IPv4 and, with --ipv6, one of IPv6")  # fmt: skip
        if not ipv6 and any(subnets.version(config["Subnet"]) == 6 for config in configs):
            raise InvalidNetwork("an IPv6 subnet needs a network with IPv6", hint="add --ipv6")
        document = blank(driver) | {
            "EnableIPv6": ipv6, "Internal": internal, "Attachable": attachable, "Options": chosen,
            "Labels": dict(labels or {}),
        }  # fmt: skip
        document["IPAM"]["Config"] = configs
        network = self._store.networks.create(name, document, self._taken())
        self._tell("create", network)
        return network

    def _check_options(self, options: Mapping[str, str]) -> None:
        if (mtu := options.get(_MTU)) is not None and not (mtu.isdigit() and 68 <= int(mtu) <= 65535):
            raise InvalidNetwork(f"invalid MTU: {mtu}", hint="68 to 65535 bytes")
        if (device := options.get(_BRIDGE_NAME)) is None:
            return
        if not _DEVICE_NAME.fullmatch(device):
            raise InvalidNetwork(f"invalid name for a network device: {device}",
                                 hint="at most 15 letters, digits, dots, dashes and underscores")  # fmt: skip
        ours = [each.bridge for each in self._store.networks.list()]
        if device in ours or _is_device(device):
            raise InvalidNetwork(
                f"there is a network device {device} already", hint="choose another name for the bridge"
            )

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[Network]:
        """Networks by name, those that docker's `filters` keep.  Raises InvalidFilter."""
        from veneer.engine.network_filters import LIST, kept

        networks = self._store.networks.list()
        return kept(networks, filters or {}, LIST, self._is_used) if filters else networks

    def get(self, reference: str) -> Network:
        """The network of that name, id or beginning of one.  Raises NoSuchNetwork, AmbiguousNetwork."""
        return self._store.networks.get(reference)

    def inspect(self, reference: str) -> dict[str, Any]:
        """docker's document of a network, with the containers that run on it.  Raises NoSuchNetwork."""
        network = self.get(reference)
        if network.driver == "bridge":
            network = self._settled(network)
        document = {key: value for key, value in network.document.items() if key != "veneer"}
        ipam = dict(document["IPAM"])
        if network.name == DEFAULT:
            ipam["Config"] = [{"Subnet": pool.subnet} for pool in network.pools]
        containers = {}
        for identity, plan in self._plans(network):
            for entry in plan["networks"]:
                if entry["id"] == network.id:
                    containers[identity] = _endpoint(plan["name"], entry)
        made = {"Name": network.name, "Id": network.id, "Created": state.rfc3339(int(network.created * 1e9))}
        order = ("Internal", "Attachable", "Ingress", "ConfigFrom", "ConfigOnly")
        return {
            **made, **{key: document[key] for key in ("Scope", "Driver", "EnableIPv6")}, "IPAM": ipam,
            **{key: document[key] for key in order}, "Containers": containers, "Options": document["Options"],
            "Labels": document["Labels"],
        }  # fmt: skip

    def remove(self, reference: str) -> str:
        """Remove a network that no running container is on; its name.

        Raises NoSuchNetwork, PredefinedNetwork, NetworkInUse.
        """
        network = self.get(reference)
        if network.is_predefined:
            raise PredefinedNetwork(f"{network.name} is a pre-defined network and cannot be removed")
        if self._is_used(network):
            raise NetworkInUse(
                f"error while removing network: network {network.name} id {network.id} has active endpoints",
                hint=f"veneer network inspect {network.name} shows the containers: stop or disconnect them",
            )
        self._take_down(network)
        self._store.networks.remove(network)
        self._tell("destroy", network)
        return network.name

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None, *, dry_run: bool = False) -> Sequence[str]:
        """Remove every network of one's own that no running container is on; their names.

        With `dry_run` only say which.  Raises InvalidFilter.
        """
        from veneer.engine.network_filters import PRUNE, kept

        networks = kept(self._store.networks.list(), filters or {}, PRUNE, self._is_used)
        unused = [each for each in networks if not each.is_predefined and not self._is_used(each)]
        return [each.name if dry_run else self.remove(each.id) for each in unused]

    def clear_host(self, *, dry_run: bool = False) -> Sequence[str]:
        """Take from the host what networks nobody is on have there; a line for each.

        With `dry_run` only tell.
        """
        from veneer.engine.network_clearing import clear

        return clear(self._store, self._is_used, dry_run=dry_run)

    def _take_down(self, network: Network) -> None:
        """Have nothing of a network on the host."""
        from veneer.drivers.userns import privileged

        folder = names.folder(self._store.config.root_name, network.id)
        if os.path.isdir(folder):
            import shutil

            shutil.rmtree(folder)
        if privileged() and network.bridge:
            from veneer.engine.network_clearing import entry
            from veneer.run.network import bridge, firewall

            table = self._store.networks.table
            if network.bridge in (firewall.admitted(table) or {}) or _is_device(network.bridge):
                firewall.forget(table, entry(network))
                bridge.take_away([network.bridge])

    def _taken(self, but: str = "") -> Sequence[str]:
        """The subnets that the host has routes to, but for those of one device."""
        import ipaddress

        from veneer.run.network.netlink import RouteNetlink

        with RouteNetlink() as kernel:
            own = kernel.link(but) if but else None
            routes = kernel.routes()
        return [
            f"{ipaddress.ip_address(route.destination)}/{route.prefix}"
            for route in routes
            if route.prefix and (own is None or route.device != own.index)
        ]

    # ---- who is on them

    def _lives(self, container: str) -> bool:
        """Whether a container runs or is being started; a start ends after the monitor began, so is asked first."""
        from veneer.store.locks import is_locked

        if is_locked(self._store.root / "locks", f"container-{container}"):
            return True
        return state.is_held(self._store.containers.folder(container), state.ALIVE)

    def _plans(self, network: Network) -> Iterable[tuple[str, dict[str, Any]]]:
        """The running containers on a network, each with its plan as it is now."""
        holders = self._store.networks.holders(network)
        if network.driver != "bridge" or not holders:
            holders = [each.id for each in self._store.containers.list()]
        for container in holders:
            folder = self._store.containers.folder(container)
            plan = names.saved(folder)
            on_it = plan is not None and any(entry["id"] == network.id for entry in plan["networks"])
            if plan is not None and on_it and state.is_held(folder, state.ALIVE):
                yield container, plan

    def _is_used(self, network: Network) -> bool:
        return any(True for _ in self._plans(network))

    # ---- a container's own

    def plan(self, container: Container, document: Mapping[str, Any]) -> dict[str, Any]:
        """What veneer.run.network's setup is told of a container that is about to start; its addresses are claimed.

        Also writes `hosts`, `hostname` and `resolv.conf` into its folder.  To be called with the container's lock held.
        Raises NoSuchNetwork, AddressTaken, NoAddressLeft, NeedsRoot, NotJoinable, InvalidNetworkOptions, InvalidPort.
        """
        from veneer.engine.network_start import planned

        self.release(container)
        return planned(self, self._store, container, document)

    def release(self, container: Container) -> None:
        """Take away what a container that does not run left of its network on the host, and its addresses."""
        folder = self._store.containers.folder(container.id)
        plan = names.saved(folder)
        if plan is not None:
            from veneer.run.network import connection

            connection.teardown(plan, folder, killed=True)
        self._store.networks.give_back(container.id)

    def settings(self, container: Container) -> dict[str, Any]:
        """docker's NetworkSettings of a container, as they are now."""
        from veneer.run.network import settings

        folder = self._store.containers.folder(container.id)
        if state.is_held(folder, state.ALIVE):
            found = names.saved_result(folder)
            if found:
                return settings.document(found)
        idle = {
            name: settings.idle(given) for name, given in planning.endpoints(container.document).items()
        }  # fmt: skip
        return settings.document({"Networks": idle})

    def connect(self, reference: str, container: str, settings: Mapping[str, Any] | None = None) -> None:
        """Put a container on a network, at once if it runs; `settings` is docker's EndpointSettings.

        Raises NoSuchNetwork, NoSuchContainer, AlreadyAttached, InvalidNetworkOptions, NeedsRoot, AddressTaken.
        """
        from veneer.engine.network_changes import connect

        connect(self, self._store, reference, container, dict(settings or {}))

    def disconnect(self, reference: str, container: str, *, force: bool = False) -> None:
        """Take a container off a network, at once if it runs.

        With `force` also one that is not there any more.  Raises NoSuchNetwork, NoSuchContainer, NotAttached.
        """
        from veneer.engine.network_changes import disconnect

        disconnect(self, self._store, reference, container, force=force)

    def _settled(self, network: Network) -> Network:
        """The network with a subnet that nobody else has by now, where that was chosen here."""
        if not network.document.get("veneer", {}).get("chosen"):
            return network
        taken = self._taken(network.bridge)
        return self._store.networks.settle(network, taken, in_use=lambda: self._is_used(network))

    def _tell(self, action: str, network: Network) -> None:
        from veneer.run.network.connection import tell

        tell(
            self._store.config.root_name, action, {"id": network.id, "name": network.name, "driver": network.driver}, {}
        )

    # ---- for those who put plans together (network_start, network_changes)

    def claimed(self, network: Network, container: str, settings: Mapping[str, Any]) -> tuple[Network, Sequence[str]]:
        """The network, with a subnet that nobody else has by now, and a container's addresses on it, claimed."""
        ipam = settings.get("IPAMConfig") or {}
        wanted = [address for key in ("IPv4Address", "IPv6Address") if (address := ipam.get(key))]
        chosen = network.document.get("veneer", {}).get("chosen")
        if ipam.get("IPv4Address") and chosen:
            raise planning.InvalidNetworkOptions(
                "user specified IP address is supported only when connecting to networks with user configured subnets",
                hint="veneer network create --subnet 10.5.0.0/24 NAME",
            )
        network = self._settled(network)
        return network, self._store.networks.claim(network, container, wanted=wanted, lives=self._lives)


def _is_device(name: str) -> bool:
    """Whether there is a network device of that name."""
    from veneer.run.network.netlink import RouteNetlink

    with RouteNetlink() as kernel:
        return kernel.link(name) is not None


def _endpoint(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    def with_length(key: str, subnet: str) -> str:
        return f"{entry[key]}/{entry[subnet].rpartition('/')[2]}" if entry.get(key) else ""

    return {
        "Name": name,
        "EndpointID": entry.get("endpoint", ""),
        "MacAddress": entry.get("mac", ""),
        "IPv4Address": with_length("address", "subnet"),
        "IPv6Address": with_length("address6", "subnet6"),
    }
