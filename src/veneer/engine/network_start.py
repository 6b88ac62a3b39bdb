"""A container's network as its start needs it: the plan, with addresses claimed, and the files in /etc."""

from __future__ import annotations

import os

from veneer.engine import network_plan as planning
from veneer.run import hostfiles
from veneer.run.monitor import state
from veneer.run.network import connection, names, slirp_addresses
from veneer.store.networks import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from veneer.engine.networks import Networks
    from veneer.store.containers import Container
    from veneer.store.store import Store

RESOLVER = "127.0.0.11"
FILES = ("hosts", "hostname", "resolv.conf")


def planned(networks: Networks, store: Store, container: Container, document: Mapping[str, Any]) -> dict[str, Any]:
    """See Networks.plan."""
    from veneer.drivers.userns import privileged

    mode = planning.mode_of(document)
    config = document.get("Config") or {}
    plan: dict[str, Any] = {
        "mode": mode, "id": container.id, "name": container.name, "root": os.path.realpath(store.config.root_name),
        "hostname": config.get("Hostname") or "", "domain": config.get("Domainname") or "",
        "table": store.networks.table, "networks": [], "ports": [], "exposed": [], "servers": None,
        "sandbox": os.urandom(32).hex(), "endpoint": "",
    }  # fmt: skip
    rootless = not privileged()
    if mode.startswith("container:"):
        return _joined(store, plan, mode.removeprefix("container:"), rootless=rootless)
    endpoints = planning.endpoints(document)
    if mode in ("host", "none") or not endpoints:
        plan["mode"] = "host" if mode == "host" else "none"
        if endpoints:
            network = store.networks.get(mode)
            plan["networks"].append({
                "id": network.id, "name": network.name, "driver": network.driver, "endpoint": os.urandom(32).hex(),
                "internal": True, "ipam": None,
            })  # fmt: skip
    elif rootless:
        _for_plain_user(store, plan, document, endpoints)
    else:
        _bridged(networks, store, plan, document, endpoints)
    write_files(store.containers.folder(container.id), plan, document)
    return plan


def _joined(store: Store, plan: dict[str, Any], reference: str, *, rootless: bool) -> dict[str, Any]:
    """A plan to share another container's network: its namespace is that of `pid`, on the host."""
    if rootless:
        raise planning.NeedsRoot(
            "a plain user's container cannot share another's network: each is in a user namespace of its own",
            hint="run both as root, or publish ports to the host",
        )
    other = store.containers.get(reference)
    folder = store.containers.folder(other.id)
    found = state.read(folder)
    if not found.is_live or not found.pid:
        raise planning.NotJoinable(f"cannot join network of a non running container: {other.id}",
                                   hint=f"veneer start {other.name}")  # fmt: skip
    for name in FILES:
        # One file for both, so that what is connected later shows in both.
        target = store.containers.folder(plan["id"]) / name
        target.unlink(missing_ok=True)
        os.link(folder / name, target)
    return plan | {"mode": "container", "container": other.id, "pid": found.pid}


def _for_plain_user(
    store: Store, plan: dict[str, Any], document: Mapping[str, Any], endpoints: Mapping[str, Any]
) -> None:
    for name in endpoints:
        if name != DEFAULT:
            store.networks.get(name)  # what is not there is told first
            raise planning.NeedsRoot(
                f"network {name} needs root: a plain user's containers are not connected to each other",
                hint="leave --network out and publish ports, or run as root",
            )
    plan["mode"] = "slirp"
    plan["networks"].append(planning.slirp_entry(store.networks.get(DEFAULT)))
    plan["ports"] = planning.ports(document, [], rootless=True)
    plan["exposed"] = planning.exposed(document.get("Config") or {})


def _bridged(
    networks: Networks,
    store: Store,
    plan: dict[str, Any],
    document: Mapping[str, Any],
    endpoints: Mapping[str, dict[str, Any]],
) -> None:
    plan["mode"] = "bridge"
    found = [store.networks.get(name) for name in endpoints]
    identity = {"id": plan["id"], "name": plan["name"], "mac": (document.get("Config") or {}).get("MacAddress") or ""}
    for number, (network, settings) in enumerate(zip(found, endpoints.values(), strict=True)):
        planning.refuse_endpoint(network.name, settings)
        settled, addresses = networks.claimed(network, plan["id"], settings)
        mine = identity if number == 0 else identity | {"mac": ""}
        plan["networks"].append(planning.network_entry(settled, settings, addresses, mine, f"eth{number}"))
    outside = connection.routed(plan)
    if outside is not None:
        plan["endpoint"] = outside["endpoint"]
        plan["ports"] = planning.ports(document, found, rootless=False)
        plan["exposed"] = planning.exposed(document.get("Config") or {})
    if any(entry["named"] for entry in plan["networks"]):
        plan["servers"] = servers(document)


def servers(document: Mapping[str, Any]) -> list[str]:
    """Whom a container's own name server passes questions on to."""
    return list((document.get("HostConfig") or {}).get("Dns") or ()) or hostfiles.host_servers()


# ---- files


def write_files(folder: Path, plan: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Write what a container finds in /etc, in place: where it runs, it sees these very files."""
    contents = {
        "hosts": hosts(plan, document),
        "hostname": (plan["hostname"] + "\n").encode(),
        "resolv.conf": _resolv_conf(plan, document.get("HostConfig") or {}),
    }
    for name, content in contents.items():
        write_in_place(folder / name, content)


def write_in_place(path: Path, content: bytes) -> None:
    """Have a file, which others may have mounted, say something else."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    with open(fd, "wb") as file:
        os.fchmod(fd, 0o644)
        file.write(content)
        file.truncate()


def hosts(plan: Mapping[str, Any], document: Mapping[str, Any]) -> bytes:
    """/etc/hosts of a container: who was named to it, then itself at each of its addresses."""
    given = (document.get("HostConfig") or {}).get("ExtraHosts") or ()
    pairs = (each.partition(":")[::2] for each in given)
    extra = [(name, _gateway(plan) if address == "host-gateway" else address) for name, address in pairs]
    addresses = [entry[key] for entry in plan["networks"] for key in ("address", "address6") if entry.get(key)]
    return hostfiles.container_hosts(plan["hostname"], plan["domain"], addresses, extra)


def _gateway(plan: Mapping[str, Any]) -> str:
    """Where a container reaches the host: docker's host-gateway."""
    entries: Sequence[Mapping[str, Any]] = plan["networks"]
    return next((str(each["gateway"]) for each in entries if each.get("gateway")), "127.0.0.1")


def _resolv_conf(plan: Mapping[str, Any], host: Mapping[str, Any]) -> bytes:
    mode = plan["mode"]
    otherwise = {"otherwise": (slirp_addresses.DNS,)} if mode == "slirp" else {}
    return hostfiles.container_resolv_conf(
        host.get("Dns") or (), host.get("DnsSearch") or (), host.get("DnsOptions") or (),
        host=hostfiles.resolv_conf(own_network=mode != "host", **otherwise),
        resolver=RESOLVER if plan["servers"] is not None else "",
    )  # fmt: skip


def saved_plan(folder: Path) -> dict[str, Any] | None:
    """The plan of a container that runs, None where it has none of its own."""
    return names.saved(folder) if state.is_held(folder, state.ALIVE) else None
