"""A container asked for from Python: friendly names and values, as docker's Config and HostConfig.

Where a command line has a spelling (`8080:80`, `64m`, `on-failure:3`), it is taken here too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from veneer.engine.containers import spelling
from veneer.engine.containers.creating import ContainerRequest
from veneer.engine.containers.spelling import InvalidContainer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Pairs = Mapping[str, str] | Iterable[str]
    Field = Callable[[dict[str, Any], dict[str, Any], Any], None]

FIELDS: dict[str, Field] = {}
"""What `asked` takes by name, and what each does to a Config and a HostConfig."""


def requested(
    image: ContainerRequest | str, command: Sequence[str] | str | None, fields: Mapping[str, Any]
) -> ContainerRequest:
    """The request itself if that is given, which has everything in it; else what `asked` makes."""
    if isinstance(image, str):
        return asked(image, command, **fields)
    if command or fields:
        raise InvalidContainer("a whole request says everything: no command and no fields beside it")
    return image


def asked(
    image: str, command: Sequence[str] | str | None, *, name: str = "", pull: str = "missing", platform: str = "",
    network: str = "default", aliases: Sequence[str] = (), ip: str = "", **fields: Any,
) -> ContainerRequest:  # fmt: skip
    """A request; `command` as words, or as one text for the image's shell.  `fields` are named in FIELDS.

    Raises InvalidContainer, InvalidPort.
    """
    words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command or ())
    config: dict[str, Any] = {"Cmd": words or None, "AttachStdout": True, "AttachStderr": True}
    host: dict[str, Any] = {"NetworkMode": network}
    for field, value in fields.items():
        if field not in FIELDS:
            raise InvalidContainer(f"a container has no {field}", hint=f"one of {', '.join(sorted(FIELDS))}")
        if value is not None:
            FIELDS[field](config, host, value)
    endpoint: dict[str, Any] = ({"Aliases": list(aliases)} if aliases else {}) | (
        {"IPAMConfig": {"IPv4Address": ip}} if ip else {}
    )
    networking = {"EndpointsConfig": {network: endpoint}} if endpoint else {}
    return ContainerRequest(image, config, host, networking, name, pull, platform)


def _pairs(given: Pairs) -> list[str]:
    if isinstance(given, Mapping):
        return [f"{name}={value}" for name, value in given.items()]
    return list(given)


def _size(value: int | str) -> int:
    return spelling.swap_bytes(value) if isinstance(value, str) else int(value)


def _seconds(value: float | str) -> int:
    return spelling.duration(value) if isinstance(value, str) else int(value * 10**9)


def _ports(config: dict[str, Any], host: dict[str, Any], value: Mapping[object, object] | Iterable[object]) -> None:
    """`["8080:80", "53:53/udp"]`, or {80: 8080}: what is in the container, and where it is on the host."""
    from veneer.run.network import publishing

    specs = [f"{there}:{port}" for port, there in value.items()] if isinstance(value, Mapping) else map(str, value)
    exposed, host["PortBindings"] = publishing.parse(specs)
    config["ExposedPorts"] = {port: {} for port in exposed}


def _volumes(config: dict[str, Any], host: dict[str, Any], value: Iterable[object]) -> None:
    """`["data:/var/lib/x", "/etc/hosts:/h:ro", "/anonymous"]`; what begins with a dot is below where we are."""
    texts = [os.fspath(each) if isinstance(each, os.PathLike) else str(each) for each in value]
    host["Binds"] = [os.path.abspath(text) if text.startswith("./") else text for text in texts if ":" in text]
    config["Volumes"] = {text: {} for text in texts if ":" not in text}


def _mounts(config: dict[str, Any], host: dict[str, Any], value: Iterable[str | Mapping[str, Any]]) -> None:
    """`["type=tmpfs,target=/t"]`, or docker's Mount objects."""
    host["Mounts"] = [spelling.mount(each) if isinstance(each, str) else dict(each) for each in value]


def _tmpfs(config: dict[str, Any], host: dict[str, Any], value: Mapping[str, str] | Iterable[str]) -> None:
    host["Tmpfs"] = dict(value) if isinstance(value, Mapping) else dict(text.partition(":")[::2] for text in value)


def _health(config: dict[str, Any], host: dict[str, Any], value: str | Sequence[str] | Mapping[str, Any]) -> None:
    """A command, or docker's Healthcheck object."""
    if isinstance(value, str):
        config["Healthcheck"] = {"Test": ["CMD-SHELL", value]}
    elif isinstance(value, Mapping):
        config["Healthcheck"] = dict(value)
    else:
        config["Healthcheck"] = {"Test": ["CMD", *value]}


def _health_time(key: str) -> Field:
    def set_(config: dict[str, Any], host: dict[str, Any], value: float | str) -> None:
        config.setdefault("Healthcheck", {})[key] = _seconds(value)

    return set_


