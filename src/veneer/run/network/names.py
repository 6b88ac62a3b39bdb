"""Who is called what on a network: one small file a connected container, in `networks/<network id>/`.

Written by whoever connects, read by every resolver on that network.  A file tells whose it is, and a container whose
monitor does not live is nobody, whatever its file says; so a killed one needs no cleaning up to be gone.
"""

from __future__ import annotations

import json
import os
import time

from veneer.run.monitor.state import ALIVE, is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

_CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE: it stands still between two ticks of the kernel's, and files get their times from it."""


def folder(root: str, network: str) -> str:
    """Where the names of a network lie."""
    return f"{root}/networks/{network}"


def enter(root: str, network: Mapping[str, Any], container: str) -> None:
    """Have a container answer to its names on a network of its plan."""
    where = folder(root, network["id"])
    os.makedirs(where, mode=0o700, exist_ok=True)
    addresses = [network[key] for key in ("address", "address6") if network.get(key)]
    draft = f"{where}/.{container}.{os.getpid()}"
    with open(draft, "w", encoding="utf-8") as file:
        json.dump({"names": network.get("names", []), "addresses": addresses}, file)
    os.replace(draft, f"{where}/{container}")


def leave(root: str, network: str, container: str) -> None:
    """Have a container answer to nothing there; nothing if it does not."""
    try:
        os.unlink(f"{folder(root, network)}/{container}")
    except FileNotFoundError:
        return


class Names:
    """The names of the networks one container is on, read again when somebody came or went."""

    def __init__(self, root: str, container: str) -> None:
        self._root = root
        self._container = container
        self._known: dict[str, tuple[int, list[tuple[str, list[str], list[str]]]]] = {}

    def addresses(self, name: str) -> list[str] | None:
        """The addresses a name has on any of these networks, own network first; None if nobody is called that."""
        wanted = name.rstrip(".").lower()
        found = [
            address
            for network in self._networks()
            for container, names, addresses in self._entries(network)
            if wanted in (f"{each}{suffix}".lower() for each in names for suffix in ("", f".{network['name']}"))
            and self._lives(container)
            for address in addresses
        ]
        return list(dict.fromkeys(found)) or None

    def name_of(self, address: str) -> str | None:
        """The name of whoever has an address on one of these networks: the container's, then its network's."""
        for network in self._networks():
            for container, names, addresses in self._entries(network):
                if address in addresses and names and self._lives(container):
                    return f"{names[0]}.{network['name']}"
        return None

    def _lives(self, container: str) -> bool:
        from pathlib import Path

        return is_held(Path(f"{self._root}/containers/{container}"), ALIVE)

    def _networks(self) -> list[dict[str, Any]]:
        """Those the container is on now: what is connected while it runs is in its plan, as it was saved last."""
        plan = saved(f"{self._root}/containers/{self._container}")
        return [each for each in (plan or {}).get("networks", ()) if each.get("named")]

    def _entries(self, network: Mapping[str, Any]) -> list[tuple[str, list[str], list[str]]]:
        where = folder(self._root, network["id"])
        try:
            changed = os.stat(where).st_mtime_ns
        except FileNotFoundError:
            return []
        known = self._known.get(network["id"])
        if known is not None and known[0] == changed:
            return known[1]
        # Who comes in the same tick as a reading leaves the directory its time: it tells of nobody until it is past.
        is_past = time.clock_gettime_ns(_CLOCK_OF_FILES) > changed
        found = _read(where)
        if is_past:
            self._known[network["id"]] = (changed, found)
        return found


def _read(where: str) -> list[tuple[str, list[str], list[str]]]:
    found = []
    for name in sorted(os.listdir(where)):
        if name.startswith("."):
            continue
        try:
            with open(f"{where}/{name}", encoding="utf-8") as file:
                entry = json.load(file)
        except FileNotFoundError:
            continue
        found.append((name, list(entry["names"]), list(entry["addresses"])))
    return found


# ---- plans

SAVED = "network.json"


def save(where: str | Path, plan: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Keep a plan that was carried out in its container's folder, so that whoever looks after it can undo it."""
    draft = f"{where}/.{SAVED}.{os.getpid()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump({"plan": plan, "result": result}, file)
    os.replace(draft, f"{where}/{SAVED}")


def saved(where: str | Path) -> dict[str, Any] | None:
    """The plan that was carried out last for the container of this folder; None if there is none to undo."""
    document = _saved(where)
    return None if document is None else document["plan"]


def saved_result(where: str | Path) -> dict[str, Any]:
    """What `setup` and later connections gave the container of this folder; {} without a network set up."""
    document = _saved(where)
    return {} if document is None else document["result"]


def _saved(where: str | Path) -> dict[str, Any] | None:
    try:
        with open(f"{where}/{SAVED}", encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    return found


def unsave(where: str | Path) -> None:
    """Forget the plan: it is undone."""
    try:
        os.unlink(f"{where}/{SAVED}")
    except FileNotFoundError:
        return
