"""Docker's inspect object of a container.

Sources: docker's API reference, ContainerInspect (1.41); seen with a real dockerd 20.10.24.
"""

from __future__ import annotations

import os

from veneer.engine.containers.mounts import listed
from veneer.run.monitor import state as states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from veneer.engine.engine import Engine
    from veneer.run.monitor.state import State
    from veneer.store.containers import Container

_SHOWN = ("Type", "Name", "Source", "Destination", "Driver", "Mode", "RW", "Propagation")


def inspection(engine: Engine, container: Container, *, size: bool = False) -> dict[str, Any]:
    """The object; every key docker 20.10 has, in its order."""
    from veneer.run.wanted import security_options

    store = engine.store
    folder = store.containers.folder(container.id)
    found = states.read(folder)
    config, host = container.document["Config"], container.document["HostConfig"]
    words = command(config)
    made: dict[str, Any] = {
        "Id": container.id,
        "Created": states.rfc3339(int(container.created * 1e9)),
        "Path": words[0],
        "Args": words[1:],
        "State": state_object(found),
        "Image": container.image,
        "ResolvConfPath": os.fspath(folder / "resolv.conf"),
        "HostnamePath": os.fspath(folder / "hostname"),
        "HostsPath": os.fspath(folder / "hosts"),
        "LogPath": log_path(folder, container),
        "Name": f"/{container.name}",
        "RestartCount": found.restart_count,
        "Driver": container.driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": security_options(host).get("apparmor", ""),
        "ExecIDs": None,
        "HostConfig": host,
        "GraphDriver": _graph(engine, container),
    }
    if size:
        made |= sizes(engine, container)
    return made | {
        "Mounts": [mount_object(point) for point in listed(container.document["Mounts"])],
        "Config": config,
        "NetworkSettings": network_object(engine, container),
    }


def command(config: dict[str, Any]) -> list[str]:
    """What is executed: the entrypoint and the command."""
    return [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]


def state_object(found: State) -> dict[str, Any]:
    """Docker's State."""
    made: dict[str, Any] = {
        "Status": found.status,
        "Running": found.is_live,
        "Paused": found.status == states.PAUSED,
        "Restarting": found.status == states.RESTARTING,
        "OOMKilled": found.oom_killed,
        "Dead": found.status == states.DEAD,
        "Pid": found.pid,
        "ExitCode": found.exit_code,
        "Error": found.error,
        "StartedAt": found.started_at,
        "FinishedAt": found.finished_at,
    }
    if found.health is not None:
        made["Health"] = found.health
    return made


def log_path(folder: os.PathLike[str], container: Container) -> str:
    """Where the json-file log is; "" for another driver."""
    kind = (container.document["HostConfig"].get("LogConfig") or {}).get("Type") or "json-file"
    return f"{os.fspath(folder)}/{container.id}-json.log" if kind == "json-file" else ""


def mount_object(point: Mapping[str, Any]) -> dict[str, Any]:
    """Docker's MountPoint: without what is only ours, and without empty names and drivers."""
    made = {key: point[key] for key in _SHOWN if key in point}
    return {key: value for key, value in made.items() if value or key not in ("Name", "Driver")}


def sizes(engine: Engine, container: Container) -> dict[str, int]:
    """SizeRw and SizeRootFs, in bytes."""
    from veneer.engine.containers.layering import size

    own = size(engine.store, container)
    image = sum(layer.size for layer in engine.store.layers.stack(container.top)) if container.top else 0
    return {"SizeRw": own, "SizeRootFs": own + image}


def network_object(engine: Engine, container: Container) -> dict[str, Any]:
    """Docker's NetworkSettings."""
    return engine.networks.settings(container)


def _graph(engine: Engine, container: Container) -> dict[str, Any]:
    driver = engine.store.containers.driver(container)
    data = driver.graph_data(container.rw, engine.store.containers.lowers(container))
    return {"Data": data, "Name": container.driver}


def seconds(text: str) -> float:
    """An RFC 3339 time of a state as Unix seconds; 0 for docker's time of what has not happened."""
    from veneer.oci.timestamp import parse

    return 0.0 if text == states.NEVER else parse(text) or 0.0
