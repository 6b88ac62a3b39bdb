"""`run`'s and `create`'s options turned into a ContainerRequest, as docker's client does.

What a single option's value may be is looked at as it is read (see container_options); here is what they mean together.
Source: docker/cli cli/command/container/opts.go.
"""

from __future__ import annotations

import os

from veneer.cli.app import USAGE_EXIT, Failure
from veneer.cli.container_files import environment as environment
from veneer.cli.container_files import labels
from veneer.cli.flags import Parsed
from veneer.engine.containers import spelling
from veneer.engine.containers.creating import ContainerRequest
from veneer.errors import InvalidRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_HEALTH = ("health_cmd", "health_interval", "health_timeout", "health_start_period", "health_retries")


def request(given: Parsed, outside: Mapping[str, str], *, detached: bool) -> ContainerRequest:
    """What a command line asks for.  `outside` is our environment, for `-e NAME`.  Raises Failure."""
    image, *words = given.arguments
    try:
        config = _config(given, words, outside)
        host = _host_config(given)
        networking = _networks(given, host)
        _ports(given, config, host)
    except InvalidRequest as error:
        raise Failure(error.message, USAGE_EXIT, hint=error.hint) from None
    _attached(given, config, detached=detached)
    return ContainerRequest(
        image=image, config=config, host_config=host, networking=networking, name=given.text("name"),
        pull=given.text("pull") or "missing", platform=given.text("platform"),
    )  # fmt: skip


def _config(given: Parsed, words: Sequence[str], outside: Mapping[str, str]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Hostname": given.text("hostname"), "Domainname": given.text("domainname"), "User": given.text("user"),
        "Tty": given.flag("tty"), "OpenStdin": given.flag("interactive"), "Cmd": list(words) or None,
        "WorkingDir": given.text("workdir"),
        "Labels": labels(given.texts("label_file"), given.texts("label")),
        "Env": environment(given.texts("env_file"), given.texts("env"), outside) or None,
    }  # fmt: skip
    if "entrypoint" in given.given:
        config["Entrypoint"] = [given.text("entrypoint")]
    if given.text("stop_signal"):
        config["StopSignal"] = given.text("stop_signal")
    if "stop_timeout" in given.given:
        config["StopTimeout"] = spelling.whole(given.text("stop_timeout"))
    if given.text("mac_address"):
        config["MacAddress"] = spelling.mac_address(given.text("mac_address"))
    if anonymous := [text for text in given.texts("volume") if ":" not in text]:
        config["Volumes"] = {text: {} for text in anonymous}
    _health(given, config)
    return config


def _health(given: Parsed, config: dict[str, Any]) -> None:
    asked = [key for key in _HEALTH if given.text(key) and key in given.given]
    if given.flag("no_healthcheck"):
        if asked:
            raise Failure("--no-healthcheck conflicts with --health-* options", USAGE_EXIT)
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    health: dict[str, Any] = {}
    if given.text("health_cmd"):
        health["Test"] = ["CMD-SHELL", given.text("health_cmd")]
    for key, name in (("health_interval", "Interval"), ("health_timeout", "Timeout"),
                      ("health_start_period", "StartPeriod"), ("health_retries", "Retries")):  # fmt: skip
        if key not in asked:
            continue
        parse = spelling.whole if name == "Retries" else spelling.duration
        value = parse(given.text(key))
        if value < 0:
            raise Failure(f"--{key.replace('_', '-')} cannot be negative", USAGE_EXIT)
        if value:
            health[name] = value
    if health:
        config["Healthcheck"] = health


