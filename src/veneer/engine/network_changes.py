"""A container put on a network or taken off it, also while it runs.

Where it runs, this process lays the cable itself: the namespace is that of the container's first process, which root
on the host can name.  The plan in the container's folder is what its monitor undoes at the end, so that is changed too.
"""

from __future__ import annotations

import contextlib

from veneer.engine import network_plan as planning
from veneer.engine import network_start as starting
from veneer.errors import NotFound
from veneer.run.monitor import client, state
from veneer.run.monitor.stream import MonitorGone
from veneer.run.network import connection, names, settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from veneer.engine.networks import Networks
    from veneer.store.containers import Container
    from veneer.store.networks import Network
    from veneer.store.store import Store


class NoSuchEndpoint(NotFound):
    """There is nothing of a container on a network."""


def connect(networks: Networks, store: Store, reference: str, container: str, given: dict[str, Any]) -> None:
    """See Networks.connect."""
    found = store.containers.get(container)
    network = store.networks.get(reference)
    with store.locked(f"container-{found.id}"):
        found = store.containers.get(found.id)
        endpoints = planning.endpoints(found.document)
        _refuse(network, planning.mode_of(found.document), endpoints)
        planning.refuse_endpoint(network.name, given)
        name = _attached(endpoints, network)
        folder = store.containers.folder(found.id)
        plan = starting.saved_plan(folder)
        if name:
            raise planning.AlreadyAttached(f"endpoint with name {found.name} already exists in network {network.name}")
        endpoints[network.name] = given
        if plan is None:
            _keep(store, found, endpoints)
            return
        _refuse_unless_bridged(plan)
        _pull_out(plan, folder, network, found)  # half of it may be there, of somebody who was killed
        try:
            entry = _plug_in(networks, plan, folder, network, given, found)
            _keep(store, found, endpoints)
        except BaseException:
            _pull_out(plan, folder, network, found)
            store.networks.give_back(found.id, network.id)
            raise
        connection.tell(plan["root"], "connect", entry, {"container": found.id})


def _refuse_unless_bridged(plan: Mapping[str, Any]) -> None:
    if plan["mode"] != "bridge":
        raise planning.NeedsRoot("a plain user's containers are not connected to each other",
                                 hint="run it as root to put it on networks")  # fmt: skip


