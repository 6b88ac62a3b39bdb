"""What contradicts itself or can never be, refused before a container is made: docker's rules in docker's words.

Sources: moby daemon/container.go (verifyContainerSettings), daemon/daemon_unix.go (verifyPlatformContainerResources),
runconfig/hostconfig_unix.go.
"""

from __future__ import annotations

import os

from veneer.engine.containers.spelling import InvalidContainer, check_words
from veneer.run.spec import ALL_CAPABILITIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_MIN_MEMORY = 6 << 20
_LOG_OPTIONS = {
    "json-file": ("max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode",
                  "max-buffer-size"),
    "none": (),
}  # fmt: skip
_RUNTIMES = ("", "crun", "runc")
_BOOLEANS = ("1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False")


def check(config: Mapping[str, Any], host: Mapping[str, Any]) -> None:
    """Raise InvalidContainer for what contradicts itself or can never be, in docker's words."""
    for pair in config.get("Env") or ():
        if not pair.partition("=")[0]:
            raise InvalidContainer(f"invalid environment variable: {pair}")
        if "\0" in pair:
            raise InvalidContainer("invalid environment variable: it has a NUL byte in it")
    check_words([*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())])
    directory = config.get("WorkingDir") or ""
    if directory and not directory.startswith("/"):
        raise InvalidContainer(f"the working directory '{directory}' is invalid, it needs to be an absolute path")
    _check_resources(host)
    policy = host.get("RestartPolicy") or {}
    name, count = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    if name not in ("no", "always", "on-failure", "unless-stopped"):
        raise InvalidContainer(f"invalid restart policy '{name}'")
    if name != "on-failure" and count:
        raise InvalidContainer(f"maximum retry count cannot be used with restart policy '{name}'")
    if count < 0:
        raise InvalidContainer("maximum retry count cannot be negative")
    if host.get("AutoRemove") and name != "no":
        raise InvalidContainer("can't create 'AutoRemove' container with restart policy")
    _check_log(host.get("LogConfig") or {})
    _check_security(host)
    _check_modes(host)
    _check_health(config.get("Healthcheck") or {})
    if signal := config.get("StopSignal"):
        _check_signal(signal)