def _host_config(given: Parsed) -> dict[str, Any]:
    host: dict[str, Any] = {
        "Binds": [_bind(text) for text in given.texts("volume") if ":" in text] or None,
        "ContainerIDFile": given.text("cidfile"),
        "RestartPolicy": spelling.restart_policy(given.text("restart")),
        "AutoRemove": given.flag("rm"),
        "VolumesFrom": given.texts("volumes_from") or None,
        "CapAdd": given.texts("cap_add") or None,
        "CapDrop": given.texts("cap_drop") or None,
        "Dns": given.texts("dns"),
        "DnsOptions": [*given.texts("dns_option"), *given.texts("dns_opt")],
        "DnsSearch": [text for text in given.texts("dns_search") if text != "."],
        "ExtraHosts": given.texts("add_host") or None,
        "GroupAdd": given.texts("group_add") or None,
        "Links": given.texts("link") or None,
        "PidMode": given.text("pid"),
        "Privileged": given.flag("privileged"),
        "PublishAllPorts": given.flag("publish_all"),
        "ReadonlyRootfs": given.flag("read_only"),
        "UTSMode": given.text("uts"),
        "UsernsMode": given.text("userns"),
        "Runtime": given.text("runtime"),
        "VolumeDriver": given.text("volume_driver"),
        "Isolation": given.text("isolation"),
        "IpcMode": given.text("ipc"),
        "CgroupnsMode": given.text("cgroupns"),
        "CgroupParent": given.text("cgroup_parent"),
        "ConsoleSize": _console_size() if given.flag("tty") else [0, 0],
    }
    if given.text("gpus"):
        raise Failure('could not select device driver "" with capabilities: [[gpu]]', USAGE_EXIT)
    if host["AutoRemove"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise Failure("Conflicting options: --restart and --rm", USAGE_EXIT)
    _modes(host)
    host |= resources(given)
    host["SecurityOpt"], bare = spelling.security_options(given.texts("security_opt"))
    if not given.texts("security_opt"):
        host["SecurityOpt"] = None
    if bare:
        host["MaskedPaths"] = host["ReadonlyPaths"] = []
    if given.texts("mount"):
        host["Mounts"] = [spelling.mount(text) for text in given.texts("mount")]
    if given.texts("tmpfs"):
        host["Tmpfs"] = dict(text.partition(":")[::2] for text in given.texts("tmpfs"))
    if "init" in given.given:
        host["Init"] = given.flag("init")
    _log(given, host)
    for key, name in (("sysctl", "Sysctls"), ("annotation", "Annotations"), ("storage_opt", "StorageOpt")):
        if given.texts(key):
            host[name] = spelling.pairs(given.texts(key))
    return host


def _bind(text: str) -> str:
    """`-v ./x:/y` has a source below where we are, as docker's client sees it."""
    source, _, rest = text.partition(":")
    return f"{os.path.abspath(source)}:{rest}" if source == "." or source.startswith("./") else text


def _log(given: Parsed, host: dict[str, Any]) -> None:
    kind, options = given.text("log_driver"), spelling.pairs(given.texts("log_opt"))
    if kind == "none" and options:
        raise Failure("invalid logging opts for driver none", USAGE_EXIT)
    host["LogConfig"] = {"Type": kind or "json-file", "Config": options}


def _console_size() -> list[int]:
    from veneer.cli.terminal import size

    return list(size())


_USER_HINT = "there is host; a plain user is root in his containers, and that root's files are his own outside"


def _modes(host: Mapping[str, Any]) -> None:
    for name, option, words in (("PidMode", "pid", ("", "host")), ("UTSMode", "uts", ("", "host")),
                                ("UsernsMode", "userns", ("", "host")),
                                ("CgroupnsMode", "cgroupns", ("", "host", "private"))):  # fmt: skip
        mode = host[name]
        if not (spelling.joined(mode, words) if name == "PidMode" else mode in words):
            kind = {"userns": "USER", "cgroupns": "CGROUP"}.get(option, option.upper())
            raise Failure(f"--{option}: invalid {kind} mode", USAGE_EXIT, hint=_USER_HINT if kind == "USER" else "")


_LIMITS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("memory", "Memory", spelling.size_bytes), ("memory_reservation", "MemoryReservation", spelling.size_bytes),
    ("kernel_memory", "KernelMemory", spelling.size_bytes), ("memory_swap", "MemorySwap", spelling.swap_bytes),
    ("shm_size", "ShmSize", spelling.size_bytes), ("cpus", "NanoCpus", spelling.nano_cpus),
    ("cpu_shares", "CpuShares", spelling.whole), ("cpu_period", "CpuPeriod", spelling.whole),
    ("cpu_quota", "CpuQuota", spelling.whole), ("cpu_rt_period", "CpuRealtimePeriod", spelling.whole),
    ("cpu_rt_runtime", "CpuRealtimeRuntime", spelling.whole), ("cpuset_cpus", "CpusetCpus", str),
    ("cpuset_mems", "CpusetMems", str), ("memory_swappiness", "MemorySwappiness", spelling.whole),
    ("oom_score_adj", "OomScoreAdj", spelling.whole), ("pids_limit", "PidsLimit", spelling.whole),
    ("blkio_weight", "BlkioWeight", spelling.weight),
)  # fmt: skip
_LIMIT_LISTS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("ulimit", "Ulimits", spelling.ulimit), ("device", "Devices", spelling.device),
    ("device_cgroup_rule", "DeviceCgroupRules", spelling.device_rule),
    ("device_read_bps", "BlkioDeviceReadBps", spelling.throttle),
    ("device_write_bps", "BlkioDeviceWriteBps", spelling.throttle),
    ("device_read_iops", "BlkioDeviceReadIOps", spelling.throttle),
    ("device_write_iops", "BlkioDeviceWriteIOps", spelling.throttle),
)  # fmt: skip