def _refuse(network: Network, mode: str, endpoints: Mapping[str, Any]) -> None:
    if network.driver == "host" or mode == "host":
        raise planning.InvalidNetworkOptions(
            "container cannot be disconnected from host network or connected to host network"
        )
    if mode.startswith("container:"):
        raise planning.InvalidNetworkOptions(
            "container sharing network namespace with another container or host "
            "cannot be connected to any other network"
        )
    if endpoints and (network.driver == "null" or mode == "none"):
        raise planning.InvalidNetworkOptions(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


def _attached(endpoints: Mapping[str, Any], network: Network) -> str:
    """What a container's document calls the network, "" if it is not on it."""
    return next((name for name in endpoints if name in (network.name, network.id) or
                 (len(name) >= 12 and network.id.startswith(name))), "")  # fmt: skip


def _keep(store: Store, container: Container, endpoints: Mapping[str, Any]) -> None:
    networking = {"EndpointsConfig": dict(endpoints), "Explicit": True}
    store.containers.set_document(container.id, {**container.document, "NetworkingConfig": networking})


def _plug_in(
    networks: Networks, plan: dict[str, Any], folder: Path, network: Network, given: dict[str, Any], found: Container
) -> dict[str, Any]:
    """Lay the cable; the plan's new entry.  Where it fails, what is there already is in the plan: see _pull_out."""
    from veneer.run.network import bridge, firewall, presence

    settled, addresses = networks.claimed(network, found.id, given)
    used = {entry["device"] for entry in plan["networks"]}
    device = next(name for number in range(len(used) + 1) if (name := f"eth{number}") not in used)
    entry = planning.network_entry(settled, given, addresses, {"id": found.id, "name": found.name}, device)
    before = connection.routed(plan)
    plan["networks"].append(entry)
    # First, as at a start: whoever cleans up knows what there may be.
    _save(plan, folder)
    path = f"/proc/{state.read(folder).pid}/ns/net"
    with presence.joining(plan["root"], network.id):
        firewall.admit(plan["root"], plan["table"], entry)
        bridge.attach(plan["root"], entry, path, routed=before is None and connection.routed(plan) is entry)
    if before is None and connection.routed(plan) is entry:
        # Its monitor still holds the ports that were published on the network it was taken off.
        firewall.publish(plan["table"], plan["ports"], entry["address"], entry.get("address6", ""))
    if entry["named"]:
        names.enter(plan["root"], entry, found.id)
    if entry["named"] and plan["servers"] is None:
        plan["servers"] = starting.servers(found.document)
        _save(plan, folder)
        client.connect(folder).serve_names()
    starting.write_files(folder, plan, found.document)
    return entry


def _save(plan: Mapping[str, Any], folder: Path) -> None:
    before = names.saved_result(folder)
    names.save(folder, plan, before | settings.result(plan, before.get("SandboxKey", "")))


def rename(store: Store, container: Container, name: str) -> None:
    """Have a container be called so, also by its neighbours if it runs.  Raises NameInUse."""
    with store.locked(f"container-{container.id}"):
        store.containers.rename(container.id, name)
        folder = store.containers.folder(container.id)
        with contextlib.suppress(client.NotRunning, MonitorGone):
            client.connect(folder).rename(name)
        plan = starting.saved_plan(folder)
        if plan is None:
            return
        plan["name"] = name
        named = [entry for entry in plan["networks"] if entry.get("names")]
        for entry in named:
            entry["names"] = list(dict.fromkeys([name, *entry["names"][1:]]))
        names.save(folder, plan, names.saved_result(folder))
        for entry in named:
            names.enter(plan["root"], entry, container.id)


def disconnect(networks: Networks, store: Store, reference: str, container: str, *, force: bool) -> None:
    """See Networks.disconnect."""
    try:
        found = store.containers.get(container)
    except NotFound:
        if not force:
            raise
        network = store.networks.get(reference)
        raise NoSuchEndpoint(f"endpoint {container} not found") from None
    network = store.networks.get(reference)
    with store.locked(f"container-{found.id}"):
        found = store.containers.get(found.id)
        if network.driver == "host":
            _refuse(network, "host", {})
        endpoints = planning.endpoints(found.document)
        name = _attached(endpoints, network)
        folder = store.containers.folder(found.id)
        plan = starting.saved_plan(folder)
        entry = None
        if plan is not None and plan["mode"] == "bridge":
            entry = _pull_out(plan, folder, network, found)
        if not name and entry is None:
            raise planning.NotAttached(f"container {found.id} is not connected to network {network.name}")
        store.networks.give_back(found.id, network.id)
        endpoints.pop(name, None)
        _keep(store, found, endpoints)
        if plan is not None and entry is not None:
            connection.tell(plan["root"], "disconnect", entry, {"container": found.id})


def _pull_out(plan: dict[str, Any], folder: Path, network: Network, found: Container) -> dict[str, Any] | None:
    """Take away what there is of a cable, be it half of one; the entry it had in the plan, None if it had none."""
    from veneer.run.network import bridge, firewall, presence

    entries: list[dict[str, Any]] = plan["networks"]
    entry = next((each for each in entries if each["id"] == network.id), None)
    if entry is None:
        return None
    left_by = connection.routed(plan)
    if left_by is entry:
        firewall.withdraw(plan["table"], plan["ports"], entry["address"], entry.get("address6", ""))
    names.leave(plan["root"], network.id, found.id)
    presence.leave(plan["root"], [entry], wait=True)
    plan["networks"].remove(entry)
    _save(plan, folder)
    outside = connection.routed(plan)
    if left_by is entry and outside is not None:
        bridge.route(outside, f"/proc/{state.read(folder).pid}/ns/net")
        firewall.publish(plan["table"], plan["ports"], outside["address"], outside.get("address6", ""))
    starting.write_in_place(folder / "hosts", starting.hosts(plan, found.document))
    return entry