def _check_resources(host: Mapping[str, Any]) -> None:
    memory, swap = host.get("Memory") or 0, host.get("MemorySwap") or 0
    if memory and memory < _MIN_MEMORY:
        raise InvalidContainer("Minimum memory limit allowed is 6MB")
    if memory and swap > 0 and swap < memory:
        raise InvalidContainer("Minimum memoryswap limit should be larger than memory limit, see usage")
    if not memory and swap > 0:
        raise InvalidContainer("You should always set the Memory limit when using Memoryswap limit, see usage")
    swappiness = host.get("MemorySwappiness")
    if swappiness is not None and not -1 <= swappiness <= 100:
        raise InvalidContainer(f"Invalid value: {swappiness}, valid memory swappiness range is 0-100")
    reservation = host.get("MemoryReservation") or 0
    if memory and reservation and memory < reservation:
        raise InvalidContainer("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.get("KernelMemory") or host.get("CpuRealtimePeriod") or host.get("CpuRealtimeRuntime"):
        raise InvalidContainer("Your kernel does not support limits of kernel memory or of real-time processor time",
                               hint="leave --kernel-memory and --cpu-rt-* out")  # fmt: skip
    if host.get("BlkioWeightDevice"):
        raise InvalidContainer("weights of single devices are not supported", hint="--blkio-weight is for all")
    _check_cpus(host)
    weight = host.get("BlkioWeight") or 0
    if weight and not 10 <= weight <= 1000:
        raise InvalidContainer("Range of blkio weight is from 10 to 1000")
    score = host.get("OomScoreAdj") or 0
    if not -1000 <= score <= 1000:
        raise InvalidContainer(f"Invalid value {score}, range for oom score adj is [-1000, 1000]")
    if (host.get("ShmSize") or 0) < 0:
        raise InvalidContainer("SHM size can not be less than 0")


def _check_cpus(host: Mapping[str, Any]) -> None:
    cpus = host.get("NanoCpus") or 0
    if cpus and (host.get("CpuPeriod") or host.get("CpuQuota")):
        which = "CPU Period" if host.get("CpuPeriod") else "CPU Quota"
        raise InvalidContainer(f"Conflicting options: Nano CPUs and {which} cannot both be set")
    available = len(os.sched_getaffinity(0))
    if cpus < 0 or cpus > available * 1_000_000_000:
        raise InvalidContainer(
            f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
        )
    period = host.get("CpuPeriod") or 0
    if period and not 1000 <= period <= 1_000_000:
        raise InvalidContainer("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    quota = host.get("CpuQuota") or 0
    if 0 < quota < 1000:
        raise InvalidContainer("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    for key, what, file in (("CpusetCpus", "CPUs", "online"), ("CpusetMems", "memory nodes", "has_memory")):
        if wanted := host.get(key):
            kind = "cpu" if key == "CpusetCpus" else "node"
            _check_set(str(wanted), what, f"/sys/devices/system/{kind}/{file}")


def _check_set(text: str, what: str, file: str) -> None:
    kind = "cpus" if what == "CPUs" else "mems"
    try:
        wanted = _numbers(text)
    except ValueError:
        raise InvalidContainer(f"Invalid value {text} for cpuset {kind}: invalid format: {text}",
                               hint="as in 0-3,5") from None  # fmt: skip
    try:
        with open(file, encoding="ascii") as opened:
            there = opened.read().strip()
    except FileNotFoundError:
        there = "0"  # a kernel without such nodes
    if not wanted <= _numbers(there):
        raise InvalidContainer(f"Requested {what} are not available - requested {text}, available: {there}")


def _numbers(text: str) -> set[int]:
    """`0-3,5` as numbers.  Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last) if dash else int(first)
        if not 0 <= low <= high < 8192:
            raise ValueError(part)
        found.update(range(low, high + 1))
    return found


def _check_log(log: Mapping[str, Any]) -> None:
    kind = log.get("Type") or "json-file"
    if kind not in _LOG_OPTIONS:
        raise InvalidContainer(f'error looking up logging plugin {kind}: plugin "{kind}" not found',
                               hint="veneer has json-file and none")  # fmt: skip
    for option in log.get("Config") or ():
        if option not in _LOG_OPTIONS[kind]:
            raise InvalidContainer(f"unknown log opt '{option}' for {kind} log driver",
                                   hint="max-size and max-file are what veneer heeds")  # fmt: skip


def _check_security(host: Mapping[str, Any]) -> None:
    for text in host.get("SecurityOpt") or ():
        option, equals, value = text.partition("=")
        if not equals:
            option, _, value = text.partition(":")
        wrong = option not in ("seccomp", "no-new-privileges", "apparmor", "label")
        if wrong or (option == "no-new-privileges" and value and value not in _BOOLEANS):
            raise InvalidContainer(f'invalid --security-opt 2: "{text}"')
    for key in ("CapAdd", "CapDrop"):
        for name in host.get(key) or ():
            full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
            if full not in (*ALL_CAPABILITIES, "CAP_ALL"):
                raise InvalidContainer(f'invalid {key}: unknown capability: "{full}"')


def _check_modes(host: Mapping[str, Any]) -> None:
    runtime = host.get("Runtime") or ""
    if runtime not in _RUNTIMES:
        raise InvalidContainer(f"Unknown runtime specified {runtime}", hint="crun or runc")
    isolation = host.get("Isolation") or ""
    if isolation.lower() not in ("", "default"):
        raise InvalidContainer(f"Invalid isolation: \"{isolation}\" - linux only supports 'default'")
    if host.get("StorageOpt"):
        raise InvalidContainer("--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
                               hint="a container's layer has the size of the file system it is on")  # fmt: skip
    if (host.get("VolumeDriver") or "local") != "local":
        name = host["VolumeDriver"]
        raise InvalidContainer(f'error looking up volume plugin {name}: plugin "{name}" not found',
                               hint="veneer has the driver local")  # fmt: skip
    ipc = host.get("IpcMode") or ""
    if ipc not in ("", "host", "none", "private", "shareable") and not ipc.startswith("container:"):
        raise InvalidContainer(f"Invalid IPC mode: {ipc}", hint="private, shareable, none, host or container:NAME")


def _check_signal(text: str) -> None:
    from veneer.engine.containers.lifecycle import InvalidSignal, parsed_signal

    try:
        parsed_signal(text)
    except InvalidSignal:
        raise InvalidContainer(f"Invalid signal: {text}", hint="kill -l lists them") from None


def check_joined(config: Mapping[str, Any], host: Mapping[str, Any]) -> None:
    """Raise for what was asked for of namespaces that are not the container's own; an image may say such things."""
    publishes = host.get("PortBindings") or host.get("PublishAllPorts")  # which is told first, and elsewhere
    shares = (host.get("NetworkMode") or "").startswith("container:")
    if shares and config.get("ExposedPorts") and not publishes:
        raise InvalidContainer("conflicting options: port exposing and the container type network mode")
    if host.get("UTSMode") == "host" and config.get("Hostname"):
        raise InvalidContainer("conflicting options: hostname and the UTS mode")


def _check_health(health: Mapping[str, Any]) -> None:
    for key, least in (("Interval", 1_000_000), ("Timeout", 1_000_000), ("StartPeriod", 1_000_000)):
        value = health.get(key) or 0
        if value and value < least:
            raise InvalidContainer(f"{key} in Healthcheck cannot be less than 1ms")
    if (health.get("Retries") or 0) < 0:
        raise InvalidContainer("Retries in Healthcheck cannot be negative")


def warnings(host: Mapping[str, Any]) -> list[str]:
    """What docker warns of when such a container is made."""
    found = []
    if host.get("OomKillDisable") and not host.get("Memory"):
        found.append("OOM killer is disabled for the container, but no memory limit is set, "
                     "this can result in the system running out of resources.")  # fmt: skip
    if host.get("NetworkMode") == "host" and (host.get("PortBindings") or host.get("PublishAllPorts")):
        found.append("Published ports are discarded when using host network mode")
    return found