def resources(given: Parsed) -> dict[str, Any]:
    """The limits that were given, by their names in a HostConfig; for `run`, `create` and `update`."""
    found: dict[str, Any] = {}
    for key, name, parse in _LIMITS:
        if key in given.given and given.text(key):
            found[name] = parse(given.text(key))
    swappiness = found.get("MemorySwappiness", -1)
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise Failure(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100", USAGE_EXIT)
    if given.values.get("oom_kill_disable") is True:
        found["OomKillDisable"] = True
    if found.get("PidsLimit") == 0:
        found["PidsLimit"] = -1  # without a limit, both say; what is not said is veneer's own limit
    for key, name, parse in _LIMIT_LISTS:
        if key in given.given:
            found[name] = [parse(text) for text in given.texts(key)]
    if "Ulimits" in found:
        found["Ulimits"] = sorted({each["Name"]: each for each in found["Ulimits"]}.values(), key=lambda e: e["Name"])
    return found


def _networks(given: Parsed, host: dict[str, Any]) -> dict[str, Any]:
    """docker's EndpointsConfig, and the NetworkMode, from --network (which may be said more than once)."""
    wanted = [*given.texts("network"), *given.texts("net")]
    loose = _loose_endpoint(given)
    endpoints: dict[str, dict[str, Any]] = {}
    for number, text in enumerate(wanted or ["default"]):
        name, settings = _network(text)
        if number == 0:
            host["NetworkMode"] = name
            settings |= _merged_endpoint(name, settings, loose)
        if not name:
            raise Failure("network name is required", USAGE_EXIT)
        if name in endpoints:
            raise Failure(f'network "{name}" is specified multiple times', USAGE_EXIT)
        if len(wanted) > 1 and (name.startswith("container:") or name in ("host", "none")):
            raise Failure("conflicting options: cannot attach both user-defined and non-user-defined network-modes",
                          USAGE_EXIT)  # fmt: skip
        if settings or number or len(wanted) > 1:
            endpoints[name] = settings
    return {"EndpointsConfig": endpoints}


def _network(text: str) -> tuple[str, dict[str, Any]]:
    """A name, or `name=web,alias=a,alias=b,ip=10.5.0.3`."""
    if "=" not in text:
        return text, {}
    settings: dict[str, Any] = {}
    name = ""
    for key, value in spelling.fields(text):
        if value is None:
            raise Failure(f'invalid field {key}, must be a key=value pair: "{text}"', USAGE_EXIT)
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key in ("ip", "ip6"):
            settings.setdefault("IPAMConfig", {})["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "mac-address":
            settings["MacAddress"] = spelling.mac_address(value)
        elif key == "link-local-ip":
            settings.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", []).append(value)
        elif key == "driver-opt":
            settings.setdefault("DriverOpts", {}).update(spelling.pairs([value]))
        else:
            raise Failure(f"invalid field key {key}", USAGE_EXIT)
    return name, settings


def _loose_endpoint(given: Parsed) -> dict[str, Any]:
    """What options beside --network say of the first network."""
    found: dict[str, Any] = {}
    if aliases := [*given.texts("network_alias"), *given.texts("net_alias")]:
        found["Aliases"] = aliases
    ipam: dict[str, Any] = {}
    for key, name in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if given.text(key):
            ipam[name] = given.text(key)
    if given.texts("link_local_ip"):
        ipam["LinkLocalIPs"] = given.texts("link_local_ip")
    if ipam:
        found["IPAMConfig"] = ipam
    return found


def _merged_endpoint(name: str, settings: Mapping[str, Any], loose: Mapping[str, Any]) -> Mapping[str, Any]:
    user_defined = name not in ("default", "bridge", "host", "none") and not name.startswith("container:")
    if loose.get("Aliases") and not user_defined and name != "default":
        raise Failure("network-scoped aliases are only supported for user-defined networks", USAGE_EXIT)
    for key, words in (("Aliases", "--network-alias and per-network alias"),
                       ("IPAMConfig", "--ip and per-network IPv4 address")):  # fmt: skip
        if key in settings and key in loose:
            raise Failure(f"conflicting options: cannot specify both {words}", USAGE_EXIT)
    # An alias on the default network is nothing to anybody, and docker says nothing of it.
    return {key: value for key, value in loose.items() if key != "Aliases" or user_defined}


def _ports(given: Parsed, config: dict[str, Any], host: dict[str, Any]) -> None:
    from veneer.run.network import publishing

    exposed, bindings = publishing.parse(given.texts("publish"))
    for text in given.texts("expose"):
        if ":" in text:
            raise Failure(f"invalid port format for --expose: {text}", USAGE_EXIT)
        try:
            spelling.check_exposed(text)
            ports, _ = publishing.parse([text])
        except InvalidRequest as error:
            raise Failure(f"invalid range format for --expose: {text}, error: {error.message}", USAGE_EXIT) from None
        exposed += [port for port in ports if port not in exposed]
    if exposed:
        config["ExposedPorts"] = {port: {} for port in exposed}
    host["PortBindings"] = bindings


def _attached(given: Parsed, config: dict[str, Any], *, detached: bool) -> None:
    """Which streams are joined to ours: all output unless told otherwise, and input if it is open."""
    wanted = [text.lower() for text in given.texts("attach")]
    if detached and wanted:
        raise Failure("Conflicting options: -a and -d")
    names = {*(wanted or ("stdout", "stderr")), *(("stdin",) if given.flag("interactive") else ())}
    for name in spelling.STREAMS:
        config[f"Attach{name.capitalize()}"] = name in names and not detached
    config["StdinOnce"] = config["OpenStdin"] and config["AttachStdin"]