def _log(config: dict[str, Any], host: dict[str, Any], value: str | Mapping[str, str]) -> None:
    """`json-file`, `none`, or the json-file's options: {"max-size": "1m", "max-file": "3"}."""
    kind, options = (value, {}) if isinstance(value, str) else ("json-file", dict(value))
    host["LogConfig"] = {"Type": kind, "Config": options}


def _in(which: int, key: str, make: Callable[[Any], Any] = lambda value: value) -> Field:
    def set_(config: dict[str, Any], host: dict[str, Any], value: Any) -> None:
        (config, host)[which][key] = make(value)

    return set_


def _each(parse: Callable[[str], Any]) -> Callable[[Iterable[str]], list[Any]]:
    return lambda values: [parse(value) for value in values]


def _labels(value: Pairs) -> dict[str, str]:
    return spelling.pairs(_pairs(value))


_CONFIG, _HOST = 0, 1
FIELDS |= {
    "entrypoint": _in(_CONFIG, "Entrypoint", lambda value: [value] if isinstance(value, str) else list(value)),
    "env": _in(_CONFIG, "Env", _pairs),
    "hostname": _in(_CONFIG, "Hostname"),
    "domainname": _in(_CONFIG, "Domainname"),
    "labels": _in(_CONFIG, "Labels", _labels),
    "mac_address": _in(_CONFIG, "MacAddress", spelling.mac_address),
    "stdin": _in(_CONFIG, "OpenStdin", bool),
    "stop_signal": _in(_CONFIG, "StopSignal"),
    "stop_timeout": _in(_CONFIG, "StopTimeout", int),
    "tty": _in(_CONFIG, "Tty", bool),
    "user": _in(_CONFIG, "User", str),
    "workdir": _in(_CONFIG, "WorkingDir", os.fspath),
    "health": _health,
    "health_interval": _health_time("Interval"),
    "health_timeout": _health_time("Timeout"),
    "health_start_period": _health_time("StartPeriod"),
    "health_retries": lambda config, host, value: config.setdefault("Healthcheck", {}).update(Retries=int(value)),
    "ports": _ports,
    "volumes": _volumes,
    "mounts": _mounts,
    "tmpfs": _tmpfs,
    "log": _log,
    "annotations": _in(_HOST, "Annotations", _labels),
    "auto_remove": _in(_HOST, "AutoRemove", bool),
    "cap_add": _in(_HOST, "CapAdd", list),
    "cap_drop": _in(_HOST, "CapDrop", list),
    "cgroup_parent": _in(_HOST, "CgroupParent"),
    "cgroupns": _in(_HOST, "CgroupnsMode"),
    "cpu_shares": _in(_HOST, "CpuShares", int),
    "cpus": _in(_HOST, "NanoCpus", lambda value: spelling.nano_cpus(str(value))),
    "cpuset_cpus": _in(_HOST, "CpusetCpus", str),
    "cpuset_mems": _in(_HOST, "CpusetMems", str),
    "device_rules": _in(_HOST, "DeviceCgroupRules", _each(spelling.device_rule)),
    "devices": _in(_HOST, "Devices", _each(spelling.device)),
    "dns": _in(_HOST, "Dns", _each(spelling.address)),
    "dns_options": _in(_HOST, "DnsOptions", list),
    "dns_search": _in(_HOST, "DnsSearch", list),
    "groups": _in(_HOST, "GroupAdd", lambda value: [str(each) for each in value]),
    "hosts": _in(_HOST, "ExtraHosts", lambda value: [f"{k}:{v}" for k, v in value.items()]),
    "init": _in(_HOST, "Init", bool),
    "ipc": _in(_HOST, "IpcMode"),
    "memory": _in(_HOST, "Memory", _size),
    "memory_reservation": _in(_HOST, "MemoryReservation", _size),
    "memory_swap": _in(_HOST, "MemorySwap", _size),
    "oom_score_adj": _in(_HOST, "OomScoreAdj", int),
    "pid": _in(_HOST, "PidMode"),
    "pids_limit": _in(_HOST, "PidsLimit", int),
    "privileged": _in(_HOST, "Privileged", bool),
    "publish_all": _in(_HOST, "PublishAllPorts", bool),
    "read_only": _in(_HOST, "ReadonlyRootfs", bool),
    "restart": _in(_HOST, "RestartPolicy", spelling.restart_policy),
    "runtime": _in(_HOST, "Runtime"),
    "security": _in(_HOST, "SecurityOpt", lambda value: spelling.security_options(value)[0]),
    "shm_size": _in(_HOST, "ShmSize", _size),
    "sysctls": _in(_HOST, "Sysctls", lambda value: {k: str(v) for k, v in value.items()}),
    "ulimits": _in(_HOST, "Ulimits", _each(spelling.ulimit)),
    "userns": _in(_HOST, "UsernsMode"),
    "uts": _in(_HOST, "UTSMode"),
    "volumes_from": _in(_HOST, "VolumesFrom", list),
}
